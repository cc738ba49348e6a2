"""The live dashboard: `panel serve rtap_lab/dashboards/app.py --args HUB_URL`, with the hub's secret in the environment.

Panel makes the page; what moves on it comes from the hub to the browser, whatever this process does.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import panel as pn

from rtap_lab.dashboards.charts import LiveChart
from rtap_lab.dashboards.components import Card, fed
from rtap_lab.dashboards.reductions import ChartPlan
from rtap_lab.endpoints import Endpoint
from rtap_lab.queries import standard
from rtap_lab.queries.standard import packaged

HUB_VARIABLE = "RTAP_HUB_SECRET"
MINUTE = 60_000
RANGES = [5 * MINUTE, 15 * MINUTE, 60 * MINUTE, 360 * MINUTE]


class Dashboard:
    """The page of one hub.

    Args:
        hub: Where it is, and its secret.
    """

    def __init__(self, hub: Endpoint) -> None:
        self.hub = hub
        self.queries = packaged()

    def page(self) -> pn.viewable.Viewable:
        """All of it."""
        numbers = [
            self._number(standard.TRAFFIC, "Visitors in the last minute", "visitors", "last", colour=1),
            self._number(standard.TRAFFIC, "Views in the last minute", "views", "last"),
            self._number(
                standard.CONVERSIONS, "Purchases", "conversions", "sum", colour=2, where=[["goal", "purchase"]]
            ),
            self._number(standard.CONVERSIONS, "Revenue", "value", "sum", colour=2, where=[["goal", "purchase"]]),
            self._card(
                "share", standard.ABANDONED, label="Carts left behind", x="cart_time", other=self._fed(standard.BOUGHT)
            ),
        ]
        traffic = ChartPlan(
            "series",
            {"ys": ["views", "visitors"], "keep": 2_000, "step": 10_000},
            "Traffic: views and visitors of the last minute",
        )
        goals = {"split": "goal", "y": "conversions", "ys": ["purchase", "sign_up", "newsletter"], "keep": 2_000}
        sales = ChartPlan("series", goals, "Conversions by the minute")
        charts = [self._chart(standard.TRAFFIC, traffic), self._chart(standard.CONVERSIONS, sales)]
        left = [["cart_time", "cart at"], ["visitor_id", "visitor"]]
        bought = [["purchase_time", "paid at"], ["visitor_id", "visitor"], ["seconds", "seconds"]]
        details = [
            self._ranking(standard.PAGE_VIEWS, "Pages", "page", "views"),
            self._ranking(standard.CONVERSIONS, "Conversions", "goal", "conversions", colour=2),
            self._ranking(standard.VISITS, "Visits that ended, by entry page", "entry_page", None, colour=1),
            self._ranking(standard.VISITS, "Visits that ended, by exit page", "exit_page", None, colour=1),
            self._card("list", standard.BOUGHT, label="Purchases after an add to cart", columns=bought, keep=8),
            self._card("list", standard.ABANDONED, label="Adds to cart that led to nothing", columns=left, keep=8),
        ]
        choices = Card(kind="choices", options={"title": "Website, live", "ranges": RANGES})
        story = self._card("story", standard.TRAFFIC, goal="purchase", other=self._fed(standard.CONVERSIONS))
        names = list(self.queries.names)
        mine = self._card("mine", standard.TRAFFIC, packaged=names, keep=8)
        all_of_them = [{"channel": name, "time": self.queries[name].schema.time_column} for name in names]
        pipeline = self._card("pipeline", standard.TRAFFIC, label="Pipeline", queries=all_of_them)
        for each in (choices, story, mine, pipeline):
            each.sizing_mode, each.margin = "stretch_width", 0
        parts = [choices, story, _wrapped(numbers, 150), _wrapped(charts, 420), _wrapped(details, 300), mine, pipeline]
        return pn.Column(*parts, sizing_mode="stretch_width", margin=16, styles={"gap": "14px"})

    def _fed(self, name: str) -> dict[str, Any]:
        return fed(self.hub, self.queries[name])

    def _card(self, kind: str, name: str, **options: Any) -> Card:
        return Card(kind=kind, options=options, **self._fed(name))

    def _number(self, name: str, label: str, y: str, how: str, **options: Any) -> Card:
        return self._card("number", name, label=label, y=y, how=how, x=self.queries[name].schema.time_column, **options)

    def _ranking(self, name: str, label: str, key: str, value: str | None, **options: Any) -> Card:
        values = value or "visits"
        return self._card(
            "ranking", name, label=label, key=key, value=value, keep=8, keys=key, values=values, **options
        )

    def _chart(self, name: str, plan: ChartPlan) -> LiveChart:
        return LiveChart(self.hub, self.queries[name], plan=plan, height=280)


def _wrapped(parts: list[Any], least: int) -> pn.viewable.Viewable:
    """Side by side where there is room for so many pixels each, one above the other where there is none."""
    box = pn.FlexBox(gap="14px", align_items="stretch", sizing_mode="stretch_width", margin=0)
    for each in parts:
        view = each if isinstance(each, Card) else pn.panel(each)
        view.styles = {
            "flex": f"1 1 {least}px",
            "min-width": f"min(100%, {least}px)",
            "align-self": "stretch",
            "height": "auto",
        }
        view.sizing_mode = "stretch_width"
        view.margin = 0
        box.append(view)
    return box


if __name__.startswith("bokeh_app"):
    pn.extension()
    Dashboard(Endpoint(sys.argv[1], secret=os.environ.get(HUB_VARIABLE))).page().servable(title="rtap_lab")
