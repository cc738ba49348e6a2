"""The one fate of each record: tick, rejected, duplicate, late or counted, decided in this order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rtap_lab.events.codec import decode, number, unfit
from rtap_lab.events.model import Reason

Fate = Literal["tick", "rejected", "duplicate", "late", "counted"]


class Place(NamedTuple):
    """Where a record is, and when it arrived (milliseconds since the epoch)."""

    partition: int
    offset: int
    arrival_ms: int


@dataclass(slots=True, frozen=True)
class Event:
    """A counted event; `event_time` in milliseconds since the epoch."""

    event_id: str
    event_type: str
    event_time: int
    visitor_id: str
    name: str | None
    page: str | None
    value: float | None = None
    session_id: str | None = None
    referrer: str | None = None
    campaign: str | None = None
    device: str | None = None
    country: str | None = None
    properties: Mapping[str, str | None] | None = field(default=None, hash=False)


@dataclass(slots=True, frozen=True)
class Judged:
    """One row of a record, with its fate."""

    fate: Fate
    place: Place
    event_id: str | None = None
    reason: Reason | None = None
    event: Event | None = None
    copy: Event | None = None
    """Of a duplicate: the event that it is, had it come first."""
    copy_is_late: bool = False
    """Whether it would then be late."""


def copies(judged: Iterable[Judged]) -> dict[str, list[int]]:
    """The ids of which several partitions hold a copy, and which do: no order between partitions says which came first."""
    judged = list(judged)
    doubled = {each.event_id for each in judged if each.fate == "duplicate"}
    places: dict[str, set[int]] = {}
    for each in judged:
        if each.event_id in doubled and each.fate in ("counted", "late", "duplicate"):
            places.setdefault(str(each.event_id), set()).add(each.place.partition)
    return {event_id: sorted(found) for event_id, found in places.items() if len(found) > 1}


def judged_anew(
    judged: Iterable[Judged], first: Mapping[str, int], taken: set[str | None] | None = None
) -> list[Judged]:
    """The same fates, had the copy in a certain partition come first.

    Args:
        judged: Fates, each partition in its order.
        first: By event id, the partition of that copy.
        taken: The ids whose copy has come already; it is added to, where fates are given piece by piece.
    """
    found: list[Judged] = []
    taken = set() if taken is None else taken
    for each in judged:
        wanted = first.get(each.event_id or "") if each.fate in ("counted", "late", "duplicate") else None
        if wanted is None:
            found.append(each)
            continue
        event = each.event or each.copy
        late = each.fate == "late" or each.copy_is_late
        if each.place.partition == wanted and each.event_id not in taken:
            taken.add(each.event_id)
            found.append(Judged("late" if late else "counted", each.place, each.event_id, None, event))
        else:
            found.append(Judged("duplicate", each.place, each.event_id, None, None, event, late))
    return found


class Ids:
    """The event ids that were seen: all of them."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def first(self, event_id: str) -> bool:
        """Whether an id is seen for the first time; from now on it has been."""
        if event_id in self._seen:
            return False
        self._seen.add(event_id)
        return True


class Judge:
    """Decides fates; remembers every event_id it has seen, and how far each partition's clock had come.

    Late is measured against the greatest arrival of the partition up to and with the record: an arrival falls when the
    machine's clock is set back. A record that does not parse moves no clock: no SQL sees it.

    Args:
        bound_ms: How far an event may arrive behind its time before it is late.
        ids: What remembers the ids; all of them, when left out.
    """

    def __init__(self, bound_ms: int, ids: Ids | None = None) -> None:
        self.bound_ms = bound_ms
        self.latest: dict[int, int] = {}
        """The greatest arrival of each partition so far, milliseconds since the epoch."""
        self._first = (ids or Ids()).first

    def judge(self, value: bytes | None, place: Place) -> Iterator[Judged]:
        """Yield the fate of each row of a record; a record that does not parse is one row."""
        rows = decode(value)
        if not rows:
            yield Judged("rejected", place, reason="parse")
            return
        latest = max(place.arrival_ms, self.latest.get(place.partition, place.arrival_ms))
        self.latest[place.partition] = latest
        for row in rows:
            if row.is_tick:
                yield Judged("tick", place)
                continue
            reason = unfit(row, place.arrival_ms)
            if reason:
                yield Judged("rejected", place, row.event_id, reason)
                continue
            assert row.event_id is not None  # `unfit` has looked
            assert row.event_type is not None
            assert row.visitor_id is not None
            assert row.event_time is not None
            late = row.event_time <= latest - self.bound_ms
            worth = number(row.value) if row.value is not None else None
            event = Event(
                row.event_id,
                row.event_type,
                row.event_time,
                row.visitor_id,
                row.name,
                row.page,
                worth,
                row.session_id,
                row.referrer,
                row.campaign,
                row.device,
                row.country,
                row.properties,
            )
            if not self._first(row.event_id):
                yield Judged("duplicate", place, row.event_id, None, None, event, late)
                continue
            yield Judged("late" if late else "counted", place, row.event_id, None, event)
