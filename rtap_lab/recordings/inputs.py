"""Input files: their lines, and the event of each line or the reason why it is none."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from rtap_lab.errors import SourceError
from rtap_lab.events import access_log
from rtap_lab.events.codec import decode, unfit
from rtap_lab.events.limits import MAX_RECORD, oversized
from rtap_lab.events.model import FUTURE_MS, STRING_FIELDS

LineFormat = Literal["access-log", "jsonl"]
"""Formats of files that are read line by line."""

LINE_LIMIT = MAX_RECORD
"""Bytes of a line; a longer one is refused (`size`)."""


@dataclass(frozen=True)
class Line:
    """One line of a file."""

    number: int
    text: bytes
    """Of an access log: as it is; it is redacted before it goes anywhere."""


def open_input(path: str) -> tuple[BinaryIO, str]:
    """The bytes of a file, of a `.gz` unpacked, or of standard input for "-"; and their digest.

    Raises:
        SourceError: When it cannot be read.
    """
    try:
        if path == "-":
            stream: BinaryIO = io.BytesIO(sys.stdin.buffer.read())
        elif path.endswith(".gz"):
            stream = gzip.open(path, "rb")  # type: ignore[assignment]  # noqa: SIM115
        else:
            stream = Path(path).open("rb")  # noqa: SIM115  (the caller closes it)
        digest = hashlib.sha256()
        while piece := stream.read(1 << 20):
            digest.update(piece)
        stream.seek(0)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return stream, digest.hexdigest()


def lines_of(stream: BinaryIO) -> Iterator[Line]:
    """Lines without their ends; a line far beyond the limit is cut, not held in memory."""
    number = 0
    while piece := stream.readline(LINE_LIMIT * 2):
        number += 1
        while not piece.endswith(b"\n") and len(piece) >= LINE_LIMIT * 2:
            rest = stream.readline(LINE_LIMIT * 2)
            if not rest or rest.endswith(b"\n"):
                break
        yield Line(number, piece.rstrip(b"\r\n"))


def check_format(stream: BinaryIO, path: str) -> None:
    """Refuse a log in the common format with one message.

    Raises:
        SourceError: When the first lines are all common, none combined.
    """
    first = [line.text.decode("utf-8", "replace") for line, _ in zip(lines_of(stream), range(100), strict=False)]
    stream.seek(0)
    written = [line for line in first if line.strip()]
    if written and not any(map(access_log.is_combined, written)) and any(map(access_log.is_common, written)):
        raise SourceError(
            f"{path} is in the common log format: the fields Referer and User-Agent are missing",
            hint="log in the combined format: visitors are told apart by address and user agent",
        )


def read_line(line: Line, form: LineFormat, digest: str, key: bytes, now_ms: int) -> dict[str, Any] | str:
    """The event of a line, `event_time` in milliseconds; or the reason why it is none."""
    if len(line.text) > LINE_LIMIT:
        return "size"
    if form == "access-log":
        text = line.text.decode("utf-8", "replace")
        found = access_log.event(text, event_id=f"{digest[:24]}-{line.number}", key=key)
        if found is None:
            return "parse"
        if found["event_time"] > now_ms:
            return "future"
        too_large = oversized((found.get(name) for name in STRING_FIELDS), found["properties"])
        return "size" if too_large else found
    rows = decode(line.text)
    if len(rows) != 1 or not line.text.lstrip().startswith(b"{"):
        return "parse"
    row = rows[0]
    if row.is_tick:
        return "event_type"
    reason = unfit(row, now_ms - FUTURE_MS)  # nothing of a recording happened after its import
    if reason:
        return reason
    # the bytes go in as they are: what the file says is what is recorded
    return {"event_id": row.event_id, "visitor_id": row.visitor_id, "event_time": row.event_time, "bytes": line.text}


def kept_of(line: Line, form: LineFormat) -> bytes:
    """What is kept of a refused line: of an access log, without the address."""
    if form == "access-log":
        return access_log.redact(line.text.decode("utf-8", "replace")).encode()
    return line.text
