"""Records that are no events, straight into `events` by a foreign client while the job runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
from confluent_kafka import KafkaError, Producer

from rtap_lab.events import limits
from rtap_lab.events.codec import decode, unfit
from rtap_lab.events.model import MAX_MESSAGE_BYTES, Reason
from rtap_lab.events.times import instant_text
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.names import REJECTED
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.waiting import until

REASONS = get_args(Reason)


@pytest.fixture(scope="module")
def soiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of its own: what is written here is recomputed by each verification after it."""
    lab = Lab.up(tmp_path_factory.mktemp("soiled") / "state", gap="20s", within="30s")
    yield lab
    lab.down()


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
        "missing: very many in an array": b"[" + b",".join([b"{}"] * 20_000) + b"]",
        "event_type: and missing, under one id": b"[%s, %s]"
        % (made(event_id=f"{tag}-twice", event_type="bogus"), json.dumps({"event_id": f"{tag}-twice"}).encode()),
    }
    cases |= sizes(made)
    again = made()
    cases["counted: first copy"], cases["duplicate: second copy"] = again, again
    return cases


def sizes(made: Callable[..., bytes]) -> dict[str, bytes | None]:
    """At each limit, and one beyond: our own (reason `size`) and those of the decoder (`parse`)."""
    most = limits.MAX_TEXT
    page = {"page": ...}

    def field(name: str, raw: bytes) -> bytes:
        return made(**{name: ...})[:-1] + b', "%s": ' % name.encode() + raw + b"}"

    def many(number: int, text: str) -> dict[str, str]:
        return {f"{n:03}": text for n in range(number)}

    return {
        "counted: longest page": made(page="x" * most),
        "size: page": made(page="x" * (most + 1)),
        "counted: longest page of emoji": made(page="\U0001f600" * most),
        "size: page of emoji": made(page="\U0001f600" * (most + 1)),
        "counted: longest visitor of control characters": field("visitor_id", b'"' + b"\x01" * most + b'"'),
        "size: visitor of control characters": field("visitor_id", b'"' + b"\x01" * (most + 1) + b'"'),
        "size: id of 190 kB of control characters": field("event_id", b'"' + b"\x01" * 190_000 + b'"'),
        "size: page of 540 kB": made(page="p" * 540_000),
        "size: page of 540 kB of control characters": field("page", b'"' + b"\x02" * 540_000 + b'"'),
        "size: name": made(event_type="custom", name="n" * (most + 1)),
        "counted: value with many zeros": made(value="0" * (most - 1) + "1"),
        "size: value with many zeros": made(value="0" * most + "1"),
        "size: page that is an array": made(page=["x" * most]),
        "type: over-long value": made(value="v" * (most + 1)),
        "missing: over-long id": made(event_id="i" * 300_000, visitor_id=...),
        "event_type: over-long": made(event_type="t" * 300_000),
        "counted: 100 properties": made(properties=many(limits.MAX_PROPERTIES, "x")),
        "size: 101 properties": made(properties=many(limits.MAX_PROPERTIES + 1, "x")),
        "counted: longest property": made(properties={"a": "x" * most}),
        "size: property": made(properties={"a": "b", "c": "x" * (most + 1)}),
        "size: property's name": made(properties={"x" * (most + 1): "a"}),
        "counted: longest property of quotes": made(properties={"a": '"\\' * (most // 2), '"': "\x01\n"}),
        "size: property of quotes": made(properties={"a": '"' * (most + 1)}),
        "counted: longest property of control characters": made(properties={"a": "\x01" * most}),
        "size: property of control characters": made(properties={"a": "\x01" * (most + 1)}),
        "counted: longest property of emoji": made(properties={"a": "\U0001f600" * most}),
        "size: property of emoji": made(properties={"a": "\U0001f600" * (most + 1)}),
        "counted: two half properties": made(properties={"a": "x" * (most // 2 + 1), "b": "x" * (most // 2 + 1)}),
        "counted: much in properties": made(properties=many(100, "x" * 2_600)),
        "size: too much in properties": made(properties=many(100, "x" * 2_700)),
        "counted: NULL properties": made(properties={"a": None, "b": None}),
        "counted: properties an array": made(properties=["x" * (most + 1)]),
        "counted: unknown field of 900 kB": made(extra="x" * 900_000),
        "counted: deepest": field("extra", b"[" * 999 + b"]" * 999),
        "parse: too deep": field("extra", b"[" * 1000 + b"]" * 1000),
        "counted: deepest page": field("page", b"[" * 999 + b"]" * 999),
        "parse: a bomb of brackets": b"[" * 1_000_000,
        "parse: a bomb of objects": b'{"a":' * 170_000,
        "counted: most digits": field("extra", b"1" * 1000),
        "parse: too many digits": field("extra", b"1" * 1001),
        "counted: visitor of many digits": field("visitor_id", b"1" * 1000),
        "counted: longest name": made(**{"n" * 50_000: 1}),
        "parse: name": made(**{"n" * 50_001: 1}),
        "counted: after a bomb": made(**page) + b"[" * 2000,
    }


@pytest.mark.parametrize("rounds", [2])
def test_bad_records_never_stop_the_job_and_each_is_accounted(soiled: Lab, rounds: int) -> None:
    before = soiled.runs()["standard/live"]
    restored = FlinkRest(soiled.endpoints.flink).checkpoints(before.job_id)["counts"]["restored"]
    bootstrap = soiled.endpoints.kafka
    at = Topics(bootstrap).ends([REJECTED])
    config = {"bootstrap.servers": bootstrap.address, "partitioner": "murmur2_random", "message.max.bytes": 2_000_000}
    out = Producer(config | {"linger.ms": 0})
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: object) -> None:
        if error is not None:
            refused.append(error)

    sent: dict[str, bytes | None] = {}
    for number in range(rounds):
        now_ms = time.time_ns() // 1_000_000
        cases = corpus(f"c{number}-{now_ms:x}", now_ms)
        for name, record in cases.items():
            key = b"k" * 65_536 if name == "counted: plain" else b"g"
            out.produce("events", record, key=key, on_delivery=delivered)
            sent[f"{name} {number}"] = record
        assert out.flush(30) == 0
    assert not refused, refused
    edge = MAX_MESSAGE_BYTES - 200  # a batch of one record adds less than that
    for size in (edge, MAX_MESSAGE_BYTES + 1):
        out.produce("events", b"x" * size, key="g", on_delivery=delivered)
    out.flush(30)
    sent["parse: largest"] = b"x" * edge
    assert [error.code() for error in refused] == [KafkaError.MSG_SIZE_TOO_LARGE], "the broker refuses what is larger"
    soiled.simulate(rate=100, seconds=3)

    report = soiled.verify()

    assert report.exact, str(report)
    rejected = [json.loads(r.value() or b"{}") for r in read_range(bootstrap, at, Topics(bootstrap).ends([REJECTED]))]
    whole = {(r["partition"], r["offset"], r["event_id"], r["reason"]): r for r in rejected if r.get("sha256")}
    reasons = [r["reason"] for r in whole.values() if r["reason"] is not None]
    for reason in ("parse", "missing", "event_type", "time", "future", "type", "size"):
        wanted = sum(name.startswith(f"{reason}:") for name in sent)
        wanted += sum(reason == "missing" and name.startswith("counted and missing") for name in sent)
        assert reasons.count(reason) >= wanted, reason
    assert soiled.runs()["standard/live"].run == before.run
    job = FlinkRest(soiled.endpoints.flink).job(soiled.runs()["standard/live"].job_id)
    assert job["state"] == "RUNNING"
    assert job["jid"] == before.job_id
    assert FlinkRest(soiled.endpoints.flink).checkpoints(job["jid"])["counts"]["restored"] == restored, (
        "it never restarted"
    )


def test_the_decoder_sees_what_the_names_say() -> None:
    now_ms = 1_795_000_000_000
    for name, record in corpus("x", now_ms).items():
        rows = decode(record)
        assert bool(rows) != name.startswith("parse:"), name
        for row in rows[:1]:
            fate = "tick" if row.is_tick else unfit(row, now_ms) or "fit"
            assert fate in (name.partition(":")[0], "fit"), (name, fate)
            assert (fate == "fit") == (name.partition(":")[0] not in ("tick", *REASONS)), (name, fate)


def test_of_copies_in_two_partitions_either_may_count(soiled: Lab) -> None:
    """A foreign client gives copies of one id other keys: no order says which came first, and verification takes either."""
    out = Producer({"bootstrap.servers": soiled.endpoints.kafka.address, "linger.ms": 0})
    # the edge of a 10 s window lies between the copies, the hardest case: no visitor's row is due when they are verified
    until(lambda: time.time() % 10 <= 1.5, 12, lambda: AssertionError("the clock stands still"))
    stamp = time.time_ns()
    for number in range(12):
        for partition, page, age_ms in ((number % 12, "/one", 0), ((number + 5) % 12, "/two", 900 * (number % 4))):
            event = {
                "event_id": f"copy {stamp} {number}",
                "event_type": "page_view",
                "event_time": instant_text(time.time_ns() // 1_000_000 - age_ms),
                "visitor_id": f"twin {number}",
                "page": page,
            }
            out.produce("events", json.dumps(event).encode(), key=page.encode(), partition=partition)
    assert out.flush(10) == 0
    soiled.simulate(rate=100, seconds=12)
    report = soiled.verify()
    assert report.exact, str(report)
    assert report.ledger["duplicate"] >= 12
    score = soiled.score()
    assert score.exact, str(score)
