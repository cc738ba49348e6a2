"""The fault campaign's pure parts: the files, the schedules, the clients' streams, the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.bench.faults import Outcome, await_moment, load_faults, out_of_step, schedule, summary
from rtap_lab.errors import SettingsError

FAULTS = load_faults()
GOOD: dict[str, Any] = {"recovery_s": 1.0, "healed_s": 2.0, "rows": 10, "client_rows": 10}
ROWS = [{"n": n} for n in range(20)]


def test_every_file_is_a_fault_and_a_broken_one_says_where(tmp_path: Path) -> None:
    assert len(FAULTS) >= 14
    assert {1, 2, 3, 4, 5, 7, 11, 14, 17, 27, 28} <= {fault.row for fault in FAULTS}
    (tmp_path / "odd.yaml").write_text("about: x\nrow: 1\nact: tickle\nservices: [hub]\nrecovery_s: 1\n")
    with pytest.raises(SettingsError, match=r"odd\.yaml is no fault"):
        load_faults(tmp_path)
    with pytest.raises(SettingsError, match="no faults"):
        load_faults(tmp_path / "nowhere")


@given(st.integers(0, 10**9))
def test_a_schedule_is_its_seeds_alone(seed: int) -> None:
    steps = schedule(seed, FAULTS)
    assert steps == schedule(seed, list(FAULTS))
    assert len({step.fault.name for step in steps}) == len(steps) in (1, 2)
    assert all(step.moment in step.fault.moments and 0 < step.after_s < 10 for step in steps)


def test_every_fault_and_every_moment_come_up() -> None:
    drawn = {(step.fault.name, step.moment) for seed in range(300) for step in schedule(seed, FAULTS)}
    assert drawn == {(fault.name, moment) for fault in FAULTS for moment in fault.moments}


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_piece_of_the_topic_is_in_step(begin: int, end: int) -> None:
    assert out_of_step(ROWS[begin:end], ROWS) == ""


@pytest.mark.parametrize(
    "piece",
    [[*ROWS[2:5], *ROWS[6:9]], [*ROWS[2:5], ROWS[4]], [{"x": 1}], [*ROWS[17:], {"n": 20}], [ROWS[3], ROWS[2]]],
    ids=["a gap", "a double", "a foreign row", "beyond the end", "a step back"],
)
def test_what_is_no_piece_of_the_topic_is_told(piece: list[dict[str, int]]) -> None:
    assert out_of_step(piece, ROWS)


def test_what_a_step_draws_is_of_its_fault() -> None:
    steps = [step for seed in range(3000) for step in schedule(seed, FAULTS)]
    commands = {step.command for step in steps if step.fault.act == "command"}
    assert commands == set(*(fault.commands for fault in FAULTS if fault.act == "command"))
    assert all(0 < step.killed_after_s <= step.fault.commands[step.command] for step in steps if step.command)
    for step in steps:
        assert set(step.services) <= set(step.fault.services)
        assert len(step.services) == (step.fault.count or len(step.fault.services))
    alone = load_faults(only=["hub_killed"])
    assert [step.fault.name for step in schedule(1, alone)] == ["hub_killed"]
    again = schedule(1, alone, 5)
    assert [step.fault.name for step in again] == ["hub_killed"] * 5
    assert len({step.after_s for step in again}) == 5
    with pytest.raises(SettingsError, match="hub_kiled"):
        load_faults(only=["hub_kiled"])


def test_a_fault_needs_its_processes() -> None:
    full = {fault.name for fault in FAULTS if fault.fits("full")}
    core = {fault.name for fault in FAULTS if fault.fits("core")}
    assert "two_of_three_killed" in full - core
    assert "broker_killed" in core - full, "there is no broker of that name among three"
    assert "hub_killed" in full & core


def test_nothing_compared_or_never_recovered_is_not_exact() -> None:
    assert not Outcome(1, [], **GOOD | {"recovery_s": None}).exact
    assert not Outcome(1, [], **GOOD | {"rows": 0}).exact
    assert not Outcome(1, [], missing=1, **GOOD).exact
    assert not Outcome(1, [], client_faults=["a gap"], **GOOD).exact
    assert not Outcome(1, [], **GOOD | {"client_rows": 0}).exact, "a client that saw nothing proves nothing"
    assert not Outcome(1, [], **GOOD | {"healed_s": None}).exact
    assert Outcome(1, [], **GOOD).exact


def test_the_figures() -> None:
    one = [{"name": "hub_killed", "moment": "any", "after_s": 1}]
    outcomes = [Outcome(n, one, **GOOD | {"recovery_s": float(n), "goal_s": 5}) for n in range(1, 21)]
    outcomes.append(Outcome(21, [*one, *one], wrong=2, **GOOD | {"recovery_s": 99.0, "goal_s": 5}))
    found = summary(outcomes)
    assert (found["schedules"], found["exact"], found["in_time"], found["wrong"]) == (21, 20, 5, 2)
    assert found["recovery_s"] == {"hub_killed": {"n": 20, "p50": 10.0, "p95": 19.0, "max": 20.0}}


def test_a_moment_that_does_not_come_is_any(tmp_path: Path) -> None:
    assert await_moment("complete", tmp_path, seconds=0.05) == "any"
    assert await_moment("any", tmp_path) == "any"
