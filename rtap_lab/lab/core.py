"""The Lab: one object for a whole lab, the same verbs as the command line."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtap_lab.errors import JobError, NotRunningError, SettingsError, SourceError
from rtap_lab.events.times import instant_text
from rtap_lab.kafka.topics import Topics, events_topic, source_topics
from rtap_lab.lab import control
from rtap_lab.lab.addresses import Addresses, known
from rtap_lab.lab.processes import open_store
from rtap_lab.lab.runs import LIVE, Runs, group
from rtap_lab.settings import JobParameters, Settings, duration_ms, source_name, state_folder
from rtap_lab.stack.state import State
from rtap_lab.store.port import Store
from rtap_lab.streams.queries import STANDARD, Query, query_named

if TYPE_CHECKING:
    import pandas as pd

    from rtap_lab.kafka.feeder import Fed
    from rtap_lab.kafka.files import Format
    from rtap_lab.kafka.importer import Imported
    from rtap_lab.lab.offline import OfflineLab
    from rtap_lab.lab.simulating import Controls
    from rtap_lab.lab.slices import Moment, Slice
    from rtap_lab.monitoring.scoring import Score
    from rtap_lab.monitoring.verification import Report
    from rtap_lab.simulator.truth import Truth

Duration = str | float | timedelta
Row = dict[str, Any]


def job_changes(
    gap: Duration | None, within: Duration | None, bound: Duration | None, delivery: str | None
) -> dict[str, Any]:
    """The given parameters of the standard job, checked."""
    changes: dict[str, Any] = {
        f"{name}_ms": duration_ms(value, name=name)
        for name, value in (("gap", gap), ("within", within), ("bound", bound))
        if value is not None
    }
    if delivery is not None:
        changes["delivery"] = delivery
    JobParameters(**changes)
    return changes


class Lab:
    """One lab: its stack, its sources, its jobs and their answers.

    Args:
        state: The state folder; else `RTAP_STATE`, else `.rtap` in the working directory.
    """

    def __init__(self, state: str | Path | None = None) -> None:
        self.state = State(state_folder(state))

    # --- the stack -------------------------------------------------------------------------------

    @classmethod
    def up(
        cls,
        state: str | Path | None = None,
        *,
        profile: str | None = None,
        store: str | None = None,
        job: bool = True,
        gap: Duration | None = None,
        within: Duration | None = None,
        bound: Duration | None = None,
        delivery: str | None = None,
        java: str | Path | None = None,
        ports: Mapping[str, int] | None = None,
        timeout: float = 180,
        told: control.Told = lambda table: None,
    ) -> Lab:
        """Start the stack, or join the one that is up; ends with the standard job running.

        Args:
            state: The state folder.
            profile: "core" (one broker) or "full" (three); as last time when left out.
            store: "sqlite" or "influxdb"; as last time when left out.
            job: Whether to run the standard job.
            gap, within, bound, delivery: Parameters of the standard job that must be so.
            java: A Java 17 to 21 to use.
            ports: Ports that must be these, by service.
            timeout: Seconds until it must be ready.
            told: Told the table of services now and then.

        Raises:
            ServiceError: When it cannot be; then nothing is left running.
        """
        lab = cls(state)
        before = lab.state.read("settings") or {} if lab.state.exists else {}
        settings = Settings(
            lab.state.folder,
            profile=profile or before.get("profile", "core"),  # type: ignore[arg-type]
            store=store or before.get("store", "sqlite"),
            java=Path(java) if java else None,  # type: ignore[arg-type]
            ports=tuple((ports or {}).items()),
        )
        changes = job_changes(gap, within, bound, delivery) if job else None
        control.up(lab.state, settings, job=changes, chosen=bool(profile or store), timeout=timeout, told=told)
        return lab

    @staticmethod
    def offline() -> OfflineLab:
        """A lab in this process, without a stack: the reference engine answers, not Flink."""
        from rtap_lab.lab.offline import OfflineLab

        return OfflineLab()

    def down(self, *, told: control.Told = lambda table: None) -> bool:
        """Stop everything; data are kept. False when nothing was up."""
        return control.down(self.state, told=told)

    def reset(self) -> None:
        """Stop everything and delete the lab's data."""
        control.reset(self.state)

    def _ready(self) -> Addresses:
        """The addresses of the lab that is up; a dead supervisor is replaced.

        Raises:
            NotRunningError: When nothing is up.
        """
        if not self.state.exists or control.revive(self.state) is None:
            raise NotRunningError(f"no stack is up in {self.state.folder}", hint="start it: rtap up")
        return known(self.state)

    @property
    def addresses(self) -> Addresses:
        """Where the services listen."""
        return self._ready()

    @property
    def runs(self) -> Runs:
        """The runs of the standard job."""
        return Runs(self.state, self._ready())

    def store(self) -> Store:
        """The lab's store, for reading; close it after use."""
        return open_store(self.state, self._ready(), self.state.read("settings")["store"])

    def status(self) -> dict[str, Any]:
        """State, port, memory, uptime and links of the services, and of each job watermark and lag."""
        from rtap_lab.lab.status import status

        return status(self)

    # --- sources ---------------------------------------------------------------------------------

    def sources(self) -> dict[str, Any]:
        """The recorded sources."""
        return dict(self.state.read("sources") or {}) if self.state.exists else {}

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
            progress: Told the number of lines read so far.

        Raises:
            SourceError: When a file cannot be read or is not in the combined format.
        """
        return self._import(list(map(str, paths)), "access-log", source, speed, progress)

    def import_jsonl(
        self,
        *paths: str | Path,
        source: str | None = None,
        speed: str = "max",
        progress: Callable[[int], None] = lambda n: None,
    ) -> Imported:
        """Import events of the model, one JSON object a line; otherwise as `import_access_log`."""
        return self._import(list(map(str, paths)), "jsonl", source, speed, progress)

    def _import(
        self, paths: list[str], form: Format, source: str | None, speed: str, progress: Callable[[int], None]
    ) -> Imported:
        from rtap_lab.kafka.importer import Importer
        from rtap_lab.lab.simulating import keep_truths

        addresses = self._ready()
        key = bytes.fromhex(self.state.secret("visitor.key"))
        importer = Importer(
            addresses.kafka,
            key,
            self.sources,
            lambda table: self.state.write("sources", table),
            (self.state.read("schema") or {}).get("id"),
            progress,
        )
        if speed != "max":
            try:
                factor = 1.0 if speed == "live" else float(speed)
            except ValueError:
                factor = 0.0
            if not 0 < factor < float("inf"):
                raise SettingsError(f"--speed {speed!r}", hint='"max", "live" or a factor such as 60')
            run = self.runs.all().get(LIVE)
            bound = JobParameters.from_json(run["parameters"]).bound_ms if run else JobParameters().bound_ms
            return importer.retime(paths, form, speed=factor, bound_ms=bound)
        name = source or ("stdin" if paths[0] == "-" else Path(paths[0].removesuffix(".gz")).stem.lower())
        source_name(name, reserved=frozenset(STANDARD))
        with self.state.lock(f"source-{name}", timeout=1, busy=f"source {name!r} is being imported into"):
            with self.state.lock("sources", timeout=30):
                table = self.sources()
                if name not in table:
                    Topics(addresses.kafka).ensure(source_topics(name, STANDARD))
                    table[name] = {"latest_ms": None, "disorder_ms": 0, "files": {}, "format": form}
                    self.state.write("sources", table)
            try:
                done = importer.record(paths, form, name)
                keep_truths(self.state, paths, name)
                return done
            finally:
                if not self.sources()[name]["files"] and "pending" not in self.sources()[name]:
                    self._remove(name)  # nothing came of it: no empty source is left

    def remove_source(self, source: str) -> None:
        """Delete a recorded source: its events, results and points.

        Raises:
            SourceError: When there is none of that name.
        """
        if source not in self.sources():
            raise SourceError(f"there is no recorded source {source!r}", hint="`rtap sources list`")
        self._remove(source)

    def _remove(self, source: str) -> None:
        from rtap_lab.lab.simulating import truth_files

        runs, topics = self.runs, Topics(self._ready().kafka)
        if source in runs.all():
            for job in runs.rest.active(runs.name(runs.get(source))):
                runs.rest.cancel(job)
            runs.forget(source)
        topics.delete([events_topic(source), *runs.topics(source).values()])
        table = self.sources()
        table.pop(source, None)
        self.state.write("sources", table)
        for path in truth_files(self.state, source):
            path.unlink()
        store = self.store()
        try:
            store.remove(source)
        finally:
            store.close()

    def simulate(
        self,
        scenario: str = "brisk",
        *,
        rate: float | None = None,
        seed: int = 1,
        seconds: float | None = None,
        events: int | None = None,
        stop: Any = None,
        progress: Callable[[int], None] = lambda sent: None,
    ) -> Fed:
        """Let a simulated website send events onto the live topic; returns when it has ended.

        While it runs, `lab.simulator` controls it, from any thread or process of the lab.

        Args:
            scenario: A packaged scenario's name, or a YAML file.
            rate: Messages a second; the scenario's own pace when left out.
            seed: Fixes every choice.
            seconds, events: When to end.
            stop: A `threading.Event` that ends it.
            progress: Told how many were sent.

        Raises:
            SettingsError: When the scenario or the rate is none.
        """
        import threading

        from rtap_lab.kafka.feeder import feed
        from rtap_lab.lab.simulating import Playing, checked_rate, run_id
        from rtap_lab.simulator.reading import scenario_named
        from rtap_lab.simulator.run import Run

        website = scenario_named(scenario)
        run = Run(website, seed, run=run_id(), rate=checked_rate(rate))
        stop = stop or threading.Event()
        addresses = self._ready()
        playing = Playing(self.state, run, stop.set)
        try:
            return feed(
                addresses.kafka,
                run,
                seconds=seconds,
                events=events,
                stop=stop,
                progress=progress,
                schema_id=(self.state.read("schema") or {}).get("id"),
                control=playing.control,
                told=playing.told,
            )
        finally:
            playing.end()

    @property
    def simulator(self) -> Controls:
        """The controls of the simulator that runs: rate, scenario, inject, pause, resume, stop."""
        from rtap_lab.lab.simulating import Controls

        return Controls(self.state)

    # --- slices ----------------------------------------------------------------------------------

    def record(
        self,
        source: str = LIVE,
        span: Duration | None = None,
        *,
        begin: Moment | None = None,
        end: Moment | None = None,
        name: str | None = None,
        stop: Any = None,
        progress: Callable[[int], None] = lambda n: None,
    ) -> Slice:
        """Record a piece of a source as a slice: every record as it is, garbage included.

        Args:
            source: "live" or a recorded source, or its topic: `events`, `events.weblog`.
            span: "30s" records what comes in the next 30 s; everything that is there when nothing is given.
            begin, end: From and to: instants of arrival, or the offset of each partition.
            name: The slice's name; made of source and time when left out.
            stop: A `threading.Event` that ends a span early.
            progress: Told the number of records so far.

        Raises:
            SourceError: When there is nothing to record, or the name is taken.
        """
        from rtap_lab.lab import slices

        span = span.total_seconds() if isinstance(span, timedelta) else span
        source = LIVE if source == events_topic(None) else source.removeprefix("events.")
        return slices.record(self, source, span, begin, end, name, progress, stop)

    def slices(self) -> dict[str, Slice]:
        """The recorded slices, by name."""
        from rtap_lab.lab import slices

        return slices.every(self)

    def slice(self, name: str) -> Slice:
        """A recorded slice.

        Raises:
            SourceError: When there is none of that name.
        """
        from rtap_lab.lab import slices

        return slices.named(self, name)

    def import_slice(self, path: str | Path, name: str | None = None) -> Slice:
        """Take a slice's file into this lab, its digest checked.

        Raises:
            SourceError: When it is not a slice, is damaged, or the name is taken.
        """
        from rtap_lab.lab import slices

        return slices.imported(self, path, name)

    # --- jobs and answers ------------------------------------------------------------------------

    def run_standard(
        self,
        source: str = LIVE,
        *,
        gap: Duration | None = None,
        within: Duration | None = None,
        bound: Duration | None = None,
        delivery: str | None = None,
        timeout: float = 1800,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> dict[str, Any]:
        """Run the standard job. On a recorded source it is bounded: waits for the end, closes every window.

        Raises:
            JobError: When Flink refuses it or it fails.
        """
        runs = self.runs
        runs.wish(source, job_changes(gap, within, bound, delivery), anew=source != LIVE)
        run = runs.ensure(source)
        deadline = time.monotonic() + timeout
        total = 0
        if source != LIVE:
            total = sum(Topics(self._ready().kafka).ends([events_topic(source)]).values())
        while run["state"] != ("finished" if source != LIVE else "running"):
            if time.monotonic() > deadline:
                raise JobError(f"flink: the standard job on {source} took more than {timeout:.0f} s")
            time.sleep(0.2)
            if total:
                done = Topics(self._ready().kafka).committed(group(source), events_topic(source))
                progress(sum(done.values()), total)
            run = runs.ensure(source)
        return run

    def rows(self, query: str, source: str = LIVE) -> list[Row]:
        """The rows of a query from the store, sorted by time, then keys; instants are RFC 3339 texts.

        Waits until the writer has caught up with the topic.
        """
        shape = query_named(query)
        if source != LIVE and source not in self.sources():
            raise SourceError(f"there is no recorded source {source!r}", hint="`rtap sources list`")
        store = self.store()
        try:
            if source in self.runs.all():
                self._verifier(store).await_store(self._subject(source), 60)
            found = store.rows(query, source)
        finally:
            store.close()
        return in_order(shape, found)

    def results(self, query: str, source: str = LIVE) -> pd.DataFrame:
        """The rows of a query from the store as a DataFrame; instants are UTC timestamps."""
        return as_frame(query_named(query), self.rows(query, source))

    def digest(self, source: str = LIVE) -> str:
        """SHA-256 of all rows of all queries of a source: equal for equal answers."""
        hashed = hashlib.sha256()
        for query in STANDARD:
            hashed.update(f"{query} {json.dumps(self.rows(query, source))}".encode())
        return hashed.hexdigest()

    def _subject(self, source: str) -> Any:
        from rtap_lab.monitoring.verification import Subject

        run = self.runs.get(source)
        files = self.sources().get(source, {"files": {}})["files"]
        refused = sum(facts["rejected"] for facts in files.values())
        return Subject(
            source,
            run["run"],
            JobParameters.from_json(run["parameters"]),
            self.runs.topics(source),
            run["results_from"],
            refused,
            frozenset(digest[:24] for digest in files),
        )

    def _verifier(self, store: Store) -> Any:
        from rtap_lab.monitoring.verification import Verifier

        return Verifier(self._ready().kafka, store)

    def verify(self, source: str = LIVE, *, progress: Callable[[int], None] = lambda n: None) -> Report:
        """Recompute every query from the topic and compare all rows, of topics and store.

        Raises:
            JobError: When there is no run, or a live one does not move.
        """
        with self._verifiable(source) as (verifier, subject, upto, later):
            report: Report = verifier.verify(subject, upto, progress=progress)
        if later:
            report.problems.append(
                f"{later} records came into {source} after this run: rtap jobs run standard --source {source}"
            )
        return report

    def score(self, source: str = LIVE, *, progress: Callable[[int], None] = lambda n: None) -> Score:
        """Compare every answer with what the simulated visitors really did.

        Of input that no simulator made, the accepted records stand for what happened, late ones included.

        Raises:
            JobError: When there is no run, or a live one does not move.
        """
        with self._verifiable(source) as (verifier, subject, upto, _):
            result: Score = verifier.score(subject, upto, self.truths(source), progress=progress)
        return result

    def truths(self, source: str = LIVE) -> list[Truth]:
        """The ground truth of the simulator's runs on a source, the earliest first."""
        from rtap_lab.lab.simulating import read_truth, truth_files

        return [read_truth(path) for path in truth_files(self.state, source)]

    @contextmanager
    def _verifiable(self, source: str) -> Iterator[tuple[Any, Any, Any, int]]:
        """A verifier, the run, how far it can be compared, and how many records came after it."""
        from rtap_lab.monitoring.verification import Upto

        runs = self.runs
        run = runs.get(source)
        subject = self._subject(source)
        store = self.store()
        try:
            verifier = self._verifier(store)
            topic = events_topic(None if source == LIVE else source)
            later = 0
            if run["state"] in ("finished", "drained"):
                ends = {(topic, int(p)): end for p, end in run["ends"].items()}
                if run["state"] == "finished":
                    now = verifier.topics.ends([topic], committed=True)
                    later = sum(now.values()) - sum(ends.values())
                verifier.await_store(subject, 60)
                upto = Upto(ends, None)
            else:
                active = runs.rest.active(runs.name(run))
                if run["state"] != "running" or not active:
                    raise JobError(
                        f"verify: the standard job on {source} is {run['state']}: "
                        "there is no watermark to compare up to",
                        hint="`rtap jobs run standard` continues it",
                    )

                def checkpoints() -> int:
                    # the job may be resubmitted meanwhile
                    current = runs.rest.active(runs.name(run))
                    if not current:
                        return 0
                    return int(runs.rest.checkpoints(current[0])["counts"]["completed"])

                upto = verifier.live_upto(subject, group(source), checkpoints)
            yield verifier, subject, upto, later
        finally:
            store.close()

    def sql(
        self, statement: str, *, source: str = LIVE, seconds: float = 10, rows: int = 100
    ) -> tuple[list[str], list[Row], str]:
        """Run a SQL query through the gateway, bounded in time and rows.

        `events` is the counted events of the source, `events_raw` its topic as it is.

        Returns:
            Columns, rows, and why it ended: "complete", "rows" or "seconds".

        Raises:
            StatementError: With Flink's reason.
        """
        from rtap_lab.lab.adhoc import query

        return query(self, statement, source=source, seconds=seconds, rows=rows)

    def frame(self, statement: str, **options: Any) -> pd.DataFrame:
        """The same as a DataFrame."""
        import pandas as pd

        columns, rows, why = self.sql(statement, **options)
        found = pd.DataFrame(rows, columns=columns)
        found.attrs["ended_by"] = why
        return found

    def table_environment(self, source: str = LIVE) -> Any:
        """A PyFlink `TableEnvironment` on the lab's cluster, with the source's `events` and `events_raw`.

        For Table API programs and Python functions; it starts a JVM in this process, which SQL through
        `sql` does not need.
        """
        from rtap_lab.flink.session import table_environment
        from rtap_lab.lab.adhoc import statements
        from rtap_lab.lab.daemon import settings_of
        from rtap_lab.stack.components import jars
        from rtap_lab.stack.java import find_java

        connector = [path for path in jars("flink") if "connector" in path.name]
        return table_environment(
            self._ready().url("flink"),
            statements(self, source),
            java=find_java(settings_of(self.state).java),
            jars=connector,
        )

    def watch(self, *queries: str, source: str = LIVE, stop: Any = None) -> Iterator[dict[str, Any]]:
        """Yield snapshots and updates of queries from the hub, for ever or until `stop` is set."""
        from rtap_lab.live.client import watch

        for name in queries:
            query_named(name)
        return watch(self._ready().hub, queries, source=source, stop=stop)

    @property
    def dashboard(self) -> str:
        """The live dashboard's address."""
        return f"{self._ready().url('dashboard')}/app"

    def __repr__(self) -> str:
        return f"Lab({str(self.state.folder)!r})"

    def _repr_html_(self) -> str:
        from rtap_lab.lab.status import as_html

        return as_html(self)


def in_order(shape: Query, rows: list[Row]) -> list[Row]:
    """Rows sorted by time, then keys, with their columns in order; instants as RFC 3339 texts."""
    times = ["window_end", "window_start"] if shape.windowed else [shape.time_column]
    order = [*times, *shape.keys]
    rows = sorted(rows, key=lambda row: [(row[name] is not None, row[name]) for name in order])
    moments = {name for name, kind in shape.columns.items() if kind == "time"}
    return [
        {
            name: instant_text(row[name]) if name in moments and row[name] is not None else row[name]
            for name in shape.columns
        }
        for row in rows
    ]


def as_frame(shape: Query, rows: list[Row]) -> pd.DataFrame:
    """Such rows as a DataFrame; instants are UTC timestamps."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(shape.columns))
    for name, kind in shape.columns.items():
        if kind == "time":
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


def as_text(columns: list[str], rows: list[Row], form: str) -> str:
    """Rows as "csv" or "json" text."""
    if form == "json":
        import orjson

        return orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode()
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")
