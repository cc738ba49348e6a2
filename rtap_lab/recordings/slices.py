"""The file of a recorded slice: records of a topic as Parquet, with a digest that its bytes must match.

One row for each record, in the order of arrival: topic, partition, offset, timestamp (ms), key, value and
headers, all as they were, garbage included. The file's metadata says what it is, under the key `rtap.slice`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from rtap_lab.errors import SourceError

META = b"rtap.slice"
VERSION = 1
_BLOCK = 50_000


@dataclass(frozen=True)
class Recorded:
    """One record, as it was in the log."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class About:
    """What a slice is."""

    name: str
    topic: str
    """Whose records these are: `events`, or `events.<source>`."""
    records: int
    digest: str
    """SHA-256 of all records, see `digest_of`."""
    bound_ms: int
    """The lateness bound of the source."""
    partitions: int
    first_ms: int | None
    last_ms: int | None
    """Arrival of the first and the last record, milliseconds since the epoch."""
    created: str
    schema: dict[str, Any]
    """The event's JSON Schema when it was recorded."""
    version: int = VERSION

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def digest_of(records: Iterable[Recorded]) -> str:
    """SHA-256 of records: of each partition, in order, timestamp, key, value and headers.

    Topic and offsets are left out: a replay has others, and is the same slice.
    """
    parts: dict[int, Any] = {}
    for each in records:
        hashed = parts.setdefault(each.partition, hashlib.sha256())
        fields: list[bytes | None] = [each.key, each.value]
        for name, value in each.headers:
            fields += [name.encode(), value]
        hashed.update(struct.pack("<qi", each.timestamp_ms, len(each.headers)))
        for content in fields:
            hashed.update(struct.pack("<q", -1 if content is None else len(content)))
            hashed.update(content or b"")
    whole = hashlib.sha256()
    for partition, hashed in sorted(parts.items()):
        whole.update(struct.pack("<i", partition) + hashed.digest())
    return whole.hexdigest()


def in_order(records: Iterable[Recorded]) -> list[Recorded]:
    """Records of several partitions by arrival, each partition in its own order."""
    latest: dict[int, int] = {}
    keyed = []
    for each in records:
        latest[each.partition] = max(latest.get(each.partition, each.timestamp_ms), each.timestamp_ms)
        keyed.append((latest[each.partition], each.partition, each.offset, each))
    return [each for *_, each in sorted(keyed, key=lambda k: k[:3])]


def _schema() -> Any:
    import pyarrow as pa

    header = pa.struct([("name", pa.string()), ("value", pa.binary())])
    return pa.schema(
        [
            ("topic", pa.string()),
            ("partition", pa.int32()),
            ("offset", pa.int64()),
            ("timestamp", pa.int64()),
            ("key", pa.binary()),
            ("value", pa.binary()),
            ("headers", pa.list_(header)),
        ]
    )


def write(path: Path, about: About, records: list[Recorded]) -> None:
    """Write a slice; the file is there as a whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema().with_metadata({META: orjson.dumps(about.as_json())})
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    try:
        with pq.ParquetWriter(beside, schema, compression="zstd", write_page_checksum=True) as writer:
            for start in range(0, max(len(records), 1), _BLOCK):
                rows = [
                    {
                        "topic": r.topic,
                        "partition": r.partition,
                        "offset": r.offset,
                        "timestamp": r.timestamp_ms,
                        "key": r.key,
                        "value": r.value,
                        "headers": [{"name": n, "value": v} for n, v in r.headers],
                    }
                    for r in records[start : start + _BLOCK]
                ]
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def about(path: Path) -> About:
    """What a slice's file says of itself.

    Raises:
        SourceError: When it is not a slice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata: Mapping[bytes, bytes] = pq.read_schema(path).metadata or {}
    except FileNotFoundError as error:
        raise SourceError(f"slice {path}: there is no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"slice {path} is not readable Parquet: {_first_line(error)}", hint=_AGAIN) from error
    if META not in metadata:
        raise SourceError(f"{path} is Parquet, but not a slice: its metadata have no {META.decode()}")
    try:
        facts = orjson.loads(metadata[META])
        if facts.get("version") != VERSION:
            raise SourceError(f"slice {path} has version {facts.get('version')!r}; this lab reads {VERSION}")
        return About(**facts)
    except (orjson.JSONDecodeError, TypeError, AttributeError) as error:
        raise SourceError(f"slice {path}: its metadata {META.decode()} are damaged: {error}", hint=_AGAIN) from error


_AGAIN = "the file is damaged: export or record it again"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def read(path: Path) -> tuple[About, list[Recorded]]:
    """A slice, its digest checked.

    Raises:
        SourceError: When the file is not a slice, or is damaged; says where.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = about(path)
    records: list[Recorded] = []
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.schema_arrow.remove_metadata() != _schema():
                raise SourceError(f"slice {path}: its columns are not a slice's: {', '.join(file.schema_arrow.names)}")
            for batch in file.iter_batches(_BLOCK):
                records += _records(batch)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"slice {path}, after record {len(records)}: {_first_line(error)}", hint=_AGAIN) from error
    if len(records) != facts.records:
        raise SourceError(f"slice {path} says {facts.records} records and holds {len(records)}", hint=_AGAIN)
    if (found := digest_of(records)) != facts.digest:
        raise SourceError(
            f"slice {path}: its records have digest {found[:16]}…, it says {facts.digest[:16]}…", hint=_AGAIN
        )
    return facts, records


def _records(batch: Any) -> Iterator[Recorded]:
    columns = [batch.column(name).to_pylist() for name in batch.schema.names]
    for topic, partition, offset, timestamp, key, value, headers in zip(*columns, strict=True):
        pairs = tuple((each["name"], each["value"]) for each in headers or ())
        yield Recorded(topic, partition, offset, timestamp, key, value, pairs)
