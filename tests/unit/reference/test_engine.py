"""The reference engine: properties of windows, sessions and patterns, and a second opinion by DuckDB."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtap_lab.errors import SettingsError
from rtap_lab.events.codec import encode
from rtap_lab.queries import aggregates as agg
from rtap_lab.queries.conditions import Condition, earlier, field
from rtap_lab.queries.patterns import Measure, Pattern
from rtap_lab.queries.query import PatternQuery, WindowQuery
from rtap_lab.queries.standard import IS_CART, standard_queries
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow
from rtap_lab.reference.conditions import predicate
from rtap_lab.reference.engine import Engine, operator, rows_of
from rtap_lab.reference.fates import Event, Judge, Place
from rtap_lab.reference.matching import Matching
from rtap_lab.reference.watermarks import Watermarks
from rtap_lab.reference.windowing import BEGIN, Row, Windowing
from rtap_lab.settings import JobParameters
from rtap_lab.testing import cases

SECOND = 1000


def counted(seed: int, size: int = 120) -> tuple[list[Event], list[tuple[bytes, Place]]]:
    """The counted events of a random stream, and its records on three partitions."""
    drawn = cases.stream(seed, size)
    records, latest, offsets = [], 0, [0, 0, 0]
    for event in drawn.events:
        latest = max(latest, event["event_time"])
        partition = int(event["visitor_id"][1:]) % 3
        records.append((encode(event), Place(partition, offsets[partition], latest)))
        offsets[partition] += 1
    judge = Judge(drawn.bound_ms)
    judged = [j for value, place in records for j in judge.judge(value, place)]
    return [j.event for j in judged if j.fate == "counted" and j.event], records


def same(a: list[Row], b: list[Row]) -> bool:
    return Counter(str(sorted(row.items())) for row in a) == Counter(str(sorted(row.items())) for row in b)


seeds = st.integers(0, 10_000)


# --- windows ----------------------------------------------------------------------------------------


@given(st.integers(-(10**12), 10**13), st.integers(1, 500), st.integers(1, 8))
def test_an_event_is_in_exactly_the_windows_that_contain_it(moment: int, step: int, many: int) -> None:
    for window, whole in (
        (TumbleWindow(step), 1),
        (HopWindow(step * many, step), many),
        (CumulateWindow(step * many, step), None),
    ):
        found = list(window.of_slice(moment // window.slice_ms * window.slice_ms))
        assert all(start <= moment < end for start, end in found)
        assert len(set(found)) == len(found)
        if whole:
            assert len(found) == whole
        else:  # from the event's step to the whole window
            assert {start for start, _ in found} == {moment // (step * many) * (step * many)}
            assert found[-1][1] - found[-1][0] == step * many


@given(seeds, seeds)
@settings(max_examples=150, deadline=None)
def test_batches_partitions_and_watermarks_change_no_row(seed: int, cut: int) -> None:
    events, records = counted(seed)
    queries = {str(n): cases.query(seed * 7 + n) for n in range(3)}
    whole = {name: rows_of(each, events) for name, each in queries.items()}
    random = Random(cut)
    engine = Engine(queries, bound_ms=cases.stream(seed, 120).bound_ms, partitions=range(3))
    rows: dict[str, list[Row]] = {name: [] for name in queries}
    rest = list(records)
    while rest:
        size = random.randint(1, 40)
        _, due = engine.process(rest[:size])
        rest = rest[size:]
        if random.random() < 0.3:  # goes on elsewhere
            kept = engine.snapshot()
            engine = Engine(queries, bound_ms=1, partitions=range(3))
            engine.restore(kept)
        for name, each in due.items():
            rows[name] += each
    for name, each in engine.close().items():
        rows[name] += each
    for name in queries:
        assert same(rows[name], whole[name]), name


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from("ab")), max_size=30), seeds, st.integers(1, 30))
def test_sessions_merge_whatever_the_order(times: list[tuple[int, str]], seed: int, gap: int) -> None:
    events = [Event(str(n), "custom", t, v, "x", None) for n, (t, v) in enumerate(times)]
    query = WindowQuery(SessionWindow(gap), {"n": agg.count()}, {"visitor_id": "visitor_id"})
    ordered = rows_of(query, sorted(events, key=lambda e: e.event_time))
    Random(seed).shuffle(events)
    assert same(rows_of(query, events), ordered)
    for row in ordered:
        inside = [t for t, v in times if v == row["visitor_id"] and row["window_start"] <= t <= row["window_end"]]
        assert row["n"] == len(inside)


def test_the_row_of_a_window_comes_with_the_watermark_at_its_end() -> None:
    runs = Windowing(WindowQuery(TumbleWindow(10), {"n": agg.count()}))
    runs.add([Event("a", "custom", 3, "v", "x", None)])
    assert runs.advance(8) == []
    assert runs.advance(9) == [{"window_start": 0, "window_end": 10, "n": 1}]
    assert runs.add([Event("b", "custom", 4, "v", "x", None)]) == 1, "too late for every window"
    assert runs.close() == []


def test_with_allowed_lateness_a_row_comes_again() -> None:
    runs = Windowing(WindowQuery(TumbleWindow(10), {"n": agg.count()}), allowed_lateness_ms=5)
    runs.add([Event("a", "custom", 3, "v", "x", None)])
    runs.advance(9)
    assert runs.add([Event("b", "custom", 4, "v", "x", None)]) == 0
    assert runs.advance(12) == [{"window_start": 0, "window_end": 10, "n": 2}]
    runs.advance(14)
    assert runs.add([Event("c", "custom", 4, "v", "x", None)]) == 1


def test_aggregates_of_nothing_and_of_missing_fields() -> None:
    measures = {
        "n": agg.count(IS_CART),
        "d": agg.distinct("page"),
        "s": agg.total("value"),
        "z": agg.total("value", default=0),
        "lo": agg.smallest("value"),
        "mean": agg.mean("value"),
        "f": agg.first("page"),
        "p": agg.percentile("value", 0.5),
        "r": agg.rate(SECOND),
    }
    (row,) = rows_of(WindowQuery(TumbleWindow(2 * SECOND), measures), [Event("a", "custom", 3, "v", "x", None)])
    assert row == {
        "window_start": 0,
        "window_end": 2000,
        "n": 0,
        "d": 0,
        "s": None,
        "z": 0.0,
        "lo": None,
        "mean": None,
        "f": None,
        "p": None,
        "r": 0.5,
    }


# --- watermarks -------------------------------------------------------------------------------------


def test_a_watermark_needs_every_partition_and_never_goes_back() -> None:
    marks = Watermarks(2, [0, 1])
    marks.observe(0, 100)
    assert marks.current() == BEGIN
    marks.observe(1, 50)
    assert marks.current() == 48
    marks.observe(1, 40)
    assert marks.current() == 48
    assert [Watermarks(1, []).current()] == [BEGIN]


def test_an_idle_partition_is_passed_over_only_when_asked() -> None:
    marks = Watermarks(0, [0, 1], idle_after_ms=10)
    marks.observe(0, 100, now_ms=0)
    marks.observe(1, 50, now_ms=0)
    marks.observe(0, 200, now_ms=20)
    assert marks.current(now_ms=5) == 50
    assert marks.current(now_ms=21) == 200


# --- patterns ---------------------------------------------------------------------------------------


def story(text: str, gap: int = 1) -> list[Event]:
    """Events of one visitor, a letter each; `.` is a moment with none."""
    return [
        Event(f"{n:03}", "custom", n * gap, "v", letter, None, float(n))
        for n, letter in enumerate(text)
        if letter != "."
    ]


def named(letter: str) -> Condition:
    return field("name") == letter


def spans(pattern: Pattern, text: str, last: str = "b") -> list[tuple[int, int]]:
    """First and last time of each match."""
    begin = pattern.steps[0].name
    query = PatternQuery(pattern, {"from": Measure("first", begin), "to": Measure("last", last)})
    return [(row["from"], row["to"]) for row in rows_of(query, story(text))]


A = Pattern.begin("a", named("a"))


def test_strict_and_relaxed_contiguity() -> None:
    assert spans(A.next("b", named("b")).within(1), "axbab") == [(3, 4)]
    assert spans(A.followed_by("b", named("b")).within(1), "axbab") == [(0, 2), (3, 4)]


def test_negation_in_the_middle_and_at_the_end() -> None:
    between = A.followed_by("b", named("b"), unless=named("n")).within(1)
    assert spans(between, "axbanbab") == [(0, 2), (6, 7)]
    assert spans(A.then_not(named("n"), 0.003), "a..na...", "a") == [(0, 0), (4, 4)]
    assert spans(A.then_not(named("n"), 0.003), "a.n", "a") == []


def test_a_loop_takes_all_that_fits() -> None:
    loop = Pattern.begin("a", named("a"), times=(1, None)).next("b", named("b")).within(1)
    assert spans(loop, "aaabab") == [(0, 3), (4, 5)]
    assert spans(Pattern.begin("a", named("a"), times=2).next("b", named("b")).within(1), "aaab") == [(1, 3)]
    few = Pattern.begin("a", named("a"), times=(1, 2)).next("b", field("name").is_present()).within(1)
    assert spans(few, "aaab") == [(1, 3)], "a run of three is none of one or two; its last two are"
    some = A.next("o", named("o"), times=(0, 1)).next("b", named("b")).within(1)
    assert spans(some, "abaobaoob") == [(0, 1), (2, 4)]


def test_a_loop_may_look_at_its_row_before() -> None:
    rising = (field("name") == "a") & (earlier("a", "value").is_missing() | (field("value") > earlier("a", "value")))
    loop = Pattern.begin("a", rising, times=(2, None)).next("b", named("b")).within(1)
    assert spans(loop, "aaab") == [(0, 3)]


def test_a_match_is_shorter_than_within() -> None:
    pair = A.followed_by("b", named("b")).within(0.003)
    assert spans(pair, "a..b") == []
    assert spans(pair, "a.b.") == [(0, 2)]


def test_after_a_match_it_goes_on_as_told() -> None:
    three = Pattern.begin("a", named("a")).next("c", named("a")).next("b", named("a")).within(1)
    assert spans(three, "aaaaa") == [(0, 2)]
    assert spans(three.skip_to_next_row(), "aaaaa") == [(0, 2), (1, 3), (2, 4)]
    assert spans(three.skip_to_last("b"), "aaaaa") == [(0, 2), (2, 4)]
    assert spans(three.skip_to_first("c"), "aaaaa") == [(0, 2), (1, 3), (2, 4)]


def test_an_earlier_attempt_goes_first_and_its_failure_frees_the_later() -> None:
    both = A.followed_by("b", named("b"), unless=named("n")).within(1)
    assert spans(both, "a.a.nab") == [(5, 6)]
    assert spans(A.followed_by("b", named("b")).within(0.004), "a.a..b") == [(2, 5)]


def test_partial_and_timed_out_attempts_are_kept_for_the_debugger() -> None:
    query = PatternQuery(A.next("c", named("a")).followed_by("b", named("b")).within(0.01), {"x": Measure("last", "b")})
    ended: list[tuple[str, int]] = []
    runs = Matching(query, on_end=lambda each: ended.append((each.ended, each.attempt.taken)))
    runs.add(story("aa.x" + "." * 12 + "aa"))
    runs.advance(5)
    (partial,) = runs.partial()
    assert (partial.ended, partial.attempt.taken, partial.attempt.passed) == ("open", 2, 1)
    runs.advance(100)
    # from the first "a", the second, and the two at the end: open until their time is over
    assert ended == [("timed_out", 2), ("failed", 1), ("timed_out", 2), ("timed_out", 1)]


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_a_match_never_spans_more_than_within(seed: int) -> None:
    query = cases.query(seed)
    if not isinstance(query, PatternQuery):
        return
    events, _ = counted(seed)
    times = {event.event_id: event.event_time for event in events}
    for row in rows_of(query, events):
        assert times[row["last_id"]] - times[row["first_id"]] < (query.pattern.within_ms or 0)


# --- what is impossible -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: HopWindow(10, 3), "multiple of the slide"),
        (lambda: CumulateWindow(10, 3), "multiple of the step"),
        (lambda: TumbleWindow(0), "tumble: size_ms"),
        (lambda: field("pages"), "field 'pages' is not known"),
        (lambda: field("value") == "x", "value is a number"),
        (lambda: field("page") == None, "page is a text"),  # noqa: E711
        (lambda: agg.total("page"), "it is a text, not a number"),
        (lambda: agg.percentile("value", 2), "not between 0 and 1"),
        (lambda: WindowQuery(TumbleWindow(5), {}), "needs a measure"),
        (lambda: WindowQuery(SessionWindow(5), {"n": agg.count()}), "need a key"),
        (lambda: WindowQuery(TumbleWindow(5), {"n": agg.count()}, {"n": "page"}), "'n' is there twice"),
        (lambda: Pattern(()).checked(), "no step"),
        (lambda: A.next("b", named("b")).checked(), "how long may it take"),
        (lambda: A.next("b", named("b"), times=(1, None)).within(1).checked(), "'b': the last step"),
        (lambda: A.next("a", named("b")), "'a' is there twice"),
        (lambda: A.next("b", field("value") > earlier("c", "value")), "'b' looks back at 'c'"),
        (lambda: A.next("b", named("b"), times=(3, 2)), "'b': it cannot be there 3 to 2 times"),
        (lambda: Pattern.begin("a", named("a"), times=(0, 1)), "first step cannot be optional"),
        (lambda: A.followed_by("b", named("b"), times=(0, 1)), "'b': an optional step"),
        (lambda: Pattern.begin("a", named("a"), times=(1, None)).followed_by("b", named("b")), "'b': a followed_by"),
        (lambda: A.next("b", named("b")).within(1).skip_to_first("a").checked(), "cannot skip to 'a'"),
        (lambda: PatternQuery(A, {"x": Measure("last", "z")}), "there is no step 'z'"),
    ],
)
def test_what_is_impossible_is_refused_with_its_place(make: Any, says: str) -> None:
    with pytest.raises(SettingsError, match=says.replace("(", r"\(")):
        make()


# --- a second opinion -------------------------------------------------------------------------------


def table(events: list[Event]) -> pd.DataFrame:
    names = ("event_id", "event_type", "event_time", "visitor_id", "name", "page", "value")
    return pd.DataFrame([[getattr(e, n) for n in names] for e in events], columns=list(names))


def asked(sql: str, events: pd.DataFrame) -> list[Row]:
    connection = duckdb.connect()
    connection.register("events", events)
    relation = connection.sql(sql)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


@pytest.mark.parametrize("seed", range(8))
def test_duckdb_finds_the_same_rows(seed: int) -> None:
    events, _ = counted(seed, 250)
    here = {q.name: q.definition for q in standard_queries(JobParameters(gap_ms=4_000, within_ms=9_000))}
    frame = table(events)
    minute = "event_time // 60000 * 60000"
    assert same(
        rows_of(here["page_views_1m"], events),
        asked(
            f"SELECT {minute} AS window_start, {minute} + 60000 AS window_end, page, count(*) AS views, "
            "count(DISTINCT visitor_id) AS visitors FROM events WHERE event_type = 'page_view' GROUP BY 1, 2, 3",
            frame,
        ),
    )
    assert same(
        rows_of(here["traffic_hop"], events),
        asked(
            "SELECT s AS window_start, s + 60000 AS window_end, count(*) AS views, count(DISTINCT visitor_id) AS visitors "
            "FROM events, (SELECT unnest(range(0, 60000, 10000)) AS back), LATERAL (SELECT event_time // 10000 * 10000 - back AS s) "
            "WHERE event_type = 'page_view' GROUP BY 1, 2",
            frame,
        ),
    )
    assert same(
        [
            {k: row[k] for k in ("window_start", "window_end", "visitor_id", "events", "page_views")}
            for row in rows_of(here["sessions"], events)
        ],
        asked(
            "WITH gaps AS (SELECT *, event_time - lag(event_time) OVER w > 4000 AS new FROM events WINDOW w AS "
            "(PARTITION BY visitor_id ORDER BY event_time)), numbered AS (SELECT *, sum(coalesce(new, false)::int) OVER "
            "(PARTITION BY visitor_id ORDER BY event_time) AS n FROM gaps) SELECT min(event_time) AS window_start, "
            "max(event_time) + 4000 AS window_end, visitor_id, count(*) AS events, count(*) FILTER (event_type = 'page_view') "
            "AS page_views FROM numbered GROUP BY visitor_id, n",
            frame,
        ),
    )
    # a pair of neighbours among two kinds of rows: LEAD says it as well as MATCH_RECOGNIZE
    pair = PatternQuery(
        A.next("b", named("b")).within(9),
        {"t0": Measure("last", "a"), "t1": Measure("last", "b")},
        where=field("name").is_in("a", "b"),
    )
    assert same(
        rows_of(pair, events),
        asked(
            "SELECT visitor_id, event_time AS t0, t1 FROM (SELECT *, lead(event_time) OVER w AS t1, lead(name) OVER w AS n1 FROM events "
            "WHERE name IN ('a', 'b') WINDOW w AS (PARTITION BY visitor_id ORDER BY event_time, event_id)) "
            "WHERE name = 'a' AND n1 = 'b' AND t1 - event_time < 9000",
            frame,
        ),
    )
    lonely = PatternQuery(A.then_not(named("b"), 9), {"id": Measure("last", "a", "event_id")})
    assert same(
        rows_of(lonely, events),
        asked(
            "SELECT visitor_id, event_id AS id FROM events a WHERE name = 'a' AND NOT EXISTS (SELECT 1 FROM events b WHERE b.name = 'b' "
            "AND b.visitor_id = a.visitor_id AND b.event_time - a.event_time < 9000 AND (b.event_time, b.event_id) > (a.event_time, a.event_id))",
            frame,
        ),
    )


def test_conditions_are_three_valued() -> None:
    event = Event("a", "custom", 1, "v", None, None)
    assert predicate(field("name") == "x")(event, {}) is None
    assert predicate(~(field("name") == "x"))(event, {}) is None
    assert predicate((field("name") == "x") & (field("value") > 1))(event, {}) is None
    assert predicate((field("name") == "x") | field("page").is_missing())(event, {}) is True
    assert predicate((field("name") == "x") & field("page").is_present())(event, {}) is False


def test_every_standard_query_can_be_made() -> None:
    for each in standard_queries():
        assert operator(each.definition).close() == []


def test_the_top_of_each_window_is_what_sorting_all_its_rows_says() -> None:
    for seed in range(30):
        events, _ = counted(seed)
        for measure in (agg.count(), agg.mean("value"), agg.greatest("name")):
            query = WindowQuery(HopWindow(10_000, 5_000), {"m": measure}, {"page": "page", "device": "device"})
            whole, best = rows_of(query, events), rows_of(query.top(2, "m"), events)

            def worse(row: dict[str, Any]) -> tuple[Any, ...]:
                value = row["m"]
                if isinstance(value, str):
                    value = [-ord(letter) for letter in value] + [1]
                elif value is not None:
                    value = -round(value, 6)
                return (value is None, value, row["page"] or "", row["device"] or "")

            by_window: dict[tuple[int, int], list[dict[str, Any]]] = {}
            for row in whole:
                by_window.setdefault((row["window_start"], row["window_end"]), []).append(row)
            wanted = [row for rows in by_window.values() for row in sorted(rows, key=worse)[:2]]
            assert {tuple(row.items()) for row in best} == {tuple(row.items()) for row in wanted}
            assert len(best) == len(wanted)
