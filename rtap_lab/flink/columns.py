"""Windows over columns: what a job on batches of events computes, many events at a time. Pure; runs inside Flink.

A batch is cut into parts, one for each slice of event time that it touches and each query that asks for windows; Flink's SQL
gathers the parts of a window, and here they become its rows. Texts are numbers while this goes on: their ranks in the order of
their UTF-8 bytes, so that equal, smallest and latest are the same for texts, times and numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types

from rtap_lab.events.batches import MOST_BATCH_EVENTS, SCHEMA, is_plain
from rtap_lab.events.limits import MAX_TEXT
from rtap_lab.events.model import EVENT_TYPES, FUTURE_MS, NAMED
from rtap_lab.queries.aggregates import Aggregate
from rtap_lab.queries.conditions import (
    Both,
    Compared,
    Condition,
    Contains,
    Either,
    Missing,
    Not,
    Operand,
    known_field,
    property_key,
)
from rtap_lab.queries.query import Top, WindowQuery
from rtap_lab.queries.windows import SessionWindow

Numbers = np.ndarray[Any, Any]
Cells = tuple[Any, ...]
"""The values of a row, keys and then measures; times are milliseconds since the epoch."""

_COMPARED = {
    "=": pc.equal, "<>": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip
_CONTAINED = {"begin": pc.starts_with, "end": pc.ends_with, "anywhere": pc.match_substring}
_SIX = Decimal("0.000001")
_WHOLE = 2.0**53
"""A number has no fraction from here on."""


# --- a batch ----------------------------------------------------------------------------------------


def read_batch(record: bytes, arrival_ms: int) -> pa.RecordBatch | None:
    """The batch of a record; None when it is none, or an event of it would be refused."""
    try:
        with pa.ipc.open_stream(record) as stream:
            if stream.schema != SCHEMA:
                return None
            (batch,) = stream
        batch.validate(full=True)
    except (ValueError, OSError, pa.ArrowException):
        return None
    return batch if 0 < batch.num_rows <= MOST_BATCH_EVENTS and is_plain(batch) and _fits(batch, arrival_ms) else None


def _fits(batch: pa.RecordBatch, arrival_ms: int) -> bool:
    needed = ("event_id", "event_type", "event_time", "visitor_id")
    if any(batch.column(name).null_count for name in needed):
        return False
    if pc.max(batch.column("event_time")).as_py() > arrival_ms + FUTURE_MS:
        return False
    kinds = batch.column("event_type")
    if not set(kinds.dictionary.to_pylist()) <= set(EVENT_TYPES):
        used = set(pc.unique(kinds).to_pylist())
        if not used <= set(EVENT_TYPES):
            return False
    if (names := batch.column("name")).null_count:
        named = pc.is_in(kinds.dictionary, value_set=pa.array(NAMED)).take(kinds.indices)
        if pc.any(pc.and_(named, pc.is_null(names))).as_py():
            return False
    if pc.any(pc.invert(pc.is_finite(batch.column("value")))).as_py():
        return False
    properties = batch.column("properties")
    return all(_fit(each) for each in (batch.column("event_id"), properties.keys, properties.items))


def _fit(texts: pa.Array) -> bool:
    """Whether none of these texts is too long; what has so few bytes cannot have more characters."""
    _, offsets, _ = texts.buffers()
    if offsets is None or not len(texts):
        return True
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return int(np.diff(ends).max()) <= MAX_TEXT or (pc.max(pc.utf8_length(texts)).as_py() or 0) <= MAX_TEXT


def values_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A field's or a property's values, null where an event has none."""
    key = property_key(name)
    if key is None:
        return batch.column(name)
    return pc.map_lookup(batch.column("properties"), pa.scalar(key), "last").dictionary_encode()


