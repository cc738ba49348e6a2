"""The live dashboard: `panel serve rtap_lab/dashboards/app.py --args HUB_URL`, with the hub's secret in the environment.

Panel Material UI makes the page; what moves on it comes from the hub to the browser, whatever this process does.
"""

from __future__ import annotations

import importlib.resources
import os
import sys
from typing import Any

import panel as pn
from panel_material_ui.template import Page

from rtap_lab.dashboards import control, plans
from rtap_lab.dashboards.charts import LiveChart, feed_card
from rtap_lab.dashboards.components import Board, token_of
from rtap_lab.dashboards.plans import ChartPlan
from rtap_lab.endpoints import Endpoint
from rtap_lab.queries import audience, standard, watchlist
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.query import Query

HUB_VARIABLE = "RTAP_HUB_SECRET"
TITLE = "Website, live"
MINUTE = 60_000
RANGES = [5 * MINUTE, 15 * MINUTE, 60 * MINUTE, 360 * MINUTE]

MOST_CHARTS = 12
"""Queries of one's own that have a chart; the others have their rows."""

QUERIES = packaged()

Cards = list[dict[str, Any]]


def page(hub: Endpoint) -> Page:
    """The dashboard of one hub."""
    own = control.own_queries()[:MOST_CHARTS]
    tiles = _card("mine", packaged=list(QUERIES.names), charted=[each.name for each in own], keep=8)
    mine = [_side_by_side([LiveChart(hub, each, height=240) for each in own]), _board(hub, [tiles])]
    sections = {
        "Overview": _overview(hub),
        "Visits and funnel": _visits(hub),
        "Patterns": _patterns(hub),
        "Pipeline": _pipeline(hub),
        "My queries": mine,
        "Events": [_board(hub, [feed_card(30)])],
    }
    # all are made at once and shown one at a time by the browser: Bokeh figures do not like to be taken away and put back
    shown = [
        pn.Column(*parts, name=title, visible=not n, sizing_mode="stretch_width", styles={"gap": "14px"})
        for n, (title, parts) in enumerate(sections.items())
    ]
    above = _board(hub, [_card("choices", ranges=RANGES), _story(), _card("tabs", sections=list(sections))])
    main = pn.Column(above, *shown, sizing_mode="stretch_width", margin=(12, 16), styles={"gap": "14px"})
    shell = importlib.resources.files("rtap_lab.dashboards").joinpath("browser", "shell.html").read_text()
    return Page(title=TITLE, main=[main], theme_toggle=False, template=shell)


def _overview(hub: Endpoint) -> list[pn.viewable.Viewable]:
    traffic = plans.line(QUERIES[standard.TRAFFIC], None, ("views", "visitors"), None, "line")
    goals = {
        "x": "window_end",
        "split": "goal",
        "y": "conversions",
        "ys": ["purchase", "sign_up", "newsletter"],
        "keep": 2_000,
        "step": MINUTE,
    }
    views = [_instead(each, ys=["views"], step=MINUTE) for each in (audience.AUDIENCE, standard.PAGE_VIEWS)]
    charts = [
        _chart(
            hub, standard.TRAFFIC, _titled(traffic, "Traffic: views and visitors of the last minute"), instead=views
        ),
        _chart(hub, standard.CONVERSIONS, ChartPlan("line", goals, "Conversions by the minute")),
    ]
    countries = plans.world(QUERIES[audience.AUDIENCE], "country", "views")
    rankings = [
        _ranking(standard.PAGE_VIEWS, "Pages", "page", "views", filter="page"),
        _ranking(audience.SOURCES, "Referrers", "referrer", "views", colour=1),
        _ranking(
            audience.SOURCES,
            "Campaigns",
            "campaign",
            "views",
            colour=1,
            filter="campaign",
            instead=[_instead(audience.AUDIENCE)],
        ),
        _ranking(audience.AUDIENCE, "Countries", "country", "views", colour=3, filter="country"),
        _ranking(audience.AUDIENCE, "Devices", "device", "views", colour=3, filter="device"),
        _ranking(standard.CONVERSIONS, "Conversions", "goal", "conversions", colour=2),
    ]
    return [
        _board(hub, [_offer()]),
        _board(hub, _numbers(), least=150),
        _side_by_side(charts),
        _board(hub, rankings, least=300),
        pn.panel(_chart(hub, audience.AUDIENCE, _titled(countries, "Views by country"), height=420)),
    ]


