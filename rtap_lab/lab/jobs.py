"""Jobs: running, stopping and removing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rtap_lab.errors import JobError, SettingsError
from rtap_lab.jobs.model import Run
from rtap_lab.lab.context import Context
from rtap_lab.lab.stack import replacement, revive
from rtap_lab.queries.query import Query
from rtap_lab.queries.standard import JOB
from rtap_lab.settings import LIVE
from rtap_lab.waiting import until


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
    asked = lifecycle.request(job, source, changes, anew=source != LIVE)
    total = sum(asked.ends.values())
    wanted = "finished" if asked.bounded else "running"

    def there() -> Run | None:
        run = lifecycle.reconcile(job, source)
        if run.run != asked.run or run.desired != "running":
            raise JobError(f"job {job!r} on {source} was stopped or replaced meanwhile")
        if run.state == "failed":
            raise JobError(f"flink: job {job!r} on {source} failed: {run.error}")
        if total:
            progress(sum(context.topics.committed(run.group, run.events).values()), total)
        return run if run.state == wanted else None

    found = until(
        there, timeout, lambda: JobError(f"flink: job {job!r} on {source} took more than {timeout:.0f} s"), every=0.2
    )
    assert found is not None
    return found


def define_and_run(context: Context, query: Query, source: str, changes: dict[str, Any], **options: Any) -> Run:
    """Keep a query of one's own running, as a job of its name; see `Lab.run`."""
    revive(context.state)
    context.check_source(source)
    context.lifecycle.define(query.name, [query])
    return run_job(context, query.name, source, changes, **options)


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
    """End a job of one's own on every source, and remove its results.

    Raises:
        SettingsError: When there is none of that name, or it is the packaged one.
    """
    if job == JOB:
        raise SettingsError(f"job {job!r} is the packaged one and stays", hint=f"`rtap jobs stop {job}` stops it")
    jobs = context.jobs.read()
    if job not in jobs:
        raise SettingsError(f"job {job!r} is not known", hint=f"there are: {', '.join([JOB, *jobs])}")
    revive(context.state)
    runs: Sequence[Run] = [run for run in context.runs.read().values() if run.job == job]
    for run in runs:
        context.lifecycle.forget(run)
    context.lifecycle.undefine(job)
    store = context.open_store()
    try:
        for run in runs:
            store.remove(run.key, run.source, run.queries, run.topics.values())
    finally:
        store.close()


def other_flink_jobs(context: Context) -> list[dict[str, Any]]:
    """What else runs in the lab's Flink: looks, programs, jobs that somebody submitted."""
    known = {run.name for run in context.runs.read().values()}
    return [
        {"name": job["name"], "job_id": job["jid"], "state": job["state"]}
        for job in context.site.flink.jobs()
        if job["name"] not in known and job["state"] == "RUNNING"
    ]
