"""One schedule of the fault campaign, so that the campaign itself is known to work, and at night twenty-five of the day;
`rtap bench run faults` plays many."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from rtap_lab.bench.faults import Campaign, load_faults, schedule
from rtap_lab.stack.supervisor import find_services

FAULTS = [fault for fault in load_faults() if fault.fits("core")]


def two_at_once() -> int:
    """The first seed that kills the process that runs the job, and the hub that clients follow."""
    wanted = {"taskmanager_killed", "hub_killed"}
    return next(seed for seed in itertools.count(1) if {step.fault.name for step in schedule(seed, FAULTS)} == wanted)


def test_a_schedule_of_two_faults_loses_nothing_and_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    campaign = Campaign(tmp_path / "state", FAULTS, said.append)
    (outcome,) = campaign.run([two_at_once()])
    assert outcome.exact, outcome.as_json()
    assert {each["name"] for each in outcome.faults} == {"taskmanager_killed", "hub_killed"}
    assert outcome.new_rows["sessions"] > 0
    assert outcome.client_rows > 0
    assert "exact" in said[0]
    print(said[0])
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
