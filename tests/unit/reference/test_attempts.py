"""What became of a pattern's attempts: counts, reasons, and the story of one key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.queries.builders import begin, field
from rtap_lab.queries.conditions import Condition
from rtap_lab.queries.query import PatternQuery
from rtap_lab.reference.attempts import Attempts, story
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event
from rtap_lab.reference.matching import Matching


def named(letter: str) -> Condition:
    return field("name") == letter


def events(text: str) -> list[Event]:
    """Events of one visitor, a letter and a second each; `.` is a second with none."""
    return [Event(f"{n:03}", "custom", n * 1000, "v", letter, None) for n, letter in enumerate(text) if letter != "."]


A = begin("a", named("a"))
NEXT = A.next("b", named("b")).within("5s").by("visitor_id")
FOLLOWED = A.followed_by("b", named("b"), unless=named("n")).within("5s").by("visitor_id")
THREE = begin("a", named("a"), times=3).within("5s").by("visitor_id")
RUN = begin("a", named("a"), times=(1, 2)).next("b", named("b")).within("9s").by("visitor_id")
ALONE = A.then_not(named("b"), within="3s").by("visitor_id")


def attempts(query: PatternQuery, text: str) -> Attempts:
    found = Attempts(query)
    runs = Matching(query, on_end=found.note)
    runs.add(events(text))
    runs.close()
    return found


@pytest.mark.parametrize(
    ("query", "text", "last"),
    [
        (NEXT, "ab", "a match"),
        (NEXT, "axb", "failed: right after it step 'b' (field(\"name\") == \"b\") must come, and this came: 1970-01-01T00:00:01.000Z custom x"),
        (NEXT, "a.....b", "timed out: step 'b' (field(\"name\") == \"b\") did not come within 5 s"),
        (NEXT, "a", "timed out: step 'b' (field(\"name\") == \"b\") did not come within 5 s"),
        (FOLLOWED, "axnb", "failed: before step 'b' (field(\"name\") == \"b\") came what must not lie between: 1970-01-01T00:00:02.000Z custom n"),
        (FOLLOWED, "anb", "failed: before step 'b' (field(\"name\") == \"b\") came what must not lie between: 1970-01-01T00:00:01.000Z custom n"),
        (THREE, "aaxa", "failed: right after it 1 more for step 'a' (field(\"name\") == \"a\") must come, and this came: 1970-01-01T00:00:02.000Z custom x"),
        (RUN, "aaab", "a match"),
        (RUN, "aaax", "failed: right after it step 'b' (field(\"name\") == \"b\") must come, and this came: 1970-01-01T00:00:03.000Z custom x"),
        (ALONE, "a.x.b", "a match: nothing that must not followed within 3 s"),
        (ALONE, "axb", "no match: after 2 s followed what must not: 1970-01-01T00:00:02.000Z custom b"),
    ],
)  # fmt: skip
def test_a_story_says_how_far_it_came_and_why_no_further(query: PatternQuery, text: str, last: str) -> None:
    assert story(query, events(text), ("v",))[-1].strip() == last


def test_a_story_names_the_events_that_were_taken() -> None:
    lines = story(FOLLOWED, events("xa.xb"), ("v",))
    assert lines[0] == "visitor_id 'v': 4 events, 1 attempts; the one that came furthest:"
    assert lines[1:3] == ["  a: 1970-01-01T00:00:01.000Z custom a", "  b: 1970-01-01T00:00:04.000Z custom b"]
    assert story(NEXT, events("xyz"), ("w",)) == ["visitor_id 'w': no event of that key is in this piece"]
    assert story(NEXT, events("xyz"), ("v",)) == [
        "visitor_id 'v': none of 3 events fits step 'a': field(\"name\") == \"a\""
    ]


def test_what_may_still_go_on_is_open() -> None:
    waits = '  open: it waits for step \'b\' (field("name") == "b")'
    assert story(NEXT, events("a"), ("v",), watermark=3000)[-1] == waits
    assert story(NEXT, events("a"), ("v",), watermark=5000)[-1].startswith("  timed out")
    pending = story(ALONE, events("a"), ("v",), watermark=500)[-1]
    assert pending == "  complete, and may still be followed by what must not, until 1970-01-01T00:00:03.000Z"


def test_what_events_say_is_harmless_on_a_terminal() -> None:
    event = Event("1", "custom", 0, "v", "a", "/x\x1b]0;t\x07")
    assert "\x1b" not in "".join(story(NEXT, [event], ("v",)))
    assert "\\x1b]0;t\\x07" in "".join(story(NEXT, [event], ("v",)))


def test_counts_by_step() -> None:
    found = attempts(NEXT, "abaxab")
    assert (found.matched, dict(found.ended)) == (2, {("failed", "a"): 1})
    assert (found.reached["a"], found.reached["b"]) == (3, 2)
    assert found.nearest is not None
    assert found.nearest.key == ("v",)


@given(st.text("abn.x", max_size=40), st.sampled_from([NEXT, FOLLOWED, THREE, RUN, ALONE]))
def test_whoever_took_a_row_is_counted_once(text: str, query: PatternQuery) -> None:
    ended: list[str] = []
    runs = Matching(query, on_end=lambda each: ended.append(each.ended))
    runs.add(events(text))
    rows = runs.close()
    found = attempts(query, text)
    assert found.matched + sum(found.ended.values()) == len(ended)
    assert found.matched == ended.count("matched")
    if query is not ALONE:
        assert found.matched == len(rows) == len(rows_of(query, events(text)))
    else:
        assert found.matched >= len(rows)
    told = story(query, events(text), ("v",))
    assert (len(told) > 2) == bool(ended)
    assert query is ALONE or ("a match" in told[-1]) == bool(rows)
