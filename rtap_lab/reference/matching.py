"""The engine of pattern queries: takes counted events in any order, gives each match when it is certain.

Of every key the rows are looked at in the order of (event_time, event_id), once the watermark has passed
them. One attempt is made from each row on, the earliest first; a later row's attempt waits until the
earlier one has matched, failed, or run out of time. What an attempt does is fixed by the rows alone: a
step takes every row that it can, and gives none back.
"""

from __future__ import annotations

import bisect
import copy
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from rtap_lab.queries.patterns import Measure
from rtap_lab.queries.query import PatternQuery
from rtap_lab.reference.conditions import Test, predicate
from rtap_lab.reference.fields import reader
from rtap_lab.reference.windowing import BEGIN, END, Row

Ended = Literal["open", "matched", "failed", "timed_out"]
"""A match that something may still spoil, or has spoilt, is "matched"."""


@dataclass
class Attempt:
    """How far a match that begins at one row has come."""

    rows: dict[str, list[Any]] = field(default_factory=dict)
    """The rows each step took."""
    step: int = -1
    waits_for: int | None = None
    """The relaxed step that rows are being passed over for."""
    position: int = 0
    """Rows of the key that it has seen, from its first on."""
    passed: int = 0
    """Rows passed over."""

    @property
    def taken(self) -> int:
        return sum(map(len, self.rows.values()))


@dataclass
class Traced:
    """A key's attempt, and how it ended."""

    key: tuple[Any, ...]
    ended: Ended
    attempt: Attempt
    at: Any = None
    """The event at which it ended, if one did."""


@dataclass
class _Keyed:
    waiting: list[Any] = field(default_factory=list)
    """Rows that the watermark has not passed yet."""
    rows: list[Any] = field(default_factory=list)
    """Rows in order, from the first that a match may still begin at."""
    attempt: Attempt | None = None
    pending: list[tuple[Any, Row]] = field(default_factory=list)
    """Matches that something may still spoil (`then_not`), with their last row."""


