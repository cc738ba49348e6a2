"""What the records of a live topic imply, as far as they were read; it goes on with those that come. Pure.

A verification that begins where the one before ended reads no record twice. It holds what the rows to come depend on: ids, open
windows and attempts, how far each partition has come; not the events.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtap_lab.events.limits import MAX_TEXT
from rtap_lab.events.model import FUTURE_MS
from rtap_lab.queries.query import HOUR_MS, Query
from rtap_lab.reference.engine import operator
from rtap_lab.reference.fates import Fate, Ids, Judge, Judged, Place, judged_anew
from rtap_lab.reference.watermarks import Watermarks
from rtap_lab.reference.windowing import BEGIN, Row


class RecentIds(Ids):
    """The ids that were seen lately, eight bytes of a digest each, by the hour.

    Two of ten million ids share a digest with a probability of 3 in a million; a copy would then be seen where there is none.

    Args:
        kept_ms: For how long ids are kept; None: for good.
    """

    def __init__(self, kept_ms: int | None) -> None:
        self.kept_ms = kept_ms
        self.hours: dict[int, set[int]] = {}
        self._newest: set[int] = set()

    def begin(self, now_ms: int) -> None:
        """The ids that follow are seen now: a moment of the log, milliseconds since the epoch."""
        self._newest = self.hours.setdefault(now_ms // HOUR_MS, set())
        if self.kept_ms is not None:
            for hour in [each for each in self.hours if (each + 1) * HOUR_MS <= now_ms - self.kept_ms]:
                del self.hours[hour]

    def first(self, event_id: str) -> bool:
        digest = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = int.from_bytes(digest, "big")
        newest = self._newest
        if number in newest:
            return False
        for ids in self.hours.values():
            if ids is not newest and number in ids:
                return False
        newest.add(number)
        return True


@dataclass(frozen=True, slots=True)
class Kept:
    """A record of which `events.late` or `events.rejected` must tell."""

    place: tuple[int, int]
    """Partition and offset."""
    event_id: str | None
    """As much of it as is kept."""
    reason: str
    size: int
    sha256: str
    may_be_a_copy: bool = False
    """Whether it may be the duplicate of a record that the log has forgotten."""

    @property
    def key(self) -> tuple[int, int, str | None]:
        return (*self.place, self.event_id)


class Recomputation:
    """Fates and rows of the records of one topic, read piece by piece.

    Args:
        queries: Whose rows are recomputed.
        bound_ms: The lateness bound.
        starts: The first offset of each partition, as the log has it now.
        kept_ms: For how long an event id is remembered; None: for good.
        first: By event id, the partition whose copy is to count; see `judged_anew`.
    """

    def __init__(
        self,
        queries: Sequence[Query],
        *,
        bound_ms: int,
        starts: Mapping[int, int],
        kept_ms: int | None = None,
        first: Mapping[str, int] | None = None,
    ) -> None:
        self.queries = queries
        self.ids = RecentIds(kept_ms)
        self.judge = Judge(bound_ms, self.ids)
        self.watermarks = Watermarks(bound_ms, starts)
        self.operators = {query.name: operator(query.definition) for query in queries}
        self.positions = dict(starts)
        """The offset from which each partition is to be read on."""
        self.counts: Counter[Fate] = Counter()
        self.since_ms = BEGIN
        """Rows that depend on nothing before this can be recomputed: earlier records had expired."""
        self.left_out = 0
        """Events that counted and came behind rows that were due: there are none unless the log was changed."""
        self.fresh = {partition for partition, start in starts.items() if start > 0}
        """Partitions that begin behind records that had expired, and of which none was read yet."""
        self._first = dict(first or {})
        self._taken: set[str | None] = set()
        self.rows: dict[str, list[Row]] = {query.name: [] for query in queries}
        """Rows that became due since they were taken away; see `due`."""
        self.kept: dict[Fate, list[Kept]] = {"late": [], "rejected": []}
        """Records that were late or rejected, since they were taken away."""

    def take(self, records: Iterable[tuple[bytes | None, Place]]) -> None:
        """Take records, each partition in its order, from `positions` on."""
        judged: list[Judged] = []
        kept: dict[tuple[int, int], bytes] = {}
        for value, place in records:
            if not judged:
                self.ids.begin(place.arrival_ms)
            if place.partition in self.fresh:  # older records have expired
                self.fresh.discard(place.partition)
                self.since_ms = max(self.since_ms, place.arrival_ms + FUTURE_MS)
            for each in self.judge.judge(value, place):
                judged.append(each)
                if each.fate in ("late", "rejected") or each.copy_is_late:
                    kept[place[:2]] = value or b""
            self.positions[place.partition] = place.offset + 1
            if (latest := self.judge.latest.get(place.partition)) is not None:
                self.watermarks.observe(place.partition, latest)
        if self._first:
            judged = judged_anew(judged, self._first, self._taken)
        for each in judged:
            self.counts[each.fate] += 1
            if each.fate in ("late", "rejected"):
                content = kept[each.place[:2]]
                self.kept[each.fate].append(
                    Kept(
                        each.place[:2],
                        each.event_id[:MAX_TEXT] if each.event_id is not None else None,
                        each.reason or "late",
                        len(content),
                        hashlib.sha256(content).hexdigest(),
                        each.fate == "late" and each.event is not None and each.event.event_time < self.since_ms,
                    )
                )
        events = [each.event for each in judged if each.fate == "counted" and each.event]
        watermark = self.watermarks.current()
        for name, runs in self.operators.items():
            self.left_out += runs.add(events)
            self.rows[name] += runs.advance(watermark)

    @property
    def watermark(self) -> int | None:
        """Up to when rows are due, milliseconds since the epoch; None while a partition was never heard from."""
        found = self.watermarks.current()
        return None if found <= BEGIN else found

    @staticmethod
    def horizon(query: Query, watermark: int) -> int:
        """Up to which row time the rows of a query are due with a watermark: of sessions 1 ms less.

        An event at exactly the end of a session still belongs to it, and is on time while the watermark is 1 ms before.
        """
        return watermark - (1 if query.schema.windowed and query.schema.span_ms else 0)

    def due(self) -> dict[str, list[Row]]:
        """The rows that became due since this was asked last, by query."""
        found, self.rows = self.rows, {query.name: [] for query in self.queries}
        return found

    def close(self) -> None:
        """No more records come: every row is due."""
        for name, runs in self.operators.items():
            self.rows[name] += runs.close()

    def kept_since(self) -> dict[Fate, list[Kept]]:
        """The records that were late or rejected since this was asked last."""
        found, self.kept = self.kept, {"late": [], "rejected": []}
        return found

    _PLAIN = ("positions", "counts", "since_ms", "left_out", "fresh", "_first", "_taken", "rows", "kept")

    @property
    def state(self) -> dict[str, Any]:
        """All of it as plain data: itself, no copy."""
        return {name: getattr(self, name) for name in self._PLAIN} | {
            "latest": self.judge.latest,
            "ids": self.ids.hours,
            "watermarks": vars(self.watermarks),
            "operators": {name: each.state for name, each in self.operators.items()},
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        for name in self._PLAIN:
            setattr(self, name, state[name])
        self.judge.latest = state["latest"]
        self.ids.hours = state["ids"]
        vars(self.watermarks).update(state["watermarks"])
        for name, each in self.operators.items():
            each.state = state["operators"][name]
