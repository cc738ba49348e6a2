"""Aggregates as values, and how each is kept: made, added to, merged, read.

A kept state is plain data, so that it can be copied and written down. Sums are kept as their terms and
added exactly (Shewchuk's algorithm, `math.fsum`): the order of arrival changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rtap_lab.errors import SettingsError
from rtap_lab.streams.conditions import Condition, FieldKind, known_field
from rtap_lab.streams.queries import Kind

Function = Literal["count", "sum", "min", "max", "mean", "distinct", "first", "last", "percentile", "rate"]
_NUMBERS = ("sum", "mean", "percentile")
_State = Any


@dataclass(frozen=True, eq=False)
class Aggregate:
    """One measure of a window.

    A missing field is passed over; of nothing, `count` and `distinct` are 0 and the others missing.

    Args:
        function: What is computed.
        field: Of which field; None for `count` and `rate`.
        where: Only of events for which this holds.
        default: What a missing value counts as (`sum` only).
        share: Of `percentile`: 0 to 1.
        per_ms: Of `rate`: events in so many milliseconds.
        equals: The measure is whether the count is this number.

    Raises:
        SettingsError: When they do not fit together.
    """

    function: Function
    field: str | None = None
    where: Condition | None = None
    default: float | None = None
    share: float = 0.5
    per_ms: int = 1000
    equals: int | None = None

    def __post_init__(self) -> None:
        if (self.field is None) != (self.function in ("count", "rate")):
            wanted = "takes no field" if self.field else "needs a field"
            raise SettingsError(f"{self.function} {wanted}")
        if self.field is not None:
            kind = known_field(self.field)
            if self.function in _NUMBERS and kind != "number":
                raise SettingsError(f"{self.function} of {self.field}: it is a {kind}, not a number")
        if not 0 <= self.share <= 1:
            raise SettingsError(f"percentile of {self.field}: {self.share} is not between 0 and 1")
        if self.equals is not None and self.function not in ("count", "distinct"):
            raise SettingsError(f"{self.function} cannot be compared with a number of events")
        if self.where is not None and any(o.step for o in self.where.operands()):
            raise SettingsError(f"{self.function}: a window has no steps to look back at")

    @property
    def kind(self) -> Kind:
        """The kind of its column."""
        if self.function in ("count", "distinct"):
            return "integer" if self.equals is None else "boolean"
        if self.function in ("sum", "mean", "percentile", "rate") or self.field is None:
            return "number"
        return known_field(self.field)

    def equal_to(self, number: int) -> Aggregate:
        """Whether the count is so many."""
        return Aggregate(self.function, self.field, self.where, equals=number)


def count(where: Condition | None = None) -> Aggregate:
    """How many events."""
    return Aggregate("count", where=where)


def distinct(field: str, where: Condition | None = None) -> Aggregate:
    """How many different values."""
    return Aggregate("distinct", field, where)


def total(field: str, *, default: float | None = None, where: Condition | None = None) -> Aggregate:
    """The sum."""
    return Aggregate("sum", field, where, default=default)


def smallest(field: str, where: Condition | None = None) -> Aggregate:
    """The smallest value; of texts, by their UTF-8 bytes."""
    return Aggregate("min", field, where)


def greatest(field: str, where: Condition | None = None) -> Aggregate:
    """The greatest value; of texts, by their UTF-8 bytes."""
    return Aggregate("max", field, where)


def mean(field: str, where: Condition | None = None) -> Aggregate:
    """The arithmetic mean."""
    return Aggregate("mean", field, where)


def first(field: str, where: Condition | None = None) -> Aggregate:
    """The value of the earliest event that has one; of equal times the smallest."""
    return Aggregate("first", field, where)


def last(field: str, where: Condition | None = None) -> Aggregate:
    """The value of the latest event that has one; of equal times the greatest."""
    return Aggregate("last", field, where)


def percentile(field: str, share: float, where: Condition | None = None) -> Aggregate:
    """The value below which a share of them lies, linear between neighbours (SQL's PERCENTILE_CONT)."""
    return Aggregate("percentile", field, where, share=share)


def rate(per_ms: int = 1000, where: Condition | None = None) -> Aggregate:
    """Events per so many milliseconds, over the window's length."""
    return Aggregate("rate", where=where, per_ms=per_ms)


@dataclass(frozen=True)
class Keeper:
    """How one aggregate's state is kept."""

    new: Callable[[], _State]
    add: Callable[[_State, Any], _State]
    """State and event to state; may change the state given."""
    merge: Callable[[_State, _State], _State]
    """Two states to one; changes neither."""
    read: Callable[[_State, int], Any]
    """State and the window's length in milliseconds to the measure."""


def keeper(aggregate: Aggregate) -> Keeper:
    """How an aggregate's state is kept."""
    made = _PLAIN[aggregate.function](aggregate)
    if aggregate.equals is not None:
        read, number = made.read, aggregate.equals
        made = Keeper(made.new, made.add, made.merge, lambda state, length: read(state, length) == number)
    if aggregate.where is None:
        return made
    test, add = aggregate.where.test(), made.add
    return Keeper(made.new, lambda state, event: add(state, event) if test(event, {}) else state, made.merge, made.read)


def _field(aggregate: Aggregate) -> str:
    assert aggregate.field is not None
    return aggregate.field


def _count(aggregate: Aggregate) -> Keeper:
    return Keeper(int, lambda n, event: n + 1, lambda a, b: a + b, lambda n, length: n)


def _rate(aggregate: Aggregate) -> Keeper:
    per = aggregate.per_ms
    return Keeper(int, lambda n, event: n + 1, lambda a, b: a + b, lambda n, length: n * per / length)


def _distinct(aggregate: Aggregate) -> Keeper:
    name = _field(aggregate)

    def add(seen: set[Any], event: Any) -> set[Any]:
        value = getattr(event, name)
        if value is not None:
            seen.add(value)
        return seen

    return Keeper(set, add, lambda a, b: a | b, lambda seen, length: len(seen))


def _terms(aggregate: Aggregate, read: Callable[[list[float]], float | None]) -> Keeper:
    name, default = _field(aggregate), aggregate.default

    def add(terms: list[float], event: Any) -> list[float]:
        value = getattr(event, name)
        if value is None:
            value = default
        if value is not None:
            terms.append(value)
        return terms

    return Keeper(list, add, lambda a, b: a + b, lambda terms, length: read(terms))


def exact_sum(terms: list[float]) -> float:
    """The sum, correctly rounded; infinite where it is beyond a double."""
    try:
        return math.fsum(terms)
    except OverflowError:
        return sum(terms)


def _sum(aggregate: Aggregate) -> Keeper:
    return _terms(aggregate, lambda terms: exact_sum(terms) if terms else None)


def _mean(aggregate: Aggregate) -> Keeper:
    return _terms(aggregate, lambda terms: exact_sum(terms) / len(terms) if terms else None)


def _percentile(aggregate: Aggregate) -> Keeper:
    share = aggregate.share

    def read(terms: list[float]) -> float | None:
        if not terms:
            return None
        ordered = sorted(terms)
        place = share * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return _terms(aggregate, read)


def _best(better: Callable[[Any, Any], Any], timed: bool) -> Callable[[Aggregate], Keeper]:
    def made(aggregate: Aggregate) -> Keeper:
        name = _field(aggregate)

        def merge(a: Any, b: Any) -> Any:
            return a if b is None else b if a is None else better(a, b)

        def add(best: Any, event: Any) -> Any:
            value = getattr(event, name)
            if value is None:
                return best
            return merge(best, (event.event_time, value) if timed else value)

        def read(best: Any, length: int) -> Any:
            return best[1] if timed and best is not None else best

        return Keeper(lambda: None, add, merge, read)

    return made


_PLAIN: dict[Function, Callable[[Aggregate], Keeper]] = {
    "count": _count,
    "rate": _rate,
    "distinct": _distinct,
    "sum": _sum,
    "mean": _mean,
    "percentile": _percentile,
    "min": _best(min, False),
    "max": _best(max, False),
    "first": _best(min, True),
    "last": _best(max, True),
}

__all__ = [
    "Aggregate",
    "FieldKind",
    "Function",
    "Keeper",
    "count",
    "distinct",
    "exact_sum",
    "first",
    "greatest",
    "keeper",
    "last",
    "mean",
    "percentile",
    "rate",
    "smallest",
    "total",
]
