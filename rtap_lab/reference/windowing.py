"""The engine of windowed queries: takes counted events in any order, gives each row when it is due.

A row is due when the watermark has reached its window's end less 1 ms; nothing that is on time can
change it afterwards. State is plain data, so it can be written down and gone on with elsewhere.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_UP, Decimal
from operator import attrgetter
from typing import Any

from rtap_lab.errors import SettingsError
from rtap_lab.queries.conditions import property_key
from rtap_lab.queries.query import Top, WindowQuery
from rtap_lab.queries.windows import AlignedWindow, SessionWindow
from rtap_lab.reference.accumulators import Accumulator, accumulator
from rtap_lab.reference.conditions import predicate
from rtap_lab.reference.fields import reader

Row = dict[str, Any]
"""Columns by name; times are milliseconds since the epoch."""

END = 2**62
"""A watermark after every event: all windows close."""
BEGIN = -(2**62)
"""A watermark before every event."""
_SIX = Decimal("0.000001")
_WHOLE = 2.0**53
"""A number has no fraction from here on."""


class Windowing:
    """Runs one windowed query.

    Args:
        query: The query.
        allowed_lateness_ms: How long after it was due a row may still change; it then comes again. Flink
            SQL's windows have none, so the standard queries use none. Not for session windows.
    """

    def __init__(self, query: WindowQuery, *, allowed_lateness_ms: int = 0) -> None:
        self.query = query
        self.allowed_lateness_ms = allowed_lateness_ms
        self.watermark = BEGIN
        self._accumulators: list[Accumulator] = [accumulator(each) for each in query.measures.values()]
        self._test = predicate(query.where) if query.where is not None else None
        self._key = _key(list(query.keys.values()))
        self._parts: _Aligned | _Sessions
        if isinstance(query.window, SessionWindow):
            if allowed_lateness_ms:
                raise SettingsError(
                    "session windows have no allowed lateness: a row that was given would have to be taken back"
                )
            self._parts = _Sessions(query.window, self._accumulators)
        else:
            self._parts = _Aligned(query.window, self._accumulators, allowed_lateness_ms)

    def add(self, events: Iterable[Any]) -> int:
        """Take counted events; returns how many were too late for every window and left out."""
        test = self._test
        if test is not None:
            events = [event for event in events if test(event, {})]
        return self._parts.add(events, self._key, self.watermark)

    def advance(self, watermark: int) -> list[Row]:
        """Move the watermark; the rows that are due with it, by time, then key."""
        if watermark <= self.watermark:
            return []
        before, self.watermark = self.watermark, watermark
        rows = []
        columns, measures = list(self.query.keys), list(self.query.measures)
        for start, end, key, state in self._parts.due(before, watermark):
            row: Row = {"window_start": start, "window_end": end}
            row.update(zip(columns, key, strict=True))
            for name, each, kept in zip(measures, self._accumulators, state, strict=True):
                row[name] = each.read(kept, end - start)
            rows.append(row)
        if self.query.ranked is not None:
            rows = _top(rows, self.query.ranked, columns)
        rows.sort(key=lambda r: (r["window_end"], r["window_start"], *((r[c] is not None, r[c]) for c in columns)))
        return rows

    def close(self) -> list[Row]:
        """Close every window; the rows left."""
        return self.advance(END)

    @property
    def state(self) -> Any:
        """All state as plain data: itself, no copy."""
        return self.watermark, self._parts.state

    @state.setter
    def state(self, state: Any) -> None:
        self.watermark, self._parts.state = state

    def snapshot(self) -> Any:
        """A copy of all state."""
        return copy.deepcopy(self.state)

    def restore(self, snapshot: Any) -> None:
        """Go on from a snapshot of the same query."""
        self.state = copy.deepcopy(snapshot)


def _top(rows: list[Row], top: Top, keys: list[str]) -> list[Row]:
    """The first rows of each window, by the measure from the greatest on, then by the keys; what is missing is the least."""
    by_keys = sorted(rows, key=lambda row: [(row[key] is not None, row[key]) for key in keys])
    ranked = sorted(by_keys, key=lambda row: _rank(row[top.measure]), reverse=True)  # stable, reversed too
    taken: Counter[tuple[int, int]] = Counter()
    found = []
    for row in ranked:
        window = (row["window_start"], row["window_end"])
        taken[window] += 1
        if taken[window] <= top.rows:
            found.append(row)
    return found


def _rank(value: Any) -> tuple[bool, Any]:
    if isinstance(value, float) and abs(value) < _WHOLE:
        value = Decimal(repr(value)).quantize(_SIX, ROUND_HALF_UP)
    return value is not None, value


def _key(fields: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if not fields:
        return lambda event: ()
    if len(fields) == 1:
        get = reader(fields[0])
        return lambda event: (get(event),)
    if all(property_key(name) is None for name in fields):
        return attrgetter(*fields)  # in one call
    readers = [reader(name) for name in fields]
    return lambda event: tuple(read(event) for read in readers)


def _merged(accumulators: list[Accumulator], a: list[Any], b: list[Any]) -> list[Any]:
    return [each.merge(x, y) for each, x, y in zip(accumulators, a, b, strict=True)]


class _Aligned:
    """Slices of tumble, hop and cumulate windows: slice start -> key -> states."""

    def __init__(self, window: AlignedWindow, accumulators: list[Accumulator], lateness_ms: int) -> None:
        self.window = window
        self.accumulators = accumulators
        self.lateness_ms = lateness_ms
        # `next`: no window is due before the watermark is there
        self.state: dict[str, Any] = {"slices": {}, "changed": set(), "next": BEGIN}

    def add(self, events: Iterable[Any], key: Callable[[Any], tuple[Any, ...]], watermark: int) -> int:
        slices, size, lateness = self.state["slices"], self.window.slice_ms, self.lateness_ms
        changed = self.state["changed"]
        new = [each.new for each in self.accumulators]
        adders = list(enumerate(each.add for each in self.accumulators))
        left_out = 0
        cached_start, keyed = None, {}
        for event in events:
            start = event.event_time // size * size
            if start != cached_start:
                if watermark > start and self._gone(start, watermark):
                    left_out += 1
                    continue
                keyed = slices.get(start)
                if keyed is None:
                    keyed = slices[start] = {}
                    first = next(end for _, end in self.window.of_slice(start)) - 1
                    self.state["next"] = min(self.state["next"], first)
                cached_start = start
            of = key(event)
            state = keyed.get(of)
            if state is None:
                state = keyed[of] = [make() for make in new]
            for index, add in adders:
                state[index] = add(state[index], event)
            if lateness and watermark > start:
                changed.add((start, of))
        return left_out

    def _gone(self, start: int, watermark: int) -> bool:
        last = max(end for _, end in self.window.of_slice(start))
        return last - 1 + self.lateness_ms <= watermark

    def due(self, before: int, watermark: int) -> list[tuple[int, int, tuple[Any, ...], list[Any]]]:
        slices, size = self.state["slices"], self.window.slice_ms
        if watermark < self.state["next"] and not self.state["changed"]:
            return []
        wanted: dict[tuple[int, int], set[Any] | None] = defaultdict(set)
        for start in slices:
            for begin, end in self.window.of_slice(start):
                if before < end - 1 <= watermark:
                    wanted[begin, end] = None  # every key
        for start, of in self.state["changed"]:  # rows that were given already
            for begin, end in self.window.of_slice(start):
                keys = wanted.get((begin, end), set()) if end - 1 <= before else None
                if keys is not None:
                    wanted[begin, end] = keys | {of}
        self.state["changed"] = set()
        found = []
        for (begin, end), keys in sorted(wanted.items()):
            sums: dict[Any, list[Any]] = {}
            for start in range(begin, end, size):
                for of, state in slices.get(start, {}).items():
                    if keys is None or of in keys:
                        sums[of] = _merged(self.accumulators, sums[of], state) if of in sums else state
            found += [(begin, end, of, state) for of, state in sums.items()]
        for start in [start for start in slices if self._gone(start, watermark)]:
            del slices[start]
        ends = (end - 1 for start in slices for _, end in self.window.of_slice(start))
        self.state["next"] = min((due for due in ends if due > watermark), default=END)
        return found


class _Sessions:
    """Open sessions: key -> list of [first, last, states], apart by more than the gap."""

    def __init__(self, window: SessionWindow, accumulators: list[Accumulator]) -> None:
        self.gap = window.gap_ms
        self.accumulators = accumulators
        # `next`: no session ends before the watermark is there
        self.state: dict[str, Any] = {"open": {}, "next": BEGIN}

    def add(self, events: Iterable[Any], key: Callable[[Any], tuple[Any, ...]], watermark: int) -> int:
        gap, left_out, opened = self.gap, 0, self.state["open"]
        adders = list(enumerate(each.add for each in self.accumulators))
        for event in events:
            moment = event.event_time
            if moment + gap - 1 <= watermark:
                left_out += 1
                continue
            of = key(event)
            mine = opened.get(of, ())
            if len(mine) == 1 and mine[0][0] - gap <= moment <= mine[0][1] + gap:  # most events go on with one session
                (session,) = mine
                for index, add in adders:
                    session[2][index] = add(session[2][index], event)
                session[0], session[1] = min(session[0], moment), max(session[1], moment)
                self.state["next"] = min(self.state["next"], session[1] + gap)
                continue
            states = [each.add(each.new(), event) for each in self.accumulators]
            first = last = moment
            apart = []
            for session in mine:
                if session[0] - gap <= moment <= session[1] + gap:
                    first, last = min(first, session[0]), max(last, session[1])
                    states = _merged(self.accumulators, session[2], states)
                else:
                    apart.append(session)
            apart.append([first, last, states])
            opened[of] = apart
            self.state["next"] = min(self.state["next"], last + gap)
        return left_out

    def due(self, before: int, watermark: int) -> list[tuple[int, int, tuple[Any, ...], list[Any]]]:
        found: list[tuple[int, int, tuple[Any, ...], list[Any]]] = []
        if watermark < self.state["next"]:
            return found
        opened, following = self.state["open"], END
        for of in list(opened):
            left = []
            for first, last, states in opened[of]:
                # an event at exactly `last + gap` is on time until the watermark is there, and merges
                if last + self.gap <= watermark:
                    found.append((first, last + self.gap, of, states))
                else:
                    left.append([first, last, states])
                    following = min(following, last + self.gap)
            if left:
                opened[of] = left
            else:
                del opened[of]
        self.state["next"] = following
        return found
