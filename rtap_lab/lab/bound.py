"""A query in a lab: looked at, checked, run, charted, and asked how it fares. Made by `Lab.query`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Unpack

from rtap_lab.errors import JobError, SettingsError
from rtap_lab.flink.statements import query_sql
from rtap_lab.jobs.documents import replaced_document
from rtap_lab.jobs.model import Replaced, Run, run_of
from rtap_lab.lab import answers, checking, diagnosis, jobs, previews, status
from rtap_lab.lab.answers import newest_rows
from rtap_lab.lab.context import Context
from rtap_lab.lab.debugging import PatternDebugger
from rtap_lab.lab.diagnosis import Diagnosis
from rtap_lab.lab.interrupts import interruptible
from rtap_lab.lab.looks import Look
from rtap_lab.lab.pieces import Since
from rtap_lab.lab.previews import Checked, Preview
from rtap_lab.lab.rows import Row, as_frame
from rtap_lab.queries.expression import written
from rtap_lab.queries.query import Definition, Query
from rtap_lab.queries.query import query as make_query
from rtap_lab.queries.schema import Schema
from rtap_lab.queries.waits import first_row
from rtap_lab.settings import JobOptions, JobParameters, job_changes
from rtap_lab.verification.report import Report

if TYPE_CHECKING:
    import pandas as pd

    from rtap_lab.dashboards.charts import LiveChart
    from rtap_lab.lab.streams import RowStream


@interruptible
class BoundQuery:
    """A query, the lab that it is asked in, and the source it is asked of.

    `preview` and `check` look at what is there now and leave nothing behind; `run` keeps it running under its name.

    Args:
        context: The lab.
        query: The query.
        source: "live" or a recorded source.
        on_note: Told what a person should know before it happens.
    """

    def __init__(self, context: Context, query: Query, source: str, on_note: Callable[[str], None]) -> None:
        self._context = context
        self._on_note = on_note
        self.query = query
        self.source = source

    # --- what is asked ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.query.name

    @property
    def title(self) -> str:
        return self.query.title or self.query.name

    @property
    def definition(self) -> Definition:
        return self.query.definition

    @property
    def schema(self) -> Schema:
        """The columns of its rows."""
        return self.query.schema

    def text(self) -> str:
        """The query as builders say it: for a cell, a YAML file, the command line."""
        return written(self.definition)

    def sql(self) -> str:
        """The query as Flink SQL: its views, then the SELECT."""
        compiled = query_sql(self.query)
        return ";\n".join([*compiled.views, compiled.select])

    def explain(self) -> str:
        """How Flink would answer it: its abstract, optimized and executed plan.

        Raises:
            StatementError: When Flink refuses it.
        """
        return previews.explain(self._context, self.query, self.source)

    # --- looking ---------------------------------------------------------------------------------

    def preview(
        self,
        *,
        since: Since | None = None,
        seconds: float = 10,
        rows: int = 1000,
        on_rows: Callable[[Look], None] = lambda so_far: None,
    ) -> Preview:
        """Let Flink answer over what is there now; it says how much it saw and why it ended.

        Args:
            since: From when on: "5m" (so long before now, or before the end of a recorded source), an instant, or "all".
                When left out: of the live source the newest minutes, of a recorded one all.
            seconds: How long at most, planning not counted.
            rows: How many rows at most.
            on_rows: Called with what there is whenever rows came.

        Raises:
            StatementError: When Flink refuses it.
        """
        return previews.preview(
            self._context, self.query, self.source, since=since, seconds=seconds, rows=rows, on_rows=on_rows
        )

    def check(self, *, since: Since | None = None, seconds: float = 120) -> Checked:
        """Let Flink and the reference engine answer over the same piece of the source, and compare every row.

        Args:
            since: As in `preview`.
            seconds: How long Flink may take at most.

        Raises:
            StatementError: When Flink refuses it.
        """
        return previews.check(self._context, self.query, self.source, since=since, seconds=seconds)

    def diagnose(self, *, since: Since | None = None) -> Diagnosis:
        """Why it has no rows: one sentence, and what to do.

        Args:
            since: Which events are looked at, as in `preview`.
        """
        return diagnosis.diagnose(self._context, self.query, self.source, since=since)

    def debug(self, *, since: Since | None = None) -> PatternDebugger:
        """A pattern's attempts: how many reach each step, where they end and why; the nearest miss, told step by step.

        Args:
            since: Which events are looked at, as in `preview`.

        Raises:
            SettingsError: When it is no pattern.
        """
        return PatternDebugger(self._context, self.query, self.source, since)

    # --- running ---------------------------------------------------------------------------------

    def run(
        self,
        *,
        job: str | None = None,
        timeout: float = 1800,
        progress: Callable[[int, int], None] = lambda done, of: None,
        **options: Unpack[JobOptions],
    ) -> BoundQuery:
        """Keep it running, with its own result topic, channel, points and verification, until `stop`; see `Lab.run`.

        Args:
            job: The job that it belongs to. Several queries may share one, and one reading of the source; when one joins, all
                of them begin anew from the log's beginning. A job of its own name when left out: those are few (`rtap status`
                tells how many task slots are free).
            timeout: Seconds that a recorded source may take.
            progress: Called with records read, and of how many.
            options: bound, delivery and state_backend of its job.

        Raises:
            SettingsError: When its name is taken, or the job is full.
            JobError: When Flink refuses it, has no room for a job, or it fails.
        """
        jobs.define_and_run(
            self._context,
            [self.query],
            self.source,
            job_changes(**options),
            job=job,
            timeout=timeout,
            progress=progress,
            on_note=self._on_note,
        )
        return self

    def evolve(self, definition: Definition, **options: Unpack[JobOptions]) -> BoundQuery:
        """Ask something else under the same name; `rollback` brings the earlier question back.

        Flink is asked first whether it takes the new question: if not, nothing has changed. The state of another question is
        the answer to another question, so none is taken over, which is said: the new one begins anew from the log's beginning
        (docs/decisions/019). When it cannot start, the earlier one is brought back.

        Args:
            definition: The new question.
            options: bound, delivery and state_backend of its job; as they are when left out.

        Raises:
            SettingsError: When it does not run.
            StatementError: When Flink refuses the new question.
            JobError: When the new one cannot start.
        """
        run = self._run
        if run is None:
            raise SettingsError(f"query {self.name!r} does not run on {self.source}", hint="run it: .run()")
        asked = make_query(self.name, definition, self.query.title)
        job = run.job if run.job != self.name else None
        other = BoundQuery(self._context, asked, self.source, self._on_note)
        if asked == self.query:
            self._on_note(f"{self.name} asks that already: its run goes on")
            return other
        other.explain()
        before = next(query for query in run.queries if query.name == self.name)
        self._replaced((*self._replaced(), Replaced(before, run.job, run.parameters)))
        self._on_note(
            f"{self.name}: no state of the earlier question fits another, so it begins anew from the log's beginning; "
            ".rollback() brings the earlier one back"
        )
        wanted = options_of(run.parameters)
        wanted.update({name: value for name, value in options.items() if value is not None})  # type: ignore[typeddict-item]
        try:
            return other.run(job=job, **wanted)
        except (JobError, SettingsError):
            other.rollback()
            self._on_note(f"{self.name}: the new question could not start; the earlier one runs again")
            raise

    def rollback(self) -> BoundQuery:
        """Bring back the question that `evolve` replaced, with its job and parameters, from the log's beginning.

        Raises:
            SettingsError: When `evolve` replaced none.
        """
        *before, replaced = self._replaced() or (None,)
        if replaced is None:
            raise SettingsError(f"query {self.name!r} has replaced none", hint=".evolve(…) replaces one")
        earlier = BoundQuery(self._context, replaced.query, self.source, self._on_note)
        job = replaced.job if replaced.job != self.name else None
        running = earlier.run(job=job, **options_of(replaced.parameters))
        self._replaced(tuple(each for each in before if each))
        return running

    def _replaced(self, changed: tuple[Replaced, ...] | None = None) -> tuple[Replaced, ...]:
        """What `evolve` replaced, the last one last; changed to something else first, if that is given."""
        document = replaced_document(self._context.state)
        table = document.read() if changed is None else document.change(lambda table: table | {self._place: changed})
        return table.get(self._place, ())

    @property
    def _place(self) -> str:
        return f"{self.name}/{self.source}"

    @property
    def _run(self) -> Run | None:
        return run_of(self._context.runs.read(), self.name, self.source)

    @property
    def is_running(self) -> bool:
        """Whether a job of the lab keeps this very query running."""
        run = self._run
        return run is not None and run.state == "running" and self.query in run.queries

    def _job(self) -> str:
        run = self._run
        if run is None:
            raise SettingsError(f"query {self.name!r} does not run on {self.source}", hint="run it: .run()")
        return run.job

    def status(self) -> dict[str, Any]:
        """How its job fares: state, watermark, lag, age of the newest checkpoint, error.

        Raises:
            SettingsError: When it does not run.
        """
        job = self._job()
        found = status.status(self._context)["jobs"]
        return next(each for each in found if (each["name"], each["source"]) == (job, self.source))

    def savepoint(self) -> str:
        """Take a savepoint of its job; its path."""
        return jobs.savepoint(self._context, self._job(), self.source)

    def stop(self) -> BoundQuery:
        """Stop its job, all results committed; `resume` goes on."""
        jobs.stop(self._context, self._job(), self.source, drain=False)
        return self

    def resume(self) -> BoundQuery:
        """Let its job go on where it was stopped."""
        jobs.run_job(
            self._context,
            self._job(),
            self.source,
            {},
            timeout=1800,
            progress=lambda done, of: None,
            on_note=self._on_note,
        )
        return self

    def remove(self) -> None:
        """End its job, and remove its results; those of queries that share the job, too."""
        jobs.remove(self._context, self._job())

    # --- answers ---------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """Its rows from the store, sorted by time, then keys; instants are RFC 3339 texts."""
        return answers.rows(self._context, self.name, self.source)

    def results(self) -> pd.DataFrame:
        """Its rows from the store as a DataFrame; instants are UTC timestamps."""
        return as_frame(self.schema, self.rows())

    def why_empty(self) -> str:
        """Why it has no rows yet, in one sentence."""
        return answers.why_empty(self._context, self.name, self.source)

    def verify(self) -> Report:
        """Recompute every query of its source and compare all rows; this one is among them."""
        return checking.verify(self._context, self.source, lambda n: None)

    def stream(self, *, history: bool = True) -> RowStream:
        """Its rows as a `streamz.Stream`; see `Lab.stream`."""
        from rtap_lab.lab.streams import stream  # streamz is heavy

        return stream(self._context, self.name, self.source, history=history)

    def chart(self, *, live: bool = True) -> LiveChart:
        """Its live chart, of the kind that fits it, or another by its name: `.chart().line("window_end", "views", by="page")`.

        The first picture is the newest rows of the store; it moves while the kernel is busy.
        """
        from rtap_lab.dashboards.charts import chart_of

        hub = self._context.endpoints.hub if live else None
        first = partial(newest_rows, self._context, self.name, self.source) if live else self.rows
        return chart_of(hub, self.query, source=self.source, rows=first)

    def __repr__(self) -> str:
        return f"{self.name} on {self.source}: {self.text()}"

    def _repr_html_(self) -> str:
        run = self._run
        fares = f"job {run.job}: {run.state}" if run else "not running: <code>.run()</code>"
        return (
            f"<p><b>{escape(self.title)}</b> on {escape(self.source)}, {fares}; {escape(first_row(self.definition))}</p>"
            f"<pre>{escape(self.text())}</pre>"
        )


def options_of(parameters: JobParameters) -> JobOptions:
    """Those parameters of a run that a query of one's own has, as a person gives them."""
    return {"bound": parameters.bound_ms / 1000, "delivery": parameters.delivery}
