"""Bytes to events, as Flink's pinned JSON decoder and the SQL's test of fit see them.

The decoder is Flink 2.3's `json` format with `ignore-parse-errors` and the node decoder (Jackson's
tree): the first JSON value of a record counts and what follows it is ignored; an array is one row per
element; of a repeated key the last counts; a scalar or a container in a text field is its text.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from rtap_lab.events.limits import SMALL, oversized, unreadable
from rtap_lab.events.model import EVENT_TYPES, FUTURE_MS, NAMED, STRING_FIELDS, Decoded, Reason
from rtap_lab.events.times import instant_ms, instant_text


def encode(event: dict[str, Any]) -> bytes:
    """An event as JSON; `event_time` may be milliseconds since the epoch."""
    if isinstance(event["event_time"], int):
        event = {**event, "event_time": instant_text(event["event_time"])}
    return orjson.dumps(event)


def decode(record: bytes | None) -> list[Decoded]:
    """The rows the decoder makes of a record; none when it drops it without a trace."""
    if not record or unreadable(record):
        return []
    try:
        tree = orjson.loads(record)
        plain = True
    except orjson.JSONDecodeError:
        tree, plain = _first_value(record), False
    if isinstance(tree, dict):
        row = _row(tree, len(record)) if plain else None
        if row is not None:
            return [row]
        with _frames_for(record):
            return [_slow_row(_first_value(record))]
    if isinstance(tree, list):
        with _frames_for(record):
            return [_slow_row(each) for each in _first_value(record) if isinstance(each, dict)]
    return []


class _UnreadableError(ValueError):
    pass


def _refuse(word: str) -> Any:
    raise _UnreadableError(word)


_DECODER = json.JSONDecoder(
    strict=False,  # Flink allows control characters inside texts
    parse_constant=_refuse,
    parse_float=lambda text: _Float(text),
)
_SPACE = " \t\n\r"
_FRAMES = 20_000
"""Python's own limit of nesting is below the decoder's thousand levels."""


class _Float(str):
    """A number with a fraction or an exponent, as it was written."""


def _first_value(record: bytes) -> Any:
    """The first JSON value of a record; None when there is none that Jackson would read."""
    try:
        text = record.decode(json.detect_encoding(record))
        start = len(text) - len(text.lstrip(_SPACE))
        with _frames_for(record):
            return _DECODER.raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


@contextmanager
def _frames_for(record: bytes) -> Iterator[None]:
    """Let a deep record be read; the limit is raised for no longer, because it guards the rest of the process."""
    before = sys.getrecursionlimit()
    if record.count(b"[") + record.count(b"{") <= 100 or before >= _FRAMES:
        yield
        return
    sys.setrecursionlimit(_FRAMES)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _row(tree: dict[str, Any], size: int) -> Decoded | None:
    """The row of a plain object, of a record of so many bytes; None when a text field holds something else."""
    texts = [tree.get(name) for name in STRING_FIELDS]
    for text in texts:
        if text is not None and type(text) is not str:
            return None
    value = tree.get("value")
    if value is None or type(value) is str:
        pass
    elif type(value) is int and abs(value) < 2**53:
        value = str(value)
    elif type(value) is float:
        value = java_double(value)
    else:
        return None
    time = tree.get("event_time")
    moment = instant_ms(time) if type(time) is str else None
    properties = tree.get("properties")
    if properties is not None and (
        type(properties) is not dict or not all(type(each) is str for each in properties.values())
    ):
        return None
    return _decoded(texts, moment, value, properties, size > SMALL and oversized([*texts, value], properties))


def _decoded(
    texts: list[str | None],
    moment: int | None,
    value: str | None,
    properties: dict[str, str | None] | None,
    too_large: bool,
) -> Decoded:
    a, b, *rest = texts  # in the order of STRING_FIELDS, which is that of the fields
    return Decoded(a, b, moment, *rest, value, properties, too_large)  # type: ignore[call-arg, arg-type]


def _mapping(value: Any) -> dict[str, str | None] | None:
    """What a column of properties holds: of anything but an object, nothing."""
    return {str(_text(name)): _text(each) for name, each in value.items()} if isinstance(value, dict) else None


def _slow_row(tree: dict[str, Any]) -> Decoded:
    texts = [_text(tree.get(name)) for name in STRING_FIELDS]
    time = tree.get("event_time")
    is_text = isinstance(time, str) and not isinstance(time, _Float)
    moment = instant_ms(str(time)) if is_text else None
    value = _text(tree.get("value"))
    properties = _mapping(tree.get("properties"))
    return _decoded(texts, moment, value, properties, oversized([*texts, value], properties))


def _text(value: Any) -> str | None:
    """What a text column holds (Jackson's `asText`, or the container written compactly)."""
    if value is None:
        return None
    if isinstance(value, (dict, list)):
        return _written(value)
    if isinstance(value, _Float):
        return java_double(float(value))
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate becomes "?"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(k)}:{_written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_written(each) for each in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, str) and not isinstance(value, _Float):
        return _quoted(value)
    return _text(value) or ""


def _quoted(text: str) -> str:
    quoted = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    return re.sub(r"\\u00([0-9a-f]{2})", lambda m: f"\\u00{m[1].upper()}", quoted)


def java_double(number: float) -> str:
    """A double as Java 19+ writes it: the shortest digits, with an exponent outside 1e-3..1e7."""
    if not math.isfinite(number):
        return "NaN" if number != number else ("Infinity" if number > 0 else "-Infinity")
    if number == 0:
        return "-0.0" if math.copysign(1, number) < 0 else "0.0"
    sign = "-" if number < 0 else ""
    mantissa, exponent_text = f"{abs(number)!r}", ""
    if "e" in mantissa:
        mantissa, exponent_text = mantissa.split("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent_text or 0)
    point -= len(whole + fraction) - len((whole + fraction).lstrip("0"))
    digits = digits.rstrip("0") or "0"
    if 1e-3 <= abs(number) < 1e7:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        return f"{sign}{digits[:point].ljust(point, '0')}.{digits[point:] or '0'}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{point - 1}"


_DOUBLE = re.compile(
    r"[\x00-\x20]*[+-]?(NaN|Infinity|"
    r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?|"
    r"0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?\d+[fFdD]?)[\x00-\x20]*",
    re.ASCII,
)


def number(text: str) -> float | None:
    """A text as SQL's `TRY_CAST(… AS DOUBLE)` reads it (Java's `parseDouble`), finite; else None."""
    match = _DOUBLE.fullmatch(text)
    if match is None:
        return None
    plain = text.strip("".join(map(chr, range(33))))
    try:
        if "x" in plain.lower():
            result = float.fromhex(plain.rstrip("fFdD") if "p" in plain.lower() else plain)
        else:
            result = float(plain.rstrip("fFdD") if match[1][0] in "0123456789." else plain)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def unfit(row: Decoded, arrival_ms: int) -> Reason | None:
    """Why a row is rejected, or None. The order of the tests is the SQL's.

    Args:
        row: What the decoder sees.
        arrival_ms: The record's arrival.
    """
    if row.event_id is None or row.event_type is None or row.visitor_id is None:
        return "missing"
    if row.event_type not in EVENT_TYPES:
        return "event_type"
    if row.event_type in NAMED and row.name is None:
        return "missing"
    if row.event_time is None:
        return "time"
    if row.event_time > arrival_ms + FUTURE_MS:
        return "future"
    if row.value is not None and number(row.value) is None:
        return "type"
    return "size" if row.oversized else None
