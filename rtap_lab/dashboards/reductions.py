"""Pure: rows to what is drawn, for pictures without a browser.

`browser/reductions.js` is its twin; a test holds the two equal on random rows. Times are milliseconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rtap_lab.events.times import instant_ms

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


def filled(data: Columns) -> Columns:
    """The areas under a series, each a polygon down to zero, NaN between two; none where a gap is."""
    names = [name for name in data if name != "x"]
    pieces: list[list[int]] = [[]]
    for n in range(len(data["x"])):
        if all(isinstance(data[name][n], float) and math.isnan(data[name][n]) for name in names):
            pieces.append([])
        else:
            pieces[-1].append(n)
    pieces = [each for each in pieces if each]

    def around(column: list[Any], back: Callable[[Any], Any]) -> list[Any]:
        found: list[Any] = []
        for each in pieces:
            found += [math.nan] if found else []
            found += [column[n] for n in each] + [back(column[n]) for n in reversed(each)]
        return found

    return {"x": around(data["x"], lambda at: at)} | {name: around(data[name], lambda _: 0) for name in names}


def _whole_steps(span: Span, step: int) -> Span:
    """The steps that lie whole in a span; the span, where none does: a piece of a step is no drop."""
    if span is None:
        return None
    begin, end = -(-span[0] // step) * step, span[1] // step * step
    return (begin, end) if begin < end else span


def count(rows: Rows, *, x: str, step: int, keep: int, span: Span = None) -> Columns:
    """How many rows by `step` milliseconds of the column x; none is 0 in between. Of a span only steps that lie in it whole."""
    bins = Counter(_time(row[x]) // step * step for row in _within(rows, x, _whole_steps(span, step)))
    if not bins:
        return {"x": [], "count": []}
    last = max(bins)
    chosen = list(range(max(min(bins), last - (keep - 1) * step), last + 1, step))
    return {"x": chosen, "count": [bins[at] for at in chosen]}


def lines(rows: Rows, *, x: str, y: str, by: str, keep: int, most: int, step: int = 0, span: Span = None) -> Columns:
    """A line for each of the `most` keys with the greatest sums, as `series` makes one; `xs` and `ys` are lists of lists."""
    chosen = _within(rows, x, span)
    names = top(chosen, key=by, value=y, keep=most, x=x)["key"]
    found: Columns = {"name": names, "xs": [], "ys": [], "rank": list(range(len(names)))}
    for name in names:
        points = series([row for row in chosen if _label(row.get(by)) == name], x=x, ys=[y], keep=keep, step=step)
        found["xs"].append(points["x"])
        found["ys"].append(points[y])
    return found


HOUR_MS = 3_600_000


def heat(rows: Rows, *, x: str, y: str, value: str, keep: int, span: Span = None) -> Columns:
    """The sum of each hour of the day (UTC) and each of the `keep` keys with the greatest sums; hours without rows are left out."""
    chosen = _within(rows, x, span)
    names = top(chosen, key=y, value=value, keep=keep, x=x)["key"]
    sums: dict[tuple[int, int], float] = {}
    for row in chosen:
        name = _label(row.get(y))
        if name in names:
            # a window belongs to the hour that it lies in, not to the one that begins at its end
            cell = ((_time(row[x]) - 1) // HOUR_MS % 24, names.index(name))
            sums[cell] = sums.get(cell, 0) + (row.get(value) or 0)
    cells = sorted(sums)
    return {
        "hour": [f"{hour:02}" for hour, _ in cells],
        "key": [names[n] for _, n in cells],
        "value": [sums[cell] for cell in cells],
    }


def total(rows: Rows, *, x: str, ys: list[str], span: Span = None) -> Columns:
    """The sum of each measure."""
    chosen = _within(rows, x, span)
    return {"name": list(ys), "value": [sum(row.get(y) or 0 for row in chosen) for y in ys]}


def newest(rows: Rows, *, x: str, columns: list[str], keep: int, span: Span = None) -> Columns:
    """The newest rows, the newest first; of one time in the order in which they came."""
    chosen = sorted(_within(rows, x, span), key=lambda row: -_time(row[x]))[:keep]
    return {name: [row.get(name) for row in chosen] for name in columns}


REDUCTIONS: dict[str, Callable[..., Columns]] = {
    "series": series,
    "lines": lines,
    "top": top,
    "count": count,
    "heat": heat,
    "total": total,
    "newest": newest,
}
"""By name, as the browser has them."""
