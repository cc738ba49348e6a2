"""Much at once, from foreign clients: half of it garbage, nearly all under one key, a new visitor with each event, schema ids
that are wrong, a log that forgets within a minute, and a partition more while it runs."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from rtap_lab.events.times import instant_text
from rtap_lab.jobs.lifecycle import PARTITION_ADDED
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.settings import PARTITIONS
from rtap_lab.waiting import until

SEED = 20_261_127
RATE = 1_000
SECONDS = 60
FULL_RATE = 4_000
"""Records a second that the standard job keeps up with on two cores."""
MINUTES = 10
WRONG_IDS = (b"999999", b"-1", b"\xff\x00", b"", None)


def send(lab: Lab, seconds: float, tag: str, dice: random.Random, rate: int = RATE) -> tuple[int, int]:
    """Send at a steady rate; how many good and bad records were acknowledged. Each good one is of another visitor."""
    out = Producer({"bootstrap.servers": lab.endpoints.kafka.address, "linger.ms": 5, "partitioner": "murmur2_random"})
    refused: list[object] = []
    good, bad, began = 0, 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        while good + bad < passed * rate:
            key = "whale" if dice.random() < 0.99 else f"visitor {good}"
            record: dict[str, object] | str = {
                "event_id": f"{tag}-{good}",
                "event_type": "page_view",
                "event_time": instant_text(time.time_ns() // 1_000_000),
                "visitor_id": f"{tag} visitor {good}",
                "page": f"/{dice.randrange(5)}",
            }
            if dice.random() < 0.5:
                record = dice.choice(["{", "", '{"event_id": 1}', '{"event_type": "x"}', "\x00" * 99, "[[[[[[1"])
                bad += 1
            else:
                good += 1
            value = record if isinstance(record, str) else json.dumps(record)
            headers = [("schema_id", dice.choice(WRONG_IDS))]
            out.produce(LIVE_EVENTS, value, key=key, headers=headers, on_delivery=lambda e, m: e and refused.append(e))
        out.poll(0.01)
    assert out.flush(60) == 0
    assert not refused, refused[:3]
    return good, bad


@pytest.mark.long
def test_garbage_one_key_many_visitors_a_short_log_and_a_partition_more(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    print("seed", SEED)
    lab = Lab.up(tmp_path / "state", gap="5s", within="8s", retention="1min")
    try:
        job_id = lab.runs()["standard/live"].job_id
        good, bad = send(lab, SECONDS, "first", dice)
        topics = Topics(lab.endpoints.kafka)

        def forgot() -> bool:
            return all(start > 0 for start in topics.starts([LIVE_EVENTS]).values())

        until(forgot, 90, lambda: AssertionError(f"nothing has expired: {topics.starts([LIVE_EVENTS])}"), every=1)
        report = lab.verify(full=True)
        assert not report.differs, str(report)
        assert not report.exact
        assert report.runs[0].unproven, "of a log of a minute no window can be recomputed, and that is said"
        rejected = sum(each.rows for each in report.compared if (each.name, each.where) == ("rejected", "topic"))
        assert rejected > 100
        assert lab.runs()["standard/live"].job_id == job_id, "the job was never resubmitted"
        assert min(good, bad) > RATE * SECONDS / 3

        before = lab.runs()["standard/live"].run
        admin = AdminClient({"bootstrap.servers": lab.endpoints.kafka.address})
        admin.create_partitions([NewPartitions(LIVE_EVENTS, PARTITIONS + 1)])[LIVE_EVENTS].result(30)
        until(
            lambda: lab.runs()["standard/live"].run != before, 60, lambda: AssertionError("nobody noticed"), every=0.5
        )
        assert PARTITION_ADDED in lab.runs()["standard/live"].note
        until(lambda: lab.status()["ok"], 90, lambda: AssertionError(str(lab.status()["jobs"])), every=0.5)
        send(lab, 15, "second", dice)
        report = lab.verify(full=True)
        assert not report.differs, str(report)
        assert topics.ends([LIVE_EVENTS])[LIVE_EVENTS, PARTITIONS] > 0, (
            "the new partition is written, by the ticker too"
        )
        assert lab.down()
        Lab.up(tmp_path / "state")
        send(lab, 10, "third", dice)  # of what came before nothing may be left to compare
        report = lab.verify(full=True)
        assert not report.differs, str(report)
    finally:
        lab.down()


@pytest.mark.long
@pytest.mark.timeout(2_400)
def test_ten_minutes_at_full_rate_half_of_it_garbage_from_a_million_visitors(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    print("seed", SEED)
    lab = Lab.up(tmp_path / "state", gap="5s", within="8s")
    try:
        job_id = lab.runs()["standard/live"].job_id
        good, bad = send(lab, MINUTES * 60, "flood", dice, FULL_RATE)
        assert good > 1_000_000
        began = time.monotonic()
        until(
            lambda: (status := lab.status())["ok"] and all(job["lag"] == 0 for job in status["jobs"]),
            600,
            lambda: AssertionError(str(lab.status()["jobs"])),
            every=1,
        )
        print(f"{good:,} good, {bad:,} bad; caught up {time.monotonic() - began:.0f} s after the last was sent")
        report = lab.verify()
        print(report, f"{report.seconds:.0f} s")
        assert report.exact, str(report)
        ledger = report.ledger
        assert ledger["read"] == good + bad
        assert ledger["rejected"] == bad, "each of them is kept with its reason"
        assert ledger["counted"] + ledger["late"] == good
        assert lab.runs()["standard/live"].job_id == job_id, "the job was never resubmitted"
    finally:
        lab.down()
