"""Starting, stopping and keeping runs: intent is written down first, then made true, and every step can be repeated.

A kill between any two steps is put right by whoever looks next: the command that asked, or the supervisor, which looks
every second.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from msgspec import structs

from rtap_lab.endpoints import Endpoint, Endpoints
from rtap_lab.errors import JobError, ServiceError, SettingsError, SourceError, StatementError
from rtap_lab.flink.gateway import Session
from rtap_lab.flink.properties import FIXED_JOB_ID, TERMINAL, job_properties
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.flink.savepoints import read_offsets
from rtap_lab.flink.statements import catalog as catalog_statements
from rtap_lab.flink.statements import job_statements, query_sql
from rtap_lab.jobs.checkpoints import CheckpointFolder, CheckpointStorage
from rtap_lab.jobs.documents import jobs_document, runs_document, sources_document
from rtap_lab.jobs.model import OVER, Job, Run, Submission, job_queries, need_run, run_key
from rtap_lab.jobs.reconcile import (
    TRIES,
    Adopt,
    Doubt,
    Drain,
    Drained,
    Finish,
    FlinkJob,
    GiveUp,
    Nothing,
    Remove,
    Settle,
    Stop,
    Stopped,
    Submit,
    Wait,
    is_quiet,
    reconcile,
)
from rtap_lab.kafka.names import LATE, REJECTED, events_topic, transactional_prefix
from rtap_lab.kafka.topics import Topic, Topics, result_topics
from rtap_lab.queries.catalogue import PACKAGED_JOBS, packaged
from rtap_lab.queries.query import Query
from rtap_lab.settings import LIVE, JobParameters, Settings
from rtap_lab.stack.state import State
from rtap_lab.store.port import Store
from rtap_lab.waiting import until

log = logging.getLogger("rtap")

PARTITION_ADDED = "a partition was added to its topic"
OTHER_SQL = "this version of rtap_lab says its queries in other SQL"
OUTSLEPT = "no checkpoint was completed for as long as its transactions may stay open"

COMES_S = 2.0
"""Seconds after the end of its session in which a job that the gateway had handed over shows at the JobManager (30 ms were seen)."""

LOOK_S = 5.0
"""Seconds between two looks at what changes seldom."""

_RESTORING = re.compile(
    r"checkpoint\.Checkpoints\.|restoreSavepoint|BackendRestorerProcedure|StateInitializerImpl|tryRestore"
)
"""Frames of Flink at work on the checkpoint that a job is to go on from."""

_TAKEN = re.compile(
    r"late|rejected|live|events|events_raw|offsets|runs|sqlite_.*|.*_(rollup|time|identity)|" + "|".join(PACKAGED_JOBS)
)
"""Names that no job or query of one's own can have, beside those of the packaged queries: sources and tables have them."""


