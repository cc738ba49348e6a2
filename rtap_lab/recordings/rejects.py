"""Rows of the shared topics `events.rejected` and `events.late`: what is kept of a refused record."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from rtap_lab.events.codec import decode, unfit
from rtap_lab.events.limits import MAX_TEXT
from rtap_lab.events.times import instant_text

KEPT_BYTES = 16 * 1024
"""How much of a refused record is kept."""


def reject_row(
    *,
    source: str,
    reason: str,
    record: bytes | None,
    event_id: str | None = None,
    partition: int | None = None,
    offset: int | None = None,
    line: int | None = None,
    file: str | None = None,
    run: str | None = None,
    arrival_ms: int | None = None,
) -> dict[str, Any]:
    """One row; (source, partition, offset), or (source, file, line), identifies it.

    Args:
        source: "live" or a recorded source.
        reason: Why; of a late record "late" or "watermark".
        record: Its bytes (of a log line: without the address).
        event_id: Where there is one; its first 8,192 characters are kept.
        partition, offset: Its place in the topic.
        line, file: Its place in an imported file: line number from 1, the file's digest.
        run: The run that decided it, where it depends on the run.
        arrival_ms: When it arrived.
    """
    content = record or b""
    row: dict[str, Any] = {"source": source, "partition": partition, "offset": offset}
    if line is not None:
        row |= {"line": line, "file": file}
    if run is not None:
        row["run"] = run
    return row | {
        "event_id": event_id[:MAX_TEXT] if event_id is not None else None,
        "reason": reason,
        "arrival": instant_text(arrival_ms) if arrival_ms is not None else None,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "record": content[:KEPT_BYTES].decode("utf-8", "replace"),
    }


def encode_row(row: dict[str, Any]) -> bytes:
    """A row as JSON."""
    return orjson.dumps(row)


def key_of(row: dict[str, Any]) -> bytes:
    """The row's key: its place."""
    place = (row["file"], row["line"]) if row.get("line") is not None else (row["partition"], row["offset"])
    return f"{row['source']}/{place[0]}/{place[1]}".encode()


def rejected_rows(
    record: bytes | None, source: str, partition: int, offset: int, *, arrival_ms: int
) -> list[dict[str, Any]]:
    """The rows that a record gives rise to; none when all of it fits.

    A record may be an array of many rows: there is one for each of its ids and reasons, and the first alone keeps the content.
    """
    rows = decode(record)
    reasons: dict[tuple[str, str | None], None] = {} if rows else {("parse", None): None}
    for row in rows:
        reason = None if row.is_tick else unfit(row, arrival_ms)
        if reason:
            reasons[reason, row.event_id[:MAX_TEXT] if row.event_id is not None else None] = None
    if not reasons:
        return []
    whole = reject_row(
        source=source, reason="", record=record, arrival_ms=arrival_ms, partition=partition, offset=offset
    )
    return [
        whole | {"reason": reason, "event_id": event_id} | ({"record": ""} if n else {})
        for n, (reason, event_id) in enumerate(reasons)
    ]
