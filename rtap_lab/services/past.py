"""What the hub answers about the past: rows from the store, and from the log the counted events behind a row."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from rtap_lab.errors import LiveError
from rtap_lab.events.model import FUTURE_MS
from rtap_lab.events.times import instant_ms, instant_text
from rtap_lab.jobs.model import Run, run_of
from rtap_lab.kafka.clients import is_temporary, read_range
from rtap_lab.kafka.recorder import offsets_at
from rtap_lab.live.protocol import Events, History
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
MOST_READ = 400_000
"""Records that are read for one request: what lies beyond is said to be missing."""

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
        self._one_at_a_time = {History: threading.Lock(), Events: threading.Lock()}
        """A lock for each kind: a look into the log may take seconds, and the store's rows are what a page waits for."""

    def __call__(self, asked: History | Events) -> dict[str, Any]:
        """The answer, without its type and ref.

        Raises:
            LiveError: When no run answers the query, or the request is none.
        """
        run = run_of(self.process.runs(), asked.channel, asked.source)
        if run is None:  # what is no name of ours does not reach the store
            raise LiveError(f"no run answers {asked.channel!r} on {asked.source!r}")
        query = next(each for each in run.queries if each.name == asked.channel)
        with self._one_at_a_time[type(asked)]:
            try:
                return self._rows(asked, query) if isinstance(asked, History) else self._events(asked, query, run)
            except Exception as error:
                if not is_temporary(error):
                    raise
                raise LiveError(f"store or log do not answer now: {error}") from error  # the client may ask again

    def _rows(self, asked: History, query: Query) -> dict[str, Any]:
        in_time = -MOST_MS < asked.begin_ms < asked.end_ms < MOST_MS
        if not in_time or not 1 <= asked.limit <= MOST_ROWS:
            raise LiveError(f"history: begin_ms is before end_ms, both are times, and limit is 1 to {MOST_ROWS}")
        span = (asked.begin_ms, asked.end_ms)
        with closing(self.process.site.open_store()) as store:
            rows = store.rows(query, asked.source, between=span, most=asked.limit + 1)
        rows.sort(key=query.schema.point_time_ms)
        return {"rows": query.schema.written(rows[-asked.limit :]), "more": len(rows) > asked.limit}

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


def _shown(event: Event) -> dict[str, Any]:
    """An event as the contract writes it; without what it does not have."""
    told = {name: value for name, value in asdict(event).items() if value is not None}
    return told | {"event_time": instant_text(event.event_time)}
