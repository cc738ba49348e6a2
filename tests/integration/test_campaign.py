"""One schedule of the fault campaign, so that the campaign itself is known to work; `rtap bench run faults` plays many."""

from __future__ import annotations

import itertools
from pathlib import Path

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
