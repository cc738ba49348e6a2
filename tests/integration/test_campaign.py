"""Two schedules of the fault campaign, which kill the four processes that answers pass through, and at night twenty-five of the
day; `rtap bench run faults` plays many."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from rtap_lab.bench.faults import Campaign, load_faults, schedule
from rtap_lab.stack.supervisor import find_services

FAULTS = [fault for fault in load_faults() if fault.fits("core")]


PAIRS = ({"taskmanager_killed", "hub_killed"}, {"jobmanager_killed", "broker_killed"})
"""Who runs the job, and who shows clients its rows; who coordinates it, and who keeps the records."""


def seed_of(wanted: set[str]) -> int:
    """The first seed whose schedule has these faults."""
    return next(seed for seed in itertools.count(1) if {step.fault.name for step in schedule(seed, FAULTS)} == wanted)


def test_schedules_of_two_faults_lose_nothing_and_are_told(tmp_path: Path) -> None:
    said: list[str] = []
    outcomes = Campaign(tmp_path / "state", FAULTS, said.append).run([seed_of(pair) for pair in PAIRS])
    print(*said, sep="\n")
    assert [each.as_json() for each in outcomes if not each.exact] == []
    assert [{step["name"] for step in each.faults} for each in outcomes] == list(PAIRS)
    for outcome, words in zip(outcomes, said, strict=True):
        assert outcome.new_rows["sessions"] > 0
        assert outcome.client_rows > 0
        assert "exact" in words
        assert not outcome.note, "the same run went on"
    assert find_services(tmp_path / "state") == {}


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_a_nights_schedules_lose_nothing(tmp_path: Path) -> None:
    """Other ones each night; one that fails is played again by its seed."""
    first = int(time.time()) // 86_400 * 100
    print(f"seeds {first} to {first + 24}: rtap bench run faults --schedules 1 --seed SEED plays one again")
    outcomes = Campaign(tmp_path / "state", FAULTS, print, evidence=tmp_path / "evidence").run(range(first, first + 25))
    assert len(outcomes) == 25
    assert [each.as_json() for each in outcomes if not each.exact] == []
    assert sum(each.rows for each in outcomes) > 25 * 100
