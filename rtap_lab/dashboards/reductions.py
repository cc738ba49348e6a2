"""Pure: which chart fits a query, and rows to what is drawn, for pictures without a browser.

`browser/reductions.js` is its twin; a test holds the two equal on random rows. Times are milliseconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rtap_lab.events.times import instant_ms
from rtap_lab.queries.query import Query, WindowQuery
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow

Columns = dict[str, list[Any]]
Rows = Iterable[Mapping[str, Any]]
Span = tuple[int, int] | None
"""Only rows whose time is in [begin, end)."""


def _time(value: Any) -> int:
    return value if isinstance(value, int) else (instant_ms(value) or 0)


def _within(rows: Rows, x: str, span: Span) -> list[Mapping[str, Any]]:
    return [row for row in rows if span is None or span[0] <= _time(row[x]) < span[1]]


def series(
    rows: Rows, *, x: str, ys: list[str], keep: int, step: int = 0, split: str = "", y: str = "", span: Span = None
) -> Columns:
    """A point per time, measures of one time added up, the last `keep` of them.

    Where a window of `step` milliseconds is missing there is a point without values: a gap is shown as one. Split by a column,
    `ys` are its values, and `y` is what is added up.
    """
    sums: dict[int, list[Any]] = {}
    for row in _within(rows, x, span):
        found = sums.setdefault(_time(row[x]), [0] * len(ys))
        for n, name in enumerate(ys):
            if not split:
                found[n] += row.get(name) or 0
            elif row.get(split) == name:
                found[n] += row.get(y) or 0
    data: Columns = {"x": []} | {name: [] for name in ys}
    before: int | None = None
    for at in sorted(sums)[-keep:]:
        if step and before is not None and at - before > step * 1.5:
            data["x"].append(before + step)
            for name in ys:
                data[name].append(math.nan)
        data["x"].append(at)
        for name, value in zip(ys, sums[at], strict=True):
            data[name].append(value)
        before = at
    return data


def top(
    rows: Rows,
    *,
    key: str,
    value: str | None,
    keep: int,
    x: str = "window_end",
    newest: bool = False,
    span: Span = None,
) -> Columns:
    """The greatest keys: their values added up (of no value: their rows counted), or of the newest window alone."""
    chosen = _within(rows, x, span)
    if newest:
        last = max((_time(row[x]) for row in chosen), default=0)
        chosen = [row for row in chosen if _time(row[x]) == last]
    sums: Counter[str] = Counter()
    for row in chosen:
        sums[_label(row.get(key))] += 1 if value is None else (row.get(value) or 0)
    best = sorted(sums.items(), key=lambda item: (-item[1], item[0].encode("utf-16-be")))[:keep]  # as browsers compare
    return {"key": [k for k, _ in best], "value": [v for _, v in best], "rank": list(range(len(best)))}


def _label(value: Any) -> str:
    """A key as browsers write it."""
    if value in (None, ""):
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def count(rows: Rows, *, x: str, step: int, keep: int, span: Span = None) -> Columns:
    """How many rows by `step` milliseconds of the column x; none is 0 in between."""
    bins = Counter(_time(row[x]) // step * step for row in _within(rows, x, span))
    if not bins:
        return {"x": [], "count": []}
    last = max(bins)
    chosen = list(range(max(min(bins), last - (keep - 1) * step), last + 1, step))
    return {"x": chosen, "count": [bins[at] for at in chosen]}


REDUCTIONS: dict[str, Callable[..., Columns]] = {"series": series, "top": top, "count": count}


@dataclass(frozen=True)
class ChartPlan:
    """How a query is drawn."""

    reduce: str
    """One of `REDUCTIONS`."""
    options: dict[str, Any]
    title: str


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


def chart_plan(query: Query) -> ChartPlan:
    """The chart that fits a query's rows: windows as lines, with a key as a ranking, visits and matches as how many there were."""
    schema, title = query.schema, query.title or query.name
    definition = query.definition
    by_time = ChartPlan("count", {"x": schema.time_column, "step": 10_000, "keep": 360}, f"{title}, by 10 s")
    if not schema.windowed or (isinstance(definition, WindowQuery) and isinstance(definition.window, SessionWindow)):
        return by_time
    numbers = [name for name, kind in schema.measures.items() if kind in ("integer", "number")]
    if not numbers:
        return by_time
    if schema.keys:
        additive = numbers[0] in schema.additive
        options = {
            "key": next(iter(schema.keys)),
            "value": numbers[0],
            "keep": 10,
            "x": "window_end",
            "newest": not additive,
        }
        return ChartPlan("top", options, title if additive else f"{title}: the newest window")
    options = {"x": schema.time_column, "ys": numbers[:4], "keep": 2_000, "step": step_ms(query)}
    return ChartPlan("series", options, title)
