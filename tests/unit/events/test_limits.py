"""Sizes: our own limits, and those of the decoder, which was asked itself (Jackson 2.20.1, the figures below)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.events.codec import decode, unfit
from rtap_lab.events.limits import MAX_PROPERTIES, MAX_RECORD, MAX_TEXT, SMALL, oversized, unreadable

BIG = 2**62


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("[" * 1000 + "]" * 1000, True),
        ("[" * 1001 + "]" * 1001, False),
        ('{"a":' * 1000 + "1" + "}" * 1000, True),
        ('{"a":' * 1001 + "1" + "}" * 1001, False),
        ('{"a":1}' + "[" * 2000, True),
        ('{"a":"' + "[" * 2000 + '"}', True),
        ('{"a":-' + "1" * 1000 + "}", True),
        ('{"a":-' + "1" * 1001 + "}", False),
        ('{"a":1.5e+' + "0" * 997 + "1}", True),
        ('{"a":1.5e+' + "0" * 998 + "1}", False),
        ('{"a":"' + "1" * 2000 + '"}', True),
        ('{"' + "n" * 50_000 + '":1}', True),
        ('{"' + "n" * 50_001 + '":1}', False),
        ('{"' + "\\n" * 50_000 + '":1}', True),
        ('{"' + "é" * 25_000 + '":1}', True),
        ('{"' + "é" * 25_001 + '":1}', False),
        ('{"' + "\\u00e9" * 25_001 + '":1}', False),
        ('{"' + "\U0001f600" * 12_500 + '":1}', True),
        ('{"' + "\U0001f600" * 12_501 + '":1}', False),
        ('{"' + "\\ud83d\\ude00" * 12_499 + '":1}', False),
        ('{"a":"' + "n" * 60_000 + '"}', True),
    ],
)
def test_what_the_decoder_can_hold(text: str, readable: bool) -> None:
    assert unreadable(text.encode()) is not readable


@pytest.mark.parametrize(("units", "readable"), [(50_000, True), (50_001, False)])
def test_names_in_utf_16_are_counted_in_its_units(units: int, readable: bool) -> None:
    assert unreadable(('{"' + "é" * units + '":1}').encode("utf-16-le")) is not readable


def test_a_deep_record_is_read_as_deep_as_the_decoder_reads_it() -> None:
    (row,) = decode(b'{"page":' + b"[" * 999 + b"]" * 999 + b"}")
    assert row.page == "[" * 999 + "]" * 999
    assert decode(b'{"page":' + b"[" * 1000 + b"]" * 1000 + b"}") == []


@given(
    st.dictionaries(st.sampled_from(["page", "device", "name"]), st.integers(0, 9000)),
    st.integers(0, 120),
    st.integers(0, 9000),
    st.sampled_from(["x", "\n", '"', "é", "\U0001f600", "\x01"]),
)
def test_size_is_the_last_reason_and_counts_characters(
    fields: dict[str, int], properties: int, length: int, character: str
) -> None:
    texts = {name: character * size for name, size in fields.items()}
    mapping = {f"{n:03}": character * length for n in range(properties)}
    event = {"event_id": "a", "event_type": "page_view", "event_time": "2026-11-23T10:00:00.123Z", "visitor_id": "v"}
    record = json.dumps(event | texts | {"properties": mapping}).encode()
    total = len("apage_viewv") + sum(fields.values()) + properties * (3 + length)
    beyond = (
        properties > MAX_PROPERTIES
        or max([0, *fields.values(), length if properties else 0]) > MAX_TEXT
        or total > MAX_RECORD
    )
    (row,) = decode(record)
    assert unfit(row, BIG) == ("size" if beyond else None)
    (worse,) = decode(record[:-1] + b', "value": "much"}')
    assert unfit(worse, BIG) == "type"


def test_a_small_record_cannot_be_beyond_a_limit() -> None:
    """The short cut: 100 properties take more bytes than `SMALL`, one too many has to be looked for."""
    least = json.dumps({"properties": {str(n): "" for n in range(MAX_PROPERTIES + 1)}}, separators=(",", ":"))
    assert len(least) > SMALL
    assert oversized([], {str(n): "" for n in range(MAX_PROPERTIES + 1)})
    assert not oversized([None, ""], None)
