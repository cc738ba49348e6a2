"""Times, the codec and the access-log reader: pure, case by case and by property."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.events import access_log, times
from rtap_lab.events.codec import decode, encode, java_double, number, unfit
from rtap_lab.events.model import EVENT_TYPES, FUTURE_MS, schema
from rtap_lab.events.times import instant_ms, instant_text


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))
def test_an_instant_survives_being_written_and_read(moment: datetime) -> None:
    ms = int(moment.replace(tzinfo=UTC, microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000
    text = instant_text(ms)
    assert instant_ms(text) == ms
    assert len(text) == 24
    assert text.endswith("Z")


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2026-02-30T00:00:00Z", "2026-02-28T00:00:00.000Z"),
        ("2024-02-30T00:00:00Z", "2024-02-29T00:00:00.000Z"),
        ("2026-01-01T24:00:00Z", "2026-01-02T00:00:00.000Z"),
        ("2026-01-01T10:00Z", "2026-01-01T10:00:00.000Z"),
        ("2026-01-01T10:00:00.Z", "2026-01-01T10:00:00.000Z"),
        ("2026-01-01T10:00:00.1239999Z", "2026-01-01T10:00:00.123Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
    ],
)
def test_flinks_lenient_readings(text: str, same_as: str) -> None:
    assert instant_ms(text) == instant_ms(same_as)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-01T10:00:00",
        "2026-01-01 10:00:00Z",
        "2026-01-01T10:00:00+01:00",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-01T24:00:01Z",
        "2026-01-01T10:60:00Z",
        "2026-1-1T00:00:00Z",
        "2026-01-01T10:00:00.1234567890Z",
        "2026-01-01t10:00:00z",
        "٢٠٢٦-01-01T10:00:00Z",
    ],
)
def test_what_flink_does_not_read(text: str) -> None:
    assert instant_ms(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_java_double_reads_back_as_the_same_number(value: float) -> None:
    text = java_double(value)
    assert float(text) == value
    if value and not (1e-3 <= abs(value) < 1e7):
        assert "E" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (100.0, "100.0"),
        (1e7, "1.0E7"),
        (9999999.5, "9999999.5"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (12e10, "1.2E11"),
        (-0.0, "-0.0"),
        (123456789.125, "1.23456789125E8"),
        (math.inf, "Infinity"),
    ],
)
def test_java_double_cases(value: float, text: str) -> None:
    assert java_double(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.5", 2.5),
        (" 7 ", 7.0),
        ("3d", 3.0),
        ("3F", 3.0),
        ("0x1p3", 8.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+1", 1.0),
        ("1_000", None),
        ("NaN", None),
        ("Infinity", None),
        ("1e400", None),
        ("", None),
        ("much", None),
        ("1,5", None),
        ("0x1", None),
    ],
)
def test_number_as_java_reads_it(text: str, value: float | None) -> None:
    assert number(text) == value


_text = st.text(st.characters(codec="utf-8"), max_size=12)
_events = st.fixed_dictionaries(
    {
        "event_id": _text,
        "event_type": st.sampled_from(EVENT_TYPES),
        "event_time": st.integers(0, 4_000_000_000_000),
        "visitor_id": _text,
        "name": _text,
    },
    optional={
        "page": _text,
        "value": st.floats(allow_nan=False, allow_infinity=False),
        "country": _text,
        "properties": st.dictionaries(_text, _text, max_size=3),
    },
)


@given(_events)
def test_an_event_survives_encoding_and_fits(event: dict[str, object]) -> None:
    (row,) = decode(encode(event))
    for name in ("event_id", "event_type", "visitor_id", "name", "event_time"):
        assert getattr(row, name) == event[name]
    assert row.page == event.get("page")
    assert unfit(row, int(event["event_time"])) is None  # type: ignore[call-overload]
    if "value" in event:
        assert number(row.value or "") == event["value"]


@given(st.binary(max_size=60))
def test_no_bytes_break_the_decoder(record: bytes) -> None:
    decode(record)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_json_in_a_text_field_is_its_text(value: object) -> None:
    (row,) = decode(json.dumps({"event_id": "a", "page": value}).encode())
    if value is None:
        assert row.page is None
    elif isinstance(value, str):
        assert row.page == value
    elif isinstance(value, (dict, list)):
        assert json.loads(row.page or "") == json.loads(json.dumps(value))
    else:
        assert row.page is not None


def test_the_order_of_reasons_and_the_future_boundary() -> None:
    def reason(**fields: object) -> str | None:
        event = {"event_id": "a", "event_type": "page_view", "event_time": 1000, "visitor_id": "v"} | fields
        (row,) = decode(encode(event))
        return unfit(row, 1000)

    assert reason() is None
    assert reason(event_time=1000 + FUTURE_MS) is None
    assert reason(event_time=1001 + FUTURE_MS) == "future"
    assert reason(event_type="nothing", value="x") == "event_type"
    assert reason(event_type="custom") == "missing"
    assert reason(value="x") == "type"


def test_the_schema_is_closed_and_names_every_field() -> None:
    found = schema()
    assert found["additionalProperties"] is False
    assert set(found["required"]) == {"event_id", "event_type", "event_time", "visitor_id"}
    assert {"name", "session_id", "page", "referrer", "campaign", "device", "country", "value", "properties"} < set(
        found["properties"]
    )


LINE = '1.2.3.4 - bob [17/May/2015:10:05:03 +0200] "{}" {} 12 "http://x.example/a?q=1#z" "Mozilla \\"quoted\\" 5.0"'


@pytest.mark.parametrize(
    ("request_line", "status", "kind", "page"),
    [
        ("GET /a/b?x=1#top HTTP/1.1", "200", "page_view", "/a/b"),
        ("GET /a HTTP/1.1", "304", "page_view", "/a"),
        ("GET /a HTTP/1.1", "301", "custom", "/a"),
        ("GET /a HTTP/1.1", "404", "custom", "/a"),
        ("POST /a HTTP/1.1", "200", "custom", "/a"),
        ("HEAD /a HTTP/1.1", "200", "custom", "/a"),
        ("GET /a.PNG HTTP/1.1", "200", "custom", "/a.PNG"),
        ("GET /a.css?v=1 HTTP/1.1", "200", "custom", "/a.css"),
        ("GET /a.html HTTP/1.1", "206", "page_view", "/a.html"),
        ("GET http://host/p?x HTTP/1.1", "200", "page_view", "/p"),
        ("GET / HTTP/1.1", "200", "page_view", "/"),
        ("-", "408", "custom", "-"),
        ("GET /%20a", "200", "page_view", "/%20a"),
    ],
)
def test_lines_become_events(request_line: str, status: str, kind: str, page: str) -> None:
    event = access_log.event(LINE.format(request_line, status), event_id="f-1", key=b"k")
    assert event is not None
    assert (event["event_type"], event["page"]) == (kind, page)
    assert event.get("name") == ("request" if kind == "custom" else None)
    assert instant_text(event["event_time"]) == "2015-05-17T08:05:03.000Z"
    assert event["referrer"] == "http://x.example/a"
    assert "1.2.3.4" not in json.dumps(event)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "cut',
        '1.2.3.4 - - [31/Feb/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "a"',
    ],
)
def test_what_is_no_line(line: str) -> None:
    assert access_log.event(line, event_id="x", key=b"k") is None


def test_visitors_depend_on_key_address_and_agent() -> None:
    same = access_log.visitor(b"k", "1.2.3.4", "a")
    assert same == access_log.visitor(b"k", "1.2.3.4", "a")
    assert (
        len(
            {
                same,
                access_log.visitor(b"j", "1.2.3.4", "a"),
                access_log.visitor(b"k", "1.2.3.5", "a"),
                access_log.visitor(b"k", "1.2.3.4", "b"),
            }
        )
        == 4
    )


@pytest.mark.parametrize("line", ["1.2.3.4 - - [cut", "::1 - x", "host.example 10.0.0.1, 2001:db8::7 rest"])
def test_redacted_lines_hold_no_address(line: str) -> None:
    found = access_log.redact(line)
    for address in ("1.2.3.4", "::1", "10.0.0.1", "2001:db8::7", "host.example"):
        assert address not in found


def test_formats_are_told_apart() -> None:
    combined = LINE.format("GET / HTTP/1.1", "200")
    common = combined.split(' "http')[0]
    assert access_log.is_combined(combined)
    assert access_log.is_common(common)
    assert not access_log.is_combined(common)


@given(
    st.from_regex(r"20(00|23)-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", fullmatch=True)
    | st.text("0123456789-:T.Z٣", min_size=24, max_size=24)
)
def test_the_quick_way_to_read_an_instant_reads_what_the_grammar_says(text: str) -> None:
    assert times.instant_ms(text) == times._read(text)


@pytest.mark.parametrize("text", ["2023-01-01T24:00:00.000Z", "2023-01-01T24:00:00.001Z", "2023-02-31T10:00:59.999Z"])
def test_the_last_moments_of_a_day_and_a_month(text: str) -> None:
    assert times.instant_ms(text) == times._read(text)
