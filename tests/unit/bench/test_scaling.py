"""The same events by other numbers of visitors, and where a cost begins to rise."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.bench.scaling import among, bend, words
from rtap_lab.bench.shop import messages


@given(st.integers(1, 500), st.integers(1, 2000))
def test_visitors_are_as_many_as_asked_for_and_evenly_busy(keys: int, events: int) -> None:
    lines = [orjson.dumps({"event_id": str(n), "visitor_id": "somebody"}) for n in range(events)]
    made = [orjson.loads(line) for line in among(keys, lines)]
    assert [each["event_id"] for each in made] == [str(n) for n in range(events)]
    found = Counter(each["visitor_id"] for each in made)
    assert len(found) == min(keys, events)
    assert max(found.values()) - min(found.values()) <= 1


def test_what_is_no_event_stays_as_it_is() -> None:
    assert list(among(3, [b"[1]", b"7", b'{"event_id": "cut'])) == [b"[1]", b"7", b'{"event_id": "cut']
    made = list(among(3, messages(2_000)))
    assert len(made) == 2_000
    with pytest.raises(ValueError, match="0 visitors"):
        next(among(0, [b"{}"]))


def test_a_cost_bends_where_it_rises_for_good() -> None:
    assert bend([(1, 10.0), (10, 9.0), (100, 8.0)]) is None
    assert bend([(1, 10.0), (10, 10.5), (100, 14.0), (1000, 40.0)]) == 100
    assert bend([(1, 10.0), (10, 30.0), (100, 10.0)]) is None  # a point that was disturbed
    assert bend([(1, 10.0)]) is None


def test_it_is_said_in_a_sentence() -> None:
    assert words([(1, 10.0), (20, 40.0)], "queries", "µs an event") == (
        "1 to 20 queries: 10 to 40 µs an event; it rises from 20 on."
    )
    assert words([(1, 10.0), (20, 40.0)], "queries", "µs an event", each=True).endswith(
        "it grows no faster than they do."
    )
    assert words([(1, 1.0), (2, 8.0)], "queries", "µs an event", each=True).endswith("faster than they do from 2 on.")
