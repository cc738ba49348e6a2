"""Queries as values: they survive being written down, and say what their rows look like."""

from __future__ import annotations

import msgspec
import pytest

from rtap_lab.errors import SettingsError
from rtap_lab.queries.aggregates import count, total
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.conditions import field
from rtap_lab.queries.patterns import Measure, Pattern
from rtap_lab.queries.query import Catalog, PatternQuery, Query, WindowQuery, query
from rtap_lab.queries.standard import standard_queries
from rtap_lab.queries.windows import HopWindow, SessionWindow, TumbleWindow
from rtap_lab.settings import JobParameters
from rtap_lab.testing import cases

A = field("name") == "a"


@pytest.mark.parametrize("seed", range(0, 400, 7))
def test_any_query_comes_back_as_it_was(seed: int) -> None:
    made = query("q", cases.query(seed), "a title")
    again = msgspec.json.decode(msgspec.json.encode(made), type=Query)
    assert again == made
    assert again.schema == made.schema


def test_the_standard_queries_are_what_the_contract_says() -> None:
    found = {q.name: q.schema for q in standard_queries(JobParameters(within_ms=5_000))}
    assert list(found) == [
        "page_views_1m",
        "traffic_hop",
        "traffic_cumulate",
        "sessions",
        "conversions_1m",
        "cart_to_purchase",
        "checkout_abandoned",
    ]
    assert found["page_views_1m"].additive == ("views",)
    assert found["conversions_1m"].additive == ("conversions", "value")
    assert not found["traffic_hop"].additive, "windows that overlap are not summed"
    assert not found["sessions"].additive
    assert list(found["cart_to_purchase"].columns) == ["visitor_id", "cart_time", "purchase_time", "seconds"]
    assert found["cart_to_purchase"].time_column == "purchase_time"
    abandoned = found["checkout_abandoned"]
    assert (abandoned.time_column, abandoned.absent_ms) == ("cart_time", 5_000)
    assert abandoned.row_time_ms({"cart_time": 1_000}) == 6_000


def test_a_patterns_rows_tell_its_matches_apart() -> None:
    told = query("q", PatternQuery(Pattern.begin("a", A), {"n": Measure("count", "a")}))
    assert list(told.schema.measures) == ["n", "match_time", "match_id"]
    assert told.schema.time_column == "match_time"
    enough = PatternQuery(Pattern.begin("a", A), {"at": Measure("last", "a"), "id": Measure("first", "a", "event_id")})
    assert query("q", enough).definition is enough
    with pytest.raises(SettingsError, match="when a match happened"):
        _ = PatternQuery(Pattern.begin("a", A), {"n": Measure("count", "a")}).schema


@pytest.mark.parametrize("name", ["", "A", "1a", "a-b", "a.b", "a" * 41, "a b", 'a"b', "a`b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(SettingsError, match="a query's name"):
        query(name, WindowQuery(TumbleWindow(1000), {"n": count()}))


@pytest.mark.parametrize("column", ["", "1", "a b", "a`b", 'a"b', "window_end", "source", "Window_Start", "a;b"])
def test_columns_that_are_none(column: str) -> None:
    with pytest.raises(SettingsError, match="column"):
        WindowQuery(TumbleWindow(1000), {column: count()})
    with pytest.raises(SettingsError, match="column"):
        WindowQuery(TumbleWindow(1000), {"n": count()}, {column: "page"})


def test_what_does_not_fit_together() -> None:
    with pytest.raises(SettingsError, match="needs a measure"):
        WindowQuery(TumbleWindow(1000), {})
    with pytest.raises(SettingsError, match="need a key"):
        WindowQuery(SessionWindow(1000), {"n": count()})
    with pytest.raises(SettingsError, match="is there twice"):
        WindowQuery(TumbleWindow(1000), {"page": count()}, {"page": "page"})
    with pytest.raises(SettingsError, match="is not known"):
        WindowQuery(TumbleWindow(1000), {"n": count()}, {"k": "colour"})


def test_two_queries_are_equal_when_they_ask_the_same() -> None:
    def asked(size: int) -> Query:
        return query("q", WindowQuery(TumbleWindow(size), {"worth": total("value", default=0)}, where=A))

    assert asked(1000) == asked(1000)
    assert hash(asked(1000)) == hash(asked(1000))
    assert asked(1000) != asked(2000)
    assert query("q", asked(1000).definition, "another title") == asked(1000), "a title is no other question"


def test_a_catalog_finds_by_name_and_names_what_there_is() -> None:
    mine = query("mine", WindowQuery(HopWindow(2000, 1000), {"n": count()}))
    found = packaged().with_queries([mine])
    assert found["mine"] is mine
    assert len(found) == 14
    with pytest.raises(SettingsError, match="is not known"):
        found["nothing"]
    with pytest.raises(SettingsError, match="one of none"):
        Catalog([])["x"]
