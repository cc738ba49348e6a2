"""Which of several copies of an id counted, found out from the rows, where no order says which came first. Pure.

Copies of an id in several partitions have no order between them: either may have counted (contract, section 1). What the job
decided shows in its rows. The rows that copies can touch are divided into cells (a window and a key; of sessions and patterns,
a key), and the choice is searched for that leaves no cell unlike what is there: always at a cell that differs, by the copy that
brings the rows closest (B. Selman, H. Kautz, B. Cohen, "Noise Strategies for Improving Local Search", AAAI 1994). How far rows are
apart is told by their measures, not by their number: of a count that is wrong by three each right choice takes one.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rtap_lab.queries.query import Query, WindowQuery
from rtap_lab.queries.windows import SessionWindow
from rtap_lab.reference.conditions import predicate
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event, Judged
from rtap_lab.reference.fields import reader
from rtap_lab.verification.comparing import Row, identity

MOST_FLIPS = 500
"""Choices that are changed at most, one after the other."""

CELL_EVENTS = 4_000
"""Events of the cells that tell of one id, about: the smallest cells tell the most, and cost the least."""

QUERY_CELLS = 6
"""Cells of one query that tell of an id: a window that grows by the minute for an hour is sixty."""

_NOISE = 0.1
"""How often a copy is taken by chance: else the search can go round in a circle."""

Cell = tuple[Any, ...]


@dataclass(frozen=True)
class _Copy:
    """One copy of an id that may have counted; without an event it would have been late."""

    partition: int
    event: Event | None


@dataclass
class _Around:
    """What a cell holds beside the copies, which ids may add to it, and how far its rows were off by choice."""

    query: int
    events: list[Event] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    there: dict[Any, Row] = field(default_factory=dict)
    known: dict[frozenset[tuple[str, int]], float] = field(default_factory=dict)


def choose(
    queries: Sequence[Query],
    judged: Sequence[Judged],
    unsure: Mapping[str, Sequence[int]],
    found: Mapping[str, Sequence[Row]],
    *,
    late: Collection[tuple[int, int]],
    w_ms: int | None,
    since_ms: int,
    seed: int = 0,
) -> dict[str, int]:
    """The partition whose copy counted, by event id: the choice under which the rows are closest to those that are there.

    Args:
        queries: The run's.
        judged: The fates, had the copies come in the order in which they were read.
        unsure: The ids of which several partitions hold a copy, and which do.
        found: The rows that are there, by query, as `Schema.normal` gives them.
        late: Partition and offset of the records that the job took for late: a copy among them came first.
        w_ms: Rows are compared up to here; None: all.
        since_ms: And from here on.
        seed: What the search is drawn by.
    """
    copies = _copies(judged, unsure, late)
    cells = _Cells(queries, copies, w_ms=w_ms, since_ms=since_ms)
    cells.fill([j.event for j in judged if j.fate == "counted" and j.event and j.event_id not in unsure], found)
    return _searched(cells, copies, random.Random(seed))


def _copies(
    judged: Sequence[Judged], unsure: Mapping[str, Sequence[int]], late: Collection[tuple[int, int]]
) -> dict[str, list[_Copy]]:
    """Of each id the first copy of every partition that may have come first, in the order in which they were read."""
    firsts: dict[str, dict[int, Judged]] = {event_id: {} for event_id in unsure}
    for each in judged:
        if each.event_id in firsts and each.fate in ("counted", "late", "duplicate"):
            firsts[each.event_id].setdefault(each.place.partition, each)
    found: dict[str, list[_Copy]] = {}
    for event_id, by_partition in firsts.items():
        told: list[_Copy] = []
        counted: list[_Copy] = []
        for partition, each in by_partition.items():
            if each.fate != "late" and not each.copy_is_late:
                counted.append(_Copy(partition, each.event or each.copy))
            elif each.place[:2] in late:
                told.append(_Copy(partition, None))
        # where none counts and no late one is told of, all were late and the row about them is missing: the first says so
        found[event_id] = told or counted or [_Copy(next(iter(by_partition)), None)]
    return found


class _Cells:
    """The cells that copies can touch."""

    def __init__(
        self, queries: Sequence[Query], copies: Mapping[str, Sequence[_Copy]], *, w_ms: int | None, since_ms: int
    ) -> None:
        self.queries = queries
        self.w_ms, self.since_ms = w_ms, since_ms
        self._cells_of = [_cells_of(query) for query in queries]
        self._of_copies: dict[tuple[str, int], set[Cell]] = {}
        self.around: dict[Cell, _Around] = {}
        for event_id, options in copies.items():
            for copy in options:
                cells = self._of_copies[event_id, copy.partition] = set()
                for number, cell in self.of(copy.event) if copy.event else ():
                    cells.add(cell)
                    self.around.setdefault(cell, _Around(number)).ids.add(event_id)

    def of(self, event: Event) -> Iterator[tuple[int, Cell]]:
        """The cells of an event that may be compared, each with its query's number."""
        for number, cells_of in enumerate(self._cells_of):
            for cell in cells_of(event, self.w_ms):
                yield number, (number, *cell)

    def fill(self, events: Sequence[Event], found: Mapping[str, Sequence[Row]]) -> None:
        """Put into the cells what is there; only the smallest of an id's cells stay."""
        for event in events:
            for _, cell in self.of(event):
                if cell in self.around:
                    self.around[cell].events.append(event)
        by_id: dict[str, list[Cell]] = defaultdict(list)
        for cell, around in sorted(self.around.items(), key=lambda each: len(each[1].events)):
            for event_id in around.ids:
                by_id[event_id].append(cell)
        kept: set[Cell] = set()
        for cells in by_id.values():
            held, taken = 0, Counter[int]()
            for cell in cells:
                around = self.around[cell]
                taken[around.query] += 1
                held += len(around.events)
                if taken[around.query] <= QUERY_CELLS and (held <= CELL_EVENTS or cell is cells[0]):
                    kept.add(cell)
        self.around = {cell: around for cell, around in self.around.items() if cell in kept}
        for number, query in enumerate(self.queries):
            for row in found[query.name]:
                around_row = self.around.get((number, *_cell_of_row(query, row)))
                if around_row is not None and self._compared(query, row):
                    around_row.there.setdefault(identity(query.schema, row), row)

    def _compared(self, query: Query, row: Row) -> bool:
        closed = self.w_ms is None or query.schema.row_time_ms(row) <= self.w_ms
        return closed and query.schema.begin_ms(row) >= self.since_ms

    def distance(self, cell: Cell, chosen: Mapping[str, _Copy]) -> float:
        """How far a cell's rows are from those that are there, under a choice."""
        around = self.around[cell]
        key = frozenset((event_id, chosen[event_id].partition) for event_id in around.ids)
        if key not in around.known:
            query = self.queries[around.query]
            options = ((event_id, chosen[event_id]) for event_id in sorted(around.ids))
            mine = [o.event for i, o in options if o.event and cell in self._of_copies[i, o.partition]]
            wanted = {}
            for each in rows_of(query.definition, [*around.events, *mine]):
                row = query.schema.normal(each)
                if (around.query, *_cell_of_row(query, row)) == cell and self._compared(query, row):
                    wanted[identity(query.schema, row)] = row
            around.known[key] = sum(
                _apart(query, wanted.get(row), around.there.get(row)) for row in wanted.keys() | around.there.keys()
            )
        return around.known[key]


