"""The scenarios that can be played: the packaged ones, and YAML files of one's own."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from rtap_lab.errors import SettingsError
from rtap_lab.simulator.parsing import parse_scenario
from rtap_lab.simulator.scenario import Scenario


def list_scenarios() -> list[str]:
    """The packaged scenarios."""
    folder = resources.files("rtap_lab.simulator") / "stories"
    return sorted(each.name.removesuffix(".yaml") for each in folder.iterdir() if each.name.endswith(".yaml"))


def load_scenario(name: str) -> Scenario:
    """A packaged scenario, or one of a file.

    Args:
        name: Of a packaged scenario, or a path that ends in .yaml or .yml.

    Raises:
        SettingsError: When there is none, or the file is not a scenario.
    """
    if name.endswith((".yaml", ".yml")):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"scenario {name} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
        return parse_scenario(text, name)
    if name not in list_scenarios():
        near = difflib.get_close_matches(name, list_scenarios(), 1)
        raise SettingsError(
            f"scenario {name!r} is not known{f'; {near[0]!r}?' if near else ''}",
            hint=f"one of {', '.join(list_scenarios())}, or a YAML file",
        )
    text = (resources.files("rtap_lab.simulator") / "stories" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_scenario(text, f"{name}.yaml")
