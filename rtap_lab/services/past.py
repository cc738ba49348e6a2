"""What the hub answers about the past: rows from the store, and from the log the counted events behind a row."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

from rtap_lab.errors import LiveError
from rtap_lab.events.codec import decode
from rtap_lab.events.model import FUTURE_MS, STRING_FIELDS
from rtap_lab.events.times import instant_ms, instant_text
from rtap_lab.jobs.model import Run, run_of, runs_on
from rtap_lab.kafka.clients import Record, is_temporary, read_range
from rtap_lab.kafka.recorder import offsets_at
from rtap_lab.live.protocol import Events, History, Latest, Question
from rtap_lab.queries.query import Query, WindowQuery
from rtap_lab.reference.conditions import predicate
from rtap_lab.reference.fates import Event, Judge, Place
from rtap_lab.reference.fields import reader
from rtap_lab.services.process import ServiceProcess
from rtap_lab.settings import LIVE

MOST_MS = 2**53
MOST_ROWS = 50_000
"""Rows that one request may ask for."""
MOST_EVENTS = 1_000
"""Events that one request may ask for."""
MOST_LATEST = 100
"""Newest events that one request may ask for."""
MOST_TEXT = 300
"""Characters that are shown of a field of these: what is refused for its size is among them."""
MOST_READ = 400_000
"""Records that are read for one request: what lies beyond is said to be missing."""

LATEST_S = 0.5
"""For so long the newest events are told again: all who look share them."""
LATEST_READ = 200
"""Records of each partition that are looked at for the newest events: ticks are among them."""

Places = dict[tuple[str, int], int]
"""Offsets by topic and partition."""
Test = Callable[[Event], bool]


def behind(query: Query, row: Mapping[str, Any]) -> tuple[int, int, Test]:
    """Which events a row is made of: their times, [begin, end) in milliseconds, and what else holds of them. Pure.

    Of a match these are all events of its keys (a visitor's path) from the earliest that can belong to it on.

    Raises:
        LiveError: When it is no row of this query.
    """
    schema, definition = query.schema, query.definition
    needed = ("window_start", "window_end") if schema.windowed else (schema.time_column,)
    given = {name: row.get(name) for name in (*needed, *definition.keys)}
    times = {name: instant_ms(value) for name in needed if isinstance(value := given[name], str)}
    if len(times) < len(needed) or None in times.values():
        raise LiveError(f"this is no row of {query.name}: it needs {', '.join(needed)}, as the row has them")
    found = {**row, **times}
    wanted = [(reader(field), given[column]) for column, field in definition.keys.items()]
    end_ms = found["window_end"] if schema.windowed else schema.point_time_ms(found) + 1
    where = (
        predicate(definition.where) if isinstance(definition, WindowQuery) and definition.where is not None else None
    )

    def test(event: Event) -> bool:
        return all(read(event) == value for read, value in wanted) and (where is None or where(event, {}) is True)

    return schema.begin_ms(found), end_ms, test


class Past:
    """Answers questions about the past, one at a time.

    Args:
        process: The hub's process.
    """

    def __init__(self, process: ServiceProcess) -> None:
        self.process = process
        self._one_at_a_time = {kind: threading.Lock() for kind in (History, Events, Latest)}
        """A lock for each kind: a look into the log may take seconds, and the store's rows are what a page waits for."""
        self._newest: dict[str, tuple[float, list[dict[str, Any]]]] = {}
        """When the newest events of a source were read, and which they were."""

    def __call__(self, asked: Question) -> dict[str, Any]:
        """The answer, without its type and ref.

        Raises:
            LiveError: When no run answers the query, or the request is none.
        """
        answer = self._answering(asked)
        with self._one_at_a_time[type(asked)]:
            try:
                return answer()
            except Exception as error:
                if not is_temporary(error):
                    raise
                raise LiveError(f"store or log do not answer now: {error}") from error  # the client may ask again

    def _answering(self, asked: Question) -> Callable[[], dict[str, Any]]:
        """What answers it: what is no name of ours does not reach store or log."""
        runs = self.process.runs()
        if isinstance(asked, Latest):
            on_source = runs_on(runs, asked.source)
            if not on_source:
                raise LiveError(f"no run reads {asked.source!r}")
            return partial(self._latest, asked, on_source[0].events)
        run = run_of(runs, asked.channel, asked.source)
        if run is None:
            raise LiveError(f"no run answers {asked.channel!r} on {asked.source!r}")
        query = next(each for each in run.queries if each.name == asked.channel)
        return (
            partial(self._rows, asked, query, run)
            if isinstance(asked, History)
            else partial(self._events, asked, query, run)
        )

    def _latest(self, asked: Latest, topic: str) -> dict[str, Any]:
        if not 1 <= asked.limit <= MOST_LATEST:
            raise LiveError(f"latest: limit is 1 to {MOST_LATEST}")
        at, found = self._newest.get(asked.source, (0.0, []))
        if time.monotonic() - at > LATEST_S:
            topics = self.process.site.topics
            ends, first = topics.ends([topic], committed=True), topics.starts([topic])
            starts = {place: max(first[place], end - LATEST_READ) for place, end in ends.items()}
            records = read_range(self.process.site.endpoints.kafka, starts, ends)
            found = sorted(
                (each for record in records for each in arrived(record)), key=itemgetter("arrival"), reverse=True
            )
            self._newest[asked.source] = (time.monotonic(), found[:MOST_LATEST])
        return {"events": found[: asked.limit]}

    def _rows(self, asked: History, query: Query, run: Run) -> dict[str, Any]:
        in_time = -MOST_MS < asked.begin_ms < asked.end_ms < MOST_MS
        if not in_time or not 1 <= asked.limit <= MOST_ROWS:
            raise LiveError(f"history: begin_ms is before end_ms, both are times, and limit is 1 to {MOST_ROWS}")
        span = (asked.begin_ms, asked.end_ms)
        with closing(self.process.site.open_store()) as store:
            # before the rows: what the writer adds meanwhile is more than is said
            upto = store.offsets().get(run.topics[query.name], 0) if store.runs().get(run.key) == run.run else 0
            rows = store.rows(query, asked.source, between=span, most=asked.limit + 1) if upto else []
        rows.sort(key=query.schema.point_time_ms)
        return {"rows": query.schema.written(rows[-asked.limit :]), "more": len(rows) > asked.limit, "upto": upto}

    def _events(self, asked: Events, query: Query, run: Run) -> dict[str, Any]:
        if not 1 <= asked.limit <= MOST_EVENTS:
            raise LiveError(f"events: limit is 1 to {MOST_EVENTS}")
        begin_ms, end_ms, test = behind(query, asked.row)
        found: list[Event] = []
        starts, ends, expired = self._range(run, begin_ms, end_ms)
        reason = "older records are in the log no longer" if expired else ""
        for read, event in enumerate(self._counted(run, starts, ends)):
            if read >= MOST_READ:
                reason = f"more than {MOST_READ:,} records would have to be read"
                break
            if event is not None and begin_ms <= event.event_time < end_ms and test(event):
                found.append(event)
        shown = heapq.nsmallest(asked.limit, found, key=attrgetter("event_time", "event_id"))
        return {
            "events": [_shown(event) for event in shown],
            "found": len(found),
            "complete": not reason,
            "reason": reason,
        }

    def _range(self, run: Run, begin_ms: int, end_ms: int) -> tuple[Places, Places, bool]:
        """Where the events of a span are in the log, and whether some of them may have expired.

        What is counted arrived at most the bound after its time, and live at most so long before it as a clock may be ahead.
        """
        topics = self.process.site.topics
        ahead_ms = FUTURE_MS if run.source == LIVE else 0
        starts = offsets_at(topics, run.events, begin_ms - ahead_ms)
        ends = offsets_at(topics, run.events, end_ms + run.parameters.bound_ms + 1)
        first = topics.starts([run.events])
        return starts, ends, any(offset > 0 and starts[place] <= offset for place, offset in first.items())

    def _counted(self, run: Run, starts: Places, ends: Places) -> Iterator[Event | None]:
        """The counted events of a piece of the log; None for each other record that was read."""
        judge = Judge(run.parameters.bound_ms)
        for record in read_range(self.process.site.endpoints.kafka, starts, ends):
            place = Place(record.partition() or 0, record.offset() or 0, record.timestamp()[1])
            for each in judge.judge(record.value(), place):
                yield each.event if each.fate == "counted" else None


def arrived(record: Record) -> list[dict[str, Any]]:
    """The events of a record as they stand in the log, whatever becomes of them; no ticks."""
    place, arrival = f"{record.partition()}-{record.offset()}", instant_text(record.timestamp()[1])
    found = []
    for each in decode(record.value()):
        if not each.is_tick:
            told = {name: text[:MOST_TEXT] for name in STRING_FIELDS if (text := getattr(each, name)) is not None}
            when = {"event_time": instant_text(each.event_time)} if each.event_time is not None else {}
            found.append(told | when | {"arrival": arrival, "place": place})
    return found


def _shown(event: Event) -> dict[str, Any]:
    """An event as the contract writes it; without what it does not have."""
    told = {name: value for name, value in asdict(event).items() if value is not None}
    return told | {"event_time": instant_text(event.event_time)}
