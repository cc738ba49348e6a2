"""A lab in this process, without a stack: the same sources, queries and answers on the reference engine.

For lessons without a stack, unit tests and quick tries. It is not Flink, and says so wherever it shows itself.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rtap_lab.errors import JobError, SettingsError, SourceError
from rtap_lab.events.codec import encode
from rtap_lab.jobs.model import Run
from rtap_lab.lab.exercises import Exercise, exercise
from rtap_lab.lab.rows import Row, as_frame
from rtap_lab.lab.scenarios import load_scenario
from rtap_lab.lab.truth import beside, read_truth
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.query import Catalog, Definition, Query
from rtap_lab.queries.query import query as make_query
from rtap_lab.queries.standard import JOB, standard_queries
from rtap_lab.recordings.imported import Imported
from rtap_lab.recordings.inputs import LineFormat, check_format, lines_of, open_input, read_line
from rtap_lab.recordings.slices import read as read_slice
from rtap_lab.recordings.sources import ImportedFile, Source, Sources
from rtap_lab.reference.engine import Engine, rows_of
from rtap_lab.reference.fates import Event, Judge, Judged, Place
from rtap_lab.settings import LIVE, JobOptions, JobParameters, job_changes, source_name
from rtap_lab.simulator.fed import Fed
from rtap_lab.simulator.parsing import with_visitors
from rtap_lab.simulator.playback import Playback, written
from rtap_lab.simulator.scenario import START_MS
from rtap_lab.simulator.truth import Truth
from rtap_lab.tables import Table
from rtap_lab.verification.report import Report, Subject
from rtap_lab.verification.scoring import Score, score

if TYPE_CHECKING:
    import pandas as pd

NOT_FLINK = "offline: computed by the reference engine in this process, not by Flink"


@dataclass
class _Source:
    parameters: JobParameters
    records: list[tuple[bytes, Place]] = field(default_factory=list)
    """In the order of their arrival; one partition."""
    facts: Source = field(default_factory=lambda: Source("jsonl"))
    latest_ms: int = 0
    refused: list[Row] = field(default_factory=list)
    """Lines that are no event: file, line, reason."""
    queries: dict[str, Query] = field(default_factory=dict)
    """Queries of one's own."""
    judged: tuple[int, int, list[Judged]] | None = None
    """Fates of so many records under such a bound, once they were asked for."""


