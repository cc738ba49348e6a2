"""Records that are no events, straight into `events` by a foreign client while the job runs."""

from __future__ import annotations

import json
import time

import pytest
from confluent_kafka import Producer

from rtap_lab.events.codec import decode
from rtap_lab.events.times import instant_text
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.names import REJECTED
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab


def corpus(tag: str, now_ms: int) -> dict[str, bytes | None]:
    """Name of the case: the record. A name begins with the fate that must come of it."""

    def event(**more: object) -> dict[str, object]:
        base = {"event_type": "page_view", "event_time": instant_text(now_ms), "visitor_id": "g", "page": "/g"}
        return base | more

    number = iter(range(10_000))

    def made(**more: object) -> bytes:
        found = event(event_id=f"{tag}-{next(number)}") | more
        return json.dumps({k: v for k, v in found.items() if v is not ...}).encode()

    seconds = instant_text(now_ms)[:19]
    cases: dict[str, bytes | None] = {
        "parse: garbage": b"not json at all",
        "parse: truncated": made()[:-5],
        "parse: empty": b"",
        "parse: tombstone": None,
        "parse: null": b"null",
        "parse: number": b"42",
        "parse: text": b'"x"',
        "parse: NaN": b"NaN",
        "parse: NaN inside": made(value=...)[:-1] + b', "value": NaN}',
        "parse: invalid UTF-8": b'{"event_id": "\xff\xfe"}',
        "parse: empty array": b"[]",
        "parse: array of numbers": b"[1, 2]",
        "parse: single quotes": b"{'event_id': 'x'}",
        "parse: trailing comma": made()[:-1] + b",}",
        "missing: control character": b'{"event_id": "a\x01"}',
        "counted: control characters": made(page=...)[:-1] + b', "page": "/a\n\x01"}',
        "missing: {}": b"{}",
        "missing: event_id": made(event_id=...),
        "missing: NULL event_id": made(event_id=None),
        "missing: visitor_id": made(visitor_id=...),
        "missing: event_type": made(event_type=...),
        "missing: conversion without name": made(event_type="conversion"),
        "missing: custom with NULL name": made(event_type="custom", name=None),
        "event_type: unknown": made(event_type="click"),
        "event_type: number": made(event_type=7),
        "event_type: empty": made(event_type=""),
        "event_type: case": made(event_type="Page_view"),
        "time: missing": made(event_time=...),
        "time: NULL": made(event_time=None),
        "time: number": made(event_time=now_ms),
        "time: text": made(event_time="yesterday"),
        "time: no zone": made(event_time=seconds),
        "time: offset": made(event_time=seconds + "+01:00"),
        "time: space": made(event_time=seconds.replace("T", " ") + "Z"),
        "time: lower case": made(event_time=seconds.lower() + "z"),
        "time: month 13": made(event_time="2026-13-01T00:00:00Z"),
        "time: hour 25": made(event_time="2026-01-01T25:00:00Z"),
        "time: object": made(event_time={"a": 1}),
        "future: an hour": made(event_time=instant_text(now_ms + 3_600_000)),
        "future: 2099": made(event_time="2099-01-01T00:00:00.000Z"),
        "future: year 12026": made(event_time="+12026-01-01T00:00:00Z"),
        "type: value text": made(value="much"),
        "type: value bool": made(value=True),
        "type: value object": made(value={"a": 1}),
        "type: value array": made(value=[1]),
        "type: value 1e999": made()[:-1] + b', "value": 1e999}',
        "type: value Infinity text": made(value="Infinity"),
        "type: value NaN text": made(value="NaN"),
        "type: value empty": made(value=""),
        "type: value huge text": made(value="1e400"),
        "counted: plain": made(),
        "counted: value": made(value=2.5),
        "counted: value text": made(value="2.5"),
        "counted: value spaces": made(value=" 7 "),
        "counted: value suffix": made(value="3d"),
        "counted: value hex": made(value="0x1p3"),
        "counted: unknown field": made(colour="red"),
        "counted: no milliseconds": made(event_time=seconds + "Z"),
        "counted: microseconds": made(event_time=seconds + ".123456Z"),
        "counted: point without digits": made(event_time=seconds + ".Z"),
        "counted: trailing junk": made() + b" junk",
        "counted: two objects": made() + made(),
        "counted: white space": b" \n" + made() + b"\n",
        "counted: number as id": made(event_id=now_ms),
        "counted: fraction as visitor": made(visitor_id=1.50),
        "counted: exponent as visitor": made()[:-1] + b', "visitor_id": 12e10}',
        "counted: tiny as visitor": made()[:-1] + b', "visitor_id": 0.00001}',
        "counted: long integer as visitor": made(visitor_id=2**70),
        "counted: bool as page": made(page=True),
        "counted: object as page": made(page={"a": [1, None, "x\u0001é"], "b": 1.0}),
        "counted: array as visitor": made(visitor_id=["a"]),
        "counted: properties no object": made(properties="x"),
        "counted: properties nested": made(properties={"a": {"b": 1}}),
        "counted: NULL page": made(page=None),
        "counted: empty page": made(page=""),
        "counted: odd page": made(page="/a b,c=d\\"),
        "counted: emoji escaped": made(page="/\U0001f600"),
        "counted: lone surrogate": made(page="/a")[:-1] + b', "page": "\\ud800"}',
        "counted: repeated field": made()[:-1] + b', "page": "/last"}',
        "counted: quotes": made(page='/"x"\'y'),
        "counted: byte order mark": b"\xef\xbb\xbf" + made(),
        "counted: UTF-16": made().decode().encode("utf-16-le"),
        "late: an hour": made(event_time=instant_text(now_ms - 3_600_000)),
        "late: 1970": made(event_time="1970-01-01T00:00:00.000Z"),
        "late: February 30th": made(event_time="2025-02-30T00:00:00Z"),
        "late: midnight as 24": made(event_time="2025-01-01T24:00:00Z"),
        "late: before Christ": made(event_time="-0044-03-15T00:00:00Z"),
        "late: year 0": made(event_time="0000-01-01T00:00Z"),
        "tick: tick": b'{"event_type":"_tick"}',
        "tick: with fields": made(event_type="_tick"),
        "two counted: array": b"[" + made() + b"," + made() + b"]",
        "counted and missing: array": b"[" + made() + b", {}, 1]",
    }
    again = made()
    cases["counted: first copy"], cases["duplicate: second copy"] = again, again
    return cases


