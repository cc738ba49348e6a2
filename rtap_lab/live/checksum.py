"""The checksum of what a client holds: the same in every language, whatever the order of the rows. Pure.

A row's hash is the CRC-32 (ISO-HDLC, as in zlib) of its values in the order of the columns, each with its kind in front:
0 nothing, 1 false, 2 true, 3 a number (IEEE 754 double, big endian), 4 a text (UTF-8, then 0xFF, which no UTF-8 has). The
checksum of some rows is the sum of their hashes modulo 2^32: it grows and shrinks with single rows.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]
_NUMBER = struct.Struct(">Bd")


def row_hash(row: Row, columns: Sequence[str]) -> int:
    """The hash of a row's columns."""
    return zlib.crc32(b"".join(_bytes(row.get(name)) for name in columns))


def checksum(rows: Iterable[Row], columns: Sequence[str]) -> int:
    """The checksum of rows."""
    return sum(row_hash(row, columns) for row in rows) & 0xFFFFFFFF


def _bytes(value: Any) -> bytes:
    if value is None:
        return b"\x00"
    if isinstance(value, bool):
        return b"\x02" if value else b"\x01"
    if isinstance(value, int | float):
        return _NUMBER.pack(3, value)
    return b"\x04" + str(value).encode("utf-8", "surrogatepass") + b"\xff"