def _cells_of(query: Query) -> Callable[[Event, int | None], list[Cell]]:
    """What gives an event's cells of a query, windows up to a time; none where its condition leaves the event out."""
    definition = query.definition
    readers = [reader(name) for name in definition.keys.values()]
    kinds = list(query.schema.keys.values())
    test = predicate(definition.where) if definition.where is not None else None
    window = definition.window if isinstance(definition, WindowQuery) else None
    ranked = isinstance(definition, WindowQuery) and definition.ranked is not None

    def key(event: Event) -> tuple[Any, ...]:
        values = (read(event) for read in readers)
        return tuple(
            round(float(v), 6) if kind == "number" and v is not None else v
            for v, kind in zip(values, kinds, strict=True)
        )

    def cells(event: Event, w_ms: int | None) -> list[Cell]:
        if test is not None and not test(event, {}):
            return []
        if window is None or isinstance(window, SessionWindow):
            return [key(event)]
        of = () if ranked else key(event)
        windows = window.of_slice(event.event_time // window.slice_ms * window.slice_ms)
        return [(*each, *of) for each in windows if w_ms is None or each[1] <= w_ms + 1]

    return cells


def _cell_of_row(query: Query, row: Row) -> Cell:
    definition = query.definition
    key = tuple(row[name] for name in query.schema.keys)
    if not isinstance(definition, WindowQuery) or isinstance(definition.window, SessionWindow):
        return key
    window = (row["window_start"], row["window_end"])
    return window if definition.ranked is not None else (*window, *key)


def _apart(query: Query, wanted: Row | None, there: Row | None) -> float:
    """How far two rows of one identity are apart; one that is missing, as far as its measures are from nothing, and one more."""
    total = 0.0
    for name in query.schema.measures:
        a, b = (None if row is None else row[name] for row in (wanted, there))
        numbers = [float(v) if isinstance(v, int | float) else 0.0 for v in (a, b)]
        total += abs(numbers[0] - numbers[1]) + (type(a) is not type(b) or (isinstance(a, str) and a != b))
    return total + (wanted is None or there is None)


def _searched(cells: _Cells, copies: Mapping[str, Sequence[_Copy]], dice: random.Random) -> dict[str, int]:
    chosen = {event_id: options[0] for event_id, options in copies.items()}
    touched: dict[str, list[Cell]] = defaultdict(list)
    for cell, around in cells.around.items():
        for event_id in sorted(around.ids):
            touched[event_id].append(cell)
    apart = {cell: cells.distance(cell, chosen) for cell in cells.around}
    best, least = dict(chosen), sum(apart.values())

    def change(move: tuple[str, _Copy]) -> float:
        event_id, option = move
        anew = {**chosen, event_id: option}
        return sum(cells.distance(cell, anew) - apart[cell] for cell in touched[event_id])

    for _ in range(MOST_FLIPS):
        moves_at = {
            cell: [(i, option) for i in sorted(cells.around[cell].ids) for option in copies[i] if option != chosen[i]]
            for cell, far in apart.items()
            if far
        }
        differing = [moves for moves in moves_at.values() if moves]
        if not differing:
            break
        moves = dice.choice(differing)
        dice.shuffle(moves)
        event_id, option = moves[0] if dice.random() < _NOISE else min(moves, key=change)
        chosen[event_id] = option
        apart.update({cell: cells.distance(cell, chosen) for cell in touched[event_id]})
        if (total := sum(apart.values())) < least:
            best, least = dict(chosen), total
    return {event_id: copy.partition for event_id, copy in best.items()}