@pytest.mark.parametrize("rounds", [2])
def test_bad_records_never_stop_the_job_and_each_is_accounted(stack: Lab, rounds: int) -> None:
    before = stack.runs()["standard/live"]
    restored = FlinkRest(stack.endpoints.flink).checkpoints(before.job_id)["counts"]["restored"]
    bootstrap = stack.endpoints.kafka
    at = Topics(bootstrap).ends([REJECTED])
    out = Producer({"bootstrap.servers": bootstrap.address, "partitioner": "murmur2_random"})
    sent: dict[str, bytes | None] = {}
    for number in range(rounds):
        now_ms = time.time_ns() // 1_000_000
        cases = corpus(f"c{number}-{now_ms:x}", now_ms)
        for name, record in cases.items():
            out.produce("events", record, key="g")
            sent[f"{name} {number}"] = record
        out.flush(10)
    stack.simulate(rate=100, seconds=3)

    report = stack.verify()

    assert report.exact, str(report)
    rejected = [json.loads(r.value() or b"{}") for r in read_range(bootstrap, at, Topics(bootstrap).ends([REJECTED]))]
    whole = {(r["partition"], r["offset"], r["event_id"]): r for r in rejected if r.get("sha256")}
    reasons = [r["reason"] for r in whole.values() if r["reason"] is not None]
    for reason in ("parse", "missing", "event_type", "time", "future", "type"):
        wanted = sum(name.startswith(f"{reason}:") for name in sent)
        wanted += sum(reason == "missing" and name.startswith("counted and missing") for name in sent)
        assert reasons.count(reason) >= wanted, reason
    assert stack.runs()["standard/live"].run == before.run
    job = FlinkRest(stack.endpoints.flink).job(stack.runs()["standard/live"].job_id)
    assert job["state"] == "RUNNING"
    assert job["jid"] == before.job_id
    assert FlinkRest(stack.endpoints.flink).checkpoints(job["jid"])["counts"]["restored"] == restored, (
        "it never restarted"
    )


def test_the_decoder_sees_what_the_names_say() -> None:
    now_ms = 1_795_000_000_000
    for name, record in corpus("x", now_ms).items():
        rows = decode(record)
        assert bool(rows) != name.startswith("parse:"), name
