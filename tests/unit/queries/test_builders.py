"""Questions said with builders are the values that they read as, and mistakes get one message."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.errors import SettingsError
from rtap_lab.flink.compile import compile_query
from rtap_lab.queries.builders import (
    Measure,
    begin,
    count,
    cumulate,
    distinct,
    field,
    hop,
    properties,
    session,
    total,
    tumble,
)
from rtap_lab.queries.conditions import Compared, Condition, Contains
from rtap_lab.queries.patterns import Pattern
from rtap_lab.queries.query import Definition, PatternQuery, Query, WindowQuery, query
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow
from rtap_lab.reference.conditions import predicate

VIEW = field("event_type") == "page_view"
PRODUCT = field("page").starts_with("/product/")
CART = field("name") == "add_to_cart"


def same(built: Definition, written: Definition) -> bool:
    return Query("q", built) == Query("q", written)


def test_windows_read_as_the_question_does() -> None:
    built = tumble("1m").by("page").where(VIEW).agg(views=count(), visitors=distinct("visitor_id"))
    measures = {"views": count(), "visitors": distinct("visitor_id")}
    assert same(built, WindowQuery(TumbleWindow(60_000), measures, {"page": "page"}, VIEW))
    others = [hop("1m", every="10s"), cumulate("1h", step="1m"), session("30 min").by(who="visitor_id")]
    windows = [HopWindow(60_000, 10_000), CumulateWindow(3_600_000, 60_000), SessionWindow(1_800_000)]
    assert [each.agg(n=count()).window for each in others] == windows
    assert others[-1].agg(n=count()).keys == {"who": "visitor_id"}
    both = tumble("1s").where(VIEW).where(CART).agg(n=count())
    assert same(both, tumble("1s").where(VIEW & CART).agg(n=count()))


def test_patterns_read_as_the_question_does() -> None:
    built = begin("view", PRODUCT).then_not(CART, within="20s").by("visitor_id")
    pattern = Pattern.begin("view", PRODUCT).then_not(CART, "20s")
    told = {"view_time": Measure("last", "view"), "view_page": Measure("last", "view", "page")}
    assert same(built, PatternQuery(pattern, told))
    again = msgspec.json.decode(msgspec.json.encode(query("q", built)), type=Query)
    assert again == query("q", built)
    assert list(again.schema.columns) == ["visitor_id", "view_time", "view_page", "match_id"]
    logins = begin("failed", field("name") == "login_failed", times=3).within("1 min").where(VIEW).by("visitor_id")
    assert "failed_count" in logins.measures
    assert list(logins.telling(at=Measure("last", "failed")).measures) == ["at"]


def test_properties_are_fields_of_text_by_any_name() -> None:
    plan = properties["plan"]
    built = tumble("1m").by(plan=plan).where(plan != "free").agg(users=distinct(plan), visitors=distinct("visitor_id"))
    assert built.keys == {"plan": 'properties["plan"]'}
    assert built.schema.columns["plan"] == "text"
    assert same(
        built,
        tumble("1m")
        .by(plan=plan.name)
        .where(plan != "free")
        .agg(users=distinct(plan.name), visitors=distinct("visitor_id")),
    )
    sql = compile_query("q", built)
    assert "properties['plan'] AS `property_plan` FROM events)" in sql.views[0]
    assert sql.views[0].endswith("WHERE `property_plan` <> 'free'")
    assert "COUNT(DISTINCT `property_plan`) AS `users`" in sql.select
    again = msgspec.json.decode(msgspec.json.encode(query("q", built)), type=Query)
    assert again == query("q", built)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_propertys_name_is_text_in_the_sql_whatever_it_is(key: str) -> None:
    built = begin("a", properties[key] == "x").by(k=properties[key])
    view = compile_query("q", built).views[0]
    quoted = "properties['" + key.replace("'", "''") + "'] AS `property_"
    assert quoted in view
    plain = compile_query("q", begin("a", properties["plan"] == "x").by(k=properties["plan"])).views[0]
    alias = view.partition(quoted)[2].partition("`")[0]
    assert alias.isalnum() or alias == key
    assert view.replace(quoted + alias, "").replace(f"`property_{alias}`", "") == plain.replace(
        "properties['plan'] AS `property_plan", ""
    ).replace("`property_plan`", "")


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: tumble("1s").by(properties["plan"]), "needs a name for its column"),
        (lambda: total(properties["plan"]), "not a number"),
        (lambda: field("properties[plan]"), "not known"),
        (lambda: properties[1], "a property's name is a text"),
        (lambda: tumble("1x"), "not a duration"),
        (lambda: hop("10s", every="3s"), "multiple of the slide"),
        (lambda: tumble("1s").by("page", "page"), "there twice"),
        (lambda: tumble("1s").by("pgae").agg(n=count()), "'pgae' is not known"),
        (lambda: tumble("1s").agg(), "needs a measure"),
        (lambda: tumble("1s").agg(n=3), "no aggregate"),
        (lambda: tumble("1s").where(True), "no condition"),
        (lambda: tumble("1s").where(VIEW and CART), "no truth value"),
        (lambda: session("1s").agg(n=count()), "whose sessions"),
        (lambda: field("value").starts_with("1"), "is a number"),
        (lambda: field("page").contains(""), "not empty"),
        (lambda: tumble("1s").by("page").agg(n=count()).top(3, "views"), "no measure 'views'"),
        (lambda: tumble("1s").by("page").agg(n=count()).top(0, "n"), "from 1 to 1,000"),
        (lambda: tumble("1s").by("page").agg(n=count().equal_to(1)).top(3, "n"), "yes or no"),
        (lambda: tumble("1s").agg(n=count()).top(3, "n"), "the top of what"),
        (lambda: session("1s").by("page").agg(n=count()).top(3, "n"), "a window of its own"),
        (lambda: begin("a", VIEW, times=2).by("visitor_id"), "how long may it take"),
        (lambda: begin("a", VIEW).by(), "needs a key"),
    ],
)
def test_a_mistake_gets_one_message(mistake: Callable[[], object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        mistake()


def _says(place: str, text: str) -> Condition:
    make = {"begin": field("page").starts_with, "end": field("page").ends_with, "anywhere": field("page").contains}
    return make[place](text)


@given(st.sampled_from(["begin", "end", "anywhere"]), st.text(min_size=1))
def test_a_text_in_sql_stands_for_itself_whatever_is_in_it(place: str, text: str) -> None:
    """Read as SQL reads it: a quoted literal in which quotes are doubled, then a pattern whose escapes are undone."""
    sql = compile_query("q", tumble("1s").where(_says(place, text)).agg(n=count())).views[0]
    clause = sql.split(" WHERE `page` LIKE '", 1)[1]
    body, end, escape = "", 0, False
    while True:
        quote = clause.index("'", end)
        body += clause[end:quote]
        if clause[quote + 1 : quote + 2] != "'":
            escape = clause[quote + 1 :] == " ESCAPE '!'"
            assert escape or clause[quote + 1 :] == ""
            break
        body, end = body + "'", quote + 2
    found, wild, n = "", [], 0
    while n < len(body):
        if escape and body[n] == "!":
            n += 1
            found += body[n]
        elif body[n] in "%_":
            wild.append(n)
        else:
            found += body[n]
        n += 1
    assert found == text
    expected = {"begin": [len(body) - 1], "end": [0], "anywhere": [0, len(body) - 1]}[place]
    assert wild == expected


@given(st.text(max_size=5), st.text(min_size=1, max_size=2))
def test_text_conditions_are_what_python_says(whole: str, text: str) -> None:
    class Event:
        page: str | None = whole

    for place, expected in (
        ("begin", whole.startswith(text)),
        ("end", whole.endswith(text)),
        ("anywhere", text in whole),
    ):
        assert predicate(_says(place, text))(Event(), {}) is expected
        missing = Event()
        missing.page = None
        assert predicate(_says(place, text))(missing, {}) is None


@given(st.text(min_size=1))
def test_any_text_in_a_comparison_is_one_literal(text: str) -> None:
    condition = field("page") == text
    assert isinstance(condition, Compared)
    assert isinstance(PRODUCT, Contains)
    sql = compile_query("q", tumble("1s").where(condition).agg(n=count())).views[0]
    assert sql.endswith(f" WHERE `page` = '{text.replace(chr(39), chr(39) * 2)}'")


def test_a_word_of_elsewhere_is_told_what_it_is_here() -> None:
    fail, minute = begin("fail", CART), tumble("1m")
    mistakes = [
        (fail, "times", r"the argument times= of the step"),
        (fail, "followedBy", r"\.followed_by\("),
        (fail, "not_followed_by", r"\.then_not\("),
        (fail, "then", r"\.followed_by\(…\), or \.next\("),
        (fail, "skipToNext", r"\.skip_to_next_row\("),
        (fail, "select", r"\.telling\("),
        (fail, "agg", r"it has .*by, .*followed_by, .*skip_to_first"),
        (minute, "group_by", r"\.by\("),
        (minute, "wher", r"\.where\("),
        (minute, "times", r"it has agg, by, where"),
        (minute, "plot", r"it has agg, by, where"),
    ]
    for builder, name, told in mistakes:
        with pytest.raises(SettingsError, match=told):
            getattr(builder, name)
        assert not hasattr(builder, name)
    with pytest.raises(AttributeError, match="has no attribute '_repr_html_'"):
        minute._repr_html_  # type: ignore[attr-defined]  # noqa: B018
