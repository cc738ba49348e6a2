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
from typing import TYPE_CHECKING, Any

from rtap_lab.errors import JobError, SettingsError, SourceError
from rtap_lab.events.codec import encode
from rtap_lab.kafka.files import Format, check_format, lines_of, open_input, read_line
from rtap_lab.kafka.importer import Imported
from rtap_lab.lab.core import Duration, Row, as_frame, in_order, job_changes
from rtap_lab.lab.simulating import beside, read_truth
from rtap_lab.settings import JobParameters, source_name
from rtap_lab.streams.engine import Definition, Engine, described, rows_of
from rtap_lab.streams.fates import Event, Judge, Judged, Place
from rtap_lab.streams.queries import STANDARD, Query, normal, query_named
from rtap_lab.streams.standard import definitions, standard_rows

if TYPE_CHECKING:
    import pandas as pd

    from rtap_lab.monitoring.scoring import Score
    from rtap_lab.simulator.truth import Truth

LIVE = "live"
NOT_FLINK = "offline: computed by the reference engine in this process, not by Flink"


@dataclass
class _Source:
    parameters: JobParameters
    records: list[tuple[bytes, Place]] = field(default_factory=list)
    """In the order of their arrival; one partition."""
    files: dict[str, str] = field(default_factory=dict)
    """Names by digest."""
    latest_ms: int = 0
    disorder_ms: int = 0
    refused: list[Row] = field(default_factory=list)
    """Lines that are no event: file, line, reason."""
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

    def sources(self) -> dict[str, Any]:
        """The recorded sources: their files, events and disorder."""
        return {
            name: {
                "files": list(each.files.values()),
                "events": len(each.records),
                "refused": len(each.refused),
                "disorder_ms": each.disorder_ms,
            }
            for name, each in self._sources.items()
            if name != LIVE
        }

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

    def _import(self, paths: list[str], form: Format, name: str | None, progress: Callable[[int], None]) -> Imported:
        began = time.monotonic()
        name = name or Path(paths[0].removesuffix(".gz")).stem.lower()
        source_name(name, reserved=frozenset(STANDARD))
        into = self._sources.get(name) or _Source(JobParameters())
        result = Imported(name)
        now_ms = time.time_ns() // 1_000_000
        for path in paths:
            stream, digest = open_input(path)
            with stream:
                if form == "access-log":
                    check_format(stream, path)
                if digest in into.files:
                    result.already.append(path)
                    continue
                into.files[digest] = Path(path).name
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
                    into.disorder_ms = max(into.disorder_ms, into.latest_ms - event["event_time"])
                    value = event["bytes"] if "bytes" in event else encode(event)
                    into.records.append((value, Place(0, len(into.records), into.latest_ms)))
                    result.imported += 1
                    if result.read % 2000 == 0:
                        progress(result.read)
        into.parameters = replace(into.parameters, bound_ms=into.disorder_ms + 1)
        self._sources[name] = into
        result.disorder_ms = into.disorder_ms
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
        from rtap_lab.kafka.slice_files import read

        facts, records = read(Path(path))
        name = source_name(source or facts.name, reserved=frozenset(STANDARD))
        if name in self._sources:
            raise SourceError(f"there is a source {name!r} already", hint="give source= another name")
        of = _Source(
            JobParameters(bound_ms=facts.bound_ms), disorder_ms=facts.bound_ms - 1, latest_ms=facts.last_ms or 0
        )
        of.files[facts.digest] = Path(path).name
        of.records = [(r.value or b"", Place(0, n, r.timestamp_ms)) for n, r in enumerate(records)]
        self._sources[name] = of
        return len(records)

    def remove_source(self, source: str) -> None:
        """Forget a recorded source.

        Raises:
            SourceError: When there is none of that name.
        """
        self._source(source if source != LIVE else "")
        del self._sources[source]
        self._truths.pop(source, None)

    def simulate(
        self, scenario: str = "brisk", *, seed: int = 1, seconds: float | None = None, events: int | None = None
    ) -> int:
        """Let a simulated website send events onto the live source, at once; how many messages came.

        Args:
            scenario: A packaged scenario's name, or a YAML file.
            seed: Fixes every choice.
            seconds: Of the scenario's own time; 60 when neither is given.
            events: Messages.
        """
        from rtap_lab.simulator.reading import scenario_named
        from rtap_lab.simulator.run import Run, written
        from rtap_lab.simulator.scenario import START_MS
        from rtap_lab.simulator.truth import Truth

        if seconds is None and events is None:
            seconds = 60
        live = self._sources[LIVE]
        self._runs += 1
        sent = 0
        begin = max(START_MS, live.latest_ms + 1)
        run = Run(scenario_named(scenario), seed, run=str(self._runs), zero_ms=begin)
        for batch in written(run, events=events, seconds=seconds):
            for value, due_ns in zip(batch.values().to_pylist(), batch.due_ns.tolist(), strict=True):
                live.latest_ms = begin + due_ns // 1_000_000
                live.records.append((value, Place(0, len(live.records), live.latest_ms)))
            sent += len(batch)
        self._truths.setdefault(LIVE, []).append(Truth(run.manifest(ended=True)))
        return sent

    def _source(self, name: str) -> _Source:
        if name not in self._sources:
            known = ", ".join(self._sources)
            raise SourceError(
                f"there is no source {name!r} in this offline lab", hint=f"there are: {known}; import one"
            )
        return self._sources[name]

    # --- answers ---------------------------------------------------------------------------------

    def run_standard(
        self,
        source: str = LIVE,
        *,
        gap: Duration | None = None,
        within: Duration | None = None,
        bound: Duration | None = None,
    ) -> dict[str, Any]:
        """Set the standard queries' parameters on a source; answers are computed when asked for."""
        into = self._source(source)
        into.parameters = replace(into.parameters, **job_changes(gap, within, bound, None))
        return {"source": source, "state": "finished", "engine": "reference", "parameters": into.parameters.as_json()}

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
        """The rows of a standard query, every window closed, as `Lab.rows`."""
        shape = query_named(query)
        definition = definitions(self._source(source).parameters)[query]
        return self._rows(shape, definition, source)

    def _rows(self, shape: Query, definition: Definition, source: str) -> list[Row]:
        found = rows_of(definition, self._counted(source))
        numbers = {name for name, kind in shape.columns.items() if kind == "number"}
        for row in found:  # as the store keeps them
            row |= {n: round(row[n], 6) for n in numbers if row[n] is not None}
        return in_order(shape, found)

    def results(self, query: str, source: str = LIVE) -> pd.DataFrame:
        """The rows of a standard query as a DataFrame, as `Lab.results`."""
        return self._marked(as_frame(query_named(query), self.rows(query, source)))

    def preview(self, definition: Definition, source: str = LIVE) -> pd.DataFrame:
        """The rows of a query of one's own.

        Args:
            definition: A `Windowed` or `Matched` query.
            source: Whose events.
        """
        shape = described("preview", definition)
        return self._marked(as_frame(shape, self._rows(shape, definition, source)))

    @staticmethod
    def _marked(frame: pd.DataFrame) -> pd.DataFrame:
        frame.attrs["engine"] = NOT_FLINK
        return frame

    def watch(
        self, *queries: str, source: str = LIVE, speed: float | None = None, stop: Any = None
    ) -> Iterator[dict[str, Any]]:
        """Yield what the hub would send while the source's records arrive: a snapshot, then updates.

        Args:
            queries: Standard queries.
            source: Whose records.
            speed: How much faster than they arrived; None: as fast as it goes.
            stop: A `threading.Event` that ends it.
        """
        of = self._source(source)
        shapes = {name: query_named(name) for name in queries}
        if speed is not None and not speed > 0:
            raise SettingsError(f"speed {speed!r}: a factor above 0, or None")
        every = definitions(of.parameters)
        engine = Engine({n: every[n] for n in shapes}, bound_ms=of.parameters.bound_ms, partitions=[0])
        sequence = dict.fromkeys(shapes, 0)
        for name in shapes:
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
                        "rows": in_order(shapes[name], due),
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

    def verify(self, source: str = LIVE) -> None:
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
        from rtap_lab.monitoring.scoring import score
        from rtap_lab.monitoring.verification import Subject

        of = self._source(source)
        subject = Subject(source, "offline", of.parameters, {}, {}, len(of.refused))
        rows = standard_rows(self._counted(source), of.parameters)
        found = {
            name: [normal(query, dict(row)) for row in self.rows(name, source)] for name, query in STANDARD.items()
        }
        began = time.monotonic()
        result = score(subject, self._truths.get(source, []), self._judged(source), rows, found)
        result.seconds = time.monotonic() - began
        return result

    def truths(self, source: str = LIVE) -> list[Truth]:
        """The ground truth of the simulator's runs on a source, the earliest first."""
        return list(self._truths.get(source, []))

    def sql(self, statement: str, **options: Any) -> None:
        """SQL needs Flink.

        Raises:
            JobError: Always.
        """
        raise JobError(
            "an offline lab has no SQL: it has no Flink", hint="preview(Windowed(…)) answers here; SQL needs Lab.up()"
        )

    def __repr__(self) -> str:
        return f"OfflineLab({', '.join(self._sources)}; {NOT_FLINK})"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{n}</td><td>{len(s.records)}</td></tr>" for n, s in self._sources.items())
        return f"<p><b>Offline lab</b>, {NOT_FLINK}</p><table><tr><th>source</th><th>records</th></tr>{rows}</table>"
