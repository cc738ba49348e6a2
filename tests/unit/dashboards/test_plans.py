"""Which charts a query can have, and what a still one shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rtap_lab.dashboards import plans
from rtap_lab.dashboards.charts import CARDS, LiveChart
from rtap_lab.dashboards.figures import countries
from rtap_lab.dashboards.plans import chart_plan
from rtap_lab.errors import SettingsError
from rtap_lab.queries.catalogue import packaged

QUERIES = packaged()
PAGES, TRAFFIC, AUDIENCE, CARTS = (
    QUERIES[n] for n in ("page_views_1m", "traffic_hop", "audience", "checkout_abandoned")
)
WINDOW = {"window_start": "2026-11-27T10:00:00Z", "window_end": "2026-11-27T10:01:00Z"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "page_views_1m": [
        WINDOW | {"page": page, "views": n, "visitors": 1} for n, page in enumerate(("/", "<b>x</b>", None), 1)
    ],
    "traffic_hop": [WINDOW | {"views": 7, "visitors": 3}],
    "audience": [
        WINDOW
        | {
            "country": "SE",
            "device": "mobile",
            "campaign": None,
            "views": 4,
            "visitors": 2,
            "purchases": 1,
            "revenue": 9.5,
        }
    ],
    "funnel_1m": [WINDOW | {"landing": 8, "product": 4, "cart": 2, "purchase": 1}],
    "checkout_abandoned": [{"visitor_id": "v1", "cart_time": "2026-11-27T10:00:00Z", "cart_event_id": "<script>"}],
}


def test_what_fits_a_query_when_nothing_is_said() -> None:
    kinds = {query.name: chart_plan(query).kind for query in QUERIES}
    assert kinds == {
        "page_views_1m": "bars",
        "traffic_hop": "line",
        "traffic_cumulate": "line",
        "sessions": "count",
        "conversions_1m": "bars",
        "cart_to_purchase": "count",
        "checkout_abandoned": "count",
        "traffic_by_source": "bars",
        "audience": "bars",
        "funnel_1m": "line",
        "bots": "count",
        "failed_logins": "count",
        "rage_clicks": "count",
    }


ASKED: list[tuple[str, Callable[[LiveChart], LiveChart], str]] = [
    ("page_views_1m", lambda chart: chart.line("window_end", "views", by="page"), "lines"),
    ("traffic_hop", lambda chart: chart.line(), "line"),
    ("traffic_hop", lambda chart: chart.area(None, "views", "visitors"), "area"),
    ("traffic_hop", lambda chart: chart.line().overlay("24h"), "line"),
    ("traffic_hop", lambda chart: chart.line().overlay(source="weblog"), "line"),
    ("page_views_1m", lambda chart: chart.bars("page", "views", keep=3), "bars"),
    ("page_views_1m", lambda chart: chart.heat(), "heat"),
    ("checkout_abandoned", lambda chart: chart.count("1m"), "count"),
    ("audience", lambda chart: chart.map(), "map"),
    ("traffic_hop", lambda chart: chart.number("views"), "number"),
    ("audience", lambda chart: chart.number("revenue"), "number"),
    ("funnel_1m", lambda chart: chart.funnel(), "funnel"),
    ("funnel_1m", lambda chart: chart.funnel("landing", "purchase"), "funnel"),
    ("checkout_abandoned", lambda chart: chart.table("cart_time", "cart_event_id"), "table"),
]


@pytest.mark.parametrize(("name", "ask", "kind"), ASKED)
def test_each_kind_is_drawn_without_a_hub_and_no_text_is_html(
    name: str, ask: Callable[[LiveChart], LiveChart], kind: str
) -> None:
    chart = ask(LiveChart(None, QUERIES[name], rows=lambda: ROWS[name]))
    assert chart.plan.kind == kind
    view = chart.__panel__()
    if kind in CARDS:
        assert "<script" not in view.object
        assert "<b>x" not in view.object
        with pytest.raises(SettingsError, match="is no Bokeh figure"):
            chart.figure  # noqa: B018
    else:
        assert chart.figure.renderers
    assert chart.__panel__() is view, "it is made once"


def test_a_still_funnel_and_a_number_say_what_the_rows_say() -> None:
    funnel = LiveChart(None, QUERIES["funnel_1m"], rows=ROWS["funnel_1m"]).funnel().__panel__().object
    assert "landing: 8 (100.0%)" in funnel
    assert "purchase: 1 (12.5%)" in funnel
    assert ">9.5<" in LiveChart(None, AUDIENCE, rows=ROWS["audience"]).number("revenue").__panel__().object


MISTAKES: list[tuple[Callable[[], object], str]] = [
    (lambda: plans.line(PAGES, None, ("nothing",), None, "line"), "chart of page_views_1m: 'nothing' is no number"),
    (lambda: plans.line(PAGES, "page", (), None, "line"), "'page' is no time"),
    (lambda: plans.line(PAGES, None, (), "country", "line"), "'country' is no key"),
    (lambda: plans.line(PAGES, None, ("visitors",), None, "line"), "visitors cannot be added up over page"),
    (lambda: plans.line(PAGES, None, ("views",), "page", "area"), "`by` draws lines of one number"),
    (lambda: plans.bars(TRAFFIC, None, None, 10), "it has no key to rank"),
    (lambda: plans.heat(PAGES, "page", "visitors", 10), "visitors cannot be added up over an hour"),
    (lambda: plans.world(PAGES, "country", None), "'country' is no key"),
    (lambda: plans.funnel(CARTS, ()), "a funnel has two steps at least"),
    (lambda: plans.funnel(PAGES, ("views", "visitors")), "visitors cannot be added up over page"),
    (lambda: plans.funnel(TRAFFIC, ("views", "visitors")), "its windows overlap"),
    (lambda: plans.bars(AUDIENCE, "country", "visitors", 5), "visitors cannot be added up over device and campaign"),
    (lambda: plans.world(AUDIENCE, "country", "visitors"), "visitors cannot be added up"),
    (lambda: plans.number(PAGES, "visitors", None), "visitors cannot be added up over page"),
    (lambda: plans.number(TRAFFIC, "views", "sum"), "views cannot be added up over windows"),
    (lambda: plans.table(PAGES, ("x",), 5), "'x' is no column"),
    (lambda: plans.count(PAGES, "soon"), "step"),
    (lambda: chart_plan(PAGES).over("24h"), "a bars has no course to compare with"),
    (lambda: chart_plan(TRAFFIC).over(), "give either how much earlier, or a source"),
]


@pytest.mark.parametrize(("mistake", "words"), MISTAKES)
def test_a_mistake_gets_one_message(mistake: Callable[[], object], words: str) -> None:
    with pytest.raises(SettingsError, match=words.replace("(", r"\(")):
        mistake()


def test_the_map_knows_the_countries_of_the_packaged_stories() -> None:
    shapes = countries()
    assert {"AT", "DE", "ES", "FR", "IT", "NL", "PL", "SE", "US", "JP"} <= shapes.keys()
    for shape in shapes.values():
        assert all(len(ring) % 2 == 0 and len(ring) >= 8 for ring in shape["rings"]), shape["name"]
