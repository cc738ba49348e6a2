"""Which copy of an id counted: whatever the job chose, verification finds a choice that explains its rows."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtap_lab.queries.query import Query
from rtap_lab.queries.standard import standard_queries
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event, Judged, Place, copies, judged_anew
from rtap_lab.settings import JobParameters
from rtap_lab.verification.choosing import choose
from rtap_lab.verification.comparing import Row, compare, identity

BEGIN = 1_795_000_000_000 // 3_600_000 * 3_600_000
QUERIES = standard_queries(JobParameters(gap_ms=20_000, within_ms=30_000))
BEFORE_ALL = -(2**62)


def view(event_id: str, at_ms: int, visitor: str, page: str) -> Event:
    return Event(event_id, "page_view", BEGIN + at_ms, visitor, None, page)


def straddling(dice: random.Random, number: int) -> list[Judged]:
    """Views of two pages, and ids with a copy in each of two partitions, to both sides of the edge at 10 s."""
    judged = [
        Judged("counted", Place(0, n, BEGIN), f"e{n}", None, view(f"e{n}", dice.randrange(20_000), f"v{n % 7}", "/one"))
        for n in range(50)
    ]
    for n in range(number):
        visitor = f"twin {n}"
        first = view(f"copy {n}", 10_000 + dice.randrange(2_000), visitor, "/one")
        second = view(f"copy {n}", 10_000 + dice.randrange(-2_000, 2_000), visitor, "/two")
        judged.append(Judged("counted", Place(n % 12, 100 + n, BEGIN), first.event_id, None, first))
        other = Place((n + 5) % 12, 200 + n, BEGIN)
        judged.append(Judged("duplicate", other, second.event_id, None, None, second, False))
    return judged


def rows_by(queries: tuple[Query, ...], judged: list[Judged]) -> dict[str, list[Row]]:
    events = [each.event for each in judged if each.fate == "counted" and each.event]
    return {query.name: [query.schema.normal(row) for row in rows_of(query.definition, events)] for query in queries}


def differences(judged: list[Judged], found: dict[str, list[Row]], w_ms: int | None) -> int:
    expected = rows_by(QUERIES, judged)
    return sum(
        compare(
            query,
            "topic",
            {identity(query.schema, row): row for row in expected[query.name]},
            found[query.name],
            delivery="exactly_once",
            w_ms=w_ms,
            since_ms=BEFORE_ALL,
        ).differences
        for query in QUERIES
    )


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6), st.integers(1, 24), st.sampled_from([None, BEGIN + 10_500, BEGIN + 20_500, BEGIN + 60_500])
)
def test_a_choice_that_explains_the_rows_is_found_also_before_any_visitors_row_is_due(
    seed: int, number: int, w_ms: int | None
) -> None:
    dice = random.Random(seed)
    judged = straddling(dice, number)
    unsure = copies(judged)
    truth = {event_id: dice.choice(partitions) for event_id, partitions in unsure.items()}
    found = rows_by(QUERIES, judged_anew(judged, truth))
    chosen = choose(QUERIES, judged, unsure, found, late=(), w_ms=w_ms, since_ms=BEFORE_ALL)
    assert chosen.keys() == unsure.keys()
    assert differences(judged_anew(judged, chosen), found, w_ms) == 0


@pytest.mark.parametrize("there", [True, False])
def test_a_row_about_a_late_copy_says_that_it_came_first(there: bool) -> None:
    event = view("a", 10_000, "v", "/one")
    judged = [
        Judged("counted", Place(0, 0, BEGIN), "a", None, event),
        Judged("duplicate", Place(1, 7, BEGIN), "a", None, None, view("a", 0, "v", "/one"), True),
    ]
    late = {(1, 7)} if there else set()
    found = rows_by(QUERIES, judged_anew(judged, {"a": 1 if there else 0}))
    chosen = choose(QUERIES, judged, copies(judged), found, late=late, w_ms=None, since_ms=BEFORE_ALL)
    assert chosen == {"a": 1 if there else 0}


def test_no_choice_explains_a_wrong_row() -> None:
    dice = random.Random(4)
    judged = straddling(dice, 8)
    found = rows_by(QUERIES, judged)
    found["page_views_1m"][0]["views"] += 30
    chosen = choose(QUERIES, judged, copies(judged), found, late=(), w_ms=None, since_ms=BEFORE_ALL)
    assert differences(judged_anew(judged, chosen), found, None) == 1