def _visits(hub: Endpoint) -> list[pn.viewable.Viewable]:
    funnel = plans.line(QUERIES[audience.FUNNEL], None, ("landing", "product", "cart", "purchase"), None, "line")
    steps = _card(
        "funnel",
        audience.FUNNEL,
        label="Visitors by step, minute by minute added up",
        ys=["landing", "product", "cart", "purchase"],
    )
    ended = plans.count(QUERIES[standard.VISITS], 60)
    visit = [
        ["window_end", "ended"],
        ["visitor_id", "visitor"],
        ["page_views", "pages"],
        ["entry_page", "came in at"],
        ["exit_page", "left at"],
    ]
    lists = [
        _ranking(standard.VISITS, "Entry pages", "entry_page", None, colour=1),
        _ranking(standard.VISITS, "Exit pages", "exit_page", None, colour=1),
        _card("table", standard.VISITS, label="Visits that ended", columns=visit, keep=10),
    ]
    return [
        _board(hub, [_offer()]),
        _board(hub, [steps]),
        _side_by_side(
            [
                _chart(hub, audience.FUNNEL, _titled(funnel, "Visitors at each step, by the minute")),
                _chart(hub, standard.VISITS, _titled(ended, "Visits that ended, by the minute")),
            ]
        ),
        _board(hub, lists, least=360),
    ]


def _patterns(hub: Endpoint) -> list[pn.viewable.Viewable]:
    left = [["cart_time", "cart at"], ["visitor_id", "visitor"]]
    bought = [["purchase_time", "paid at"], ["visitor_id", "visitor"], ["seconds", "seconds"]]
    odd = [["ended", "at"], ["visitor_id", "visitor"]]
    lists = [
        _card("table", standard.ABANDONED, label="Carts left behind", columns=left, keep=12),
        _card("table", standard.BOUGHT, label="Purchases after an add to cart", columns=bought, keep=12),
        _card("table", watchlist.BOTS, label="Bots: 20 views within 10 s", columns=[*odd, ["page", "page"]], keep=12),
        _card("table", watchlist.FAILED_LOGINS, label="Three failed logins within a minute", columns=odd, keep=12),
        _card(
            "table",
            watchlist.RAGE_CLICKS,
            label="Rage clicks: a page four times",
            columns=[*odd, ["page", "page"]],
            keep=12,
        ),
    ]
    charts = [
        _chart(hub, name, _titled(plans.count(QUERIES[name], 60), f"{title}, by the minute"))
        for name, title in (
            (standard.ABANDONED, "Carts left behind"),
            (standard.BOUGHT, "Purchases after an add to cart"),
        )
    ]
    offer = _offer(watchlist.BOTS, watchlist.WATCHLIST_JOB, "Bots, failed logins and rage clicks")
    return [_board(hub, [offer]), _side_by_side(charts), _board(hub, lists, least=360)]


def _pipeline(hub: Endpoint) -> list[pn.viewable.Viewable]:
    names = list(QUERIES.names)
    facts = [_card(kind) for kind in ("ledger", "simulator", "jobs", "services")]
    return [
        _board(hub, facts, least=420),
        _board(hub, [_card("pipeline", label="Answers", queries=[_fed(name) for name in names])]),
    ]


def _story() -> dict[str, Any]:
    return _card("story", standard.TRAFFIC, goal="purchase", other=_fed(standard.CONVERSIONS))


