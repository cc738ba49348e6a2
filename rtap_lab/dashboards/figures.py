"""The Bokeh figure of a chart plan, drawn from reduced rows; `browser/chart.js` feeds and dresses it."""

from __future__ import annotations

import importlib.resources
import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    DataRange1d,
    DatetimeTickFormatter,
    FactorRange,
    HoverTool,
    LinearColorMapper,
    NumeralTickFormatter,
    PanTool,
    ResetTool,
    TapTool,
)
from bokeh.palettes import Blues9
from bokeh.plotting import figure
from bokeh.transform import dodge

from rtap_lab.dashboards.plans import ChartPlan
from rtap_lab.dashboards.reductions import REDUCTIONS

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#F0E442", "#56B4E9"]
"""Okabe and Ito's, which the colour-blind can tell apart; the browser takes lighter ones in the dark."""

_RAMP = list(reversed(Blues9))[1:]
_AT = ("UTC", "@x{%F %T}")


@cache
def countries() -> dict[str, dict[str, Any]]:
    """Names and outlines of countries by ISO 3166-1 alpha-2 code.

    From Natural Earth's 1:110m countries (public domain), as points of the Equal Earth projection (Šavrič, Patterson, Jenny
    2018), rounded: `rings` are flat lists x, y, x, y, …
    """
    found: dict[str, dict[str, Any]] = json.loads(
        importlib.resources.files("rtap_lab.dashboards").joinpath("world.json").read_text()
    )
    return found


