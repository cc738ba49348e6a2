"""SQL read as a definition: what is read is what stands there, and what is not read says so."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.lab.bound_sql import in_columns, is_sql, with_edges
from rtap_lab.queries.conditions import Condition, field
from rtap_lab.queries.expression import condition_text, parse, written
from rtap_lab.queries.sql_text import ALL_TIME, NoDefinitionError, read_sql

TUMBLE = "FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE))"
EDGES = "GROUP BY window_start, window_end"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f"SELECT window_start, window_end, page, COUNT(*) AS views, COUNT(DISTINCT visitor_id) AS visitors {TUMBLE} "
            f"WHERE event_type = 'page_view' {EDGES}, page",
            'tumble("1m").by("page").where(field("event_type") == "page_view").agg(views=count(), visitors=distinct("visitor_id"))',
        ),
        (
            "SELECT page p, SUM(COALESCE(`value`, 0)) FILTER (WHERE name = 'x' AND 5 < `value`) AS v FROM "
            "HOP(TABLE events, DESCRIPTOR(rowtime), INTERVAL '10' SECONDS, INTERVAL '1' MINUTE) GROUP BY page, window_start, window_end",
            'hop("1m", every="10s").by(p="page").agg(v=total("value", default=0.0, where=(field("name") == "x") & (field("value") > 5)))',
        ),
        (
            "SELECT visitor_id, COUNT(*) AS n FROM TABLE(SESSION(TABLE events PARTITION BY visitor_id, DESCRIPTOR(rowtime), "
            "INTERVAL '30' SECOND)) GROUP BY visitor_id, window_start, window_end",
            'session("30s").by("visitor_id").agg(n=count())',
        ),
        (
            "SELECT COUNT(CASE WHEN page LIKE '/product/%' THEN 1 END) AS c FROM TABLE(CUMULATE(DATA => TABLE events, "
            f"TIMECOL => DESCRIPTOR(rowtime), STEP => INTERVAL '1' MINUTE, SIZE => INTERVAL '1' HOUR)) {EDGES}",
            'cumulate("1h", step="1m").agg(c=count(where=field("page").starts_with("/product/")))',
        ),
        (
            f"SELECT properties['plan'] AS p, AVG(`value`) AS m {TUMBLE} WHERE page NOT LIKE '%x' AND campaign IS NOT NULL "
            f"AND name NOT IN ('a', 'it''s') {EDGES}, properties['plan']",
            'tumble("1m").by(p=properties["plan"]).where((~field("page").ends_with("x") & field("campaign").is_present())'
            ' & ~((field("name") == "a") | (field("name") == "it\'s"))).agg(m=mean("value"))',
        ),
        (
            f"SELECT MIN(page) AS a, MAX(`value`) AS b, COUNT(session_id) AS c {TUMBLE} WHERE `value` BETWEEN -1 AND 2.5 {EDGES}",
            'tumble("1m").where((field("value") >= -1) & (field("value") <= 2.5))'
            '.agg(a=smallest("page"), b=greatest("value"), c=count(where=field("session_id").is_present()))',
        ),
    ],
)
def test_a_windowed_select_is_read_as_builders_say_it(text: str, words: str) -> None:
    found = read_sql(text)
    assert found.windowed
    assert written(found.definition) == written(parse(words))


def test_without_a_window_it_is_one_row_a_key_over_everything() -> None:
    found = read_sql("SELECT page, COUNT(*) AS n FROM events AS e WHERE e.page = 'a' GROUP BY page")
    assert not found.windowed
    assert found.definition.window == ALL_TIME
    assert in_columns({"page": "a", "n": 1}, {}) == {
        "window_start": 0,
        "window_end": ALL_TIME.size_ms,
        "page": "a",
        "n": 1,
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("SELECT * FROM events", "needs a name"),
        (f"SELECT COUNT(*) {TUMBLE} {EDGES}", "needs a name"),
        (f"SELECT COUNT(*) AS n {TUMBLE} {EDGES} HAVING COUNT(*) > 1", "HAVING"),
        (f"SELECT COUNT(*) AS n {TUMBLE} GROUP BY window_end", "window_start and window_end"),
        ("SELECT COUNT(*) AS n FROM events GROUP BY window_start, window_end", "window_start and window_end"),
        (f"SELECT COUNT(*) AS n {TUMBLE} {EDGES}, page", "select what it is grouped by"),
        ("SELECT page, COUNT(*) AS n FROM events", "neither grouped by"),
        ("SELECT COUNT(*) AS n FROM events JOIN x ON a = b", "JOINS"),
        ("SELECT COUNT(*) AS n FROM events, events", "JOINS"),
        ("SELECT COUNT(*) AS n FROM events_raw", "only events"),
        ("SELECT COUNT(*) AS n FROM other.events", "DB in"),
        ("WITH a AS (SELECT 1) SELECT COUNT(*) AS n FROM events", "WITH"),
        ("SELECT COUNT(*) AS n FROM events UNION ALL SELECT 1", "UNION"),
        ("SELECT COUNT(*) AS n FROM events ORDER BY n", "ORDER"),
        ("SELECT COUNT(*) AS n FROM events LIMIT 3", "LIMIT"),
        ("SELECT COUNT(*) AS n FROM (SELECT * FROM events)", "no counterpart"),
        ("SELECT DISTINCT page FROM events", "DISTINCT"),
        ("SELECT SUM(DISTINCT `value`) AS n FROM events", "DISTINCT"),
        ("SELECT COUNT(DISTINCT page, name) AS n FROM events", "COUNT"),
        ("SELECT MIN(page, name) AS n FROM events", "MIN"),
        ("SELECT SUM(page) AS n FROM events", "not a number"),
        ("SELECT COUNT(*) OVER (PARTITION BY page) AS n FROM events", "OVER"),
        ("SELECT COUNT(*) AS n FROM events GROUP BY CUBE(page)", "CUBE"),
        ("SELECT COUNT(*) AS n FROM events FOR SYSTEM_TIME AS OF x", "VERSION"),
        ("SELECT COUNT(*) AS n FROM events TABLESAMPLE (10 PERCENT)", "SAMPLE"),
        ("SELECT COUNT(*) AS n FROM events AS t(a, b)", "COLUMNS"),
        ("SELECT COUNT(*) AS n FROM events /*+ OPTIONS('a' = 'b') */", "hint"),
        ("SELECT COUNT(*) AS n FROM events WHERE page LIKE 'a_b'", "LIKE"),
        ("SELECT COUNT(*) AS n FROM events WHERE page LIKE 'A!%' ESCAPE '!'", "ESCAPE"),
        ("SELECT COUNT(*) AS n FROM events WHERE page ILIKE 'a%'", "ILIKE"),
        ("SELECT COUNT(*) AS n FROM events WHERE UPPER(page) = 'A'", "UPPER"),
        ("SELECT COUNT(*) AS n FROM events WHERE page = 1", "cannot be compared"),
        ("SELECT COUNT(*) AS n FROM events WHERE event_time > 5", "event_time"),
        ("SELECT COUNT(*) AS n FROM events WHERE name IN (SELECT page FROM events)", "QUERY"),
        ("SELECT COUNT(*) AS n FROM events WHERE nothing = 'x'", "nothing"),
        (
            "SELECT COUNT(*) AS n FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(arrival), INTERVAL '1' MINUTE)) " + EDGES,
            "rowtime",
        ),
        ("SELECT COUNT(*) AS n FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(rowtime))) " + EDGES, "lacks SIZE"),
        (
            "SELECT COUNT(*) AS n FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE, INTERVAL '1' SECOND)) "
            + EDGES,
            "further argument",
        ),
        (
            "SELECT COUNT(*) AS n FROM TABLE(HOP(TABLE events, DESCRIPTOR(rowtime), INTERVAL '7' SECOND, INTERVAL '1' MINUTE)) "
            + EDGES,
            "multiple",
        ),
        (
            "SELECT visitor_id, COUNT(*) AS n FROM TABLE(SESSION(TABLE events PARTITION BY visitor_id, DESCRIPTOR(rowtime), "
            "INTERVAL '30' SECOND)) WHERE page = 'a' GROUP BY visitor_id, window_start, window_end",
            "WHERE behind SESSION",
        ),
        (
            "SELECT page, COUNT(*) AS n FROM TABLE(SESSION(TABLE events PARTITION BY visitor_id, DESCRIPTOR(rowtime), "
            "INTERVAL '30' SECOND)) GROUP BY page, window_start, window_end",
            "are grouped by the same",
        ),
        ("SELECT COUNT(*) AS n, SUM(`value`) AS n FROM events", "two columns are called n"),
        (f"SELECT window_start AS n, COUNT(*) AS n {TUMBLE} {EDGES}", "two columns are called n"),
        (f"SELECT window_end AS window_start, COUNT(*) AS n {TUMBLE} {EDGES}", "name of the window's edge"),
        (f"SELECT COUNT(*) AS n FROM events WHERE page IN ({', '.join(['1'] * 201)})", "more than 200"),
        ("SELECT COUNT(*) AS n FROM events WHERE " + " AND ".join(["page = 'a'"] * 3000), "nested|too long"),
        ("SELECT COUNT(*) AS n FROM events WHERE " + " AND ".join(["page = 'a'"] * 450), "too long"),
        (f"SELECT COUNT(*) AS n {TUMBLE.replace('DESCRIPTOR', 'FOO')} {EDGES}", "DESCRIPTOR"),
        ("SELECT COUNT(*) AS n FROM events WHERE event_time BETWEEN 5 AND 10", "event_time"),
        ("SELECT COUNT(*) AS n FROM events WHERE event_time IN (5)", "event_time"),
        ("SELEC 1", "not read"),
        ("(" * 3000, "not read|nested"),
    ],
)
def test_what_is_not_read_says_what(text: str, why: str) -> None:
    with pytest.raises(NoDefinitionError, match=why):
        read_sql(text)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
FIELDS = st.sampled_from(["page", "name", "visitor_id", "country"])


@st.composite
def conditions(draw: st.DrawFn) -> tuple[str, Condition]:
    """A condition as SQL and as a value."""
    kind = draw(st.sampled_from(["compared", "present", "begins", "among", "and", "or", "not"]))
    name, text = draw(FIELDS), draw(TEXTS)
    quoted = "'" + text.replace("'", "''") + "'"
    match kind:
        case "compared":
            return f"{name} <> {quoted}", field(name) != text
        case "present":
            return f"{name} IS NOT NULL", field(name).is_present()
        case "begins" if "%" not in text and "_" not in text:
            return f"{name} LIKE '{quoted[1:-1]}%'", field(name).starts_with(text)
        case "among":
            return f"{name} IN ({quoted}, 'b')", field(name).is_in(text, "b")
        case "not":
            inner, value = draw(conditions())
            return f"NOT ({inner})", ~value
        case "and" | "or":
            (a, x), (b, y) = draw(conditions()), draw(conditions())
            return (f"({a}) AND ({b})", x & y) if kind == "and" else (f"({a}) OR ({b})", x | y)
    return f"{name} = {quoted}", field(name) == text


@given(conditions())
def test_any_condition_is_read_as_it_stands(pair: tuple[str, Condition]) -> None:
    text, value = pair
    found = read_sql(f"SELECT COUNT(*) AS n {TUMBLE} WHERE {text} {EDGES}").definition.where
    assert found is not None
    assert condition_text(found) == condition_text(value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_said_to_be_unread(text: str) -> None:
    with contextlib.suppress(NoDefinitionError):
        read_sql(f"SELECT COUNT(*) AS n FROM events WHERE {text}")


def test_lacking_edges_are_put_in_front() -> None:
    text = f"select page, COUNT(*) AS n {TUMBLE} {EDGES}, page"
    asked, edges = with_edges(text, read_sql(text))
    assert asked == "SELECT window_start, window_end," + text[len("select") :]
    row = {"window_start": "2026-11-23T10:00:00", "window_end": "2026-11-23T10:01:00", "page": "a", "n": 1}
    assert in_columns(row, edges)["window_end"] == "2026-11-23T10:01:00Z"

    text = f"SELECT ALL COUNT(*) AS n {TUMBLE} {EDGES}"
    assert with_edges(text, read_sql(text))[0].startswith("SELECT window_start, window_end, COUNT(*)")

    text = f"SELECT window_end AS until, COUNT(*) AS n {TUMBLE} {EDGES}"
    asked, edges = with_edges(text, read_sql(text))
    assert asked.startswith("SELECT window_start, window_end AS until")
    assert edges == {"until": "window_end", "window_start": "window_start"}


def test_what_means_to_be_sql() -> None:
    assert is_sql("  -- mine\n select 1")
    assert is_sql("/* a */ WITH x AS (SELECT 1) SELECT * FROM x")
    assert not is_sql('tumble("1m").agg(n=count())')
    assert not is_sql("selected_views")