def holds(batch: pa.RecordBatch, condition: Condition) -> pa.BooleanArray:
    """Where a condition holds: true, false, or null where a field is missing (SQL's three-valued logic)."""
    match condition:
        case Compared(operator=sign, left=left, right=right):
            compare, values = _COMPARED[sign], values_of(batch, left.name)
            if isinstance(right, Operand):
                return compare(_plain(values), _plain(values_of(batch, right.name)))
            given = pa.scalar(
                float(right) if left.kind == "number" else right, None if left.kind != "time" else pa.int64()
            )
            return _of_values(values, lambda each: compare(each, given))
        case Contains(place=place, operand=operand, text=text):
            return _of_values(values_of(batch, operand.name), lambda each: _CONTAINED[place](each, text))
        case Missing(operand=operand):
            return pc.is_null(values_of(batch, operand.name))
        case Both(left=left, right=right):
            return pc.and_kleene(holds(batch, left), holds(batch, right))
        case Either(left=left, right=right):
            return pc.or_kleene(holds(batch, left), holds(batch, right))
        case Not(condition=inner):
            return pc.invert(holds(batch, inner))
    raise TypeError(type(condition))  # pragma: no cover


def _plain(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _of_values(values: pa.Array, asked: Any) -> pa.BooleanArray:
    """Ask each different value once."""
    if not pa.types.is_dictionary(values.type):
        return asked(values)
    return asked(values.dictionary).take(values.indices)


# --- parts: what a query needs of a batch, slice by slice ------------------------------------------------


def fields_of(query: WindowQuery) -> list[str]:
    """The fields that a query's rows are made of."""
    fields = [*query.keys.values(), *(each.field for each in query.measures.values() if each.field)]
    if any(each.function in ("first", "last") for each in query.measures.values()):
        fields.append("event_time")
    return list(dict.fromkeys(fields))


class Parts:
    """Cuts batches into a query's parts.

    Args:
        query: Windows that are the same for every key.
    """

    def __init__(self, query: WindowQuery) -> None:
        assert not isinstance(query.window, SessionWindow)
        self.query = query
        self.slice_ms = query.window.slice_ms
        self.fields = fields_of(query)
        self.tests = {name: each.where for name, each in query.measures.items() if each.where is not None}

    def of(self, batch: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
        """The parts of a batch: the beginning of the slice, milliseconds since the epoch, and what its events have, equal ones once.

        A part is a list of columns: how many events each of its rows stands for, then the fields, then what conditions said.
        """
        if self.query.where is not None:
            batch = batch.filter(holds(batch, self.query.where))
        if not batch.num_rows:
            return
        columns = [values_of(batch, name) for name in self.fields]
        columns += [pc.fill_null(holds(batch, test), False) for test in self.tests.values()]
        begins, slices = np.unique(np.asarray(batch.column("event_time")) // self.slice_ms, return_inverse=True)
        of = slices.astype(np.int64)
        for each in columns:
            codes, number = _codes(each)
            of = of * number + codes
            if number > 1 and len(batch) > 1 and of.max() > _DENSE:
                of = np.unique(of, return_inverse=True)[1]
        _, first, counts = np.unique(of, return_index=True, return_counts=True)  # in the order of their slices
        chosen = pa.array(first)
        lists = [counts.tolist(), *(_listed(each.take(chosen)) for each in columns)]
        ends = np.searchsorted(slices[first], np.arange(len(begins) + 1)).tolist()
        for number, begin in enumerate(begins.tolist()):
            yield begin * self.slice_ms, _packed([each[ends[number] : ends[number + 1]] for each in lists])


_DENSE = 2**40
"""Codes of rows that are greater are counted anew, before they outgrow their 64 bits."""

_packed = msgspec.msgpack.Encoder().encode
_unpacked = msgspec.msgpack.Decoder(list[list[Any]]).decode


def _listed(column: pa.Array) -> list[Any]:
    """The values of a column; of a dictionary each text is made once."""
    if not pa.types.is_dictionary(column.type):
        return list(column.to_pylist())
    texts = [*column.dictionary.to_pylist(), None]
    return [texts[code] for code in np.asarray(pc.fill_null(column.indices, -1)).tolist()]


def _codes(column: pa.Array) -> tuple[Numbers, int]:
    """A number for each value, equal ones the same, from 0; and how many there may be."""
    if pa.types.is_dictionary(column.type):
        codes = np.asarray(pc.fill_null(column.indices, -1)).astype(np.int64) + 1
        return codes, len(column.dictionary) + 1
    if pa.types.is_boolean(column.type):
        return np.asarray(column.cast(pa.int8())).astype(np.int64), 2
    if pa.types.is_string(column.type):
        return _codes(column.dictionary_encode())
    valid = np.asarray(column.is_valid())
    values, codes = np.unique(np.asarray(pc.fill_null(column, 0)), return_inverse=True)
    return np.where(valid, codes + 1, 0), len(values) + 1


# --- events, for queries that look at one after the other -----------------------------------------------------


LINE, CELL, ESCAPE = "\x1e", "\x1f", "\x1d"
"""What stands between two events, between two fields, and before what stands for one of these three in a text."""


def joined(batch: pa.RecordBatch, fields: Sequence[str]) -> str:
    """The events of a batch as one text, which SQL takes apart: a row of its own for each would cost Python ten times as much.

    A field that an event does not have is an `ESCAPE` alone; in texts `ESCAPE`, `LINE` and `CELL` are an `ESCAPE` and 0, 1, 2.
    """
    columns = [pc.fill_null(_of_values(values_of(batch, name), _escaped), ESCAPE) for name in fields]
    lines = pc.binary_join_element_wise(*columns, CELL)
    return LINE.join(lines.to_pylist())


def _escaped(values: pa.Array) -> pa.Array:
    texts = values if pa.types.is_string(values.type) else values.cast(pa.utf8())
    if not pa.types.is_string(values.type):
        return texts
    for number, each in enumerate((ESCAPE, LINE, CELL)):
        texts = pc.replace_substring(texts, each, f"{ESCAPE}{number}")
    return texts


# --- rows: the parts of a window ------------------------------------------------------------------------


class Values:
    """A column as numbers: of texts their ranks, -1 where there is none; `at` gives the values back."""

    def __init__(self, array: pa.Array) -> None:
        self.valid = np.asarray(array.is_valid())
        self._texts: list[str] | None = None
        if pa.types.is_string(array.type):
            array = array.dictionary_encode()
            order = pc.array_sort_indices(array.dictionary)  # by their bytes
            rank = np.empty(len(order), np.int64)
            rank[np.asarray(order)] = np.arange(len(order))
            self._texts = array.dictionary.take(order).to_pylist()
            codes = np.asarray(pc.fill_null(array.indices, 0))
            self.numbers = np.where(self.valid, rank[codes] if len(rank) else -1, -1)
        else:
            self.numbers = np.asarray(pc.fill_null(array, 0))

    @property
    def are_texts(self) -> bool:
        return self._texts is not None

    def at(self, number: Any) -> Any:
        """The value that a number stands for."""
        if self._texts is not None:
            return self._texts[int(number)]
        return number.item()


def rows_of(query: WindowQuery, parts: Sequence[bytes], length_ms: int) -> list[Cells]:
    """The rows of one window.

    Args:
        query: Whose.
        parts: What `Parts` cut of the batches, in any order.
        length_ms: How long the window is.
    """
    fields, tests = fields_of(query), [name for name, each in query.measures.items() if each.where is not None]
    lists: list[list[Any]] = [[] for _ in range(1 + len(fields) + len(tests))]
    for part in parts:
        for column, values in zip(lists, _unpacked(part), strict=True):
            column += values
    weights = np.array(lists[0], np.int64)
    columns = {
        name: Values(pa.array(each, _TYPES[known_field(name)])) for name, each in zip(fields, lists[1:], strict=False)
    }
    passed = {name: np.array(each, bool) for name, each in zip(tests, lists[1 + len(fields) :], strict=True)}
    of, first = _groups([columns[name] for name in query.keys.values()], len(weights))
    cells: list[list[Any]] = [
        [columns[name].at(columns[name].numbers[i]) if columns[name].valid[i] else None for i in first]
        for name in query.keys.values()
    ]
    every = np.ones(len(of), bool)
    for name, aggregate in query.measures.items():
        measured = columns[aggregate.field] if aggregate.field else None
        times = columns["event_time"].numbers if aggregate.function in ("first", "last") else None
        found = _measured(aggregate, of, len(first), passed.get(name, every), weights, measured, times, length_ms)
        cells.append([each == aggregate.equals for each in found] if aggregate.equals is not None else found)
    rows = list(zip(*cells, strict=True))
    return _top(rows, query.ranked, query) if query.ranked is not None else rows


_TYPES = {"text": pa.utf8(), "number": pa.float64(), "time": pa.int64()}


def _groups(keys: Sequence[Values], number: int) -> tuple[Numbers, Numbers]:
    """The group of each event, counted from 0, and the first event of each group."""
    of, first = np.zeros(number, np.int64), np.zeros(1, np.int64)
    for key in keys:
        numbers = np.where(key.valid, np.unique(key.numbers, return_inverse=True)[1] + 1, 0)
        _, first, of = np.unique(of * (numbers.max() + 1) + numbers, return_index=True, return_inverse=True)
    return of, first


def _measured(
    aggregate: Aggregate,
    of: Numbers,
    groups: int,
    passing: Numbers,
    weights: Numbers,
    values: Values | None,
    times: Numbers | None,
    length_ms: int,
) -> list[Any]:
    """A measure of each group.

    Args:
        aggregate: What is measured.
        of: The group of each row.
        groups: How many there are.
        passing: Which rows it is measured of.
        weights: How many events each row stands for.
        values: Its field's.
        times: When they happened, where that counts.
        length_ms: How long the window is.
    """
    if values is None:
        counts = np.bincount(of[passing], weights[passing], groups).astype(np.int64)
        return list((counts if aggregate.function == "count" else counts * aggregate.per_ms / length_ms).tolist())
    numbers = values.numbers
    if aggregate.function == "sum" and aggregate.default is not None:
        numbers = np.where(values.valid, numbers, aggregate.default)
    else:
        passing = passing & values.valid
    of, numbers, weights = of[passing], numbers[passing], weights[passing]
    if aggregate.function == "distinct":
        codes = numbers if values.are_texts else np.unique(numbers, return_inverse=True)[1]
        most = codes.max(initial=0) + 1
        return list(np.bincount(np.unique(of * most + codes) // most, minlength=groups).tolist())
    if aggregate.function in ("sum", "mean"):
        sums, terms = [0] * groups, [0] * groups
        for group, number, weight in zip(of.tolist(), numbers.tolist(), weights.tolist(), strict=True):
            if -_MOST_SUMMED < number < _MOST_SUMMED:
                sums[group] += _millionths(number) * weight
                terms[group] += weight
        divided = [n if aggregate.function == "mean" else 1 for n in terms]
        return [
            each / 1e6 / n if some else None for each, n, some in zip(map(float, sums), divided, terms, strict=True)
        ]
    if aggregate.function == "percentile":
        of, numbers = np.repeat(of, weights), np.repeat(numbers, weights)
    there = np.bincount(of, minlength=groups)
    order = np.lexsort((numbers, of) if times is None else (numbers, times[passing], of))
    ends = np.cumsum(there)
    ordered = numbers[order]
    return [
        _chosen(aggregate, ordered[end - some : end], values) if some else None
        for end, some in zip(ends.tolist(), there.tolist(), strict=True)
    ]


_MOST_SUMMED = 9e18


def _millionths(number: float) -> int:
    """A number as whole millionths, half of one away from zero (decision 027)."""
    whole = int(number)
    rest = abs(number - whole) * 1e6
    part = int(rest) + (rest - int(rest) >= 0.5)
    return whole * 1_000_000 + (part if number >= 0 else -part)


def _chosen(aggregate: Aggregate, ordered: Numbers, values: Values) -> Any:
    """Which of a group's values is the measure: they are in the order of the measure's function."""
    if aggregate.function == "percentile":
        place = aggregate.share * (len(ordered) - 1)
        low, high = ordered[int(place)], ordered[min(int(place) + 1, len(ordered) - 1)]
        return float(low + (place - int(place)) * (high - low))
    return values.at(ordered[0 if aggregate.function in ("min", "first") else -1])


def _top(rows: list[Cells], top: Top, query: WindowQuery) -> list[Cells]:
    """The rows with the greatest values of a measure; of equal ones, those with the least keys."""
    keys, place = len(query.keys), [*query.keys, *query.measures].index(top.measure)

    def value(row: Cells) -> tuple[bool, Any]:
        found = row[place]
        if isinstance(found, float) and abs(found) < _WHOLE:
            found = Decimal(repr(found)).quantize(_SIX, ROUND_HALF_UP)
        return found is not None, found

    ordered = sorted(rows, key=lambda row: [(each is not None, each) for each in row[:keys]])
    return sorted(ordered, key=value, reverse=True)[: top.rows]


def kinds_of(query: WindowQuery) -> list[str]:
    """The kind of each cell."""
    return [*(known_field(name) for name in query.keys.values()), *(each.kind for each in query.measures.values())]
