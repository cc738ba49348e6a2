"""Pure: which chart fits a query, and rows to its columns, in Python as the browser does it (for the first picture)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rtap_lab.events.times import instant_ms
from rtap_lab.queries.query import Query, WindowQuery
from rtap_lab.queries.windows import SessionWindow

Columns = dict[str, list[Any]]


def _time(value: Any) -> int:
    return value if isinstance(value, int) else (instant_ms(value) or 0)


def series(rows: Iterable[Mapping[str, Any]], *, x: str, ys: list[str], keep: int) -> Columns:
    """A point per row, the last `keep` of them; times in milliseconds."""
    by_time = {_time(row[x]): row for row in rows}
    times = sorted(by_time)[-keep:]
    return {"x": times} | {y: [by_time[at][y] for at in times] for y in ys}


def top(rows: Iterable[Mapping[str, Any]], *, key: str, value: str, keep: int) -> Columns:
    """The greatest of the newest window."""
    rows = list(rows)
    newest = max((_time(row["window_end"]) for row in rows), default=0)
    found = {row[key] or "(none)": row[value] for row in rows if _time(row["window_end"]) == newest}
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:keep]
    return {"key": [k for k, _ in best], "value": [v for _, v in best], "rank": list(range(len(best)))}


def count(rows: Iterable[Mapping[str, Any]], *, x: str, step: int, keep: int) -> Columns:
    """How many rows by `step` milliseconds of the column x."""
    bins = Counter(_time(row[x]) // step * step for row in rows)
    chosen = sorted(bins)[-keep:]
    return {"x": chosen, "count": [bins[at] for at in chosen]}


REDUCTIONS: dict[str, Callable[..., Columns]] = {"series": series, "top": top, "count": count}


@dataclass(frozen=True)
class ChartPlan:
    """How a query is drawn."""

    reduce: str
    """One of `REDUCTIONS`."""
    options: dict[str, Any]
    title: str


def chart_plan(query: Query) -> ChartPlan:
    """The chart that fits a query's rows: windows without a key as lines, with one as a ranking of the newest window,
    visits and matches as how many there were.
    """
    schema, title = query.schema, query.title or query.name
    definition = query.definition
    if not schema.windowed or (isinstance(definition, WindowQuery) and isinstance(definition.window, SessionWindow)):
        return ChartPlan("count", {"x": schema.time_column, "step": 10_000, "keep": 60}, f"{title}, by 10 s")
    numbers = [name for name, kind in schema.measures.items() if kind in ("integer", "number")]
    if not numbers:
        return ChartPlan("count", {"x": schema.time_column, "step": 10_000, "keep": 60}, f"{title}, rows by 10 s")
    if schema.keys:
        options = {"key": next(iter(schema.keys)), "value": numbers[0], "keep": 10}
        return ChartPlan("top", options, f"{title}: the newest window")
    return ChartPlan("series", {"x": schema.time_column, "ys": numbers[:4], "keep": 180}, title)
