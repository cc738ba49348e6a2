"""Pure: which charts a query can have, and which fits it best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from rtap_lab.errors import SettingsError
from rtap_lab.queries.query import Query, WindowQuery
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow
from rtap_lab.settings import Duration, duration_ms

Kind = Literal["line", "area", "lines", "bars", "count", "heat", "map", "number", "funnel", "table"]

REDUCED_BY: dict[Kind, str] = {
    "line": "series",
    "area": "series",
    "lines": "lines",
    "bars": "top",
    "count": "count",
    "heat": "heat",
    "map": "top",
    "number": "series",
    "funnel": "total",
    "table": "newest",
}
"""The reduction that each kind is drawn from."""

POINTS = 2_000
"""Points of a line that are kept: as many as the hub keeps rows."""


@dataclass(frozen=True)
class ChartPlan:
    """How a query is drawn."""

    kind: Kind
    options: dict[str, Any]
    """Of its reduction."""
    title: str
    overlay: dict[str, Any] | None = None
    """What is drawn behind it, dashed: `shift_ms`, the same so long before; or `source`, another source's run."""

    @property
    def reduce(self) -> str:
        """One of `reductions.REDUCTIONS`."""
        return REDUCED_BY[self.kind]

    def over(self, earlier: Duration | None = None, source: str | None = None) -> ChartPlan:
        """The same with another course behind it; a number is held against that one.

        Args:
            earlier: "24h": its own course so long before.
            source: Another source, whose newest row is put under the newest here.

        Raises:
            SettingsError: When it is no line, area or number, or not one of both is given.
        """
        if self.kind not in ("line", "area", "number"):
            raise SettingsError(
                f"overlay: a {self.kind} has no course to compare with", hint="lines, areas and numbers have one"
            )
        if (earlier is None) == (source is None):
            raise SettingsError("overlay: give either how much earlier, or a source")
        behind = {"source": source} if source else {"shift_ms": duration_ms(earlier or 0, name="overlay")}
        return replace(self, overlay=behind)


def step_ms(query: Query) -> int:
    """How often a query has a row for each key while events come, milliseconds; 0: no such rhythm."""
    if isinstance(query.definition, WindowQuery):
        match query.definition.window:
            case TumbleWindow(size_ms=size):
                return size
            case HopWindow(slide_ms=slide):
                return slide
            case CumulateWindow(step_ms=step):
                return step
    return 0


def _numbers(query: Query) -> list[str]:
    return [name for name, kind in query.schema.measures.items() if kind in ("integer", "number")]


def _column(query: Query, name: str, allowed: list[str], what: str) -> str:
    if name not in allowed:
        raise SettingsError(
            f"chart of {query.name}: {name!r} is no {what}",
            hint=f"one of {', '.join(allowed)}" if allowed else "it has none",
        )
    return name


def _added_up(query: Query, name: str, over: str) -> None:
    """Refuse to add up what cannot be: visitors of two windows, or of two pages, may be the same.

    Raises:
        SettingsError: When it cannot be.
    """
    if name not in query.schema.additive:
        raise SettingsError(
            f"chart of {query.name}: {name} cannot be added up over {over}",
            hint=f"what can: {', '.join(query.schema.additive)}" if query.schema.additive else "",
        )


def _time(query: Query, x: str | None) -> str:
    times = [name for name, kind in query.schema.columns.items() if kind == "time"]
    return query.schema.time_column if x is None else _column(query, x, times, "time")


def _title(query: Query) -> str:
    return query.title or query.name


def _number(query: Query, name: str | None) -> str:
    numbers = _numbers(query)
    if name is None and not numbers:
        raise SettingsError(f"chart of {query.name}: it has no number to draw", hint="count its rows: .count()")
    return _column(query, name or numbers[0], numbers, "number")


def line(query: Query, x: str | None, ys: tuple[str, ...], by: str | None, kind: Literal["line", "area"]) -> ChartPlan:
    """Numbers over time; `by` a key: a line for each of the greatest."""
    numbers = _numbers(query)
    chosen = [_column(query, y, numbers, "number") for y in ys] or [_number(query, None)]
    common = {"x": _time(query, x), "keep": POINTS, "step": step_ms(query)}
    others = [key for key in query.schema.keys if key != by]
    for name in chosen if others else ():
        _added_up(query, name, " and ".join(others))
    if by is None:
        return ChartPlan(kind, common | {"ys": chosen}, _title(query))
    if kind == "area" or len(chosen) != 1:
        raise SettingsError(
            f"chart of {query.name}: `by` draws lines of one number", hint='.line("window_end", NUMBER, by=KEY)'
        )
    key = _column(query, by, list(query.schema.keys), "key")
    return ChartPlan("lines", common | {"y": chosen[0], "by": key, "most": 6}, f"{_title(query)}: {chosen[0]} by {key}")