class Matching:
    """Runs one pattern query.

    Args:
        query: The query.
        on_end: Called with each attempt that took a row, when it has ended.
    """

    def __init__(self, query: PatternQuery, *, on_end: Callable[[Traced], None] | None = None) -> None:
        self.query = query
        self.watermark = BEGIN
        self.on_end = on_end
        self._where = predicate(query.where) if query.where is not None else None
        self._fields = [reader(name) for name in query.keys.values()]
        self._steps = [
            (
                step,
                predicate(step.condition, own=step.name),
                predicate(step.unless) if step.unless is not None else None,
            )
            for step in query.pattern.steps
        ]
        absence = query.pattern.absence
        self._absent: Test | None = predicate(absence.condition) if absence else None
        self._absent_ms = absence.within_ms if absence else 0
        self._within = query.pattern.within_ms or END
        self._keys: dict[tuple[Any, ...], _Keyed] = {}
        # when to look at a key: (watermark, number, key); the number keeps keys from being compared
        self._timers: list[tuple[int, int, tuple[Any, ...]]] = []
        self._number = 0

    def add(self, events: Iterable[Any]) -> int:
        """Take counted events; returns how many were behind the watermark and left out."""
        where, fields, keys, left_out = self._where, self._fields, self._keys, 0
        for event in events:
            if where is not None and not where(event, {}):
                continue
            if event.event_time <= self.watermark:
                left_out += 1
                continue
            of = tuple(read(event) for read in fields)
            keyed = keys.get(of)
            if keyed is None:
                keyed = keys[of] = _Keyed()
            keyed.waiting.append(event)
            self._wake(event.event_time, of)
        return left_out

    def key_of(self, event: Any) -> tuple[Any, ...]:
        """The values of an event's keys."""
        return tuple(read(event) for read in self._fields)

    def _wake(self, watermark: int, of: tuple[Any, ...]) -> None:
        self._number += 1
        heapq.heappush(self._timers, (watermark, self._number, of))

    def advance(self, watermark: int) -> list[Row]:
        """Move the watermark; the matches that are certain with it, by their last row's time, then key."""
        if watermark <= self.watermark:
            return []
        self.watermark = watermark
        found: list[tuple[int, tuple[Any, ...], Row]] = []
        woken: dict[tuple[Any, ...], None] = {}
        while self._timers and self._timers[0][0] <= watermark:
            woken[heapq.heappop(self._timers)[2]] = None
        for of in self._keys.copy() if watermark >= END else woken:
            keyed = self._keys.get(of)
            if keyed is None:
                continue
            self._advance(of, keyed, watermark, found)
            if not (keyed.waiting or keyed.rows or keyed.pending):
                del self._keys[of]
        found.sort(key=lambda each: (each[0], *((part is not None, part) for part in each[1])))
        return [row for _, _, row in found]

    def close(self) -> list[Row]:
        """No more events come; the matches left."""
        return self.advance(END)

    def partial(self) -> list[Traced]:
        """The attempts that are open now, one a key at most."""
        return [
            Traced(of, "open", copy.copy(keyed.attempt))
            for of, keyed in self._keys.items()
            if keyed.attempt is not None
        ]

    @property
    def pending(self) -> int:
        """Matches that something may still spoil (`then_not`)."""
        return sum(len(keyed.pending) for keyed in self._keys.values())

    @property
    def state(self) -> Any:
        """All state as plain data: itself, no copy."""
        return self.watermark, self._keys, self._timers, self._number

    @state.setter
    def state(self, state: Any) -> None:
        self.watermark, self._keys, self._timers, self._number = state

    def snapshot(self) -> Any:
        """A copy of all state."""
        return copy.deepcopy(self.state)

    def restore(self, snapshot: Any) -> None:
        """Go on from a snapshot of the same query."""
        self.state = copy.deepcopy(snapshot)

    def _advance(
        self, of: tuple[Any, ...], keyed: _Keyed, watermark: int, found: list[tuple[int, tuple[Any, ...], Row]]
    ) -> None:
        ready = [event for event in keyed.waiting if event.event_time <= watermark]
        if ready:
            keyed.waiting = [event for event in keyed.waiting if event.event_time > watermark]
            ready.sort(key=_order)
            keyed.rows += ready
        rows, begin = keyed.rows, 0
        new: list[tuple[Any, Row]] = []
        # what may spoil a match is behind its last row: held back with it, or yet to come
        spoilers = [event for event in rows if self._absent(event, {})] if self._absent else []
        while begin < len(rows):
            attempt = keyed.attempt or Attempt()
            keyed.attempt = None
            ended, at = self._go_on(attempt, rows, begin)
            if ended == "open" and rows[begin].event_time + self._within <= watermark:
                ended = "timed_out"
            if ended == "open" and watermark < END:
                keyed.attempt = attempt
                self._wake(rows[begin].event_time + self._within, of)
                break
            if self.on_end is not None and attempt.taken:
                self.on_end(Traced(of, ended, attempt, at))
            if ended == "matched":
                row: Row = dict(zip(self.query.keys, of, strict=True))
                row |= {name: value_of(m, attempt.rows) for name, m in self.query.measures.items()}
                new.append((rows[begin + attempt.position - 1], row))
                begin += self._skip(attempt, rows, begin)
            else:
                begin += 1
        del rows[:begin]
        if self._absent is None:
            found += [(last.event_time, of, row) for last, row in new]
        else:
            keyed.pending = self._unspoilt(of, keyed.pending + new, spoilers, watermark, found)

    def _go_on(self, attempt: Attempt, rows: list[Any], begin: int) -> tuple[Ended, Any]:
        """Feed an attempt the rows it has not seen; it began at the row `begin`."""
        started, within = rows[begin].event_time, self._within
        last = self._steps[-1][0]
        for index in range(begin + attempt.position, len(rows)):
            event = rows[index]
            if event.event_time - started >= within:
                return "timed_out", event
            if not self._take(attempt, event):
                return "failed", event
            attempt.position += 1
            if attempt.step == len(self._steps) - 1 and len(attempt.rows[last.name]) == last.least:
                return "matched", event
        return "open", None

    def _take(self, attempt: Attempt, event: Any) -> bool:
        """Give an attempt its next row; False when it cannot go on with it."""
        bound = attempt.rows
        if attempt.step >= 0 and attempt.waits_for is None:
            step, test, _ = self._steps[attempt.step]
            taken = len(bound[step.name])
            more = step.most is None or taken < step.most
            # a row that fits a run of 1 to 3 rows belongs to a run: after the third it ends the attempt
            if (more or step.is_run) and test(event, bound):
                if more:
                    bound[step.name].append(event)
                return more
            if taken < step.least:
                return False
        index = attempt.step + 1 if attempt.waits_for is None else attempt.waits_for
        while index < len(self._steps):
            step, test, unless = self._steps[index]
            if test(event, bound):
                bound.setdefault(step.name, []).append(event)
                attempt.step, attempt.waits_for = index, None
                return True
            if step.least:
                if not step.relaxed or (unless is not None and unless(event, bound)):
                    return False
                attempt.waits_for = index
                attempt.passed += 1
                return True
            index += 1  # it is optional
        return False

    def _skip(self, attempt: Attempt, rows: list[Any], begin: int) -> int:
        """How many rows no further match can begin at."""
        pattern = self.query.pattern
        if pattern.skip == "past_last_row":
            return attempt.position
        if pattern.skip == "to_next_row":
            return 1
        target = attempt.rows[pattern.skip_to or ""][0 if pattern.skip == "to_first" else -1]
        return next(i for i in range(attempt.position) if rows[begin + i] is target)

    def _unspoilt(
        self,
        of: tuple[Any, ...],
        matches: list[tuple[Any, Row]],
        spoilers: list[Any],
        watermark: int,
        found: list[tuple[int, tuple[Any, ...], Row]],
    ) -> list[tuple[Any, Row]]:
        """Of matches that must not be followed by something: give the certain, keep the open."""
        left = []
        for last, row in matches:
            deadline = last.event_time + self._absent_ms
            after = bisect.bisect_right(spoilers, _order(last), key=_order)
            if after < len(spoilers) and spoilers[after].event_time < deadline:
                continue
            if deadline <= watermark or watermark >= END:
                found.append((deadline, of, row))
            else:
                left.append((last, row))
                self._wake(deadline, of)
        return left


def _order(event: Any) -> tuple[int, str]:
    return event.event_time, event.event_id


def value_of(measure: Measure, bound: dict[str, list[Any]]) -> Any:
    """A measure of a match; None when its step took no row."""
    rows = bound.get(measure.step) or []
    if measure.function == "count":
        return len(rows)
    if measure.function == "elapsed":
        others = bound.get(measure.until or "") or []
        return (others[-1].event_time - rows[-1].event_time) / 1000 if rows and others else None
    return reader(measure.field)(rows[0 if measure.function == "first" else -1]) if rows else None
