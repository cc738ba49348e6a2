"""Live charts: one object for cell, dashboard and report; the browser feeds it from the hub."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import panel as pn
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from rtap_lab.dashboards import plans
from rtap_lab.dashboards.components import Board, HubFeed, fed, token_of
from rtap_lab.dashboards.figures import draw, drawn
from rtap_lab.dashboards.plans import ChartPlan
from rtap_lab.dashboards.reductions import filled
from rtap_lab.dashboards.still import still_html
from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import SettingsError
from rtap_lab.queries.query import Query
from rtap_lab.settings import LIVE, Duration

_NUMBER = itertools.count(1)

MOST_FED = 60
"""Events that a feed shows at most."""

CARDS = ("number", "funnel", "table")
"""Kinds that are no figure: the browser shows them as a card."""

Rows = Iterable[Mapping[str, Any]]


class LiveChart(pn.viewable.Viewer):
    """One live chart: shows itself in a cell, in `panel serve`, and as a picture in a report.

    It begins as what fits the query; another kind is asked for by its name, and gives a new chart:

        lab.chart("page_views_1m").line("window_end", "views", by="page")
        lab.chart("traffic_hop").line().overlay("24h")

    Args:
        hub: Where the hub is, and its secret; None for a static picture.
        query: The query.
        source: "live" or a recorded source.
        plan: How it is drawn; what fits the query's rows when left out.
        rows: Rows for the first picture, or what gives them when it is first shown.
        height: Pixels.
        instead: Other queries: one is shown while the page is narrowed by columns of which it lacks fewer than this one.
    """

    def __init__(
        self,
        hub: Endpoint | None,
        query: Query,
        *,
        source: str = LIVE,
        plan: ChartPlan | None = None,
        rows: Rows | Callable[[], Rows] = (),
        height: int = 260,
        instead: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        self.hub, self.query, self.source, self.height = hub, query, source, height
        self.plan = plan or plans.chart_plan(query)
        self._rows = rows
        self._instead = instead
        self._view: pn.viewable.Viewable | None = None
        self._plot: figure | None = None

    # --- kinds -----------------------------------------------------------------------------------

    def line(self, x: str | None = None, *ys: str, by: str | None = None) -> LiveChart:
        """Numbers over time.

        Args:
            x: The column of time; the window's end, or a match's time, when left out.
            ys: The numbers; the first when left out.
            by: A key: a line of one number for each of the six greatest.

        Raises:
            SettingsError: When the query has no such column.
        """
        return self._drawn(plans.line(self.query, x, ys, by, "line"))

    def area(self, x: str | None = None, *ys: str) -> LiveChart:
        """Numbers over time, the area below filled; otherwise as `line`."""
        return self._drawn(plans.line(self.query, x, ys, None, "area"))

    def bars(self, key: str | None = None, value: str | None = None, *, keep: int = 10) -> LiveChart:
        """The greatest keys of the range as bars that pass each other."""
        return self._drawn(plans.bars(self.query, key, value, keep))

    def count(self, step: Duration = 10) -> LiveChart:
        """How many rows there were, in steps of time."""
        return self._drawn(plans.count(self.query, step))

    def heat(self, y: str | None = None, value: str | None = None, *, keep: int = 12) -> LiveChart:
        """A number by hour of the day and key, as colours."""
        return self._drawn(plans.heat(self.query, y, value, keep))

    def map(self, country: str = "country", value: str | None = None) -> LiveChart:
        """A number by country (ISO 3166-1 alpha-2 codes), on a map."""
        return self._drawn(plans.world(self.query, country, value))

    def number(self, y: str | None = None, how: Literal["sum", "last"] | None = None) -> LiveChart:
        """One big number with its course and its change: of the range, or the newest."""
        return self._drawn(plans.number(self.query, y, how))

    def funnel(self, *steps: str) -> LiveChart:
        """Numbers one below the other, each as a share of the first."""
        return self._drawn(plans.funnel(self.query, steps))

    def table(self, *columns: str, keep: int = 12) -> LiveChart:
        """The newest rows; a click on one shows the events behind it."""
        return self._drawn(plans.table(self.query, columns, keep))

    def overlay(self, earlier: Duration | None = None, *, source: str | None = None) -> LiveChart:
        """The same line or area with another course behind it, dashed; of a number, how it differs from that one.

        Args:
            earlier: "24h": the same time yesterday.
            source: Another source's run, its newest row under the newest here.

        Raises:
            SettingsError: When it has no course, or not one of both is given.
        """
        return self._drawn(self.plan.over(earlier, source))

    def _drawn(self, plan: ChartPlan) -> LiveChart:
        return LiveChart(
            self.hub,
            self.query,
            source=self.source,
            plan=plan,
            rows=self._rows,
            height=self.height,
            instead=self._instead,
        )

    # --- what is shown ---------------------------------------------------------------------------

    def __panel__(self) -> pn.viewable.Viewable:
        if self._view is None:
            rows = list(self._rows() if callable(self._rows) else self._rows)
            self._view = self._card(rows) if self.plan.kind in CARDS else self._figure(rows)
        return self._view

    @property
    def figure(self) -> figure:
        """The Bokeh figure, for what Bokeh can do with one.

        Raises:
            SettingsError: When it is a card, not a figure.
        """
        self.__panel__()
        if self._plot is None:
            raise SettingsError(f"a {self.plan.kind} is no Bokeh figure")
        return self._plot

    def _figure(self, rows: list[Mapping[str, Any]]) -> pn.viewable.Viewable:
        plan, name = self.plan, f"rtap-{next(_NUMBER)}"
        data = ColumnDataSource(drawn(plan, rows), name=name)
        # in a browser any course may be held against one of before
        has_behind = plan.overlay or (self.hub is not None and plan.kind in ("line", "area"))
        behind = ColumnDataSource(drawn(plan, ()), name=f"{name}-behind") if has_behind else None
        area = ColumnDataSource(filled(drawn(plan, rows)), name=f"{name}-area") if plan.kind == "area" else None
        plot = self._plot = draw(plan, data, behind, self.height, area=area)
        plot.name = f"{name}-figure"
        feed = HubFeed(
            **fed(self.hub, self.query, self.source),
            target=name,
            kind=plan.kind,
            reduce=plan.reduce,
            options=plan.options,
            overlay=plan.overlay or {},
            instead=[dict(each) for each in self._instead],
            sizing_mode="stretch_width",
            min_height=24,
        )
        return pn.Column(pn.pane.Bokeh(plot, sizing_mode="stretch_width"), feed, sizing_mode="stretch_width")

    def _card(self, rows: list[Mapping[str, Any]]) -> pn.viewable.Viewable:
        plan = self.plan
        if self.hub is None:
            return pn.pane.HTML(still_html(plan, drawn(plan, rows)), sizing_mode="stretch_width")
        about = fed(self.hub, self.query, self.source)
        card: dict[str, Any] = {"kind": plan.kind, "options": plan.options | {"label": plan.title}, "wide": True}
        card |= {name: about[name] for name in ("channel", "time", "columns")}
        if rows:
            card["first"] = first_rows(plan, rows)
        if plan.overlay:
            card["overlay"] = plan.overlay
        if self._instead:
            card["instead"] = [dict(each) for each in self._instead]
        return Board(
            url=about["url"],
            token=about["token"],
            source=self.source,
            cards=[card],
            controls=True,
            sizing_mode="stretch_width",
            margin=0,
        )


def first_rows(plan: ChartPlan, rows: Rows) -> list[dict[str, Any]]:
    """What a card shows until it has heard of the hub, in a report that is read later for ever: no more rows than it needs."""
    x, data = plan.options["x"], drawn(plan, rows)
    if plan.kind == "funnel":
        return [dict(zip(data["name"], data["value"], strict=True))]
    if plan.kind == "table":
        newest = sorted(rows, key=lambda row: str(row[x]))[-plan.options["keep"] :]
        return [{name: row[name] for name in dict.fromkeys((x, *plan.options["columns"]))} for row in newest]
    y = plan.options["y"]
    return [{x: at, y: value} for at, value in zip(data["x"], data[y], strict=True) if value == value]


FEED_COLUMNS = [
    ["event_time", "time"],
    ["visitor_id", "visitor"],
    ["event_type", "type"],
    ["name", "name"],
    ["page", "page"],
    ["country", "country"],
    ["device", "device"],
]


def feed_card(keep: int) -> dict[str, Any]:
    """The card of the newest events."""
    options = {"label": "Events as they arrive", "columns": FEED_COLUMNS, "keep": keep}
    return {"kind": "feed", "options": options, "wide": True}


def event_feed(hub: Endpoint, *, source: str = LIVE, keep: int = 12) -> Board:
    """The newest events of a source as they arrive, whatever becomes of them; a click on one shows all of its fields.

    Args:
        hub: Where the hub is, and its secret.
        source: "live" or a recorded source.
        keep: How many, 60 at most.

    Raises:
        SettingsError: When it is another number.
    """
    if not 1 <= keep <= MOST_FED:
        raise SettingsError(f"feed: keep {keep}: 1 to {MOST_FED}")
    return Board(
        url=hub.for_browsers,
        token=token_of(hub),
        source=source,
        cards=[feed_card(keep)],
        controls=True,
        sizing_mode="stretch_width",
        margin=0,
    )


def chart_of(
    hub: Endpoint | None, query: Query, *, source: str = LIVE, rows: Rows | Callable[[], Rows] = ()
) -> LiveChart:
    """The chart of a query, of the kind that fits its rows.

    Args:
        hub: Where the hub is, and its secret; None for a static picture.
        query: The query.
        source: "live" or a recorded source.
        rows: Rows for the first picture, or what gives them.
    """
    return LiveChart(hub, query, source=source, rows=rows)
