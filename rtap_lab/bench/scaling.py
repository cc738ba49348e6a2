"""How a cost grows with the work: the same events under other numbers of keys, and where a curve bends. Pure.

A cost for each unit of work that stays level is a straight line of the whole; where it rises, the curve bends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import orjson

BENT = 0.25
"""A cost for each unit of work that exceeds the least one so far by more than this share has bent."""

_STRIDE = 2_654_435_761
"""A prime near 2^32 divided by the golden ratio: its multiples visit every visitor once a round, in no order."""


def among(keys: int, records: Iterable[bytes]) -> Iterator[bytes]:
    """The same events, by so many visitors: each has as many as another, to one.

    Args:
        keys: How many visitors, 1 at least.
        records: Events of the model as JSON objects; what is none stays as it is.

    Raises:
        ValueError: When there are no visitors.
    """
    if keys < 1:
        raise ValueError(f"{keys} visitors send nothing")
    for number, record in enumerate(records):
        try:
            event = orjson.loads(record)
        except orjson.JSONDecodeError:  # a simulated client's mistake
            event = None
        visitor = f"v{number * _STRIDE % keys}"
        yield orjson.dumps(event | {"visitor_id": visitor}) if isinstance(event, dict) else record


def bend(points: Sequence[tuple[float, float]], *, more: float = BENT) -> float | None:
    """Where a cost for each unit of work begins to rise with the work.

    Args:
        points: How much work, and what a unit of it cost; by growing work.
        more: The share by which it exceeds the least cost before it.

    Returns:
        The work at the first point from which on every cost exceeds the least one before it; None: it stays level, or falls.
    """
    found: float | None = None
    least = float("inf")
    for work, cost in points:
        bent = cost > least * (1 + more)
        found = (work if found is None else found) if bent else None
        least = min(least, cost)
    return found


def words(points: Sequence[tuple[float, float]], what: str, unit: str, *, each: bool = False) -> str:
    """How a cost grew, in a sentence.

    Args:
        points: How much work, and what it cost; by growing work.
        what: Of what there is more, as "visitors".
        unit: Of the cost, as "µs an event".
        each: Whether it is a cost of all of them, which should grow with them and no faster; else it should stay level.
    """
    (first, cost), (last, most) = points[0], points[-1]
    where = bend([(work, spent / work) for work, spent in points] if each else points)
    level = "it grows no faster than they do" if each else "it stays level"
    bent = level if where is None else f"{'faster than they do' if each else 'it rises'} from {where:,.0f} on"
    return f"{first:,.0f} to {last:,.0f} {what}: {cost:.3g} to {most:.3g} {unit}; {bent}."
