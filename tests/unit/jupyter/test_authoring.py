"""The authoring panel: what stands in the form is the query, and code that asks the same."""

from __future__ import annotations

from typing import Any

import pytest

from rtap_lab.errors import SettingsError
from rtap_lab.jupyter import author
from rtap_lab.jupyter.authoring import Panel
from rtap_lab.jupyter.draft import MEASURES, OPERATORS, Comparison, Draft, Measured, Stepped
from rtap_lab.lab import Lab
from rtap_lab.queries.expression import parse, written
from rtap_lab.waiting import until

VIEWS = Draft(
    kind="hop", size="1m", step="10s", keys=("page", 'properties["plan"]'),
    where=(Comparison("event_type", "is", "page_view"), Comparison("value", ">", "2"), Comparison()),
    measures=(Measured("views"), Measured("visitors", "distinct", "visitor_id"), Measured()),
)  # fmt: skip
CARTS = Draft(
    kind="pattern",
    steps=(
        Stepped("view", "begin", Comparison("page", "begins with", "/product/"), 2),
        Stepped("cart", "followed by", Comparison("name", "is", "add_to_cart")),
    ),
    within="30s",
    absent=Comparison("name", "is", "purchase"),
    absent_within="20s",
)


def test_a_draft_says_what_builders_say() -> None:
    said = (
        'hop("1m", every="10s").by("page", plan=properties["plan"]).where(field("event_type") == "page_view")'
        '.where(field("value") > 2.0).agg(views=count(), visitors=distinct("visitor_id"))'
    )
    assert VIEWS.text() == written(parse(said))


@pytest.mark.parametrize("draft", [CARTS, Draft(), Draft(kind="session", keys=("visitor_id",))])
def test_its_code_asks_the_same(draft: Draft) -> None:
    code = draft.code("mine", "live")
    asked: list[Any] = []

    class Recorder:
        def query(self, name: str, definition: Any) -> Any:
            asked.append((name, definition))
            return self

        def preview(self) -> None:
            pass

    exec(code, {"lab": Recorder()})
    assert asked[0][0] == "mine"
    assert written(asked[0][1]) == draft.text()
    for name in ("lab", "for", "count"):
        exec(draft.code(name, "live"), {"lab": Recorder()})
    assert "source='weblog'" in draft.code("mine", "weblog")


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("name", "value"), [("page", "/a"), ("value", "3")])
def test_each_comparison_is_a_condition_or_one_error(operator: str, name: str, value: str) -> None:
    asked = Comparison(name, operator, value)
    if name == "value" and operator in ("begins with", "ends with", "contains"):
        with pytest.raises(SettingsError, match="is for texts"):
            asked.condition()
    else:
        assert [each.name for each in asked.condition().operands()] == [name]


@pytest.mark.parametrize("function", MEASURES)
def test_each_measure_is_an_aggregate(function: str) -> None:
    of = "" if function == "count" else "value" if function in ("total", "mean") else "page"
    assert Measured("m", function, of).aggregate().kind


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        (Draft(kind="pattern"), "first step"),
        (Draft(kind="pattern", steps=(Stepped("a", "begin"),)), "which events fit"),
        (Draft(measures=()), "needs a measure"),
        (Draft(measures=(Measured("x", "distinct"),)), "of which field"),
        (Draft(size="7 parsecs"), "tumble"),
        (Draft(where=(Comparison("value", ">", "much"),)), "is a number"),
        (Draft(where=(Comparison("nothing", "is", "x"),)), "not known"),
        (Draft(kind="session"), "whose sessions"),
        (Draft(measures=(Measured("n"), Measured("n"))), "there twice"),
        (Draft(measures=(Measured("self"),)), "taken"),
        (Draft(keys=('properties["a b"]', 'properties["a_b"]')), "there twice"),
        (Draft(kind="hop", size="10s", step="3s"), "multiple"),
    ],
)
def test_what_is_missing_is_said(draft: Draft, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        draft.definition()


def test_the_panel_follows_its_form_and_says_what_is_down(tmp_path: Any) -> None:
    panel = Panel(Lab(tmp_path), "live")
    assert 'tumble("10s").by("page").agg(events=count())' in panel.said.value.replace("&quot;", '"')
    assert "TUMBLE" in panel.sql.value
    assert "<svg" in panel.picture.value
    assert until(lambda: "rtap up" in panel.preview.value, 10), panel.preview.value
    panel.kind.value = "session"
    assert list(panel.keys.value) == ["visitor_id"], "pages have no sessions"
    assert 'session("10s").by("visitor_id")' in panel.said.value.replace("&quot;", '"')
    panel.keys.value = []
    assert "whose sessions" in panel.said.value
    assert not panel.picture.value
    panel.kind.value = "pattern"
    step = panel.steps.rows[0]
    step.children[2].value, step.children[4].value = "name", "add_to_cart"
    panel.absent.children[0].value, panel.absent.children[2].value = "name", "purchase"
    assert "MATCH_RECOGNIZE" in panel.sql.value
    assert "then_not" in panel.code.value
    panel.filters.add().children[0].value = "country"
    assert ".where(" in panel.code.value
    panel.filters.rows[0].children[-1].click()
    assert ".where(" not in panel.code.value
    panel.name.value = "no name"
    assert "a query&#x27;s name is" in panel.said.value
    panel.run.click()
    assert "a query&#x27;s name is" in panel.fares.value
    panel.fares.value = ""
    panel.insert.click()
    assert "a query&#x27;s name is" in panel.fares.value, "an empty cell is no help"


def test_it_is_a_widget(tmp_path: Any) -> None:
    assert author(Lab(tmp_path)).children
