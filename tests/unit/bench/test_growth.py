"""What grows is told from what is level, noisy, or kept for its time."""

from __future__ import annotations

import random
from pathlib import Path

from rtap_lab.bench.growth import _part, slopes

SEED = 20_261_127


def test_a_leak_is_told_from_noise_and_from_what_is_kept() -> None:
    dice = random.Random(SEED)
    samples = [
        {
            "seconds": s,
            "memory hub": 100 + dice.uniform(-3, 3),
            "memory writer": 100 + s * 20 / 3600 + dice.uniform(-3, 3),
            "handles hub": 50.0 + (s > 1800),
            "disk results": s * 0.1,
            "transactions": 1.0 + s // 600,
            "memory cold": 50 * min(1, s / 600),
        }
        for s in range(0, 3600, 10)
    ]
    found = slopes(samples, after=600)
    assert {name for name, each in found.items() if each["grows"]} == {"memory writer", "transactions"}
    assert 15 < found["memory writer"]["per_hour"] < 25
    assert slopes(samples[:2], after=0) == {}


def test_whose_disk_it_is() -> None:
    assert _part(Path("kafka-1/data/events-3/0.log")) == "events"
    assert _part(Path("kafka-1/data/events.late-0/0.log")) == "events.late"
    assert _part(Path("kafka-1/data/results.sessions-0/0.log")) == "results"
    assert _part(Path("kafka-1/data/__consumer_offsets-1/0.log")) == "kafka"
    assert _part(Path("flink/runs/standard/live/x")) == "flink"
    assert _part(Path("runs.json")) == "runs.json"
