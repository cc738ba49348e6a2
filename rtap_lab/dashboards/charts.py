"""Live charts: a Bokeh figure, and a component whose browser side feeds it from the hub."""

from __future__ import annotations

import importlib.resources
import itertools
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import panel as pn
import param
from bokeh.models import ColumnDataSource, DataRange1d, DatetimeTickFormatter, FactorRange
from bokeh.plotting import figure
from panel.custom import JSComponent

from rtap_lab.dashboards.viewmodel import REDUCTIONS, chart_plan
from rtap_lab.endpoints import Endpoint
from rtap_lab.live.access import issue
from rtap_lab.queries.query import Query
from rtap_lab.settings import LIVE

_COLOURS = ["#2f6fde", "#e07b39", "#3a9d6e", "#b04a9c"]
_NUMBER = itertools.count(1)
_TIMES = DatetimeTickFormatter(seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hours="%H:%M")


def _module() -> str:
    """The hub's client and the chart as one module: Panel takes one."""
    client = importlib.resources.files("rtap_lab.live").joinpath("hub_client.js").read_text()
    return client.replace("export function", "function") + Path(__file__).with_name("live.js").read_text()


class HubFeed(JSComponent):
    """Feeds a Bokeh source of the same document from a channel of the hub, in the browser alone."""

    url = param.String(doc="The hub's address; empty: a static picture")
    token = param.String(doc="What the hub asks for")
    channel = param.String()
    source = param.String(default=LIVE)
    target = param.String(doc="Name of the ColumnDataSource")
    reduce = param.Selector(objects=list(REDUCTIONS))
    options = param.Dict(default={})

    _esm = _module()


class LiveChart(pn.viewable.Viewer):
    """One live chart: shows itself in a cell, in `panel serve`, and as a picture in a report.

    Args:
        hub: Where the hub is, and its secret; None for a static picture.
        channel: A query's name.
        source: "live" or a recorded source.
        reduce: "series", "top" or "count" (`rtap_lab.dashboards.viewmodel`).
        options: The reduction's options.
        rows: Rows for the first picture.
        title: Above the chart.
        height: Pixels.
    """

    def __init__(
        self,
        hub: Endpoint | None,
        channel: str,
        *,
        source: str = LIVE,
        reduce: str = "series",
        options: Mapping[str, Any],
        rows: Iterable[Mapping[str, Any]] = (),
        title: str = "",
        height: int = 260,
    ) -> None:
        super().__init__()
        options = dict(options)
        name = f"rtap-{next(_NUMBER)}"
        self.data = ColumnDataSource(REDUCTIONS[reduce](rows, **options), name=name)
        self.figure = _figure(reduce, options, self.data, title, height)
        self.figure.name = f"{name}-figure"
        self.feed = HubFeed(
            url=hub.address if hub else "",
            token=issue(hub.secret, time.time()) if hub and hub.secret else "",
            channel=channel,
            source=source,
            target=name,
            reduce=reduce,
            options=options,
            sizing_mode="stretch_width",
            height=20,
        )

    def __panel__(self) -> pn.viewable.Viewable:
        pane = pn.pane.Bokeh(self.figure, sizing_mode="stretch_width")
        return pn.Column(pane, self.feed, sizing_mode="stretch_width")


def _figure(reduce: str, options: Mapping[str, Any], data: ColumnDataSource, title: str, height: int) -> figure:
    common: dict[str, Any] = {
        "title": title,
        "height": height,
        "sizing_mode": "stretch_width",
        "toolbar_location": None,
        "output_backend": "canvas",
    }
    if reduce == "top":
        keys = list(reversed(data.data["key"]))
        plot = figure(y_range=FactorRange(factors=keys), **common)
        plot.hbar(y="key", right="value", height=0.7, source=data, color=_COLOURS[0])
        plot.x_range.start = 0
        return plot
    # a first point alone has no span: without one the axis would show microseconds
    plot = figure(x_axis_type="datetime", x_range=DataRange1d(default_span=60_000), **common)
    plot.xaxis.formatter = _TIMES
    plot.y_range.start = 0
    if reduce == "count":
        width = options["step"] * 0.8
        plot.vbar(x="x", top="count", width=width, source=data, color=_COLOURS[0])
    for y, colour in zip(options.get("ys", ()), itertools.cycle(_COLOURS)):
        plot.line("x", y, source=data, color=colour, line_width=2, legend_label=y)
        plot.scatter("x", y, source=data, color=colour, size=5)
        plot.legend.location = "top_left"
        plot.legend.background_fill_alpha = 0.6
    return plot


def chart_of(
    hub: Endpoint | None, query: Query, *, source: str = LIVE, rows: Iterable[Mapping[str, Any]] = ()
) -> LiveChart:
    """The chart of a query, of the kind that fits its rows.

    Args:
        hub: Where the hub is, and its secret; None for a static picture.
        query: The query.
        source: "live" or a recorded source.
        rows: Rows for the first picture.
    """
    plan = chart_plan(query)
    return LiveChart(
        hub, query.name, source=source, reduce=plan.reduce, options=plan.options, title=plan.title, rows=rows
    )


def charts_of(hub: Endpoint | None, queries: Iterable[Query], *, source: str = LIVE) -> dict[str, LiveChart]:
    """The charts of queries, by name."""
    return {query.name: chart_of(hub, query, source=source) for query in queries}
