"""Late and rejected rows go with their source, and nothing else goes with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rtap_lab.jobs.refused import Sweeper, row_of
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.names import LATE, REJECTED
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.waiting import until
from tests.integration.test_answers import rtap


def places(lab: Lab, topic: str, source: str) -> list[int]:
    """Where the rows of a source are."""
    topics = Topics(lab.endpoints.kafka)
    records = read_range(lab.endpoints.kafka, topics.starts([topic]), topics.ends([topic], committed=True))
    return [r.offset() or 0 for r in records if (row_of(r.value()) or {}).get("source") == source]


def held(lab: Lab, topic: str) -> Counter[str]:
    """How many different rows a shared topic holds, by source."""
    topics = Topics(lab.endpoints.kafka)
    records = read_range(lab.endpoints.kafka, topics.starts([topic]), topics.ends([topic], committed=True))
    rows = map(row_of, {bytes(record.value() or b"") for record in records})
    return Counter(row["source"] for row in rows if row is not None)


@pytest.mark.long  # minutes of sweeps
def test_rows_go_with_their_source_and_those_of_others_stay(stack: Lab, tmp_path: Path) -> None:
    for number, name in enumerate(("stays", "leaves"), 1):
        lines = tmp_path / f"{name}.jsonl"
        made = rtap(stack, "simulate", "--out", str(lines), "--events", "1000", "--seed", str(number))
        assert made.returncode == 0
        lines.write_bytes(lines.read_bytes() + b"no JSON\n{}\n")
        stack.import_jsonl(lines, source=name)
        stack.run_standard(name, gap="20s", within="30s", bound="1s")
        report = stack.verify(name)
        assert report.exact, str(report)
    before = {topic: held(stack, topic) for topic in (LATE, REJECTED)}
    assert all(before[topic][name] > 0 for topic in before for name in ("leaves", "stays"))
    topics = Topics(stack.endpoints.kafka)
    last = {topic: places(stack, topic, "stays")[-1] for topic in before}

    stack.remove_source("leaves")
    sweeper = Sweeper(stack.state, topics, settled_s=0)
    sweeper.step()  # what is needed is written again
    for topic in before:
        assert held(stack, topic)["stays"] == before[topic]["stays"]
        assert len(places(stack, topic, "stays")) > before[topic]["stays"]
    until(lambda: sweeper.step() or not sweeper._cuts, 30, every=0.5)  # then what is before goes

    after = {topic: held(stack, topic) for topic in before}
    for topic in before:
        assert topics.starts([topic])[topic, 0] > last[topic], "what stays lay before what left: it was written again"
        assert after[topic]["leaves"] == 0
        assert after[topic]["stays"] == before[topic]["stays"]
    stack.simulate(rate=100, seconds=4)
    for source in ("stays", "live"):
        report = stack.verify(source)
        assert report.exact, str(report)

    lines = tmp_path / "stays.jsonl"
    stack.import_jsonl(lines, source="leaves")  # another source of the name that was free again
    stack.run_standard("leaves", gap="20s", within="30s", bound="1s")
    report = stack.verify("leaves")
    assert report.exact, str(report)
    stack.remove_source("leaves")
    stack.remove_source("stays")
