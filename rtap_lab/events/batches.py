"""Many events as one record: an Arrow IPC stream of one record batch, which the columnar lane carries instead of JSON.

A batch is whole or nothing: a record that is no such stream, or of which one event would be refused as JSON, is refused (`parse`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types

from rtap_lab.events.codec import digest_of, encode, java_double, number
from rtap_lab.events.limits import MAX_PROPERTIES, MAX_TEXT
from rtap_lab.events.model import EVENT_TYPES, NAMED, STRING_FIELDS, Decoded

MOST_EVENTS = 1_000
"""Of a batch, as an import makes them."""

MOST_BATCH_EVENTS = 65_536
"""Of a batch that is read."""

_TEXT = pa.dictionary(pa.int32(), pa.utf8())

SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.utf8(), nullable=False),
        pa.field("event_type", _TEXT, nullable=False),
        pa.field("event_time", pa.int64(), nullable=False),  # milliseconds since the epoch
        pa.field("visitor_id", _TEXT, nullable=False),
        *(pa.field(name, _TEXT) for name in STRING_FIELDS[3:]),
        pa.field("value", pa.float64()),
        pa.field("properties", pa.map_(pa.utf8(), pa.utf8())),
    ]
)
"""The columns of a batch. Texts that come again are kept once (dictionaries of this batch)."""


def pack(events: Sequence[Decoded]) -> bytes:
    """Events as one record.

    Args:
        events: What the decoder made of each; all of them fit (`codec.unfit`).
    """
    columns = [_column(field, [getattr(each, field.name) for each in events]) for field in SCHEMA]
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, SCHEMA, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
    return bytes(out.getvalue())


def _column(field: pa.Field, values: list[Any]) -> pa.Array:
    if field.name == "value":
        return pa.array([number(each) if each is not None else None for each in values], pa.float64())
    if field.name == "properties":
        return pa.array([list(each.items()) if each is not None else None for each in values], field.type)
    if pa.types.is_dictionary(field.type):
        return pa.array(values, pa.utf8()).dictionary_encode()
    return pa.array(values, field.type)


def digest_of_row(row: Decoded) -> int:
    """As `codec.digest_of`, of what an event says: in a batch it is not written as it came."""
    told = [getattr(row, name) for name in ("event_time", *STRING_FIELDS)]
    worth = number(row.value) if row.value is not None else None
    properties = sorted(row.properties.items()) if row.properties is not None else None
    return digest_of(orjson.dumps([*told, worth, properties]))


def written(row: Decoded) -> bytes:
    """An event of a batch as JSON: for who takes one event a record."""
    told = {name: getattr(row, name) for name in STRING_FIELDS} | {"properties": row.properties}
    worth = {"value": number(row.value)} if row.value is not None else {}
    return encode(
        {name: each for name, each in told.items() if each is not None} | worth | {"event_time": row.event_time}
    )


def is_plain(batch: pa.RecordBatch) -> bool:
    """Whether its columns are as `pack` makes them: of dictionaries no entry is missing, too long or more than there are events, and
    no event has more pairs of properties than one may have."""
    for each in (column for column in batch.columns if pa.types.is_dictionary(column.type)):
        texts = each.dictionary
        if texts.null_count or len(texts) > batch.num_rows or (pc.max(pc.utf8_length(texts)).as_py() or 0) > MAX_TEXT:
            return False
    pairs = np.diff(np.asarray(batch.column("properties").offsets))
    return int(pairs.max(initial=0)) <= MAX_PROPERTIES


def unpack(record: bytes | None) -> list[Decoded]:
    """The events of a record, as the decoder of JSON would give them; none when it is no batch."""
    try:
        with pa.ipc.open_stream(record or b"") as stream:
            if stream.schema != SCHEMA:
                return []
            (batch,) = stream  # one, and nothing after it
        batch.validate(full=True)
    except (ValueError, OSError, pa.ArrowException):
        return []
    if not 0 < batch.num_rows <= MOST_BATCH_EVENTS or not is_plain(batch):
        return []
    columns = {name: batch.column(name).to_pylist() for name in SCHEMA.names}
    columns["value"] = [java_double(each) if each is not None else None for each in columns["value"]]
    columns["properties"] = [dict(each) if each is not None else None for each in columns["properties"]]
    rows = [Decoded(*each) for each in zip(*columns.values(), strict=True)]
    return rows if all(map(_fits, rows)) else []


def _fits(row: Decoded) -> bool:
    """Whether an event may be in a batch, whenever it arrives."""
    texts = [getattr(row, name) for name in STRING_FIELDS]
    properties = row.properties or {}
    return (
        None not in (row.event_id, row.event_type, row.event_time, row.visitor_id)
        and row.event_type in EVENT_TYPES
        and (row.event_type not in NAMED or row.name is not None)
        and (row.value is None or number(row.value) is not None)
        and len(properties) <= MAX_PROPERTIES
        and all(len(text) <= MAX_TEXT for text in (*texts, *properties, *properties.values()) if text is not None)
    )
