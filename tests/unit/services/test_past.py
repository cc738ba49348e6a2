"""Which events a row is made of: as the reference engine counts them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from rtap_lab.errors import LiveError
from rtap_lab.events.model import TICK_RECORD
from rtap_lab.events.times import instant_text
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.query import Query
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event
from rtap_lab.services.past import MOST_TEXT, arrived, behind

SEED = 7
QUERIES = packaged()


def shop() -> list[Event]:
    """Some visitors of an hour."""
    print("seed", SEED)
    dice = random.Random(SEED)
    kinds = [("page_view", None)] * 5 + [("custom", "add_to_cart"), ("conversion", "purchase")]
    found = []
    for n in range(600):
        kind, name = dice.choice(kinds)
        at = 1_767_261_600_000 + dice.randrange(3600) * 1000
        page = dice.choice(["/", "/product/a", None]) if kind == "page_view" else None
        found.append(Event(f"e{n}", kind, at, f"v{dice.randrange(8)}", name, page))
    return found


def as_json(query: Query, row: dict[str, Any]) -> dict[str, Any]:
    """A row as the hub has it: instants as texts."""
    moments = {name for name, kind in query.schema.columns.items() if kind == "time"}
    return {
        name: instant_text(value) if name in moments and value is not None else value for name, value in row.items()
    }


def events_of(query: Query, row: dict[str, Any], events: Iterable[Event]) -> list[Event]:
    begin_ms, end_ms, test = behind(query, as_json(query, row))
    return [event for event in events if begin_ms <= event.event_time < end_ms and test(event)]


@pytest.mark.parametrize(
    ("name", "measure"), [("page_views_1m", "views"), ("traffic_hop", "views"), ("conversions_1m", "conversions")]
)
def test_a_count_is_the_number_of_events_behind_it(name: str, measure: str) -> None:
    events = shop()
    rows = rows_of(QUERIES[name].definition, events)
    assert len(rows) > 10
    for row in rows:
        assert len(events_of(QUERIES[name], row, events)) == row[measure], row


def test_behind_a_match_lies_the_visitors_path() -> None:
    events = shop()
    query = QUERIES["cart_to_purchase"]
    rows = rows_of(query.definition, events)
    assert rows
    for row in rows:
        path = events_of(query, row, events)
        assert {event.visitor_id for event in path} == {row["visitor_id"]}
        assert {"add_to_cart", "purchase"} <= {event.name for event in path}


@pytest.mark.parametrize("row", [{}, {"window_start": 1, "window_end": 2}, {"window_start": "x", "window_end": "y"}])
def test_what_is_no_row_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(LiveError, match="this is no row of page_views_1m"):
        behind(QUERIES["page_views_1m"], row)


class Message:
    """A record of the log."""

    def __init__(
        self, value: bytes | None, *, partition: int = 3, offset: int = 7, arrival_ms: int = 1_767_261_600_040
    ):
        self._value, self._partition, self._offset, self._arrival_ms = value, partition, offset, arrival_ms

    def value(self) -> bytes | None:
        return self._value

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, self._arrival_ms


def test_what_arrives_is_told_as_it_stands_whatever_becomes_of_it() -> None:
    good = b'{"event_id":"a","event_type":"page_view","event_time":"2026-01-01T10:00:00.000Z","visitor_id":"v","page":"/x"}'
    (told,) = arrived(Message(good))
    place = {"arrival": "2026-01-01T10:00:00.040Z", "place": "3-7"}
    assert told == place | {
        "event_id": "a",
        "event_type": "page_view",
        "event_time": "2026-01-01T10:00:00.000Z",
        "visitor_id": "v",
        "page": "/x",
    }
    assert arrived(Message(b'{"event_id": "without the rest"}')) == [place | {"event_id": "without the rest"}]
    assert [each["event_id"] for each in arrived(Message(b'[{"event_id": "1"}, {"event_id": "2"}]'))] == ["1", "2"]
    (long,) = arrived(Message(b'{"event_id": "%s"}' % (b"x" * 9_000)))
    assert len(long["event_id"]) == MOST_TEXT, "what is refused for its size is shown in part"
    for none in (TICK_RECORD, b"no JSON", b"", None):
        assert arrived(Message(none)) == []
