"""The Lab: one object for a whole lab, the same verbs as the command line; one line a verb."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from rtap_lab.endpoints import Endpoints
from rtap_lab.jobs.model import Run
from rtap_lab.lab import (
    answers,
    asking,
    checking,
    doctor,
    exercises,
    jobs,
    queries,
    simulator,
    slices,
    sources,
    sql,
    stack,
    status,
)
from rtap_lab.lab.answers import Asking, HubAccess
from rtap_lab.lab.bound import BoundQuery
from rtap_lab.lab.bound_sql import BoundSql
from rtap_lab.lab.context import Context
from rtap_lab.lab.exercises import Exercise
from rtap_lab.lab.interrupts import interruptible
from rtap_lab.lab.looks import Look
from rtap_lab.lab.pieces import Since
from rtap_lab.lab.rows import Row, as_frame
from rtap_lab.lab.simulator import Controls
from rtap_lab.lab.slices import Moment, Slice
from rtap_lab.lab.traffic import Traffic
from rtap_lab.lab.truth import truths_of
from rtap_lab.monitoring.doctor import Finding
from rtap_lab.queries.query import Catalog, Definition, Query
from rtap_lab.queries.query import query as make_query
from rtap_lab.queries.standard import JOB
from rtap_lab.recordings.imported import Imported
from rtap_lab.recordings.sources import Sources
from rtap_lab.services.dashboard import address
from rtap_lab.services.site import settings_document
from rtap_lab.settings import LIVE, Duration, JobOptions, Settings, duration_ms, job_changes, state_folder
from rtap_lab.simulator.fed import Fed
from rtap_lab.stack.state import State
from rtap_lab.store.port import Store
from rtap_lab.verification.report import Report
from rtap_lab.verification.scoring import Score

if TYPE_CHECKING:
    import pandas as pd

    from rtap_lab.dashboards.charts import LiveChart
    from rtap_lab.dashboards.components import Board
    from rtap_lab.lab.offline import OfflineLab
    from rtap_lab.lab.streams import RowStream
    from rtap_lab.simulator.truth import Truth


def _note(words: str) -> None:
    print(words, file=sys.stderr)


@interruptible
class Lab:
    """One lab: its stack, its sources, its queries and jobs, and their answers.

    Args:
        state: The state folder; else `RTAP_STATE`, else `.rtap` in the working directory.
    """

    def __init__(self, state: str | Path | None = None) -> None:
        self.state = State(state_folder(state))
        self._context = Context(self.state)

    # --- the stack -------------------------------------------------------------------------------

    @classmethod
    def up(
        cls,
        state: str | Path | None = None,
        *,
        profile: str | None = None,
        store: str | None = None,
        job: bool = True,
        java: str | Path | None = None,
        retention: Duration | None = None,
        hubs: int | None = None,
        proxy: str | None = None,
        ports: Mapping[str, int] | None = None,
        timeout: float = 180,
        on_status: stack.StatusListener = lambda table: None,
        on_note: Callable[[str], None] = _note,
        **options: Unpack[JobOptions],
    ) -> Lab:
        """Start the stack, or join the one that is up; ends with the standard job running.

        Args:
            state: The state folder.
            profile: "core" (one broker) or "full" (three); as last time when left out.
            store: "sqlite" or "influxdb"; as last time when left out.
            job: Whether to run the standard job.
            java: A Java 17 to 21 to use.
            retention: How long `events` keeps a record, from a minute on; as last time when left out, at first 6 h.
            hubs: How many processes serve live clients; as last time when left out, at first one.
            proxy: How browsers reach a port of this machine through a proxy, `https://hub.example.org/user/me/proxy/{port}`;
                "": directly; as last time when left out.
            ports: Ports that must be these, by service.
            timeout: Seconds until it must be ready.
            on_status: Called with the services now and then.
            on_note: Called with what a person should know before it happens: printed when left out.
            options: Parameters of the standard job that must be so: gap, within, bound, delivery, state_backend.

        Raises:
            ServiceError: When it cannot be; what this call started is then stopped again.
        """
        lab = cls(state)
        before = settings_document(lab.state).read() if lab.state.exists else Settings()
        settings = Settings(
            profile=profile or before.profile,  # type: ignore[arg-type]
            store=store or before.store,  # type: ignore[arg-type]
            java=str(java) if java else None,
            retention_ms=duration_ms(retention, name="retention") if retention is not None else before.retention_ms,
            transaction_ms=before.transaction_ms,
            hubs=before.hubs if hubs is None else hubs,
            proxy=before.proxy if proxy is None else proxy,
        )
        stack.up(
            lab._context,
            settings,
            ports=ports or {},
            job=job_changes(**options) if job else None,
            chosen=bool(profile or store) or any(each is not None for each in (retention, hubs, proxy)),
            timeout=timeout,
            on_status=on_status,
            on_note=on_note,
        )
        return lab

    @staticmethod
    def offline() -> OfflineLab:
        """A lab in this process, without a stack: the reference engine answers, not Flink."""
        from rtap_lab.lab.offline import OfflineLab  # it needs what a lab with a stack does not

        return OfflineLab()

    def down(self, *, on_status: stack.StatusListener = lambda table: None) -> bool:
        """Stop everything; data are kept. False when nothing was up."""
        return stack.down(self.state, on_status=on_status)

    def reset(self) -> None:
        """Stop everything and delete the lab's data."""
        stack.reset(self.state)

    @property
    def is_up(self) -> bool:
        """Whether services of this lab run."""
        return self._context.is_up

    def next_steps(self) -> list[str]:
        """What to do after `up`, and when the first rows are due."""
        return status.next_steps(self._context)

    @property
    def endpoints(self) -> Endpoints:
        """Where the services listen; starts nothing.

        Raises:
            NotRunningError: When nothing is up.
        """
        return self._context.endpoints

    @property
    def dashboard(self) -> str:
        """The live dashboard's address, with the token that opens it."""
        return address(self.endpoints.dashboard)

    @property
    def dashboard_to_view(self) -> str:
        """The live dashboard's address for others: who comes by it may only look."""
        return address(self.endpoints.dashboard, view=True)

    @property
    def flink_ui(self) -> str:
        """The address of Flink's web UI, read only, with the token that opens it."""
        return address(self.endpoints.dashboard, "/flink/")

    def store(self) -> Store:
        """The lab's store, for reading; close it after use."""
        return self._context.open_store()

    def status(self) -> dict[str, Any]:
        """State, port, memory, uptime and links of the services, and of each job watermark and lag."""
        return status.status(self._context)

    def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Look at the machine and at what is up; starts nothing.

        Args:
            repair: Whether to end the transactions that belong to nobody.
        """
        return doctor.examine(self._context, repair=repair)

    # --- sources ---------------------------------------------------------------------------------

    def sources(self) -> Sources:
        """The recorded sources."""
        return self._context.sources.read() if self.state.exists else {}

    def import_access_log(
        self,
        *paths: str | Path,
        source: str | None = None,
        speed: str = "max",
        progress: Callable[[int], None] = lambda n: None,
    ) -> Imported:
        """Import access logs in the combined format into a recorded source.

        Args:
            paths: Files, `.gz` too, or "-".
            source: The source's name; the stem of the first file when left out.
            speed: "max" records; "live" or a factor plays onto the live topic instead.
            progress: Called with the number of lines read so far.

        Raises:
            SourceError: When a file cannot be read or is not in the combined format.
        """
        return sources.import_files(self._context, list(map(str, paths)), "access-log", source, speed, progress)

    def import_jsonl(
        self,
        *paths: str | Path,
        source: str | None = None,
        speed: str = "max",
        progress: Callable[[int], None] = lambda n: None,
    ) -> Imported:
        """Import events of the model, one JSON object a line; otherwise as `import_access_log`."""
        return sources.import_files(self._context, list(map(str, paths)), "jsonl", source, speed, progress)

    def remove_source(self, source: str) -> None:
        """Delete a recorded source: its events, results and points.

        Raises:
            SourceError: When there is none of that name.
        """
        sources.remove(self._context, source)

    def simulate(
        self,
        scenario: str = "brisk",
        *,
        rate: float | None = None,
        visitors: float | None = None,
        seed: int = 1,
        seconds: float | None = None,
        events: int | None = None,
        stop: threading.Event | None = None,
        progress: Callable[[int], None] = lambda sent: None,
        on_note: Callable[[str], None] = _note,
    ) -> Fed:
        """Let a simulated website send events onto the live topic; returns when it has ended.

        While it runs, `lab.simulator` controls it, from any thread or process of the lab.

        Args:
            scenario: A packaged scenario's name, or a YAML file.
            rate: Messages a second: another pace of the same story, which then passes faster or slower.
            visitors: So many times the visitors; story time stays as it is.
            seed: Fixes every choice.
            seconds, events: When to end.
            stop: A `threading.Event` that ends it.
            progress: Called with how many were sent.
            on_note: Called with what another rate does to the story; printed when left out.

        Raises:
            SettingsError: When the scenario or the rate is none, or a simulator runs already.
        """
        return simulator.simulate(
            self._context,
            scenario,
            rate=rate,
            visitors=visitors,
            seed=seed,
            seconds=seconds,
            events=events,
            stop=stop,
            progress=progress,
            on_note=on_note,
        )

    def start_simulator(
        self,
        scenario: str = "brisk",
        *,
        rate: float | None = None,
        visitors: float | None = None,
        seed: int = 1,
        seconds: float | None = None,
    ) -> Traffic:
        """Let a simulated website send in the background, so that the notebook stays free; returns at once.

        Where a simulator sends already (`rtap simulate` in a terminal, say), that one is left as it is, and what is returned
        says so. It ends with this process.

        Args:
            scenario, rate, visitors, seed, seconds: As for `simulate`.

        Returns:
            The traffic: `stop()` ends it, `wait()` waits for its end and raises what ended it early.

        Raises:
            SettingsError: When the scenario or the rate is none.
            NotRunningError: When the stack is not up.
        """
        return simulator.start_simulator(
            self._context, scenario, rate=rate, visitors=visitors, seed=seed, seconds=seconds
        )

    @property
    def simulator(self) -> Controls:
        """The controls of the simulator that runs: rate, scenario, inject, pause, resume, stop."""
        return Controls(self.state)

    def lesson_source(self, name: str = "lesson") -> str:
        """The lessons' stream as a recorded source, imported when it is not there yet; its name.

        Args:
            name: "lesson", a small shop of two and a half minutes, or "lesson_late", phones that send late.

        Raises:
            SettingsError: When there is no such stream.
        """
        if name not in exercises.STREAMS or name not in self.sources():
            exercises.import_stream(name, lambda file: self.import_jsonl(file, source=name))
        return name

    def lesson_log(self, path: str | Path) -> Path:
        """An access log to learn with, where there is none at hand: the lesson's stream as its web server would have written it.

        Args:
            path: Where it goes; a file that is there is left as it is.
        """
        found = Path(path)
        if not found.exists():
            found.write_text(exercises.access_log())
        return found

    def exercise(self, number: str) -> Exercise:
        """An exercise of the lessons: `lab.exercise("02.1").check(query)` marks an answer, without the stack.

        Raises:
            SettingsError: When there is none of that number.
        """
        return exercises.exercise(number)

    # --- slices ----------------------------------------------------------------------------------

    def record(
        self,
        source: str = LIVE,
        span: Duration | None = None,
        *,
        begin: Moment | None = None,
        end: Moment | None = None,
        name: str | None = None,
        stop: threading.Event | None = None,
        progress: Callable[[int], None] = lambda n: None,
    ) -> Slice:
        """Record a piece of a source as a slice: every record as it is, garbage included.

        Args:
            source: "live" or a recorded source, or its topic: `events`, `events.weblog`.
            span: "30s" records what comes in the next 30 s; everything that is there when nothing is given.
            begin, end: From and to: instants of arrival, or the offset of each partition.
            name: The slice's name; made of source and time when left out.
            stop: A `threading.Event` that ends a span early.
            progress: Called with the number of records so far.

        Raises:
            SourceError: When there is nothing to record, or the name is taken.
        """
        span = span.total_seconds() if isinstance(span, timedelta) else span
        return slices.record(self._context, slices.source_of(source), span, begin, end, name, progress, stop)

    def slices(self) -> dict[str, Slice]:
        """The recorded slices, by name."""
        return slices.list_slices(self._context)

    def slice(self, name: str) -> Slice:
        """A recorded slice.

        Raises:
            SourceError: When there is none of that name.
        """
        return slices.get_slice(self._context, name)

    def import_slice(self, path: str | Path, name: str | None = None) -> Slice:
        """Take a slice's file into this lab, its digest checked.

        Raises:
            SourceError: When it is not a slice, is damaged, or the name is taken.
        """
        return slices.import_slice(self._context, path, name)

    # --- queries and jobs ------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """Every query that the lab knows: the packaged ones, and its own."""
        return self._context.catalog

    @overload
    def query(self, asked: Definition | Query, *, source: str = LIVE, title: str = "") -> BoundQuery: ...

    @overload
    def query(self, asked: str, definition: Definition, *, source: str = LIVE, title: str = "") -> BoundQuery: ...

    @overload
    def query(
        self, asked: str | Path, definition: str | None = None, *, source: str = LIVE, title: str = ""
    ) -> BoundQuery | BoundSql: ...

    def query(
        self,
        asked: str | Path | Definition | Query,
        definition: Definition | str | None = None,
        *,
        source: str = LIVE,
        title: str = "",
    ) -> BoundQuery | BoundSql:
        """A query in this lab, to be previewed, checked, run and charted.

            lab.query("views", tumble("1m").by("page").agg(views=count())).preview()
            lab.query("sessions").chart()
            lab.query("SELECT page, COUNT(*) AS n FROM events GROUP BY page").check()

        Args:
            asked: The name of a query that the lab knows, or of the one that `definition` is; else a definition, builders'
                words or SQL as text, a `.sql` file, or a YAML file with `query:` and perhaps `name:` and `title:`.
            definition: What is asked under that name; as text, builders' words or SQL.
            source: "live" or a recorded source.
            title: For people.

        Raises:
            SettingsError: When there is none of that name, or the text is no query.
            SourceError: When there is no such source.
        """
        return asking.bind(self._context, asked, definition, source, title, _note)

    def known_query(self, name: str, source: str = LIVE) -> Query:
        """The query of a name, as it runs on a source.

        Raises:
            SettingsError: When the lab knows none of that name.
        """
        return self._context.query(name, source)

    def queries(self) -> list[Row]:
        """Every query: its name, title, columns, and where it runs."""
        return queries.describe(self._context)

    def runs(self) -> dict[str, Run]:
        """The current run of each job on each source, by "job/source"."""
        return self._context.runs.read() if self.state.exists else {}

    def run(
        self,
        name: str,
        definition: Definition,
        source: str = LIVE,
        *,
        title: str = "",
        timeout: float = 1800,
        progress: Callable[[int, int], None] = lambda done, of: None,
        **options: Unpack[JobOptions],
    ) -> Run:
        """Keep a query of one's own running: its own job, result topic, channel, points and verification.

        It survives `down` and `up`, and is found again by its name. The same again changes nothing; another definition
        begins a new run from the log's beginning.

        Args:
            name: `[a-z][a-z0-9_]{0,39}`.
            definition: A window query or a pattern query. A pattern's rows are made to tell its matches apart.
            source: "live", or a recorded source: then it reads all of it, and ends.
            title: For people.
            timeout: Seconds that a recorded source may take.
            progress: Called with records read, and of how many.
            options: bound, delivery and state_backend of its job.

        Raises:
            SettingsError: When the name is taken.
            JobError: When Flink refuses it or it fails.
        """
        return jobs.define_and_run(
            self._context,
            [make_query(name, definition, title)],
            source,
            job_changes(**options),
            timeout=timeout,
            progress=progress,
            on_note=_note,
        )

    def run_together(
        self,
        job: str,
        queries: Mapping[str, Definition] | Iterable[BoundQuery | Query],
        source: str = LIVE,
        *,
        timeout: float = 1800,
        progress: Callable[[int, int], None] = lambda done, of: None,
        **options: Unpack[JobOptions],
    ) -> Run:
        """Keep several queries running in one job: one task slot, one reading of the source.

        Each has its own topic, channel, points and verification. Those that the job has already stay in it; when one joins,
        all begin anew from the log's beginning.

        Args:
            job: The job's name.
            queries: Queries, made by `lab.query(…)` say, or definitions by the queries' names; a job has 24 at most.
            source: "live", or a recorded source.
            timeout: Seconds that a recorded source may take.
            progress: Called with records read, and of how many.
            options: bound, delivery and state_backend of the job.

        Raises:
            SettingsError: When a name is taken, or the job is full.
            JobError: When Flink refuses it, has no room for a job, or it fails.
        """
        return jobs.define_and_run(
            self._context,
            (
                [make_query(name, definition) for name, definition in queries.items()]
                if isinstance(queries, Mapping)
                else [each.query if isinstance(each, BoundQuery) else each for each in queries]
            ),
            source,
            job_changes(**options),
            job=job,
            timeout=timeout,
            progress=progress,
            on_note=_note,
        )

    def run_job(
        self,
        job: str = JOB,
        source: str = LIVE,
        *,
        timeout: float = 1800,
        progress: Callable[[int, int], None] = lambda done, of: None,
        on_note: Callable[[str], None] = _note,
        **options: Unpack[JobOptions],
    ) -> Run:
        """Run a job. On a recorded source it is bounded: waits for the end, closes every window.

        Raises:
            JobError: When Flink refuses it or it fails.
        """
        return jobs.run_job(
            self._context, job, source, job_changes(**options), timeout=timeout, progress=progress, on_note=on_note
        )

    def run_standard(self, source: str = LIVE, **options: Any) -> Run:
        """Run the standard job, as `run_job`."""
        return self.run_job(JOB, source, **options)

    def stop_job(self, job: str = JOB, source: str = LIVE, *, drain: bool = False) -> Run:
        """Stop a job, all results committed; `run_job` goes on where it was.

        Args:
            job: The job.
            source: On which source.
            drain: Close every window first; then the run is over.

        Raises:
            JobError: When there is no such run, or draining fails.
        """
        return jobs.stop(self._context, job, source, drain=drain)

    def savepoint(self, job: str = JOB, source: str = LIVE) -> str:
        """Take a savepoint of a running job; its path."""
        return jobs.savepoint(self._context, job, source)

    def remove_job(self, job: str) -> None:
        """End a job on every source, and remove its results; a packaged one can be run again.

        Raises:
            SettingsError: When there is none of that name, or it is the standard one.
        """
        jobs.remove(self._context, job)

    def other_flink_jobs(self) -> list[dict[str, Any]]:
        """What else runs in the lab's Flink."""
        return jobs.other_flink_jobs(self._context)

    # --- answers ---------------------------------------------------------------------------------

    def rows(self, query: str, source: str = LIVE) -> list[Row]:
        """The rows of a query from the store, sorted by time, then keys; instants are RFC 3339 texts.

        Waits until the writer has caught up with the topic; while nothing is up, the embedded store answers as it is.
        """
        return answers.rows(self._context, query, source)

    def results(self, query: str, source: str = LIVE) -> pd.DataFrame:
        """The rows of a query from the store as a DataFrame; instants are UTC timestamps."""
        return as_frame(self._context.query(query, source).schema, self.rows(query, source))

    def why_empty(self, query: str, source: str = LIVE) -> str:
        """Why a query has no rows yet, in one sentence."""
        return answers.why_empty(self._context, query, source)

    def digest(self, source: str = LIVE) -> str:
        """SHA-256 of all rows of all queries that run on a source: equal for equal answers."""
        return answers.digest(self._context, source)

    def verify(
        self, source: str = LIVE, *, full: bool = False, progress: Callable[[int], None] = lambda n: None
    ) -> Report:
        """Recompute every query that runs on a source from its topic, and compare all rows, of topics and store.

        Live, what a verification before found right is not read and compared again: it goes on from there. What differs is looked
        at from the beginning before it is said.

        Args:
            source: "live" or a recorded source.
            full: Recompute and compare from the beginning.
            progress: Called with the number of records read.

        Raises:
            JobError: When there is no run, or a live one does not move.
        """
        return checking.verify(self._context, source, progress, full=full)

    def score(self, source: str = LIVE, *, progress: Callable[[int], None] = lambda n: None) -> Score:
        """Compare every answer with what the simulated visitors really did.

        Of input that no simulator made, the accepted records stand for what happened, late ones included.

        Raises:
            JobError: When there is no run, or a live one does not move.
        """
        return checking.score(self._context, source, progress)

    def truths(self, source: str = LIVE) -> list[Truth]:
        """The ground truth of the simulator's runs on a source, the earliest first."""
        return truths_of(self.state, source)

    def sql(
        self,
        statement: str,
        *,
        source: str = LIVE,
        since: Since | None = None,
        seconds: float = 10,
        rows: int = 100,
        changelog: bool = False,
        on_rows: Callable[[Look], None] = lambda so_far: None,
    ) -> Look:
        """Run a SQL query over what is there now, bounded in time and rows; SHOW, DESCRIBE and EXPLAIN too.

        `CREATE TEMPORARY VIEW` makes a view for the later statements of this object (`DROP TEMPORARY VIEW` takes it away), and
        `SET`, with no more, tells what is set; `rtap_lab.lab.sql.SETTINGS` may be.

        `events` is the counted events of the source, `events_raw` its topic as it is. It ends where the source ends now. What
        it would say of a part of the input only is never given for the answer: such rows are withheld.

        Args:
            statement: One statement.
            source: "live" or a recorded source.
            since: From when on: "5m", an instant; all when left out.
            seconds: How long at most, planning not counted.
            rows: How many rows at most.
            changelog: Show each change as a row, with its kind in front (+I, -U, +U, -D), instead of what they leave.
            on_rows: Called with what there is so far whenever rows came.

        Raises:
            SettingsError: When it is another kind of statement.
            StatementError: With Flink's reason.
        """
        return sql.run(
            self._context,
            statement,
            source=source,
            since=since,
            seconds=seconds,
            rows=rows,
            changelog=changelog,
            on_rows=on_rows,
        )

    @property
    def temporary_views(self) -> list[str]:
        """The names of the temporary views that `sql` has made for this object."""
        return list(self._context.sql_session.views)

    def complete(self, text: str, source: str = LIVE) -> list[str]:
        """What may follow a piece of SQL, as Flink's parser proposes it.

        Raises:
            JobError: When the gateway does not answer.
        """
        return sql.complete(self._context, source, text)

    def frame(self, statement: str, **options: Any) -> pd.DataFrame:
        """The same as a DataFrame; times are timestamps.

        Raises:
            StatementError: Also when there is no answer yet: its time was over with a part of the input read.
        """
        return self.sql(statement, **options).frame()

    def table_environment(self, source: str = LIVE, *, follow: bool = False) -> Any:
        """A PyFlink `TableEnvironment` on the lab's cluster, with the source's `events` and `events_raw`.

        For Table API programs and Python functions; `campaign_kind` and `user_agent_family` are registered in it
        (`rtap_lab.flink.functions`). `to_pandas()` of a table gives all types, instants in UTC. It starts a JVM in this
        process, which SQL through `sql` does not need. Its jobs end with this process, however it ends, unless they have a
        name of their own: `environment.get_config().set("pipeline.name", "mine")`.

        Args:
            source: "live" or a recorded source.
            follow: Whether its tables go on with the events that come; else they end with what is there now, and so does
                each program (a `to_pandas()` of a stream that never ends never returns).

        Raises:
            SourceError: When there is no such source.
        """
        return sql.table_environment(self._context, source, follow=follow)

    def watch(
        self, *queries: str, source: str = LIVE, stop: threading.Event | None = None, **asked: Unpack[Asking]
    ) -> Iterator[dict[str, Any]]:
        """Yield snapshots and updates of queries from the hub, for ever or until `stop` is set.

            for message in lab.watch("page_views_1m", where={"page": "/"}, rate=1): ...

        Args:
            queries: Names.
            source: "live" or a recorded source.
            stop: Ends it from another thread.
            asked: `where`, `columns`, `latest_by`, `rate` (docs/live-protocol.md).

        Raises:
            SettingsError: When there is no such query or column.
        """
        return answers.watch(self._context, queries, source, stop, asked)

    def hub_access(self) -> HubAccess:
        """Where a page or program of one's own reaches the hub, and a token that is good for twelve hours.

        Raises:
            NotRunningError: When nothing is up.
        """
        return answers.hub_access(self._context)

    def chart(self, query: str, source: str = LIVE, *, live: bool = True) -> LiveChart:
        """The live chart of a query, of the kind that fits it, or of another by its name.

            lab.chart("page_views_1m").line("window_end", "views", by="page")

        Its first picture is the newest rows of the store (of one that is not live all rows). It goes on moving while the kernel
        is busy: the browser talks to the hub itself. In a notebook, `%load_ext rtap_lab` first.

        Args:
            query: The query's name.
            source: "live" or a recorded source.
            live: Whether it follows the hub; else it is a static picture.

        Raises:
            SettingsError: When there is no such query.
        """
        from rtap_lab.dashboards.charts import chart_of  # panel is heavy

        asked = self.known_query(query, source)
        hub = self.endpoints.hub if live else None
        first = partial(answers.newest_rows, self._context) if live else self.rows
        return chart_of(hub, asked, source=source, rows=lambda: first(query, source))

    def feed(self, source: str = LIVE, *, keep: int = 12) -> Board:
        """The newest events of a source as they arrive, whatever becomes of them; in a notebook, `%load_ext rtap_lab` first.

        Args:
            source: "live" or a recorded source.
            keep: How many are shown, 60 at most.

        Raises:
            SettingsError: When it is another number.
            NotRunningError: When nothing is up.
        """
        from rtap_lab.dashboards.charts import event_feed  # panel is heavy

        self._context.check_source(source)
        return event_feed(self.endpoints.hub, source=source, keep=keep)

    def stream(self, query: str, source: str = LIVE, *, history: bool = True) -> RowStream:
        """A `streamz.Stream` of a query's rows, each once; connect a pipeline, then `start` it.

        Args:
            query: The query's name.
            source: "live" or a recorded source.
            history: Whether it begins with the rows that are there already.

        Raises:
            SettingsError: When there is no such query.
        """
        from rtap_lab.lab.streams import stream  # streamz is heavy

        return stream(self._context, query, source, history=history)

    def __repr__(self) -> str:
        return f"Lab({str(self.state.folder)!r})"

    def _repr_html_(self) -> str:
        return self._repr_mimebundle_()["text/html"]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return status.as_shown(self._context)
