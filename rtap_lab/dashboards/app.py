"""The live dashboard: `panel serve rtap_lab/dashboards/app.py --args HUB_URL`, with the hub's secret in the environment.

Panel makes the page; what moves on it comes from the hub to the browser, whatever this process does.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import panel as pn

from rtap_lab.dashboards.charts import LiveChart
from rtap_lab.dashboards.components import Board, token_of
from rtap_lab.dashboards.reductions import ChartPlan
from rtap_lab.endpoints import Endpoint
from rtap_lab.queries import standard
from rtap_lab.queries.catalogue import packaged

HUB_VARIABLE = "RTAP_HUB_SECRET"
MINUTE = 60_000
RANGES = [5 * MINUTE, 15 * MINUTE, 60 * MINUTE, 360 * MINUTE]

QUERIES = packaged()


def page(hub: Endpoint) -> pn.viewable.Viewable:
    """The dashboard of one hub."""
    above = [_card("choices", title="Website, live", ranges=RANGES), _story()]
    traffic = {"ys": ["views", "visitors"], "keep": 2_000, "step": 10_000}
    goals = {"split": "goal", "y": "conversions", "ys": ["purchase", "sign_up", "newsletter"], "keep": 2_000}
    charts = [
        _chart(hub, standard.TRAFFIC, ChartPlan("series", traffic, "Traffic: views and visitors of the last minute")),
        _chart(hub, standard.CONVERSIONS, ChartPlan("series", goals, "Conversions by the minute")),
    ]
    parts = [
        _board(hub, above),
        _board(hub, _numbers(), least=150),
        _side_by_side(charts),
        _board(hub, _details(), least=360),
    ]
    return pn.Column(*parts, sizing_mode="stretch_width", margin=16, styles={"gap": "14px"})


def _story() -> dict[str, Any]:
    return _card("story", standard.TRAFFIC, goal="purchase", other=_fed(standard.CONVERSIONS))


def _numbers() -> list[dict[str, Any]]:
    bought: dict[str, Any] = {"how": "sum", "colour": 2, "where": [["goal", "purchase"]], "x": "window_end"}
    now: dict[str, Any] = {"how": "last", "x": "window_end"}
    return [
        _card("number", standard.TRAFFIC, label="Visitors in the last minute", y="visitors", colour=1, **now),
        _card("number", standard.TRAFFIC, label="Views in the last minute", y="views", **now),
        _card("number", standard.CONVERSIONS, label="Purchases", y="conversions", **bought),
        _card("number", standard.CONVERSIONS, label="Revenue", y="value", **bought),
        _card("share", standard.ABANDONED, label="Carts left behind", x="cart_time", other=_fed(standard.BOUGHT)),
    ]


def _details() -> list[dict[str, Any]]:
    bought = [["purchase_time", "paid at"], ["visitor_id", "visitor"], ["seconds", "seconds"]]
    left = [["cart_time", "cart at"], ["visitor_id", "visitor"]]
    names = list(QUERIES.names)
    return [
        _ranking(standard.PAGE_VIEWS, "Pages", "page", "views"),
        _ranking(standard.CONVERSIONS, "Conversions", "goal", "conversions", colour=2),
        _ranking(standard.VISITS, "Visits that ended, by entry page", "entry_page", None, colour=1),
        _ranking(standard.VISITS, "Visits that ended, by exit page", "exit_page", None, colour=1),
        _card("list", standard.BOUGHT, label="Purchases after an add to cart", columns=bought, keep=8),
        _card("list", standard.ABANDONED, label="Adds to cart that led to nothing", columns=left, keep=8),
        _card("mine", packaged=names, keep=8),
        _card("pipeline", label="Pipeline", queries=[_fed(name) for name in names]),
    ]


def _fed(name: str) -> dict[str, Any]:
    return {"channel": name, "time": QUERIES[name].schema.time_column}


def _card(kind: str, name: str | None = None, **options: Any) -> dict[str, Any]:
    wide = kind in ("choices", "story", "mine", "pipeline")
    return {"kind": kind, "options": options, "wide": wide} | (_fed(name) if name else {})


def _ranking(name: str, label: str, key: str, value: str | None, **options: Any) -> dict[str, Any]:
    values = value or "visits"
    return _card("ranking", name, label=label, key=key, value=value, keep=8, keys=key, values=values, **options)


def _board(hub: Endpoint, cards: list[dict[str, Any]], least: int = 300) -> Board:
    return Board(url=hub.address, token=token_of(hub), cards=cards, least=least, sizing_mode="stretch_width", margin=0)


def _chart(hub: Endpoint, name: str, plan: ChartPlan) -> LiveChart:
    return LiveChart(hub, QUERIES[name], plan=plan, height=280)


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
    page(Endpoint(sys.argv[1], secret=os.environ.get(HUB_VARIABLE))).servable(title="rtap_lab")
