"""Sizes: what an event may hold, and what the pinned decoder can hold at all. Pure.

The first is a rule of ours (reason `size`), the same in SQL, codec, importer and auditor, so that no answer can outgrow a
record. The second are Jackson's limits (`StreamReadConstraints` 2.20): a record beyond them is dropped by the decoder
without a trace, so it is `parse` here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

MAX_TEXT = 8_192
"""Characters (code points) of one text: a field, a property's name or value."""

MAX_PROPERTIES = 100

MAX_RECORD = 262_144
"""Of a record: bytes where they are seen (importer, simulator); of what the decoder sees of it, characters of all texts."""

SMALL = 600
"""Bytes of a record in which nothing can be beyond our limits: 100 properties take more."""

_DEPTH = 1_000
_DIGITS = 1_000
_NAME = 50_000


def oversized(texts: Iterable[str | None], properties: Mapping[str, str | None] | None) -> bool:
    """Whether an event's texts are beyond what is accepted.

    Args:
        texts: All text fields, `value` as it was written among them.
        properties: By name.
    """
    every = [text for text in texts if text]
    if properties:
        if len(properties) > MAX_PROPERTIES:
            return True
        every += properties.keys()
        every += [text for text in properties.values() if text]
    return any(len(text) > MAX_TEXT for text in every) or sum(map(len, every)) > MAX_RECORD


_LONG_NUMBER = re.compile(rb"[0-9.eE+-]{%d}" % (_DIGITS + 1))
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*+)"([ \t\r\n]*:)?|([\[{])|([\]}])|(-?[0-9][0-9.eE+-]*)', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def unreadable(record: bytes) -> bool:
    """Whether the first JSON value of a record is beyond what the decoder can hold."""
    if len(record) <= _DIGITS:
        return False
    plain = b"\0" not in record  # else UTF-16 or UTF-32, where bytes say little
    harmless = len(record) <= _NAME and record.count(b"[") + record.count(b"{") <= _DEPTH
    if plain and harmless and not _LONG_NUMBER.search(record):
        return False
    encoding = json.detect_encoding(record)
    text = record.decode(encoding, "replace")
    depth = 0
    for token in _TOKEN.finditer(text):
        name, colon, opened, closed, number = token.groups()
        if opened:
            depth += 1
        elif closed:
            depth -= 1
        if depth > _DEPTH:
            return True
        if number and sum(map(str.isdigit, number)) > _DIGITS:
            return True
        if colon and len(name) > _NAME // 4 and _name_size(name, bytewise=encoding.startswith("utf-8")) > _NAME:
            return True
        if depth <= 0 and not colon:
            return False  # the first value is over
    return False


def _name_size(written: str, *, bytewise: bool) -> int:
    """The length of a name as the decoder counts it: bytes of UTF-8, a surrogate that was escaped three; else UTF-16 units."""
    size = 0

    def escaped(match: re.Match[str]) -> str:
        nonlocal size
        code = int(match[1], 16) if match[1] else 0
        size += 1 + (code > 0x7F) + (code > 0x7FF) if bytewise else 1
        return ""

    rest = _ESCAPE.sub(escaped, written)
    return size + (len(rest.encode("utf-8", "replace")) if bytewise else len(rest.encode("utf-16-le", "replace")) // 2)
