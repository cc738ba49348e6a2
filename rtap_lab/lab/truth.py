"""The ground truth of simulated runs, as files beside the events."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from rtap_lab.errors import SourceError
from rtap_lab.settings import LIVE
from rtap_lab.stack.state import State

if TYPE_CHECKING:
    from rtap_lab.simulator.truth import Truth


def truth_folder(state: State) -> Path:
    """Where the truth of a lab's runs is."""
    return state.folder / "truth"


def beside(path: str | Path) -> Path:
    """Where the truth of a file that `rtap simulate --out` wrote is."""
    return Path(f"{path}.truth.json")


def truth_files(state: State, source: str = LIVE) -> list[Path]:
    """The files of the truth of a source, the earliest first."""
    found = sorted(truth_folder(state).glob("*.json"))
    return [p for p in found if (p.name.rpartition("@")[0] or LIVE) == source]


def keep_truths(state: State, paths: list[str], source: str) -> None:
    """Keep the truth that stands beside imported files."""
    for path in paths:
        if path != "-" and beside(path).exists():
            read_truth(beside(path))
            content = beside(path).read_bytes()
            truth_folder(state).mkdir(exist_ok=True)
            digest = hashlib.sha256(content).hexdigest()[:16]
            (truth_folder(state) / f"{source}@{digest}.json").write_bytes(content)


def read_truth(path: Path) -> Truth:
    """The truth in a file.

    Raises:
        SourceError: When there is none.
    """
    from rtap_lab.simulator.truth import Truth  # numpy and pyarrow, for those who ask for the truth

    try:
        manifest = orjson.loads(path.read_bytes())
        if manifest["version"] != 1:
            raise KeyError("version")
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is not the ground truth of a simulator's run: {error}") from error
    return Truth(manifest)


def truths_of(state: State, source: str) -> list[Truth]:
    """The ground truth of the simulator's runs on a source, the earliest first."""
    return [read_truth(path) for path in truth_files(state, source)]
