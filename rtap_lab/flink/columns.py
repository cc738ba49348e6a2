"""Windows over columns: what a job on batches of events computes, many events at a time. Pure; runs inside Flink.

A batch is cut into parts, one for each slice of event time that it touches and each query that asks for windows; Flink's SQL
gathers the parts of a window, and here they become its rows. Texts are numbers while this goes on: their ranks in the order of
their UTF-8 bytes, so that equal, smallest and latest are the same for texts, times and numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types

from rtap_lab.events.batches import MOST_BATCH_EVENTS, SCHEMA
from rtap_lab.events.limits import MAX_PROPERTIES, MAX_TEXT
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
    return batch if 0 < batch.num_rows <= MOST_BATCH_EVENTS and _fits(batch, arrival_ms) else None


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
    named = pc.is_in(kinds.dictionary_decode(), value_set=pa.array(NAMED))
    if pc.any(pc.and_(named, pc.is_null(batch.column("name")))).as_py():
        return False
    if pc.any(pc.invert(pc.is_finite(batch.column("value")))).as_py():
        return False
    properties = batch.column("properties")
    texts = [batch.column(field.name) for field in SCHEMA if field.name not in ("event_time", "value", "properties")]
    texts += [properties.keys, properties.items]
    if (pc.max(pc.list_value_length(properties.cast(_PAIRS))).as_py() or 0) > MAX_PROPERTIES:
        return False
    return all(_longest(each) <= MAX_TEXT for each in texts)


_PAIRS = pa.list_(pa.struct([pa.field("key", pa.utf8(), nullable=False), pa.field("value", pa.utf8())]))


def _longest(texts: pa.Array) -> int:
    values = texts.dictionary if pa.types.is_dictionary(texts.type) else texts
    return pc.max(pc.utf8_length(values)).as_py() or 0


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


class Parts:
    """Cuts batches into a query's parts.

    Args:
        query: Windows that are the same for every key.
    """

    def __init__(self, query: WindowQuery) -> None:
        assert not isinstance(query.window, SessionWindow)
        self.query = query
        self.slice_ms = query.window.slice_ms
        fields = [*query.keys.values(), *(each.field for each in query.measures.values() if each.field)]
        if any(each.function in ("first", "last") for each in query.measures.values()):
            fields.append("event_time")
        self.fields = list(dict.fromkeys(fields))
        self.tests = {name: each.where for name, each in query.measures.items() if each.where is not None}

    def of(self, batch: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
        """The parts of a batch: the beginning of the slice, milliseconds since the epoch, and its events' columns."""
        if self.query.where is not None:
            batch = batch.filter(holds(batch, self.query.where))
        if not batch.num_rows:
            return
        columns = {name: values_of(batch, name) for name in self.fields}
        columns |= {f"where {name}": pc.fill_null(holds(batch, test), False) for name, test in self.tests.items()}
        # a column that is always there: of a count alone there is no other
        slices = np.asarray(batch.column("event_time")) // self.slice_ms
        part = pa.RecordBatch.from_arrays([*columns.values(), pa.nulls(batch.num_rows)], names=[*columns, "events"])
        found = np.unique(slices)
        for each in found:
            chosen = part if len(found) == 1 else part.filter(pa.array(slices == each))
            yield int(each) * self.slice_ms, _written(chosen)


def _written(batch: pa.RecordBatch) -> bytes:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(out.getvalue())


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

    def __init__(self, column: pa.ChunkedArray) -> None:
        array = column.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # of no chunk or several
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
        self.valid = np.asarray(array.is_valid())
        self._texts: pa.Array | None = None
        if pa.types.is_dictionary(array.type) or pa.types.is_string(array.type):
            if not pa.types.is_dictionary(array.type):
                array = array.dictionary_encode()
            order = pc.array_sort_indices(array.dictionary)  # by their bytes
            rank = np.empty(len(order), np.int64)
            rank[np.asarray(order)] = np.arange(len(order))
            self._texts = array.dictionary.take(order)
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
            return self._texts[int(number)].as_py()
        return number.item()


def rows_of(query: WindowQuery, parts: Sequence[bytes], length_ms: int) -> list[Cells]:
    """The rows of one window.

    Args:
        query: Whose.
        parts: What `Parts` cut of the batches, in any order.
        length_ms: How long the window is.
    """
    table = pa.concat_tables([pa.ipc.open_stream(each).read_all() for each in parts]).unify_dictionaries()
    columns = {name: Values(table.column(name)) for name in table.column_names if _is_field(name)}
    of, first = _groups([columns[name] for name in query.keys.values()], table.num_rows)
    cells: list[list[Any]] = [
        [columns[name].at(columns[name].numbers[i]) if columns[name].valid[i] else None for i in first]
        for name in query.keys.values()
    ]
    for name, aggregate in query.measures.items():
        passing = np.asarray(table.column(f"where {name}")) if aggregate.where is not None else np.ones(len(of), bool)
        values = columns[aggregate.field] if aggregate.field else None
        times = columns["event_time"].numbers if aggregate.function in ("first", "last") else None
        found = _measured(aggregate, of, len(first), passing, values, times, length_ms)
        cells.append([each == aggregate.equals for each in found] if aggregate.equals is not None else found)
    rows = list(zip(*cells, strict=True))
    return _top(rows, query.ranked, query) if query.ranked is not None else rows


def _is_field(name: str) -> bool:
    return name != "events" and not name.startswith("where ")


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
    values: Values | None,
    times: Numbers | None,
    length_ms: int,
) -> list[Any]:
    """A measure of each group.

    Args:
        aggregate: What is measured.
        of: The group of each event.
        groups: How many there are.
        passing: Which events it is measured of.
        values: Its field's.
        times: When they happened, where that counts.
        length_ms: How long the window is.
    """
    if values is None:
        counts = np.bincount(of[passing], minlength=groups)
        return list((counts if aggregate.function == "count" else counts * aggregate.per_ms / length_ms).tolist())
    numbers = values.numbers
    if aggregate.function == "sum" and aggregate.default is not None:
        numbers = np.where(values.valid, numbers, aggregate.default)
    else:
        passing = passing & values.valid
    of, numbers = of[passing], numbers[passing]
    there = np.bincount(of, minlength=groups)
    if aggregate.function == "distinct":
        codes = numbers if values.are_texts else np.unique(numbers, return_inverse=True)[1]
        most = codes.max(initial=0) + 1
        return list(np.bincount(np.unique(of * most + codes) // most, minlength=groups).tolist())
    if aggregate.function in ("sum", "mean"):
        sums = np.bincount(of, weights=numbers, minlength=groups)
        found = sums if aggregate.function == "sum" else sums / np.maximum(there, 1)
        return [each if some else None for each, some in zip(found.tolist(), there, strict=True)]
    order = np.lexsort((numbers, of) if times is None else (numbers, times[passing], of))
    ends = np.cumsum(there)
    ordered = numbers[order]
    return [
        _chosen(aggregate, ordered[end - some : end], values) if some else None
        for end, some in zip(ends.tolist(), there.tolist(), strict=True)
    ]


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
        if isinstance(found, float):
            found = Decimal(repr(found)).quantize(_SIX, ROUND_HALF_UP)
        return found is not None, found

    ordered = sorted(rows, key=lambda row: [(each is not None, each) for each in row[:keys]])
    return sorted(ordered, key=value, reverse=True)[: top.rows]


def kinds_of(query: WindowQuery) -> list[str]:
    """The kind of each cell."""
    return [*(known_field(name) for name in query.keys.values()), *(each.kind for each in query.measures.values())]