class Lifecycle:
    """Starts, stops and keeps the runs of one lab.

    Args:
        state: The lab's state folder.
        endpoints: Where its services listen.
        topics: Its topics.
        flink: Its JobManager.
        open_store: Opens its store.
        checkpoints: Where state is kept; a folder of the lab when left out.
    """

    def __init__(
        self,
        state: State,
        endpoints: Endpoints,
        topics: Topics,
        flink: FlinkRest,
        open_store: Callable[[], Store],
        checkpoints: CheckpointStorage | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.state = state
        self.endpoints = endpoints
        self.topics = topics
        self.flink = flink
        self.open_store = open_store
        self.settings = settings or Settings()
        self._looked: dict[str, float] = {}
        self._newest: dict[str, int] = {}
        self.checkpoints = checkpoints or CheckpointFolder(state.folder / "flink" / "runs")
        self.runs = runs_document(state)
        self.jobs = jobs_document(state)
        self.sources = sources_document(state)

    def _update(self, key: str, **changes: Any) -> Run:
        """Change what is written down of a run."""
        return self.runs.change(lambda runs: runs | {key: structs.replace(runs[key], **changes)})[key]

    # --- what is asked for -----------------------------------------------------------------------

    def define(self, name: str, queries: Sequence[Query], source: str = LIVE) -> None:
        """Write down a job of one's own, or what an existing one asks from its next run on.

        Args:
            name: The job's.
            queries: What it asks.
            source: Where it is to run: results on other sources must have the same columns.

        Raises:
            SettingsError: When the name, or one of a query, is taken, or Flink SQL cannot say a query.
        """
        names = [query.name for query in queries]
        for each in {name, *names}:
            if _TAKEN.fullmatch(each) or each in packaged():
                raise SettingsError(f"query {each!r}: the name is taken", hint="choose another name")
            if each in self.sources.read():
                raise SettingsError(f"query {each!r}: a recorded source has that name", hint="choose another name")
        if len(set(names)) < len(names):
            raise SettingsError(f"job {name!r} has two queries of one name")
        for query in queries:
            query_sql(query)  # what it cannot say is refused before anything is written down

        def defined(jobs: dict[str, Job]) -> dict[str, Job]:
            for other in jobs.values():
                twice = {query.name for query in other.queries} & set(names)
                if other.name != name and twice:
                    raise SettingsError(
                        f"query {sorted(twice)[0]!r} belongs to job {other.name!r}",
                        hint=f"choose another name, or `rtap jobs remove {other.name}`",
                    )
            return jobs | {name: Job(name, tuple(queries))}

        for run in self.runs.read().values():
            elsewhere = run.job == name and run.source != source
            if elsewhere and {q.name: q.schema for q in run.queries} != {q.name: q.schema for q in queries}:
                raise SettingsError(
                    f"job {name!r} has results of other columns on {run.source}",
                    hint=f"`rtap jobs remove {name}` removes them, or choose another name",
                )
        self.jobs.change(defined)

    def request(self, job: str, source: str, changes: dict[str, Any] | None = None, *, anew: bool = False) -> Run:
        """Write down that a run of a job should be running.

        It goes on with the current run, unless that was drained or has other parameters or queries; then a new
        run begins at the earliest record, and the earlier run's rows leave the topics (and, through
        the writer, the store).

        Args:
            job: The job.
            source: "live", or a recorded source.
            changes: Parameters that must be so; the others stay as they were.
            anew: Whether a new run must begin.

        Raises:
            SettingsError: When there is no such job.
            SourceError: When there is no such source.
        """
        key = run_key(job, source)
        with self.state.lock("flink-jobs", timeout=120):
            current = self.runs.read().get(key)
            current = current and self._settled(current)
            wanted = replace(self.base(job, source), **(changes or {}))
            queries = job_queries(job, self.jobs.read(), wanted)
            if current and not anew and not self.replaces(current, wanted, queries):
                again = {"state": "submitting", "job_id": None} if current.state == "failed" else {}
                return self._update(key, desired="running", failures=0, error="", **again)
            return self._begin(job, source, wanted, queries, current)

    def _begin(
        self,
        job: str,
        source: str,
        parameters: JobParameters,
        queries: tuple[Query, ...],
        current: Run | None,
        **facts: Any,
    ) -> Run:
        """Write down a new run in place of the current one, with such facts."""
        self.topics.ensure(result_topics(source, [query.name for query in queries]))
        if current:
            self._stop_jobs(current)
        moment = datetime.now(UTC)
        there = self.topics.ends([events_topic(source)], committed=True)
        if not there:
            raise JobError(f"kafka has no topic {events_topic(source)}", hint="`rtap status`; `rtap sources remove`")
        run = Run(
            job=job,
            source=source,
            run=f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
            parameters=parameters,
            queries=queries,
            results_from={},
            started=moment.timestamp(),
            ends={str(p): end for (_, p), end in there.items()} if source != LIVE else {},
            partitions=len(there),
            **facts,
        )
        now = {topic: end for (topic, _), end in self.topics.ends(run.topics.values()).items()}
        run = structs.replace(run, results_from=dict.fromkeys(run.topics.values(), 0) | now)
        self.runs.change(lambda runs: runs | {run.key: run})
        # from here on the new run counts; what the earlier one left is before its beginning
        if current:
            self._abort_transactions(current)
            self.checkpoints.keep_only(run)
            self.topics.delete(set(current.topics.values()) - set(run.topics.values()))
        return run

    def _begin_anew(self, run: Run, why: str) -> Run:
        """A run that cannot go on begins again at the earliest record, and says so; what was asked for stays."""
        note = f"{why}: run {run.run} was given up, this one began at the earliest record"
        log.warning("job %s on %s: %s", run.job, run.source, note)
        facts = {"desired": run.desired, "failures": run.failures, "error": run.error, "note": note}
        return self._begin(run.job, run.source, run.parameters, run.queries, run, **facts)

    def base(self, job: str, source: str) -> JobParameters:
        """The parameters of a run that names none.

        Raises:
            SourceError: When there is no such source.
        """
        if source != LIVE:
            found = self.sources.read().get(source)
            if found is None:
                raise SourceError(
                    f"there is no recorded source {source!r}",
                    hint="`rtap sources list` shows them; `rtap import` makes one",
                )
            return JobParameters(bound_ms=found.lateness_bound_ms)
        current = self.runs.read().get(run_key(job, source))
        return current.parameters if current else JobParameters()

    def replaces(self, current: Run, wanted: JobParameters, queries: Sequence[Query]) -> bool:
        """Whether a request begins a new run instead of going on with the current one."""
        same = current.parameters == wanted and current.queries == tuple(queries) and not self.other_sql(current)
        over = current.state in ("drained", "finished") or current.desired == "removed"
        return current.bounded or not same or over

    def other_sql(self, run: Run) -> bool:
        """Whether a run's state is of other SQL than this version of the package has for its queries."""
        return run.job_id is not None and run.plan != self._plan(run)

    def _stop_jobs(self, run: Run) -> None:
        """End what still runs of a run; its checkpoints stay, so that it can go on if nothing comes of its successor."""
        active = self.flink.active(run.name)
        if active and run.state == "running":  # else a job that has ended so would pass for a finished one
            self._update(run.key, state="stopped")
        for job_id in active:
            try:  # a stop closes its transactions; one left open would hide what comes after it
                self._await(partial(self.flink.is_running, job_id), 10, "waiting for the job")
                request = self.flink.stop(job_id, drain=False, directory=self.checkpoints.savepoints(run))
                self._await_savepoint(job_id, request, 30)
                self._await_end(job_id, 30, "stop")
            except JobError:
                self.flink.cancel(job_id)
                self._await_end(job_id, 60, "cancel")

    def _abort_transactions(self, run: Run) -> None:
        """End what a run's jobs left open: it would hide what others write to the shared topics, for a day.

        Only of a run that will not go on: its newest checkpoint may promise to commit some of it.
        """
        prefix = transactional_prefix(run.job, run.source)
        self.topics.abort(lambda transaction: transaction.id.startswith(prefix))

    def _abort_unprepared(self, run: Run) -> None:
        """End what the jobs of a run that stands still opened after its newest checkpoint was complete: nothing will commit it."""
        prefix, newest_ms = transactional_prefix(run.job, run.source), self.checkpoints.newest_ms(run)
        try:
            self.topics.abort(lambda each: each.id.startswith(prefix) and each.started_ms > newest_ms)
        except ServiceError as error:  # the job stands still all the same
            log.warning("job %s on %s: what it left open stays so: %s", run.job, run.source, error)

    def _await_savepoint(self, job_id: str, request: str, seconds: float) -> str:
        return str(self._await(lambda: self.flink.savepoint_status(job_id, request), seconds, "the savepoint"))

    def _await_end(self, job_id: str, seconds: float, what: str) -> None:
        self._await(lambda: self.flink.job(job_id)["state"] in TERMINAL, seconds, what)

    @staticmethod
    def _await(condition: Callable[[], Any], seconds: float, what: str) -> Any:
        return until(condition, seconds, lambda: JobError(f"flink: {what} took more than {seconds:.0f} s"), every=0.05)

    # --- making it so ----------------------------------------------------------------------------

    def reconcile_all(self) -> None:
        """Make all that is asked for true; called about once a second by the supervisor.

        Raises:
            Exception: Of the first run with which it did not work, after all were tried.
        """
        first: Exception | None = None
        for run in self.runs.read().values():
            if not is_quiet(run):
                try:
                    self.reconcile(run.job, run.source)
                except Exception as error:  # one run's trouble is not another's
                    first = first or error
        if first is not None:
            raise first

    def reconcile(self, job: str, source: str) -> Run:
        """Do what should be done about a run now, so that it runs exactly once; resubmit it where it does not.

        Raises:
            JobError: When Flink refuses it, or it failed for good.
        """
        with self.state.lock("flink-jobs", timeout=120):
            run = self._settled(need_run(self.runs.read(), job, source))
            if is_quiet(run):
                return run
            now_ms = time.time_ns() // 1_000_000
            match reconcile(run, self._flink_jobs(), now_ms):
                case Nothing() | Wait():
                    if not run.checkpointed and self.checkpoints.any(run):
                        return self._update(run.key, checkpointed=True)
                    if run.state == "running" and self._is_time_to_look(run):
                        if self._partition_added(run):
                            return self._submit_or_fail(self._begin_anew(run, PARTITION_ADDED))
                        if self._slept(run):
                            return self._submit_or_fail(self._begin_anew(run, OUTSLEPT))
                    return run
                case Adopt(job_id=job_id):
                    return self._update(run.key, state="running", job_id=job_id)
                case Settle():
                    return self._update(run.key, failures=0, error="")
                case Finish(job_id=job_id):
                    self._renew_resumed_by(run, False)
                    return self._update(run.key, state="finished", job_id=job_id)
                case GiveUp(job_id=job_id):
                    reason = self.flink.root_exception(job_id)
                    run = self._update(run.key, state="failed", failures=run.failures + 1, error=reason)
                    if run.bounded:  # asked for again, it begins anew; a live one goes on from its checkpoint
                        self._abort_transactions(run)
                    else:
                        self._abort_unprepared(run)
                    raise JobError(f"flink: job {job!r} on {source} failed: {reason}")
                case Stop(job_id=job_id):
                    return self._stop(run, job_id)
                case Stopped():
                    return self._update(run.key, state="stopped")
                case Drain(job_id=job_id):
                    return self._drain(run, job_id)
                case Drained():
                    # a stop that was no drain ends a job too
                    return self._drained(run) if self.checkpoints.drained(run) else self._submit_or_fail(run)
                case Remove():
                    return self._remove(run)
                case Doubt(job_id=job_id):
                    reason = self.flink.root_exception(job_id)
                    if not self._cannot_restore(run, job_id):
                        return self._update(run.key, error=reason) if reason != run.error else run
                    self.flink.cancel(job_id)
                    self._await_end(job_id, 60, "cancel")
                    return self._submit_or_fail(self._pass_over(run, reason))
                case Submit(failed=failed):
                    if failed is not None:
                        reason = self.flink.root_exception(failed)
                        run = self._update(run.key, failures=run.failures + 1, error=reason)
                        if self._cannot_restore(run, failed):
                            run = self._pass_over(run, reason)
                    return self._submit_or_fail(run)

    def _cannot_restore(self, run: Run, job_id: str) -> bool:
        """Whether a job that completed no checkpoint fails for the one it was to go on from."""
        if run.restored is None or not _RESTORING.search(self.flink.trace(job_id)):
            return False
        try:
            return not self.flink.checkpoints(job_id)["counts"]["completed"]
        except JobError:  # it failed before it had any
            return True

    def _pass_over(self, run: Run, reason: str) -> Run:
        assert run.restored is not None
        note = f"checkpoint {run.restored} could not be restored and was passed over: {reason}"
        log.warning("job %s on %s: %s", run.job, run.source, note)
        return self._update(run.key, passed_over=(*run.passed_over, run.restored), restored=None, note=note)

    def _submit_or_fail(self, run: Run) -> Run:
        """Submit; a statement that Flink refuses is a failure of the run, at once when it never ran."""
        try:
            return self._submit(run)
        except StatementError as error:
            run = self.runs.read()[run.key]
            if run.restored and _RESTORING.search(error.trace) and run.restored not in run.passed_over:
                return self._submit_or_fail(self._pass_over(run, error.message))
            failures = run.failures + 1
            # SQL that ran before (this run began in place of another) is right: what is in the way may pass
            over = (run.job_id is None and not run.note) or failures >= TRIES
            state = "failed" if over else run.state
            self._update(run.key, state=state, failures=failures, error=error.message, submission=None)
            raise

    def _flink_jobs(self) -> list[FlinkJob]:
        return [
            FlinkJob(j["jid"], j["name"], j["state"], j["start-time"], max(0, j.get("end-time", 0)))
            for j in self.flink.jobs()
        ]

    def _is_time_to_look(self, run: Run) -> bool:
        """Whether to look at what changes seldom: every few seconds."""
        now = time.monotonic()
        if now - self._looked.get(run.key, -LOOK_S) < LOOK_S:
            return False
        self._looked[run.key] = now
        return True

    def _partition_added(self, run: Run) -> bool:
        """Whether a live run does not read all of its topic: Flink reads the partitions that were there when it began, for what
        is in a new one before Flink finds it would be late for the watermark, not by its arrival.
        """
        return not run.bounded and 0 < run.partitions < len(self.topics.partitions(run.events))

    @property
    def _outlives_ms(self) -> float:
        """What lies further apart may have a transaction between that the broker aborted for its age."""
        return 0.9 * self.settings.transaction_ms  # one begins a little before the checkpoint that prepares it

    def _slept(self, run: Run) -> bool:
        """Whether a running job completed no checkpoint for so long that rows of it may be lost: what the broker aborted for its
        age, though it was prepared, Flink's committer passes over with a line in its log.
        """
        if run.parameters.delivery != "exactly_once":
            return False
        newest = self.checkpoints.newest_ms(run)
        restored = self.checkpoints.completed_ms(run.restored or "")  # was judged when it was gone on from
        if newest <= restored:  # none yet
            return False
        before, self._newest[run.run] = self._newest.get(run.run, newest), newest
        gap = newest - before if before > restored else 0
        return max(time.time_ns() // 1_000_000 - newest, gap) > self._outlives_ms

    def _left_prepared(self, run: Run, place: str) -> bool:
        """Whether a checkpoint is so old that the broker may have aborted what it was to commit; a stop has committed all of it."""
        stopped = bool(run.stopped_at) and place.rsplit("/", 1)[-1] == run.stopped_at.rsplit("/", 1)[-1]
        age_ms = time.time_ns() // 1_000_000 - self.checkpoints.completed_ms(place)
        return not stopped and age_ms > self._outlives_ms

    def _obstacle(self, run: Run, candidates: Sequence[str]) -> str:
        """Why a run cannot go on with what is kept of it; empty when it can, or when it never got anywhere."""
        if candidates and self._partition_added(run):
            return PARTITION_ADDED
        if self.checkpoints.drained(run):
            return "Flink was lost while the job was being drained"
        if candidates and run.plan != self._plan(run):
            return OTHER_SQL
        if not candidates and (run.checkpointed or self.checkpoints.any(run)):
            return "no checkpoint of it is left" if not run.passed_over else "no checkpoint of it could be restored"
        if candidates and run.parameters.delivery == "exactly_once":
            if self._wrote_beyond(run, candidates):
                return "rows were committed with a checkpoint that cannot be read"
            if self._left_prepared(run, candidates[0]):
                return OUTSLEPT
        return ""

    def _wrote_beyond(self, run: Run, candidates: Sequence[str]) -> bool:
        """Whether rows may be committed that the newest checkpoint to go on from does not know of: they would come twice.

        That is so when a later checkpoint was passed over, and a row was written since the one before completed: rows of a
        checkpoint are written after the one before it.
        """
        if not self.checkpoints.has_later(run, candidates[0]):
            return False
        since_ms = self.checkpoints.completed_ms(candidates[1]) if len(candidates) > 1 else -1
        return self.topics.last_written_ms(run.topics.values()) > since_ms

    def _plan(self, run: Run) -> str:
        """The digest of a run's SQL, apart from what differs from one job of it to the next."""
        nowhere = structs.replace(run, run="", ends={})
        words = [" ".join(statement.split()) for statement in self._statements(nowhere, Endpoint(""), None)]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]

    def _submit(self, run: Run) -> Run:
        candidates = [each for each in self.checkpoints.candidates(run) if each not in run.passed_over]
        if why := self._obstacle(run, candidates):
            run, candidates = self._begin_anew(run, why), []
        restore = candidates[0] if candidates else None
        if restore is None:  # it begins: an earlier run's rows leave
            self.topics.trim(run.results_from)
        self.checkpoints.keep_only(run)  # of one that a kill left
        self.checkpoints.tidy(run)  # working sets of earlier jobs of this run
        run = self._update(run.key, restored=restore, plan=self._plan(run), checkpointed=restore is not None)
        properties = job_properties(
            run.parameters,
            name=run.name,
            bounded=run.bounded,
            checkpoints=self.checkpoints.place(run),
            restore=restore,
            parallelism=run.parallelism,
            settings=self.settings,
        )
        resumed_by = self._renew_resumed_by(run, bool(run.bounded and restore))
        *tables, statement_set = self._statements(run, self.endpoints.kafka, resumed_by)
        job_id = secrets.token_hex(16)
        with Session(self.endpoints.gateway, properties | {FIXED_JOB_ID: job_id}) as session:
            for statement in tables:
                session.configure(statement)
            self._update(run.key, submission=Submission(session.handle, job_id))
            session.submit(statement_set)
        return self._update(run.key, state="running", job_id=job_id, submission=None)

    def _settled(self, run: Run) -> Run:
        """A run of which it is known what became of its submissions.

        Who submitted may have died while the gateway was at it: then its job could still come, beside the one that is
        submitted in its place, and write the same rows again.

        Raises:
            JobError: When the gateway does not answer.
        """
        begun = run.submission
        if begun is None:
            return run
        Session.end_of(self.endpoints.gateway, begun.session)
        until(lambda: any(job["jid"] == begun.job_id for job in self.flink.jobs()), COMES_S, every=0.1)
        return self._update(run.key, submission=None)

    def _statements(self, run: Run, kafka: Endpoint, resumed_by: str | None) -> list[str]:
        """The statements of a run's job; the last one submits it."""
        recorded = self.sources.read().get(run.source)
        return [
            *catalog_statements(
                topic=run.events,
                kafka=kafka,
                group=run.group,
                bound_ms=run.parameters.bound_ms,
                # what a later import adds belongs to a later run
                ends={int(p): end for p, end in run.ends.items()} if run.bounded else None,
                steady=recorded is not None and recorded.steady,
                resumed_by=resumed_by,
            ),
            *job_statements(
                transactions=transactional_prefix(run.job, run.source),
                source=run.source,
                run=run.run,
                kafka=kafka,
                queries=run.queries,
                topics=run.topics | {"late": LATE, "rejected": REJECTED},
                parameters=run.parameters,
                transaction_ms=self.settings.transaction_ms,
            ),
        ]

    def _renew_resumed_by(self, run: Run, wanted: bool) -> str | None:
        """A new empty topic for a bounded job that goes on (see `flink.statements.catalog`); the earlier ones go."""
        prefix = f"resume.{run.job}.{run.source}."
        if run.bounded:
            self.topics.delete(name for name in self.topics.names() if name.startswith(prefix))
        if not wanted:
            return None
        topic = Topic(f"{prefix}{secrets.token_hex(4)}", 1)
        self.topics.ensure([topic])
        return topic.name

    # --- ending ----------------------------------------------------------------------------------

    def stop(self, job: str, source: str, *, drain: bool = False, keep_desired: bool = False) -> Run:
        """Stop a job with a savepoint, all results committed.

        Args:
            job: The job.
            source: On which source.
            drain: Close every window first; then the run is over.
            keep_desired: The job is to be resumed when the stack is up again.

        Raises:
            JobError: When there is no job to stop, or draining fails.
        """
        with self.state.lock("flink-jobs", timeout=120):
            run = self._settled(need_run(self.runs.read(), job, source))
            active = self.flink.active(run.name)
            if drain and not active:
                raise JobError(f"job {job!r} on {source} is not running: nothing to drain")
            if not keep_desired:
                run = self._update(run.key, desired="drained" if drain else "stopped")
            if drain:
                return self._drain(run, active[0])
            if active:
                # a job that is recovering has its checkpoint
                return self._stop(run, active[0], patience=5 if keep_desired else 60)
            return run if run.state in OVER else self._update(run.key, state="stopped")

    def _stop(self, run: Run, job_id: str, *, patience: float = 60) -> Run:
        """Stop a job with a savepoint, or where it cannot take one, at its newest checkpoint."""
        self._update(
            run.key, state="stopped", stopped_at=""
        )  # before: a bounded job that has ended so is not a finished one
        try:
            self._await(lambda: self.flink.is_running(job_id), patience, "waiting for the job")
            request = self.flink.stop(job_id, drain=False, directory=self.checkpoints.savepoints(run))
            place = self._await_savepoint(job_id, request, 60)
            self._await_end(job_id, 30, "the stop")
        except JobError:
            self.flink.cancel(job_id)
            self._await_end(job_id, 30, "the cancel")
            self._abort_unprepared(run)
            return self._update(run.key, state="stopped")
        return self._update(run.key, state="stopped", stopped_at=place)

    def _drain(self, run: Run, job_id: str) -> Run:
        self._await(lambda: self.flink.is_running(job_id), 60, "waiting for the job")
        request = self.flink.stop(job_id, drain=True, directory=self.checkpoints.drains(run))
        self._await_savepoint(job_id, request, 60)
        self._await_end(job_id, 30, "the drain")
        return self._drained(run)

    def _drained(self, run: Run) -> Run:
        path = self.checkpoints.drained(run)
        offsets = read_offsets(self.checkpoints.metadata(path), run.events) if path else {}
        if not offsets:
            raise JobError(f"flink: the savepoint {path} does not say how far it has read")
        return self._update(run.key, state="drained", ends={str(p): end for p, end in offsets.items()})

    def stop_all(self) -> None:
        """Stop what runs, to be resumed when the stack is up again: all that is counted is committed before."""
        first: Exception | None = None
        for run in self.runs.read().values():
            if run.desired == "running" and run.state == "running":
                try:
                    self.stop(run.job, run.source, keep_desired=True)
                except Exception as error:  # the others are stopped all the same
                    first = first or error
        if first is not None:
            raise first

    def savepoint(self, job: str, source: str) -> str:
        """Take a savepoint of a running job; its path.

        Raises:
            JobError: When it does not run.
        """
        run = need_run(self.runs.read(), job, source)
        active = self.flink.active(run.name)
        if not active:
            raise JobError(f"job {job!r} on {source} is not running")
        request = self.flink.savepoint(active[0], self.checkpoints.kept(run))
        return self._await_savepoint(active[0], request, 120)

    def forget(self, run: Run) -> None:
        """End a run: its job, checkpoints, result topics and points."""
        with self.state.lock("flink-jobs", timeout=120):
            self._remove(self._update(run.key, desired="removed"))

    def _remove(self, run: Run) -> Run:
        """Remove all there is of a run; what it is kept under goes last, so that a kill in between is made good."""
        run = self._settled(run)
        for job_id in self.flink.active(run.name):
            self.flink.cancel(job_id)
            self._await_end(job_id, 60, "cancel")
        self._abort_transactions(run)
        self.checkpoints.remove(run)
        self._renew_resumed_by(run, False)
        self.topics.delete(run.topics.values())
        store = self.open_store()
        try:
            store.remove(run.key, run.source, run.queries, run.topics.values())
        finally:
            store.close()
        self.runs.change(lambda runs: {key: each for key, each in runs.items() if key != run.key})
        return run

    def undefine(self, name: str) -> None:
        """Forget a job of one's own, once its runs are forgotten."""
        self.jobs.change(lambda jobs: {key: each for key, each in jobs.items() if key != name})
