"""Pure: a job and its runs.

A job is a name and the queries that run under it; a run is one history of a job on a source: parameters, where its
results begin, and a folder of checkpoints.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from rtap_lab.errors import JobError, SettingsError
from rtap_lab.kafka.names import events_topic, results_topic
from rtap_lab.queries.catalogue import PACKAGED_JOBS, packaged, packaged_queries
from rtap_lab.queries.query import Catalog, Query
from rtap_lab.queries.standard import JOB
from rtap_lab.settings import LIVE, JobParameters

Desired = Literal["running", "stopped", "drained", "removed"]
RunState = Literal["submitting", "running", "stopped", "finished", "drained", "failed"]
OVER: tuple[RunState, ...] = ("finished", "drained", "failed")
"""States that nothing but a new request changes."""


def run_key(job: str, source: str) -> str:
    """What a run is kept under: there is one current run of a job on a source."""
    return f"{job}/{source}"


class Submission(msgspec.Struct, frozen=True):
    """A job that was given to the SQL Gateway, and of which it is not written down yet what became: who gave it may be dead."""

    session: str
    """The gateway's session: its end ends what has not reached the JobManager."""
    job_id: str
    """The id that the job will have."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One history of a job on a source."""

    job: str
    source: str
    run: str
    """Its id: when it was asked for, and a random part."""
    parameters: JobParameters
    queries: tuple[Query, ...]
    """What it asks, as it was when it began."""
    results_from: dict[str, int]
    """Of each result topic, the offset of the first row that may be this run's."""
    started: float
    """When it was asked for, seconds since the epoch."""
    desired: Desired = "running"
    state: RunState = "submitting"
    job_id: str | None = None
    """Flink's id of the newest job of this run."""
    submission: Submission | None = None
    """Written before a job is submitted, and taken away once it is known what became of it."""
    ends: dict[str, int] = {}
    """The offset at which reading ended or will end, by partition; empty while a live run goes on."""
    partitions: int = 0
    """Of its source when it began; 0: not written down, by an earlier version."""
    failures: int = 0
    """Jobs of this run that failed in a row."""
    error: str = ""
    restored: str | None = None
    """The checkpoint that its newest job went on from."""
    stopped_at: str = ""
    """The savepoint of its last stop, if that came to its end: then everything up to it is committed."""
    parallelism: int | None = None
    checkpointed: bool = False
    """Whether it ever completed a checkpoint: then it is never begun from nothing again."""
    passed_over: tuple[str, ...] = ()
    """Checkpoints that could not be restored: it goes on from the one before."""
    plan: str = ""
    """The digest of its SQL: state of other SQL does not fit."""
    note: str = ""
    """What was out of the ordinary, in words, for the status."""

    @property
    def key(self) -> str:
        return run_key(self.job, self.source)

    @property
    def name(self) -> str:
        """The name of its jobs in Flink."""
        return f"{self.job} {self.source} {self.run}"

    @property
    def group(self) -> str:
        """The consumer group in which its checkpoints show their offsets."""
        return f"rtap-{self.job}-{self.source}"

    @property
    def bounded(self) -> bool:
        """Whether it reads a recorded source, and so ends."""
        return self.source != LIVE

    @property
    def events(self) -> str:
        """The topic it reads."""
        return events_topic(self.source)

    @property
    def topics(self) -> dict[str, str]:
        """The result topic of each query."""
        return {query.name: results_topic(query.name, self.source) for query in self.queries}


class Job(msgspec.Struct, frozen=True):
    """A job of the lab's own: its name and its queries. The packaged jobs are not kept, they are always there."""

    name: str
    queries: tuple[Query, ...]


class Replaced(msgspec.Struct, frozen=True):
    """A question of one's own that another took the place of (`evolve`): what is needed to bring it back."""

    query: Query
    job: str
    parameters: JobParameters


Runs = dict[str, Run]
Jobs = dict[str, Job]


def job_queries(job: str, jobs: Jobs, parameters: JobParameters) -> tuple[Query, ...]:
    """What a job asks under these parameters.

    Raises:
        SettingsError: When there is no such job.
    """
    if job in jobs:
        return jobs[job].queries
    if job in PACKAGED_JOBS:
        return packaged_queries(job, parameters)
    raise SettingsError(f"job {job!r} is not known", hint=f"one of {', '.join([*PACKAGED_JOBS, *jobs])}")


def catalog(jobs: Jobs) -> Catalog:
    """Every query that the lab knows: the packaged ones, and those of its own jobs."""
    return packaged().with_queries(query for job in jobs.values() for query in job.queries)


def runs_on(runs: Runs, source: str) -> list[Run]:
    """The runs on a source, the standard job's first."""
    found = (r for r in runs.values() if r.source == source and r.desired != "removed")
    return sorted(found, key=lambda r: (r.job != JOB, r.job))


def run_of(runs: Runs, query: str, source: str) -> Run | None:
    """The run that answers a query on a source."""
    return next((r for r in runs_on(runs, source) if any(each.name == query for each in r.queries)), None)


def need_run(runs: Runs, job: str, source: str) -> Run:
    """The current run of a job on a source.

    Raises:
        JobError: When the job never ran on it.
    """
    found = runs.get(run_key(job, source))
    if found is None:
        option = "" if source == LIVE else f" --source {source}"
        raise JobError(f"job {job!r} has not run on {source!r}", hint=f"run it: rtap jobs run {job}{option}")
    return found
