"""Slices on the real stack: what was recorded comes back bit by bit, and gives the same answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from rtap_lab.errors import SettingsError, SourceError
from rtap_lab.kafka.names import REJECTED
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.waiting import until
from tests.integration.test_answers import rtap, view
from tests.integration.test_bad_input import corpus

TIMES = {"gap": "20s", "within": "30s"}


def test_a_slice_with_garbage_comes_back_bit_by_bit_and_gives_the_same_answers_twice(
    stack: Lab, tmp_path: Path
) -> None:
    kafka = stack.endpoints.kafka
    begin = dict(Topics(kafka).ends(["events"]))
    out = Producer(
        {"bootstrap.servers": kafka.address, "partitioner": "murmur2_random", "message.max.bytes": 2_000_000}
    )
    stack.simulate("brisk", rate=300, seconds=3, seed=9)
    now_ms = time.time_ns() // 1_000_000
    for number, record in enumerate(corpus("slice", now_ms).values()):
        out.produce("events", record, key="g" if number % 3 else None, headers=[("h", b"\x00\xff"), ("h", None)])
    assert out.flush(10) == 0
    stack.simulate("late_mobile", rate=300, seconds=3, seed=9)
    made = stack.record(begin={p: offset for (_, p), offset in begin.items()}, name="messy")
    assert made.about.records > 1500
    assert made.about.bound_ms == 2000

    digests = []
    for _ in range(2):
        done = made.replay("messy")
        assert done.records == made.about.records
        assert done.rejected > 30
        again = stack.record("messy", name=f"again{len(digests)}")
        assert again.about.digest == made.about.digest
        stack.run_standard("messy", **TIMES)  # type: ignore[arg-type]
        report = stack.verify("messy")
        assert report.exact, str(report)
        assert report.ledger["late"] > 0
        # of an array, rows that are refused alike are kept as one
        assert report.ledger["rejected"] > done.rejected
        digests.append(stack.digest("messy"))
    assert digests[0] == digests[1]
    score = stack.score("messy")
    assert score.exact, str(score)

    exported = made.export(tmp_path)
    stack.slice("messy").remove()
    with pytest.raises(SourceError, match="there is no slice"):
        stack.slice("messy")
    assert stack.import_slice(exported).about == made.about
    with pytest.raises(SourceError, match="already"):
        stack.import_slice(exported)
    rejected = Topics(kafka).ends([REJECTED])
    assert sum(rejected.values()) > 0


def test_what_a_killed_replay_left_is_of_no_source(stack: Lab, tmp_path: Path) -> None:
    """A replay that is paced commits as it goes; killed, it leaves a topic with records and no entry."""
    stack.simulate(rate=200, seconds=2)
    stack.record("live", name="leaves")
    words = [
        sys.executable,
        "-m",
        "rtap_lab.cli",
        "slices",
        "replay",
        "leaves",
        "--into",
        "orphaned",
        "--speed",
        "0.05",
    ]
    killed = subprocess.Popen(words, env={**os.environ, "RTAP_STATE": str(stack.state.folder)})
    topics = Topics(stack.endpoints.kafka)
    try:
        until(
            lambda: (
                "events.orphaned" in topics.names()
                and sum(topics.ends(["events.orphaned"], committed=True).values()) > 20
            ),
            60,
            lambda: AssertionError("the replay wrote nothing"),
        )
    finally:
        killed.kill()
        killed.wait()
    assert "orphaned" not in stack.sources()
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(view(n, f"2023-01-01T00:00:{n:02d}.000Z")) for n in range(4)))
    assert stack.import_jsonl(path, source="orphaned").imported == 4
    stack.run_standard("orphaned", **TIMES)  # type: ignore[arg-type]
    report = stack.verify("orphaned")
    assert report.exact, str(report)
    assert report.ledger["read"] == 4
    stack.remove_source("orphaned")
    stack.slice("leaves").remove()


def test_an_imported_file_is_a_slice_too_and_a_pace_is_kept(stack: Lab, tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(json.dumps(view(n, f"2023-01-01T00:00:{n:02d}.000Z")) for n in (0, 2, 1, 40)))
    stack.import_jsonl(path, source="few")
    made = stack.record("few", name="few-slice")
    assert (made.about.topic, made.about.records, made.about.bound_ms) == ("events.few", 4, 1001)
    began = time.monotonic()
    made.replay("few-again", speed=20)
    assert 1.9 < time.monotonic() - began < 30
    stack.run_standard("few", **TIMES)  # type: ignore[arg-type]
    stack.run_standard("few-again", **TIMES)  # type: ignore[arg-type]
    assert stack.verify("few-again").exact
    assert stack.digest("few") == stack.digest("few-again")
    with pytest.raises(SourceError, match="holds an import"):
        made.replay("few")


def test_the_command_line_records_shows_and_refuses(stack: Lab, tmp_path: Path) -> None:
    stack.simulate(rate=100, seconds=2)
    assert rtap(stack, "slices", "record", "mine", "--source", "live").returncode == 0
    listed = json.loads(rtap(stack, "slices", "list", "--json").stdout)
    assert "mine" in [each["name"] for each in listed]
    assert "events" in rtap(stack, "slices", "show", "mine").stdout
    assert rtap(stack, "slices", "replay", "mine", "--into", "mine-again", "--json").returncode == 0
    assert "mine-again" in stack.sources()
    for code, words in (
        (1, ("record", "mine")),
        (1, ("show", "nope")),
        (1, ("import", str(tmp_path / "none"))),
        (1, ("record", "--source", "nope")),
        (2, ("record", "Bad Name")),
        (2, ("record", "x", "--from", "soon")),
        (2, ("replay", "mine", "--speed", "fast")),
        (1, ("record", "x", "--from", "2999-01-01T00:00:00Z")),
        (2, ("record", "x", "--seconds", "3", "--to", "2999-01-01T00:00:00Z")),
    ):
        done = rtap(stack, "slices", *words)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr
    with pytest.raises(SettingsError, match="partition 99"):
        stack.record(begin={99: 0})
    stack.remove_source("mine-again")
    assert rtap(stack, "slices", "remove", "mine").returncode == 0
