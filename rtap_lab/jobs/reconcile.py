"""Pure: what should be done about a run now, from what is asked for and what Flink says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rtap_lab.flink.properties import TERMINAL
from rtap_lab.jobs.model import OVER, Run
from rtap_lab.waiting import backoff

TRIES = 5
"""Jobs of one run that may fail in a row before the run counts as failed."""


SETTLED_MS = 60_000
"""A job that has run for so long has got over what made earlier ones fail."""


@dataclass(frozen=True)
class FlinkJob:
    """A job as the JobManager knows it."""

    job_id: str
    name: str
    state: str
    started_ms: int
    ended_ms: int = 0
    """0 while it has not."""


@dataclass(frozen=True)
class Nothing:
    """All is as it should be, or nothing is asked for."""


@dataclass(frozen=True)
class Adopt:
    """The job runs already: write down which it is."""

    job_id: str


@dataclass(frozen=True)
class Settle:
    """The job has run for a while: earlier failures count no more."""


@dataclass(frozen=True)
class Finish:
    """The bounded job has read all of its source: the run is over."""

    job_id: str


@dataclass(frozen=True)
class Submit:
    """Start a job, from the newest checkpoint if there is one.

    Args:
        failed: The job that failed just before; its reason is to be written down first.
    """

    failed: str | None = None


@dataclass(frozen=True)
class GiveUp:
    """It failed too often in a row: the run has failed, for the reason of this job."""

    job_id: str


@dataclass(frozen=True)
class Doubt:
    """The job is started again and again by Flink: perhaps it cannot restore its checkpoint."""

    job_id: str


@dataclass(frozen=True)
class Stop:
    """It runs and should not: stop it with a savepoint."""

    job_id: str


@dataclass(frozen=True)
class Stopped:
    """It does not run, as asked: write that down."""


@dataclass(frozen=True)
class Drain:
    """Let it close every window, and end."""

    job_id: str


@dataclass(frozen=True)
class Drained:
    """The drain has ended the job: the run is over, if all was written."""

    job_id: str


@dataclass(frozen=True)
class Remove:
    """Remove all there is of it."""


@dataclass(frozen=True)
class Wait:
    """It failed a moment ago: try again later."""


Action = Nothing | Adopt | Settle | Finish | Submit | GiveUp | Doubt | Stop | Stopped | Drain | Drained | Remove | Wait


def is_quiet(run: Run) -> bool:
    """Whether nothing can be to do about a run, whatever Flink says."""
    return run.state in OVER and run.desired != "removed"


def reconcile(run: Run, flink_jobs: Iterable[FlinkJob], now_ms: int) -> Action:
    """What should be done about a run.

    Args:
        run: What is asked for, and what is known of it.
        flink_jobs: All jobs that the JobManager knows.
        now_ms: The clock, milliseconds since the epoch.
    """
    if run.desired == "removed":
        return Remove()
    if run.state in OVER:
        return Nothing()
    mine = sorted((job for job in flink_jobs if job.name == run.name), key=lambda job: job.started_ms)
    newest = mine[-1] if mine else None
    runs = newest is not None and newest.state not in TERMINAL
    if run.desired == "stopped":
        if newest is not None and runs:
            return Stop(newest.job_id)
        return Nothing() if run.state == "stopped" else Stopped()
    if newest is None:
        return Submit()
    if runs:
        if run.state != "running" or run.job_id != newest.job_id:
            return Adopt(newest.job_id)
        if newest.state == "RESTARTING":
            return Doubt(newest.job_id)
        if run.desired == "drained":
            return Drain(newest.job_id)
        settled = newest.state == "RUNNING" and now_ms - newest.started_ms > SETTLED_MS
        return Settle() if settled and (run.failures or run.error) else Nothing()
    if newest.state == "FINISHED" and run.desired == "drained" and newest.job_id == run.job_id:
        return Drained(newest.job_id)
    # a job that was stopped with a savepoint is FINISHED too
    if newest.state == "FINISHED" and run.bounded and run.state != "stopped":
        return Finish(newest.job_id)
    if newest.state != "FAILED" or newest.job_id != run.job_id:
        return Submit()
    if run.failures + 1 >= TRIES:
        return GiveUp(newest.job_id)
    if newest.ended_ms and 0 <= now_ms - newest.ended_ms < backoff(run.failures) * 1000:
        return Wait()
    return Submit(failed=newest.job_id)