class OfflineLab:
    """A lab without a stack; make it with `Lab.offline()`. Nothing outlives this process."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {LIVE: _Source(JobParameters())}
        self._key = secrets.token_bytes(32)
        self._runs = 0
        self._truths: dict[str, list[Truth]] = {}

    # --- sources ---------------------------------------------------------------------------------

    def sources(self) -> Sources:
        """The recorded sources."""
        return {name: each.facts for name, each in self._sources.items() if name != LIVE}

    @property
    def catalog(self) -> Catalog:
        """The packaged queries, and those that were run here."""
        return packaged().with_queries(each for of in self._sources.values() for each in of.queries.values())

    def import_access_log(
        self, *paths: str | Path, source: str | None = None, progress: Callable[[int], None] = lambda n: None
    ) -> Imported:
        """Read access logs in the combined format into a recorded source, as `Lab.import_access_log`.

        Raises:
            SourceError: When a file cannot be read or is not in the combined format.
        """
        return self._import(list(map(str, paths)), "access-log", source, progress)

    def import_jsonl(
        self, *paths: str | Path, source: str | None = None, progress: Callable[[int], None] = lambda n: None
    ) -> Imported:
        """Read events of the model, one JSON object a line, as `Lab.import_jsonl`.

        Raises:
            SourceError: When a file cannot be read.
        """
        return self._import(list(map(str, paths)), "jsonl", source, progress)

    def _import(
        self, paths: list[str], form: LineFormat, name: str | None, progress: Callable[[int], None]
    ) -> Imported:
        began = time.monotonic()
        name = name or Path(paths[0].removesuffix(".gz")).stem.lower()
        source_name(name, reserved=frozenset(self.catalog.names))
        into = self._sources.get(name) or _Source(JobParameters(), facts=Source(form))
        result = Imported(name)
        disorder, now_ms = into.facts.disorder_ms, time.time_ns() // 1_000_000
        for path in paths:
            stream, digest = open_input(path)
            with stream:
                if form == "access-log":
                    check_format(stream, path)
                if digest in into.facts.files:
                    result.already.append(path)
                    continue
                before = (result.read, result.imported, result.rejected)
                if path != "-" and beside(path).exists():
                    self._truths.setdefault(name, []).append(read_truth(beside(path)))
                for line in lines_of(stream):
                    result.read += 1
                    event = read_line(line, form, digest, self._key, now_ms)
                    if isinstance(event, str):
                        result.rejected += 1
                        result.reasons[event] = result.reasons.get(event, 0) + 1
                        into.refused.append({"file": Path(path).name, "line": line.number, "reason": event})
                        continue
                    into.latest_ms = max(into.latest_ms, event["event_time"])
                    disorder = max(disorder, into.latest_ms - event["event_time"])
                    value = event["bytes"] if "bytes" in event else encode(event)
                    into.records.append((value, Place(0, len(into.records), into.latest_ms)))
                    result.imported += 1
                    if result.read % 2000 == 0:
                        progress(result.read)
                counts = [n - b for n, b in zip((result.read, result.imported, result.rejected), before, strict=True)]
                files = into.facts.files | {digest: ImportedFile(Path(path).name, counts[0], counts[1], counts[2])}
                into.facts = Source(form, into.latest_ms, disorder, files)
        into.parameters = replace(into.parameters, bound_ms=into.facts.lateness_bound_ms)
        self._sources[name] = into
        result.disorder_ms = disorder
        result.seconds = time.monotonic() - began
        return result

    def import_slice(self, path: str | Path, source: str | None = None) -> int:
        """Take a recorded slice as a source: its records, arrival and bound; how many records came.

        Args:
            path: A file that `rtap slices export` wrote.
            source: The source's name; the slice's own when left out.

        Raises:
            SourceError: When it is not a slice, is damaged, or the name is taken.
        """
        facts, records = read_slice(Path(path))
        name = source_name(source or facts.name, reserved=frozenset(self.catalog.names))
        if name in self._sources:
            raise SourceError(f"there is a source {name!r} already", hint="give source= another name")
        replayed = ImportedFile(Path(path).name, len(records), len(records), 0)
        made = Source("slice", facts.last_ms, facts.bound_ms - 1, {facts.digest: replayed})
        of = _Source(JobParameters(bound_ms=facts.bound_ms), facts=made, latest_ms=facts.last_ms or 0)
        of.records = [(r.value or b"", Place(0, n, r.timestamp_ms)) for n, r in enumerate(records)]
        self._sources[name] = of
        return len(records)

    def remove_source(self, source: str) -> None:
        """Forget a recorded source.

        Raises:
            SourceError: When there is none of that name.
        """
        if source == LIVE:
            raise SourceError("the live source of an offline lab cannot be removed", hint="make another: Lab.offline()")
        self._source(source)
        del self._sources[source]
        self._truths.pop(source, None)

    def simulate(
        self,
        scenario: str = "brisk",
        *,
        visitors: float | None = None,
        seed: int = 1,
        seconds: float | None = None,
        events: int | None = None,
    ) -> Fed:
        """Let a simulated website send events onto the live source, at once.

        Args:
            scenario: A packaged scenario's name, or a YAML file.
            visitors: So many times the visitors; story time stays as it is.
            seed: Fixes every choice.
            seconds: Of the scenario's own time; 60 when neither is given.
            events: Messages.
        """
        if seconds is None and events is None:
            seconds = 60
        website = load_scenario(scenario)
        if visitors is not None:
            website = with_visitors(website, visitors)
        live = self._sources[LIVE]
        self._runs += 1
        fed, began = Fed(), time.monotonic()
        begin = max(START_MS, live.latest_ms + 1)
        playback = Playback(website, seed, run=str(self._runs), zero_ms=begin)
        for batch in written(playback, events=events, seconds=seconds):
            for value, due_ns in zip(batch.values().to_pylist(), batch.due_ns.tolist(), strict=True):
                live.latest_ms = begin + due_ns // 1_000_000
                live.records.append((value, Place(0, len(live.records), live.latest_ms)))
            fed.sent += len(batch)
        self._truths.setdefault(LIVE, []).append(Truth(playback.manifest(ended=True)))
        fed.seconds = time.monotonic() - began
        return fed

    def _source(self, name: str) -> _Source:
        if name not in self._sources:
            known = ", ".join(self._sources)
            raise SourceError(
                f"there is no source {name!r} in this offline lab", hint=f"there are: {known}; import one"
            )
        return self._sources[name]

    # --- answers ---------------------------------------------------------------------------------

    def run_standard(self, source: str = LIVE, **options: Unpack[JobOptions]) -> Run:
        """Set the standard queries' parameters on a source; answers are computed when asked for."""
        into = self._source(source)
        into.parameters = replace(into.parameters, **job_changes(**options))
        return self._run(JOB, source, list(standard_queries(into.parameters)))

    def run(
        self, name: str, definition: Definition, source: str = LIVE, *, title: str = "", **options: Unpack[JobOptions]
    ) -> Run:
        """Keep a query of one's own; its answers are computed when asked for."""
        into, asked = self._source(source), make_query(name, definition, title)
        if name in packaged():
            raise SettingsError(f"query {name!r}: the name is taken", hint="choose another name")
        into.parameters = replace(into.parameters, **job_changes(**options))
        into.queries[name] = asked
        return self._run(name, source, [asked])

    def _run(self, job: str, source: str, queries: list[Query]) -> Run:
        return Run(
            job=job,
            source=source,
            run="offline",
            parameters=self._source(source).parameters,
            queries=tuple(queries),
            results_from={},
            started=time.time(),
            state="finished",
        )

    def _query(self, name: str, source: str) -> Query:
        of = self._source(source)
        return packaged(of.parameters).with_queries(of.queries.values())[name]

    def _judged(self, source: str) -> list[Judged]:
        of = self._source(source)
        bound_ms = of.parameters.bound_ms
        if of.judged is None or of.judged[:2] != (len(of.records), bound_ms):
            judge = Judge(bound_ms)
            fates = [each for value, place in of.records for each in judge.judge(value, place)]
            of.judged = (len(of.records), bound_ms, fates)
        return of.judged[2]

    def _counted(self, source: str) -> list[Event]:
        return [each.event for each in self._judged(source) if each.fate == "counted" and each.event]

    def ledger(self, source: str = LIVE) -> dict[str, int]:
        """Read = counted + duplicate + late + rejected; ticks and lines refused at import beside it."""
        fates = Counter(each.fate for each in self._judged(source))
        return {
            "read": fates.total() - fates["tick"],
            "counted": fates["counted"],
            "duplicate": fates["duplicate"],
            "late": fates["late"],
            "rejected": fates["rejected"],
            "ticks": fates["tick"],
            "refused_lines": len(self._source(source).refused),
        }

    def refused(self, source: str) -> pd.DataFrame:
        """The lines that were refused at import: file, line, reason."""
        import pandas as pd

        return pd.DataFrame(self._source(source).refused, columns=["file", "line", "reason"])

    def events(self, source: str = LIVE) -> pd.DataFrame:
        """The counted events, in the order of arrival."""
        import pandas as pd

        names = list(Event.__slots__)
        frame = pd.DataFrame([[getattr(e, n) for n in names] for e in self._counted(source)], columns=names)
        frame["event_time"] = pd.to_datetime(frame["event_time"], unit="ms", utc=True)
        return frame

    def rows(self, query: str, source: str = LIVE) -> list[Row]:
        """The rows of a query, every window closed, as `Lab.rows`."""
        return self._rows(self._query(query, source), source)

    def _rows(self, query: Query, source: str) -> list[Row]:
        schema = query.schema
        # numbers as the store keeps them
        return schema.written([schema.normal(row) for row in rows_of(query.definition, self._counted(source))])

    def results(self, query: str, source: str = LIVE) -> pd.DataFrame:
        """The rows of a query as a DataFrame, as `Lab.results`."""
        return self._marked(as_frame(self._query(query, source).schema, self.rows(query, source)))

    def preview(self, definition: Definition, source: str = LIVE) -> pd.DataFrame:
        """The rows of a query that has no name yet.

        Args:
            definition: A window query or a pattern query; a pattern's rows get what tells its matches apart.
            source: Whose events.
        """
        asked = make_query("preview", definition)
        return self._marked(as_frame(asked.schema, self._rows(asked, source)))

    @staticmethod
    def _marked(frame: pd.DataFrame) -> pd.DataFrame:
        frame.attrs["engine"] = NOT_FLINK
        return frame

    def watch(
        self, *queries: str, source: str = LIVE, speed: float | None = None, stop: Any = None
    ) -> Iterator[dict[str, Any]]:
        """Yield what the hub would send while the source's records arrive: a snapshot, then updates.

        Args:
            queries: Names.
            source: Whose records.
            speed: How much faster than they arrived; None: as fast as it goes.
            stop: A `threading.Event` that ends it.
        """
        of = self._source(source)
        asked = {name: self._query(name, source) for name in queries}
        if speed is not None and not speed > 0:
            raise SettingsError(f"speed {speed!r}: a factor above 0, or None")
        definitions = {name: query.definition for name, query in asked.items()}
        engine = Engine(definitions, bound_ms=of.parameters.bound_ms, partitions=[0])
        sequence = dict.fromkeys(asked, 0)
        for name in asked:
            yield {"type": "snapshot", "channel": name, "source": source, "epoch": "offline", "seq": 0, "rows": []}

        def updates(rows: dict[str, list[Row]], arrival_ms: int) -> Iterator[dict[str, Any]]:
            for name, due in rows.items():
                if due:
                    sequence[name] += 1
                    yield {
                        "type": "update",
                        "channel": name,
                        "source": source,
                        "seq": sequence[name],
                        "prev_seq": sequence[name] - 1,
                        "rows": asked[name].schema.written(due),
                        "appended_ms": arrival_ms,
                        "received_ms": arrival_ms,
                    }

        began, first = time.monotonic(), of.records[0][1].arrival_ms if of.records else 0
        for record in of.records:
            if stop is not None and stop.is_set():
                return
            if speed is not None:
                wait = (record[1].arrival_ms - first) / 1000 / speed - (time.monotonic() - began)
                if wait > 0:
                    time.sleep(wait)
            yield from updates(engine.process([record])[1], record[1].arrival_ms)
        yield from updates(engine.close(), of.latest_ms)

    def verify(self, source: str = LIVE) -> Report:
        """There is nothing to compare: the reference engine itself answers here.

        Raises:
            JobError: Always.
        """
        raise JobError(
            f"an offline lab cannot verify {source!r}: its answers are the reference's own",
            hint="start a stack with Lab.up(), and let Flink answer",
        )

    def score(self, source: str = LIVE) -> Score:
        """Compare every answer with what the simulated visitors really did, as `Lab.score`."""
        of = self._source(source)
        queries = standard_queries(of.parameters)
        refused = len(of.refused)
        subject = Subject(JOB, source, "offline", of.parameters, queries, {}, {}, refused_lines=refused)
        began, events = time.monotonic(), self._counted(source)
        rows = {query.name: rows_of(query.definition, events) for query in queries}
        found = {q.name: [q.schema.normal(row) for row in self.rows(q.name, source)] for q in queries}
        result = score(subject, self._truths.get(source, []), self._judged(source), rows, found)
        result.seconds = time.monotonic() - began
        return result

    def truths(self, source: str = LIVE) -> list[Truth]:
        """The ground truth of the simulator's runs on a source, the earliest first."""
        return list(self._truths.get(source, []))

    def exercise(self, number: str) -> Exercise:
        """An exercise of the lessons; see `Lab.exercise`.

        Raises:
            SettingsError: When there is none of that number.
        """
        return exercise(number)

    def sql(self, statement: str, **options: Any) -> None:
        """SQL needs Flink.

        Raises:
            JobError: Always.
        """
        raise JobError(
            "an offline lab has no SQL: it has no Flink",
            hint="preview(WindowQuery(…)) answers here; SQL needs Lab.up()",
        )

    def __repr__(self) -> str:
        return f"OfflineLab({', '.join(self._sources)}; {NOT_FLINK})"

    def _repr_html_(self) -> str:
        table = Table(("source", "records"), [[name, len(each.records)] for name, each in self._sources.items()])
        return f"<p><b>Offline lab</b>, {NOT_FLINK}</p>{table._repr_html_()}"
