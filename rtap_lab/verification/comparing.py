"""Pure: rows of a query in one place, against the rows that the reference has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rtap_lab.queries.query import Query
from rtap_lab.queries.schema import Schema
from rtap_lab.settings import Delivery

SHOWN = 5
"""How many differing rows are shown."""

Row = dict[str, Any]


@dataclass
class Compared:
    """Rows of one query in one place, against the reference."""

    name: str
    where: str
    rows: int = 0
    """Rows that the reference has."""
    missing: int = 0
    extra: int = 0
    wrong: int = 0
    repeated: int = 0
    """Rows that came again, equal: an error in `exactly_once`."""
    open: int = 0
    """Rows found that are not due yet."""
    expired: int = 0
    """Rows found whose records are not all there any more: nothing can be said about them."""
    first: list[dict[str, Any]] = field(default_factory=list)
    """The first differing rows."""

    @property
    def differences(self) -> int:
        return self.missing + self.extra + self.wrong + self.repeated

    def note(self, what: str, expected: Any, found: Any) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.first) < SHOWN:
            self.first.append({"what": what, "expected": expected, "found": found})


def identity(schema: Schema, row: Row) -> tuple[Any, ...]:
    """What makes a row this row."""
    return tuple(row[name] for name in schema.identity)


def compare(
    query: Query,
    where: str,
    expected: Mapping[tuple[Any, ...], Row],
    found: Iterable[Row],
    *,
    delivery: Delivery,
    w_ms: int | None,
    since_ms: int,
) -> Compared:
    """Compare rows that are due and whose records are all still there.

    Args:
        query: Whose rows.
        where: In which place they were found.
        expected: The reference's rows by identity.
        found: Rows as `Schema.normal` gives them.
        delivery: In `exactly_once` a row that comes twice is an error.
        w_ms: Rows are compared up to here; None: all.
        since_ms: And from here on.
    """
    schema = query.schema
    compared = Compared(query.name, where)

    def closed(row: Row) -> bool:
        return w_ms is None or schema.row_time_ms(row) <= w_ms

    def whole(row: Row) -> bool:
        return schema.begin_ms(row) >= since_ms

    wanted = {key: row for key, row in expected.items() if whole(row) and closed(row)}
    compared.rows = len(wanted)
    seen: set[tuple[Any, ...]] = set()
    for row in found:
        if not whole(row):
            compared.expired += 1
            continue
        if not closed(row):
            compared.open += 1
            continue
        key = identity(schema, row)
        if key not in wanted:
            compared.note("extra", None, row)
        elif {k: row[k] for k in schema.columns} != schema.normal(wanted[key]):
            compared.note("wrong", wanted[key], row)
        elif key in seen and delivery == "exactly_once":
            compared.note("repeated", None, row)
        seen.add(key)
    for key in wanted.keys() - seen:
        compared.note("missing", wanted[key], None)
    return compared


def compare_shown(
    name: str, shown: Sequence[Row], rows: Sequence[Row], *, before: int, least: int = 1, repeats: bool = False
) -> Compared:
    """Compare what a client of the hub is shown with the rows of the result topic: the newest of them, gap-free, in order.

    Args:
        name: The query's.
        shown: The rows of a snapshot.
        rows: The topic's rows, in order, read after the snapshot was.
        before: So many of them were there before the snapshot was asked for: these it must hold, up to its length.
        least: So many of those it must hold at least: what a hub that begins anew reads.
        repeats: Whether rows may come again (`low_latency`): clients are shown them once.
    """
    compared = Compared(name, "hub")
    least = min(least, before)
    ends = range(before, len(rows) + 1)  # a row that came meanwhile may be in it
    if repeats:
        least = len({repr(row) for row in rows[before - least : before]})
        in_order = any(_shown_once(shown, rows, end) for end in ends)
    else:
        in_order = any(list(rows[max(0, end - len(shown)) : end]) == list(shown) for end in ends)
    if len(shown) >= least and in_order:
        compared.rows = len(shown)
        return compared
    due = list(rows[max(0, before - max(len(shown), least)) : before])
    compared.rows = len(due)
    texts = {repr(row): row for row in rows}
    there, count = Counter(map(repr, rows)), Counter(map(repr, shown))
    for text, row in texts.items():
        if count[text] > there[text]:
            compared.note("repeated", None, row)
    for row in shown:
        if repr(row) not in texts:
            compared.note("extra", None, row)
    for row in due:
        if not count[repr(row)]:
            compared.note("missing", row, None)
    if not compared.differences:
        compared.note("wrong", "the topic's order", "another order, or rows that are older than what it lacks")
    return compared


def _shown_once(shown: Sequence[Row], rows: Sequence[Row], end: int) -> bool:
    """Whether what is shown is the last rows before `end`, in order, but for rows that had been there before."""
    if not shown:
        return True
    texts, wanted = [repr(row) for row in rows[:end]], [repr(row) for row in shown]
    firsts = {text: n for n, text in reversed(list(enumerate(texts)))}
    for start in (n for n, text in enumerate(texts) if text == wanted[0]):
        matched = 0
        for n in range(start, end):
            if matched < len(wanted) and texts[n] == wanted[matched]:
                matched += 1
            elif firsts[texts[n]] == n:
                break
        else:
            if matched == len(wanted):
                return True
    return False


def compare_rollup(
    query: Query, expected: Iterable[Row], found: Iterable[Row], *, hour_ms: int, since_ms: int, until_ms: int
) -> Compared:
    """Compare the hourly sums of a query's additive measures.

    Args:
        query: Whose.
        expected: The reference's rows, as `Schema.normal` gives them.
        found: Sums as the store has them: window_start, keys, additive measures.
        hour_ms: The rollup's step.
        since_ms, until_ms: Hours that lie between these are compared: before, records are gone; after, sums may still change.
    """
    schema = query.schema
    names = ("window_start", *schema.keys)

    def slack(rows: list[float]) -> float:
        """The store adds doubles: what it may lose of them by that."""
        return 1e-6 + 1e-12 * math.fsum(map(abs, rows))

    def compared_hour(hour: int) -> bool:
        return since_ms <= hour and hour + hour_ms <= until_ms

    terms: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for row in expected:
        hour = row["window_start"] // hour_ms * hour_ms
        if compared_hour(hour):
            group = terms.setdefault((hour, *(row[k] for k in schema.keys)), {name: [] for name in schema.additive})
            for name in schema.additive:
                group[name].append(float(row[name] or 0))
    sums = {key: {name: math.fsum(each) for name, each in group.items()} for key, group in terms.items()}
    compared = Compared(query.name, "rollup", rows=len(sums))
    seen = set()
    for row in found:
        if not compared_hour(row["window_start"]):
            compared.open += 1
            continue
        key = tuple(row[name] for name in names)
        seen.add(key)
        wanted = sums.get(key)
        if wanted is None:
            compared.note("extra", None, row)
        elif any(abs(float(row[name] or 0) - wanted[name]) > slack(terms[key][name]) for name in schema.additive):
            compared.note("wrong", dict(zip(names, key, strict=True)) | wanted, row)
    for key in sums.keys() - seen:
        compared.note("missing", dict(zip(names, key, strict=True)) | sums[key], None)
    return compared
