"""Pure: rows as points, and texts as keys of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rtap_lab.queries.query import Query

_ESCAPE = "\u241b"  # ␛, a character that no path holds by accident
_CODES = {"\\": "/", "\n": "n", "\r": "r", "\t": "t", _ESCAPE: _ESCAPE}
_TEXTS = {code: text for text, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class Point:
    """One row in the store."""

    query: Query
    source: str
    time_ms: int
    row: dict[str, Any]
    """The row as `Schema.normal` gives it."""


def point(query: Query, source: str, row: dict[str, Any]) -> Point:
    """The point of a normal row."""
    return Point(query, source, query.schema.point_time_ms(row), row)


def key_text(value: Any) -> str:
    """A key column's value as a text that both stores can hold in a key: NULL is "".

    An InfluxDB tag cannot be empty, and one that ends in a backslash corrupts its line.
    """
    if value is None:
        return ""
    text = str(value)
    if text == "":
        return f"{_ESCAPE}0"
    if any(c in _CODES or c < " " for c in text):
        return "".join(
            f"{_ESCAPE}{_CODES[c]}" if c in _CODES else f"{_ESCAPE}x{ord(c):02x}" if c < " " else c for c in text
        )
    return text


def key_value(text: str) -> str | None:
    """What `key_text` was given, as a text."""
    if text == "":
        return None
    if _ESCAPE not in text:
        return text
    if text == f"{_ESCAPE}0":
        return ""
    result, rest = "", iter(text)
    for c in rest:
        if c != _ESCAPE:
            result += c
            continue
        code = next(rest)
        result += chr(int(next(rest) + next(rest), 16)) if code == "x" else _TEXTS[code]
    return result
