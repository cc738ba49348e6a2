"""Computing aggregates: how each is made, added to, merged and read.

A state is plain data, so that it can be copied and written down. Sums are made of whole millionths, so that the order of
arrival changes nothing, nor does a term that is greater by far than the others (decision 027).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rtap_lab.queries.aggregates import Aggregate, Function
from rtap_lab.reference.conditions import predicate
from rtap_lab.reference.fields import Read, reader

_State = Any


@dataclass(frozen=True)
class Accumulator:
    """How one aggregate is computed: made, added to, merged, read."""

    new: Callable[[], _State]
    add: Callable[[_State, Any], _State]
    """State and event to state; may change the state given."""
    merge: Callable[[_State, _State], _State]
    """Two states to one; changes neither."""
    read: Callable[[_State, int], Any]
    """State and the window's length in milliseconds to the measure."""


def accumulator(aggregate: Aggregate) -> Accumulator:
    """The accumulator of an aggregate."""
    made = _PLAIN[aggregate.function](aggregate)
    if aggregate.equals is not None:
        read, number = made.read, aggregate.equals
        made = Accumulator(made.new, made.add, made.merge, lambda state, length: read(state, length) == number)
    if aggregate.where is None:
        return made
    test, add = predicate(aggregate.where), made.add
    return Accumulator(
        made.new, lambda state, event: add(state, event) if test(event, {}) else state, made.merge, made.read
    )


def _field(aggregate: Aggregate) -> Read:
    assert aggregate.field is not None
    return reader(aggregate.field)


def _count(aggregate: Aggregate) -> Accumulator:
    return Accumulator(int, lambda n, event: n + 1, lambda a, b: a + b, lambda n, length: n)


def _rate(aggregate: Aggregate) -> Accumulator:
    per = aggregate.per_ms
    return Accumulator(int, lambda n, event: n + 1, lambda a, b: a + b, lambda n, length: n * per / length)


def _distinct(aggregate: Aggregate) -> Accumulator:
    get = _field(aggregate)

    def add(seen: set[Any], event: Any) -> set[Any]:
        value = get(event)
        if value is not None:
            seen.add(value)
        return seen

    return Accumulator(set, add, lambda a, b: a | b, lambda seen, length: len(seen))


def millionths(value: float) -> int | None:
    """A number as whole millionths, half of one away from zero; None from 9e18 on, which is no part of a sum."""
    if not -MOST_SUMMED < value < MOST_SUMMED:
        return None
    whole = int(value)
    rest = abs(value - whole) * 1e6  # as exact as the number: what is left of it
    below = math.floor(rest)
    part = below + (rest - below >= 0.5)
    return whole * 1_000_000 + (part if value >= 0 else -part)


MOST_SUMMED = 9e18
"""Numbers from here on are no part of sums and means."""


def _summed(aggregate: Aggregate, read: Callable[[int, int], float]) -> Accumulator:
    """Of millionths and their number."""
    get, default = _field(aggregate), aggregate.default

    def add(state: tuple[int, int], event: Any) -> tuple[int, int]:
        value = get(event)
        if value is None:
            value = default
        units = millionths(value) if value is not None else None
        return state if units is None else (state[0] + units, state[1] + 1)

    def merge(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        return a[0] + b[0], a[1] + b[1]

    return Accumulator(lambda: (0, 0), add, merge, lambda state, length: read(*state) if state[1] else None)


def _sum(aggregate: Aggregate) -> Accumulator:
    return _summed(aggregate, lambda units, number: float(units) / 1e6)


def _mean(aggregate: Aggregate) -> Accumulator:
    return _summed(aggregate, lambda units, number: float(units) / 1e6 / number)


def _percentile(aggregate: Aggregate) -> Accumulator:
    get, share = _field(aggregate), aggregate.share

    def add(terms: list[float], event: Any) -> list[float]:
        value = get(event)
        if value is not None:
            terms.append(value)
        return terms

    def read(terms: list[float], length: int) -> float | None:
        if not terms:
            return None
        ordered = sorted(terms)
        place = share * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return Accumulator(list, add, lambda a, b: a + b, read)


def _best(better: Callable[[Any, Any], Any], timed: bool) -> Callable[[Aggregate], Accumulator]:
    def made(aggregate: Aggregate) -> Accumulator:
        get = _field(aggregate)

        def merge(a: Any, b: Any) -> Any:
            return a if b is None else b if a is None else better(a, b)

        def add(best: Any, event: Any) -> Any:
            value = get(event)
            if value is None:
                return best
            return merge(best, (event.event_time, value) if timed else value)

        def read(best: Any, length: int) -> Any:
            return best[1] if timed and best is not None else best

        return Accumulator(lambda: None, add, merge, read)

    return made


_PLAIN: dict[Function, Callable[[Aggregate], Accumulator]] = {
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
