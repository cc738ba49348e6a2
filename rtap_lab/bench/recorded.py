"""How fast jobs answer a recorded source: a simulated shop's log, imported once, answered again and again.

The time is Flink's own, from RUNNING to FINISHED; what it cost is the TaskManager's processor time, start and compilation included.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from rtap_lab.bench.costs import Cost, Meter
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.jobs.model import Run
from rtap_lab.lab import Lab
from rtap_lab.lab.scenarios import load_scenario
from rtap_lab.lab.simulator import write_file
from rtap_lab.queries.query import Definition
from rtap_lab.settings import JobOptions
from rtap_lab.verification.report import Report


@dataclass
class Answered:
    """One run of a job over a recorded source."""

    events: int
    seconds: float
    """From RUNNING to FINISHED."""
    cost: Cost
    report: Report | None = None
    """What verification says of its answers."""

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def us_per_event(self) -> float:
        """Processor microseconds of the TaskManager for each event."""
        return self.cost.cpu_s["taskmanager"] / self.events * 1e6


@dataclass
class Recorded:
    """A recorded source that was made."""

    name: str
    events: int
    """Records."""
    megabytes: float
    import_s: float
    """Seconds that its import took."""


def record(lab: Lab, name: str, events: int, *, scenario: str = "brisk", seed: int = 1) -> Recorded:
    """Make a recorded source of so many simulated messages."""

    def simulated(path: Path) -> None:
        with path.open("wb") as file:
            story = load_scenario(scenario)
            write_file(path, file, story, seed, seconds=None, events=events, progress=lambda done: None)

    return _recorded(lab, name, simulated)


def record_lines(lab: Lab, name: str, lines: Iterable[bytes]) -> Recorded:
    """Make a recorded source of these events, one JSON object each."""
    return _recorded(lab, name, lambda path: path.write_bytes(b"".join(line + b"\n" for line in lines)))


def _recorded(lab: Lab, name: str, write: Callable[[Path], object]) -> Recorded:
    with tempfile.TemporaryDirectory(prefix="rtap-bench-") as folder:
        path = Path(folder) / "events.jsonl"
        write(path)
        size, began = path.stat().st_size / 1e6, time.monotonic()
        imported = lab.import_jsonl(path, source=name).imported
        return Recorded(name, imported, size, time.monotonic() - began)


def _timed(lab: Lab, events: int, run: Callable[[], Run]) -> Answered:
    with Meter(lab) as cost:
        made = run()
    times = FlinkRest(lab.endpoints.flink).job(str(made.job_id))["timestamps"]
    return Answered(events, (times["FINISHED"] - times["RUNNING"]) / 1000, cost)


def answer_standard(lab: Lab, source: str, events: int, *, turn: int, verify: bool = False) -> Answered:
    """Let the standard job answer a source.

    Args:
        lab: A lab that is up.
        source: The source.
        events: How many records it has.
        turn: A number that no other call for this source has: a job that has answered begins anew for another gap alone.
        verify: Whether its answers are recomputed afterwards.
    """
    found = _timed(lab, events, lambda: lab.run_standard(source, gap=f"{1200 + turn}s"))
    found.report = lab.verify(source) if verify else None
    return found


def answer_queries(
    lab: Lab,
    source: str,
    events: int,
    job: str,
    queries: Mapping[str, Definition],
    *,
    verify: bool = False,
    before_it_goes: Callable[[], None] = lambda: None,
    **options: Unpack[JobOptions],
) -> Answered:
    """Let a job of queries of one's own answer a source, and remove it.

    Args:
        lab: A lab that is up.
        source: The source.
        events: How many records it has.
        job: The job's name.
        queries: By name.
        verify: Whether its answers are recomputed before it goes.
        before_it_goes: Called while its rows are there.
        options: Parameters of the job.
    """
    try:
        found = _timed(lab, events, lambda: lab.run_together(job, queries, source, **options))
        found.report = lab.verify(source) if verify else None
        before_it_goes()
        return found
    finally:
        if any(run.job == job for run in lab.runs().values()):  # else it was refused, and that is the error to be seen
            lab.remove_job(job)
