"""Which events a row is made of: as the reference engine counts them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from rtap_lab.errors import LiveError
from rtap_lab.events.times import instant_text
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.query import Query
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event
from rtap_lab.services.past import behind

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
