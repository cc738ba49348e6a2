"""Proving: verify and score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rtap_lab.errors import JobError
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.jobs.model import OVER, Run, Runs, need_run, runs_on
from rtap_lab.jobs.unread import unread_document
from rtap_lab.kafka.clients import read_range
from rtap_lab.lab.context import Context
from rtap_lab.lab.subjects import subject_of
from rtap_lab.lab.truth import truths_of
from rtap_lab.queries.standard import JOB
from rtap_lab.settings import LIVE
from rtap_lab.store.port import Store
from rtap_lab.verification.report import Report, RunReport, Subject, Upto
from rtap_lab.verification.scoring import Score
from rtap_lab.verification.standing import Standing, Standings
from rtap_lab.verification.verdicts import Verdict, Verdicts, verdicts_document
from rtap_lab.verification.verifier import OvertakenError, Verifier
from rtap_lab.waiting import until

TRIES = 3
"""So often a verification is done when records expire while it reads them."""

RESUBMITTED_S = 60.0
"""So long a verification waits for a job that is to run and does not."""


@contextmanager
def _opened(context: Context) -> Iterator[tuple[Verifier, Store]]:
    store = context.open_store()
    try:
        kept_ms = context.site.settings.deduplication_ms
        yield Verifier(context.topics, store, context.endpoints.hub, ids_kept_ms=kept_ms), store
    finally:
        store.close()


def verify(context: Context, source: str, progress: Callable[[int], None], *, full: bool = False) -> Report:
    """Recompute every query that runs on a source, and compare all rows; see `Lab.verify`."""
    context.site  # noqa: B018  (says so when nothing is up)
    context.check_source(source)
    runs = runs_on(context.runs.read(), source) or [need_run(context.runs.read(), JOB, source)]
    report = Report(source, [])
    standings = Standings(context.state.folder / "verification")
    with _opened(context) as (verifier, _):
        for each in runs:
            run = _awaited(context, each)
            subject = subject_of(context, run)
            standing = standings.read(subject) if source == LIVE and not full else None
            try:
                found, after, later = _compared(context, verifier, subject, run, standing, progress)
            except JobError as error:
                if len(runs) == 1 or run.desired == "running":
                    raise
                report.not_compared.append(error.message)
                continue
            if source == LIVE:
                standings.write(subject, after)
            if later:
                found.problems.append(
                    f"{later} records came into {source} after this run: rtap jobs run {run.job} --source {source}"
                )
            unread = unread_document(context.state).read().readers.get(run.run)
            if unread is not None and unread.records:
                found.problems.append(f"job {run.job} on {source}: {unread}: its rows of that time lack them")
            now = context.runs.read().get(run.key)
            if now is None or now.run != run.run:
                found.problems.append(f"job {run.job} on {source}: another run took its place meanwhile; verify again")
            report.runs.append(found)
            verdict = Verdict.of_report(found)
            verdicts_document(context.state).change(partial(_with, run.key, verdict, context.runs.read()))
            standings.keep_only(set(context.runs.read()))
    if not report.runs:
        raise JobError(f"verify: nothing runs on {source}: {'; '.join(report.not_compared)}")
    return report


def _compared(
    context: Context,
    verifier: Verifier,
    subject: Subject,
    run: Run,
    standing: Standing | None,
    progress: Callable[[int], None],
) -> tuple[RunReport, Standing | None, int]:
    """Compare one run: the report, what the next verification goes on from, and how many records came after the run.

    Where the log forgets records before they are read it is done again, from what is left to how far the run is then.
    """
    for more in reversed(range(TRIES)):
        upto, later = _upto(context, verifier, subject, run)
        try:
            return *verifier.verify(subject, upto, standing=standing, progress=progress), later
        except OvertakenError:
            standing = None
            if not more:
                raise
    raise AssertionError("the last one raises")  # pragma: no cover


def _with(key: str, verdict: Verdict, runs: Runs, verdicts: Verdicts) -> Verdicts:
    """The verdicts with one more; those on runs that are gone go."""
    found = verdicts | {key: verdict}
    return {each: found[each] for each in found if each in runs and runs[each].run == found[each].run}


def score(context: Context, source: str, progress: Callable[[int], None]) -> Score:
    """Compare every answer with what the simulated visitors really did; see `Lab.score`."""
    context.site  # noqa: B018
    context.check_source(source)
    run = _awaited(context, need_run(context.runs.read(), JOB, source))
    with _opened(context) as (verifier, _):
        subject = subject_of(context, run)
        upto, _ = _upto(context, verifier, subject, run)
        return verifier.score(subject, upto, truths_of(context.state, source), progress=progress)


def _awaited(context: Context, run: Run) -> Run:
    """The run, once it runs where it is to: after an `up`, or a failure, it is resubmitted a moment later."""

    def settled() -> Run | None:
        now = context.runs.read().get(run.key, run)
        try:
            runs = now.state == "running" and bool(context.site.flink.active(now.name))
        except JobError:  # the JobManager is coming back
            runs = False
        return now if runs or now.desired != "running" or now.state in OVER else None

    return until(settled, RESUBMITTED_S) or run


def _upto(context: Context, verifier: Verifier, subject: Subject, run: Run) -> tuple[Upto, int]:
    """How far a run can be compared, and how many records came after it."""
    if run.state in ("finished", "drained"):
        ends = {(run.events, int(p)): end for p, end in run.ends.items()}
        later = 0
        if run.state == "finished":
            now = context.topics.ends([run.events], committed=True)
            if now != ends:  # offsets are no records: an import that was broken off takes some, and markers do
                later = sum(1 for _ in read_range(context.endpoints.kafka, ends, now))
        verifier.await_store(subject, 60)
        return Upto(ends, whole=True), later
    flink = context.site.flink
    if run.state != "running" or not flink.active(run.name):
        raise JobError(
            f"verify: job {run.job!r} on {run.source} is {run.state}: there is no watermark to compare up to"
            + (f" ({run.error})" if run.error else ""),
            hint=f"`rtap jobs run {run.job}` continues it",
        )

    checkpoints = _Checkpoints(flink, run.name)
    try:
        return verifier.live_upto(subject, checkpoints.completed), 0
    except JobError as error:
        if checkpoints.trouble:
            raise JobError(f"{error.message} ({checkpoints.trouble})", hint=error.hint) from error
        raise


class _Checkpoints:
    """Asks a job for one checkpoint after the other.

    Args:
        flink: The JobManager.
        name: The name of the run's jobs: it may be resubmitted meanwhile.
    """

    def __init__(self, flink: FlinkRest, name: str) -> None:
        self._flink = flink
        self._name = name
        self._pending: tuple[str, str] | None = None
        self._completed = 0
        self.trouble = ""
        """Why the last one could not be taken."""

    def completed(self) -> int:
        """How many are complete so far; asks for the next. Each was begun after the one before was counted."""
        try:
            if self._pending is None:
                for job_id in self._flink.active(self._name)[:1]:
                    self._pending = (job_id, self._flink.checkpoint(job_id))
            elif self._flink.is_checkpoint_complete(*self._pending):
                self._pending, self._completed, self.trouble = None, self._completed + 1, ""
        except JobError as error:  # it cannot take one now: it is starting, or the JobManager is
            self._pending, self.trouble = None, error.message
        return self._completed