def drawn(plan: ChartPlan, rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows as the columns that a plan's figure shows."""
    data = REDUCTIONS[plan.reduce](rows, **_options(plan))
    if plan.kind == "lines":
        return data | {"colour": [COLOURS[n % len(COLOURS)] for n in data["rank"]]}
    if plan.kind == "map":
        values = dict(zip(data["key"], data["value"], strict=True))
        shapes = countries()
        return {
            "code": list(shapes),
            "name": [each["name"] for each in shapes.values()],
            "xs": [_flat(each["rings"], 0) for each in shapes.values()],
            "ys": [_flat(each["rings"], 1) for each in shapes.values()],
            "value": [values.get(code, math.nan) for code in shapes],
        }
    return data


def _options(plan: ChartPlan) -> dict[str, Any]:
    """The options of a plan's reduction: others are for the browser."""
    return {
        name: value
        for name, value in plan.options.items()
        if name not in ("how", "y") or plan.kind in ("lines", "heat")
    }


def _flat(rings: list[list[float]], axis: int) -> list[float]:
    """One coordinate of all rings, NaN between two."""
    found: list[float] = []
    for ring in rings:
        found += [math.nan, *ring[axis::2]] if found else ring[axis::2]
    return found


def draw(
    plan: ChartPlan,
    data: ColumnDataSource,
    behind: ColumnDataSource | None,
    height: int,
    *,
    area: ColumnDataSource | None = None,
) -> figure:
    """The figure of a plan.

    Args:
        plan: How it is drawn.
        data: What is drawn (`drawn`).
        behind: The course behind it, if the plan has one.
        height: Pixels.
        area: What is filled below (`reductions.filled`), of an area.
    """
    common: dict[str, Any] = {
        "title": plan.title,
        "height": height,
        "sizing_mode": "stretch_width",
        "tools": [PanTool(dimensions="width"), BoxZoomTool(), ResetTool(), TapTool()],
        "toolbar_location": "right",
        "output_backend": "canvas",
    }
    match plan.kind:
        case "bars":
            plot = _bars(plan, data, common)
        case "heat":
            plot = _heat(plan, data, common)
        case "map":
            plot = _map(plan, data, common)
        case _:
            plot = _times(plan, data, behind, area, common)
    plot.toolbar.autohide = True
    return plot


def _bars(plan: ChartPlan, data: ColumnDataSource, common: dict[str, Any]) -> figure:
    plot = figure(y_range=FactorRange(factors=list(reversed(data.data["key"]))), **common)
    bars = plot.hbar(y="key", right="value", height=0.7, source=data, color=COLOURS[0], fill_alpha=0.75, tags=[0])
    plot.x_range.start = 0
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    tips = [(plan.options["key"], "@key"), (plan.options["value"] or "rows", "@value{0,0.######}")]
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    return plot


def _heat(plan: ChartPlan, data: ColumnDataSource, common: dict[str, Any]) -> figure:
    hours, keys = sorted(set(data.data["hour"])), list(dict.fromkeys(data.data["key"]))
    plot = figure(x_range=FactorRange(factors=hours), y_range=FactorRange(factors=keys[::-1]), **common)
    colour = {"field": "value", "transform": _mapper(data)}
    cells = plot.rect(x="hour", y="key", width=1, height=1, source=data, fill_color=colour, line_color=None)
    plot.xaxis.axis_label = "hour of the day, UTC"
    tips = [("hour", "@hour"), (plan.options["y"], "@key"), (plan.options["value"], "@value{0,0.######}")]
    plot.add_tools(HoverTool(renderers=[cells], tooltips=tips))
    return plot


def _map(plan: ChartPlan, data: ColumnDataSource, common: dict[str, Any]) -> figure:
    plot = figure(match_aspect=True, **common)
    colour = {"field": "value", "transform": _mapper(data)}
    shapes = plot.patches("xs", "ys", source=data, fill_color=colour, line_color="#8a949e", line_width=0.4)
    plot.axis.visible = plot.grid.visible = False
    tips = [("country", "@name (@code)"), (plan.options["value"] or "rows", "@value{0,0.######}")]
    plot.add_tools(HoverTool(renderers=[shapes], tooltips=tips))
    return plot


def _mapper(data: ColumnDataSource) -> LinearColorMapper:
    known = [value for value in data.data["value"] if value == value]
    return LinearColorMapper(
        palette=_RAMP, low=0, high=max([1, *known]), nan_color="rgba(128,128,128,0.12)", name=f"{data.name}-mapper"
    )


def _times(
    plan: ChartPlan,
    data: ColumnDataSource,
    behind: ColumnDataSource | None,
    area: ColumnDataSource | None,
    common: dict[str, Any],
) -> figure:
    # a first point alone has no span: without one the axis would show microseconds
    plot = figure(x_axis_type="datetime", x_range=DataRange1d(default_span=60_000), **common)
    plot.xaxis.formatter = DatetimeTickFormatter(
        seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hourmin="%H:%M", hours="%H:%M", days="%d %b"
    )
    plot.y_range.start = 0
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    if plan.kind == "count":
        step = plan.options["step"]
        width, middle = step * 0.8, dodge("x", step / 2)  # x is where a step begins
        bars = plot.vbar(x=middle, top="count", width=width, source=data, color=COLOURS[0], fill_alpha=0.75, tags=[0])
        tips = [_AT, ("rows", "@count{0,0}")]
        plot.add_tools(HoverTool(renderers=[bars], tooltips=tips, formatters={"@x": "datetime"}))
    elif plan.kind == "lines":
        drawn_lines = plot.multi_line("xs", "ys", source=data, line_color="colour", line_width=2)
        tips = [(plan.options["by"], "@name"), ("UTC", "$snap_x{%F %T}"), (plan.options["y"], "$snap_y{0,0.######}")]
        formatters = {"$snap_x": "datetime"}
        plot.add_tools(HoverTool(renderers=[drawn_lines], tooltips=tips, formatters=formatters, line_policy="nearest"))
    else:
        _courses(plot, plan, data, behind, area)
    return plot


def _courses(
    plot: figure,
    plan: ChartPlan,
    data: ColumnDataSource,
    behind: ColumnDataSource | None,
    area: ColumnDataSource | None,
) -> None:
    lines = []
    for n, y in enumerate(plan.options["ys"]):
        shown = {"source": data, "color": COLOURS[n % len(COLOURS)], "legend_label": y}
        each = [plot.line("x", y, line_width=2, **shown), plot.scatter("x", y, size=4, **shown)]
        lines.append(each[0])
        if area is not None:  # Bokeh's own area would go straight across a gap
            look = {"fill_alpha": 0.25, "nonselection_fill_alpha": 0.25, "line_alpha": 0, "nonselection_line_alpha": 0}
            each.append(plot.patch("x", y, **(shown | look | {"source": area})))
        if behind is not None:
            each.append(
                plot.line("x", y, line_width=1.5, line_dash="dashed", alpha=0.6, **(shown | {"source": behind}))
            )
        for renderer in each:
            renderer.tags = [n]
    plot.add_layout(plot.legend[0], "above")  # over the lines it would hide them
    plot.legend.orientation = "horizontal"
    plot.legend.click_policy = "hide"
    plot.legend.padding = plot.legend.margin = 0
    values = [(y, f"@{{{y}}}{{0,0.######}}") for y in plan.options["ys"]]
    plot.add_tools(HoverTool(renderers=lines[:1], mode="vline", tooltips=[_AT, *values], formatters={"@x": "datetime"}))
