"""Pictures of queries: well-formed, whole, and safe with any text."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.dashboards.pictures import pattern_svg, window_svg
from rtap_lab.queries.builders import WindowBuilder, begin, count, cumulate, field, hop, session, tumble


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [each.text or "" for each in root.iter() if each.tag.endswith("text")]


@pytest.mark.parametrize(
    ("window", "words", "bars"),
    [
        (tumble("1m"), "1 min long, one after the other: an event is in one", 4),
        (hop("1m", every="10s"), "1 min long, a new one every 10 s: an event is in 6", 6),
        (hop("1h", every="1m"), "60 min long, a new one every 1 min: an event is in 60", 6),
        (cumulate("1h", step="10m"), "from the beginning of each 60 min, told anew every 10 min", 6),
        (session("30m"), "a session ends when nothing comes for 30 min", 2),
    ],
)
def test_a_window_on_the_time_line(window: WindowBuilder, words: str, bars: int) -> None:
    svg = window_svg(window.by("visitor_id").agg(n=count()))
    assert words in texts(svg)
    assert svg.count("<rect") == bars


def test_a_pattern_is_drawn_with_its_counts() -> None:
    asked = (
        begin("view", field("page").starts_with("/product/"), times=2)
        .followed_by("cart", field("name") == "add_to_cart", unless=field("name") == "x")
        .within("30s")
        .then_not(field("name") == "purchase", within="20s")
        .by("visitor_id")
    )
    svg = pattern_svg(asked, {"view": "12 reached\n3 here now"}, outcome="4 matches")
    found = texts(svg)
    assert {"view", "cart", "not", "all within 30 s", "12 reached", "3 here now", "4 matches"} <= set(found)
    assert svg.count("<circle") == 4  # two states, and the end's two


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_text_in_a_condition_is_text_in_the_picture(text: str) -> None:
    svg = pattern_svg(begin("a", field("page") == f"<script>{text}&").by("visitor_id"))
    assert "<script" not in svg
    assert texts(svg)
