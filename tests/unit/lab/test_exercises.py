"""The lessons' exercises: a right answer is marked right, a wrong one told where it differs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rtap_lab.errors import SettingsError
from rtap_lab.events.access_log import event
from rtap_lab.flink.functions import campaign_kind, user_agent_family
from rtap_lab.lab.exercises import EXERCISES, access_log, counted, exercise, import_stream, judged
from rtap_lab.lab.offline import OfflineLab
from rtap_lab.queries.expression import parse
from rtap_lab.queries.query import query


@pytest.mark.parametrize("number", EXERCISES)
def test_its_own_solution_is_right_and_what_is_no_answer_is_not(number: str) -> None:
    found = EXERCISES[number]
    if found.model:
        for answer in (found.model, parse(found.model), query("mine", parse(found.model))):
            marked = found.check(answer)
            assert marked, marked.words
            assert " 0 rows" not in marked.words
        with pytest.raises(SettingsError, match="no query"):
            found.check(17)
    else:
        assert found.value is not None
        assert found.check(found.value())
        assert not found.check("nonsense")
        assert not found.check(-1)


@pytest.mark.parametrize(
    ("number", "answer", "words"),
    [
        ("02.1", 'tumble("10s").by("page").agg(views=count())', "rows are missing"),
        ("02.1", 'tumble("10s").by("page").where(field("event_type") == "page_view").agg(n=count())', "its columns should be"),
        ("02.1", 'begin("a", field("page") == "/").by("visitor_id")', "a window is asked for"),
        ("04.1", 'begin("cart", field("name") == "add_to_cart").next("buy", field("name") == "purchase").within("30s").by("visitor_id")', "missing"),
        ("04.2", 'begin("x", field("name") == "add_to_cart").then_not(field("name") == "purchase", within="10s").by("visitor_id")', "too many"),
        ("04.1", 'begin("a", field("name") == "add_to_cart").followed_by("b", field("name") == "purchase").within("60s").by("visitor_id")', "too many"),
        ("04.1", 'begin("a", field("name") == "add_to_cart").followed_by("b", field("event_type") == "conversion").within("30s").by("visitor_id")', "too many"),
        ("04.2", 'begin("a", field("name") == "add_to_cart").then_not(field("event_type") == "conversion", within="20s").by("visitor_id")', "missing"),
        ("08.1", 'tumble("1m").by("page").where(field("page").contains("/product/")).agg(events=count())', "too many"),
        ("03.2", 'session("20s").by("visitor_id").agg(exit=last("page"), bounced=count(where=field("event_type") == "page_view").equal_to(1))', "missing"),
    ],
)  # fmt: skip
def test_a_wrong_answer_says_where_it_differs(number: str, answer: str, words: str) -> None:
    marked = exercise(number).check(answer)
    assert not marked
    assert words in marked.words
    assert repr(marked).startswith(f"✗ {number}: ")


def test_values_come_as_people_have_them() -> None:
    assert exercise("01.1").check(pd.DataFrame({"n": [exercise("01.1").value()]}))  # type: ignore[misc]
    assert not exercise("01.1").check(pd.DataFrame({"n": [1, 2]}))
    assert exercise("10.1").check(np.array([6, 9, 12]))
    assert exercise("10.1").check(pd.Series([6, 9, 12]))
    assert exercise("10.1").check((6, 9, 12))


def test_steps_may_have_any_name_and_columns_any_order() -> None:
    swapped = 'tumble("10s").by("name").where(field("event_type") == "conversion").agg(worth=total("value"), conversions=count())'
    assert exercise("00.1").check(swapped)
    asked = 'begin("a", field("name") == "add_to_cart").followed_by("b", field("name") == "purchase").within("30s").by("visitor_id")'
    assert exercise("04.1").check(asked)


def test_values_are_what_an_import_of_the_stream_counts() -> None:
    lab = OfflineLab()
    import_stream("lesson_late", lambda file: lab.import_jsonl(file, source="phones"))
    lab.run("n", parse('tumble("10s").agg(n=count())'), "phones", bound="2s")
    assert exercise("05.1").check(lab.ledger("phones")["late"])
    lab.run("n", parse('tumble("10s").agg(n=count())'), "phones", bound=f"{exercise('05.2').solution()}s")
    assert lab.ledger("phones")["late"] == 0
    assert {each.fate for each in judged("lesson")} == {"counted", "duplicate"}


def test_an_unknown_number_is_one_error() -> None:
    with pytest.raises(SettingsError, match="not known"):
        exercise("99.9")
    with pytest.raises(SettingsError, match="not known"):
        import_stream("nothing", lambda file: None)


@pytest.mark.parametrize(
    ("campaign", "kind"),
    [(None, "none"), ("", "none"), ("Newsletter-3", "email"), ("google-ads", "search"), ("tiktok", "social"), ("partner_7", "affiliate"), ("autumn", "other")],
)  # fmt: skip
def test_kinds_of_campaigns(campaign: str | None, kind: str) -> None:
    assert campaign_kind(campaign) == kind


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        (None, "none"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36", "Chrome"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0", "Edge"),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605.1 (KHTML, like Gecko) Version/17.0 Mobile Safari/604.1", "Safari"),
        ("Mozilla/5.0 (X11; rv:120.0) Gecko/20100101 Firefox/120.0", "Firefox"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", "Internet Explorer"),
        ("something", "other"),
    ],
)
def test_families_of_user_agents(agent: str | None, family: str) -> None:
    assert user_agent_family(agent) == family


def test_the_lessons_log_is_one_of_a_web_server() -> None:
    *lines, end = access_log().split("\n")
    assert end == ""
    read = [event(line, event_id=str(number), key=b"key") for number, line in enumerate(lines)]
    assert sum(each is None for each in read) == 1, "one line is broken, to be set aside"
    views = [each for each in read if each and each["event_type"] == "page_view"]
    assert [each["page"] for each in views] == [each.page for each in counted() if each.event_type == "page_view"]
    visitors = {each.visitor_id for each in counted() if each.event_type in ("page_view", "session_start")}
    assert len({each["visitor_id"] for each in read if each}) == len(visitors)
