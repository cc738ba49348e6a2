"""Live charts: a Bokeh figure, and a component whose browser side feeds it from the hub."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import panel as pn
from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    DataRange1d,
    DatetimeTickFormatter,
    FactorRange,
    HoverTool,
    NumeralTickFormatter,
    PanTool,
    ResetTool,
)
from bokeh.plotting import figure

from rtap_lab.dashboards.components import HubFeed, fed
from rtap_lab.dashboards.reductions import REDUCTIONS, ChartPlan, chart_plan
from rtap_lab.endpoints import Endpoint
from rtap_lab.queries.query import Query
from rtap_lab.settings import LIVE

_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
"""Okabe and Ito's, which the colour-blind can tell apart; the browser takes lighter ones in the dark."""
_NUMBER = itertools.count(1)


class LiveChart(pn.viewable.Viewer):
    """One live chart: shows itself in a cell, in `panel serve`, and as a picture in a report.

    Args:
        hub: Where the hub is, and its secret; None for a static picture.
        query: The query.
        source: "live" or a recorded source.
        plan: How it is drawn; what fits the query's rows when left out.
        rows: Rows for the first picture.
        height: Pixels.
    """

    def __init__(
        self,
        hub: Endpoint | None,
        query: Query,
        *,
        source: str = LIVE,
        plan: ChartPlan | None = None,
        rows: Iterable[Mapping[str, Any]] = (),
        height: int = 260,
    ) -> None:
        super().__init__()
        plan = plan or chart_plan(query)
        name = f"rtap-{next(_NUMBER)}"
        options = {"x": query.schema.time_column} | plan.options
        self.data = ColumnDataSource(REDUCTIONS[plan.reduce](rows, **options), name=name)
        self.figure = _figure(plan.reduce, options, self.data, plan.title, height)
        self.figure.name = f"{name}-figure"
        self.feed = HubFeed(
            **fed(hub, query, source),
            target=name,
            reduce=plan.reduce,
            options=options,
            sizing_mode="stretch_width",
            height=24,
        )

    def __panel__(self) -> pn.viewable.Viewable:
        pane = pn.pane.Bokeh(self.figure, sizing_mode="stretch_width")
        return pn.Column(pane, self.feed, sizing_mode="stretch_width")


def _figure(reduce: str, options: Mapping[str, Any], data: ColumnDataSource, title: str, height: int) -> figure:
    common: dict[str, Any] = {
        "title": title,
        "height": height,
        "sizing_mode": "stretch_width",
        "tools": [PanTool(dimensions="width"), BoxZoomTool(), ResetTool()],
        "toolbar_location": "right",
        "output_backend": "canvas",
    }
    if reduce == "top":
        plot = figure(y_range=FactorRange(factors=list(reversed(data.data["key"]))), **common)
        bars = plot.hbar(y="key", right="value", height=0.7, source=data, color=_COLOURS[0], fill_alpha=0.75)
        plot.x_range.start = 0
        plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
        value = options["value"] or "rows"
        plot.add_tools(HoverTool(renderers=[bars], tooltips=[(options["key"], "@key"), (value, "@value{0,0.######}")]))
    else:
        # a first point alone has no span: without one the axis would show microseconds
        plot = figure(x_axis_type="datetime", x_range=DataRange1d(default_span=60_000), **common)
        plot.xaxis.formatter = DatetimeTickFormatter(
            seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hourmin="%H:%M", hours="%H:%M", days="%d %b"
        )
        plot.y_range.start = 0
        plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
        _draw_times(plot, reduce, options, data)
    plot.toolbar.autohide = True
    return plot


def _draw_times(plot: figure, reduce: str, options: Mapping[str, Any], data: ColumnDataSource) -> None:
    at = ("UTC", "@x{%F %T}")
    if reduce == "count":
        bars = plot.vbar(
            x="x", top="count", width=options["step"] * 0.8, source=data, color=_COLOURS[0], fill_alpha=0.75
        )
        plot.add_tools(
            HoverTool(renderers=[bars], tooltips=[at, ("rows", "@count{0,0}")], formatters={"@x": "datetime"})
        )
        return
    ys = list(options["ys"])
    lines = []
    for n, y in enumerate(ys):
        drawn = {"source": data, "color": _COLOURS[n % 4], "legend_label": y}
        line, points = plot.line("x", y, line_width=2, **drawn), plot.scatter("x", y, size=3, **drawn)
        line.tags = points.tags = [n]
        lines.append(line)
    plot.add_layout(plot.legend[0], "above")  # over the lines it would hide them
    plot.legend.orientation = "horizontal"
    plot.legend.click_policy = "hide"
    plot.legend.padding = plot.legend.margin = 0
    values = [(y, f"@{{{y}}}{{0,0.######}}") for y in ys]
    plot.add_tools(HoverTool(renderers=lines[:1], mode="vline", tooltips=[at, *values], formatters={"@x": "datetime"}))


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
    return LiveChart(hub, query, source=source, rows=rows)