def _offer(
    name: str = audience.AUDIENCE,
    job: str = audience.AUDIENCE_JOB,
    what: str = "Referrers, campaigns, countries, devices and the funnel",
) -> dict[str, Any]:
    """What is shown while the job of these answers does not run."""
    return _card("offer", name, job=job, what=what)


def _numbers() -> Cards:
    bought: dict[str, Any] = {"how": "sum", "colour": 2, "where": [["goal", "purchase"]], "x": "window_end"}
    now: dict[str, Any] = {"how": "last", "x": "window_end", "step": plans.step_ms(QUERIES[standard.TRAFFIC])}

    def grouped(y: str, name: str = audience.AUDIENCE) -> dict[str, Any]:
        return _instead(name, y=y, where=[], step=plans.step_ms(QUERIES[name]))

    views = [grouped("views"), grouped("views", standard.PAGE_VIEWS)]
    return [
        _card("number", standard.TRAFFIC, label="Visitors in the last minute", y="visitors", colour=1, **now),
        _card("number", standard.TRAFFIC, label="Views in the last minute", y="views", instead=views, **now),
        _card(
            "number", standard.CONVERSIONS, label="Purchases", y="conversions", instead=[grouped("purchases")], **bought
        ),
        _card(
            "share",
            standard.CONVERSIONS,
            label="Purchases per visit",
            x="window_end",
            y="conversions",
            where=bought["where"],
            other=_fed(standard.VISITS),
            of="other",
            digits=1,
        ),
        _card("number", standard.CONVERSIONS, label="Revenue", y="value", instead=[grouped("revenue")], **bought),
        _card("share", standard.ABANDONED, label="Carts left behind", x="cart_time", other=_fed(standard.BOUGHT)),
    ]


def _fed(name: str) -> dict[str, Any]:
    query = QUERIES[name]
    return {"channel": name, "time": query.schema.time_column, "columns": list(query.schema.columns)}


def _instead(name: str, **options: Any) -> dict[str, Any]:
    return _fed(name) | {"options": options}


def _card(kind: str, name: str | None = None, *, instead: Cards | None = None, **options: Any) -> dict[str, Any]:
    wide = kind in ("choices", "story", "tabs", "mine", "pipeline", "offer")
    card = {"kind": kind, "options": options, "wide": wide} | (_fed(name) if name else {})
    return card | ({"instead": instead} if instead else {})


def _ranking(name: str, label: str, key: str, value: str | None, **options: Any) -> dict[str, Any]:
    values = value or "visits"
    return _card("ranking", name, label=label, key=key, value=value, keep=8, keys=key, values=values, **options)


def _board(hub: Endpoint, cards: Cards, least: int = 300) -> Board:
    return Board(
        url=hub.for_browsers, token=token_of(hub), cards=cards, least=least, sizing_mode="stretch_width", margin=0
    )


def _titled(plan: ChartPlan, title: str) -> ChartPlan:
    return ChartPlan(plan.kind, plan.options, title)


def _chart(hub: Endpoint, name: str, plan: ChartPlan, *, instead: Cards | None = None, height: int = 280) -> LiveChart:
    query: Query = QUERIES[name]
    return LiveChart(hub, query, plan=plan, height=height, instead=instead or ())


def _side_by_side(charts: list[LiveChart], least: int = 420) -> pn.viewable.Viewable:
    """Side by side where there is room for so many pixels each, one above the other where there is none."""
    box = pn.FlexBox(gap="14px", sizing_mode="stretch_width", margin=0)
    for each in charts:
        view = pn.panel(each)
        view.styles = {"flex": f"1 1 {least}px", "min-width": f"min(100%, {least}px)"}
        view.margin = 0
        box.append(view)
    return box


if __name__.startswith("bokeh_app"):
    pn.extension()
    page(Endpoint(sys.argv[1], secret=os.environ.get(HUB_VARIABLE))).servable(title=f"{TITLE} · rtap_lab")