def bars(query: Query, key: str | None, value: str | None, keep: int) -> ChartPlan:
    """The greatest keys as bars that pass each other."""
    keys = list(query.schema.keys)
    if key is None and not keys:
        raise SettingsError(f"chart of {query.name}: it has no key to rank", hint="its numbers over time: .line()")
    numbers = _numbers(query)
    chosen = _column(query, value, numbers, "number") if value else next(iter(numbers), None)
    newest = chosen is not None and chosen not in query.schema.additive
    ranked = _column(query, key or keys[0], keys, "key")
    others = [each for each in keys if each != ranked]
    if newest and others:
        _added_up(query, str(chosen), " and ".join(others))
    options = {"key": ranked, "value": chosen, "keep": keep}
    options |= {"x": query.schema.time_column, "newest": newest}
    return ChartPlan("bars", options, f"{_title(query)}: the newest window" if newest else _title(query))


def count(query: Query, step: Duration) -> ChartPlan:
    """How many rows there were, by the time."""
    size = duration_ms(step, name="step")
    return ChartPlan(
        "count", {"x": query.schema.time_column, "step": size, "keep": 360}, f"{_title(query)}, by {size / 1000:g} s"
    )


def heat(query: Query, y: str | None, value: str | None, keep: int) -> ChartPlan:
    """A number by hour of the day and key."""
    ranked = bars(query, y, value, keep).options
    if ranked["value"] is None:
        raise SettingsError(f"chart of {query.name}: it has no number to draw")
    _added_up(query, ranked["value"], "an hour")
    options = {"x": ranked["x"], "y": ranked["key"], "value": ranked["value"], "keep": keep}
    return ChartPlan("heat", options, f"{_title(query)}: {ranked['value']} by hour of the day (UTC)")


def world(query: Query, country: str, value: str | None) -> ChartPlan:
    """A number by country, on a map."""
    ranked = bars(query, country, value, 300).options
    return ChartPlan("map", ranked, f"{_title(query)}: {ranked['value'] or 'rows'} by country")


def number(query: Query, y: str | None, how: Literal["sum", "last"] | None) -> ChartPlan:
    """One big number with its course: the sum of the range, or the newest."""
    chosen = _number(query, y)
    if query.schema.keys:
        _added_up(query, chosen, " and ".join(query.schema.keys))
    if how == "sum":
        _added_up(query, chosen, "windows")
    how = how or ("sum" if chosen in query.schema.additive else "last")
    options = {"x": query.schema.time_column, "ys": [chosen], "keep": POINTS, "y": chosen, "how": how}
    options["step"] = step_ms(query)
    return ChartPlan("number", options, f"{chosen} ({_title(query)})")


def funnel(query: Query, steps: tuple[str, ...]) -> ChartPlan:
    """Numbers one below the other, each as a share of the first."""
    numbers = _numbers(query)
    chosen = [_column(query, step, numbers, "number") for step in steps] or numbers
    if len(chosen) < 2:
        raise SettingsError(f"chart of {query.name}: a funnel has two steps at least", hint=f"of {', '.join(numbers)}")
    for name in chosen if query.schema.keys else ():
        _added_up(query, name, " and ".join(query.schema.keys))
    if step_ms(query) and not isinstance(query.definition.window, TumbleWindow):  # type: ignore[union-attr]
        raise SettingsError(f"chart of {query.name}: its windows overlap, a funnel would count twice")
    title = (
        _title(query) if set(chosen) <= set(query.schema.additive) else f"{_title(query)}: window by window added up"
    )
    return ChartPlan("funnel", {"x": query.schema.time_column, "ys": chosen}, title)


def table(query: Query, columns: tuple[str, ...], keep: int) -> ChartPlan:
    """The newest rows: of a pattern its matches, each with the events behind it."""
    there = list(query.schema.columns)
    shown = [_column(query, name, there, "column") for name in columns] or [c for c in there if c != "window_start"]
    return ChartPlan("table", {"x": query.schema.time_column, "columns": shown, "keep": keep}, _title(query))


def chart_plan(query: Query) -> ChartPlan:
    """What fits a query's rows: windows as lines, with a key as a ranking, visits as how many there were, matches as a list."""
    definition = query.definition
    if not query.schema.windowed or (
        isinstance(definition, WindowQuery) and isinstance(definition.window, SessionWindow)
    ):
        return count(query, 10)
    if not _numbers(query):
        return count(query, 10)
    if query.schema.keys:
        return bars(query, None, None, 10)
    return line(query, None, tuple(_numbers(query)[:4]), None, "line")
