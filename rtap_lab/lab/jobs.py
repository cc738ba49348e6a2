"""Jobs: running, stopping and removing them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rtap_lab.errors import JobError, SettingsError
from rtap_lab.jobs.documents import replaced_document
from rtap_lab.jobs.model import Run, run_key
from rtap_lab.lab.context import Context
from rtap_lab.lab.stack import reconciled, replacement, revive
from rtap_lab.queries.query import Query
from rtap_lab.queries.standard import JOB
from rtap_lab.settings import LIVE
from rtap_lab.waiting import until

CANNOT_START_S = 90.0
"""A live job that does not run by then, and has failed, cannot."""


def run_job(
    context: Context,
    job: str,
    source: str,
    changes: dict[str, Any],
    *,
    timeout: float,
    progress: Callable[[int, int], None],
    on_note: Callable[[str], None],
) -> Run:
    """Run a job. On a recorded source it is bounded: waits for the end, closes every window.

    Raises:
        JobError: When Flink refuses it or it fails.
    """
    revive(context.state)
    context.check_source(source)
    lifecycle = context.lifecycle
    if words := replacement(context, job, source, changes):
        on_note(words)
    _check_slots(context, job, source, timeout)
    asked = lifecycle.request(job, source, changes, anew=source != LIVE)
    total = sum(asked.ends.values())
    begun = time.monotonic()
    wanted = "finished" if asked.bounded else "running"
    refused: list[JobError] = []

    def there() -> Run | None:
        run = reconciled(lifecycle, job, source, refused)
        if run is None:
            return None
        if run.run != asked.run or run.desired != "running":
            raise JobError(f"job {job!r} on {source} was stopped or replaced meanwhile")
        if run.state == "failed":
            raise JobError(f"flink: job {job!r} on {source} failed: {run.error}")
        if total:
            progress(sum(context.topics.committed(run.group, run.events).values()), total)
        if run.state == wanted and (run.bounded or _is_running(context, run)):
            return run
        if not run.bounded and run.job_id and time.monotonic() - begun > CANNOT_START_S:
            why = context.site.flink.root_exception(run.job_id)
            if why:
                raise JobError(
                    f"flink: job {job!r} on {source} does not start: {why}",
                    hint=f"it is tried again until it is stopped or removed: rtap jobs stop {job}",
                )
        return None

    found = until(
        there,
        timeout,
        lambda: JobError(
            f"flink: job {job!r} on {source} took more than {timeout:.0f} s"
            + (f" ({refused[-1].message})" if refused else "")
        ),
        every=0.2,
    )
    assert found is not None
    return found


REPLACED_S = 30.0
"""A JobManager or a TaskManager that died is back by then (15 s is the goal of the latter; the former answers before its jobs run)."""


def _check_slots(context: Context, job: str, source: str, timeout: float) -> None:
    """Refuse a job for which Flink has no room: it would wait for ever and look as if it ran.

    A JobManager or a TaskManager that has just died is replaced within seconds: it is waited for.

    Raises:
        JobError: When the JobManager does not answer, there is no TaskManager, or there are too few free slots.
    """
    flink = context.site.flink
    found, missing = (0, 0), JobError("")

    def registered() -> int:
        nonlocal found, missing
        try:
            found = flink.free_slots()
        except JobError as error:
            missing = error
            return 0
        missing = JobError("flink: there is no TaskManager", hint="it is restarted by itself: `rtap status`")
        return found[1]

    until(registered, min(REPLACED_S, timeout), lambda: missing, every=0.2)
    current = context.runs.read().get(run_key(job, source))
    needed = 1 if source == LIVE else 2
    free, _ = found
    if free < needed and not (current and flink.active(current.name)):
        running = ", ".join(sorted(each["name"] for each in flink.jobs() if each["state"] == "RUNNING"))
        raise JobError(
            f"flink: job {job!r} needs {needed} task slot(s), {free} are free; these run: {running}",
            hint="stop one: rtap jobs stop NAME",
        )


def _is_running(context: Context, run: Run) -> bool:
    """Whether all tasks of a run's newest job run; not while the JobManager is away."""
    try:
        return run.job_id is not None and context.site.flink.is_running(run.job_id)
    except JobError:
        return False


MOST_QUERIES = 24
"""Queries that one job may have: a plan of more takes Flink minutes on two cores."""


def define_and_run(
    context: Context,
    queries: Sequence[Query],
    source: str,
    changes: dict[str, Any],
    *,
    job: str | None = None,
    **options: Any,
) -> Run:
    """Keep queries of one's own running; see `Lab.run` and `Lab.run_together`.

    Args:
        context: The lab.
        queries: The queries: one, or several that join a job.
        source: Where they run.
        changes: Parameters of the job that must be so.
        job: The job that they join; of one query, one of its own name when left out.
        options: Of `run_job`.

    Raises:
        SettingsError: When a name is taken, or the job is full.
        JobError: When Flink refuses it, has no room, or it fails.
    """
    if not queries:
        raise SettingsError(f"job {job!r}: there is no query to run")
    revive(context.state)
    context.check_source(source)
    name = job or queries[0].name
    there = context.jobs.read().get(name)
    names = {query.name for query in queries}
    joined = [each for each in (there.queries if there and job else ()) if each.name not in names]
    if len(joined) + len(queries) > MOST_QUERIES:
        raise SettingsError(
            f"job {name!r} would have {len(joined) + len(queries)} queries: no more fit into one than {MOST_QUERIES}",
            hint="name another job for some of them",
        )
    _check_slots(context, name, source, options.get("timeout", REPLACED_S))
    context.lifecycle.define(name, [*joined, *queries], source)
    return run_job(context, name, source, changes, **options)


def stop(context: Context, job: str, source: str, *, drain: bool) -> Run:
    """Stop a job, all results committed.

    Raises:
        JobError: When there is no such run, or draining fails.
    """
    revive(context.state)
    return context.lifecycle.stop(job, source, drain=drain)


def savepoint(context: Context, job: str, source: str) -> str:
    """Take a savepoint of a running job; its path.

    Raises:
        JobError: When it does not run.
    """
    revive(context.state)
    return context.lifecycle.savepoint(job, source)


def remove(context: Context, job: str) -> None:
    """End a job on every source, and remove its results; a packaged one can be run again.

    Raises:
        SettingsError: When there is none of that name, or it is the standard one.
    """
    own = context.jobs.read()
    runs: Sequence[Run] = [run for run in context.runs.read().values() if run.job == job]
    if job == JOB:
        raise SettingsError(f"job {job!r} is packaged and stays", hint=f"`rtap jobs stop {job}` stops it")
    if job not in own and not runs:
        known = [JOB, *own, *sorted({run.job for run in context.runs.read().values()} - {JOB, *own})]
        raise SettingsError(f"job {job!r} is not known", hint=f"there are: {', '.join(known)}")
    revive(context.state)
    gone = {f"{query.name}/{run.source}" for run in runs for query in run.queries}
    replaced_document(context.state).change(lambda table: {place: table[place] for place in table.keys() - gone})
    for run in runs:
        context.lifecycle.forget(run)
    if job in own:
        context.lifecycle.undefine(job)


def other_flink_jobs(context: Context) -> list[dict[str, Any]]:
    """What else runs in the lab's Flink: looks, programs, jobs that somebody submitted."""
    known = {run.name for run in context.runs.read().values()}
    return [
        {"name": job["name"], "job_id": job["jid"], "state": job["state"]}
        for job in context.site.flink.jobs()
        if job["name"] not in known and job["state"] == "RUNNING"
    ]
