"""Plans for more machines: they grow with the rate, and what decides them is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.bench.sizing import Measured, Target, plan

COSTS = Measured(flink_us=30, kafka_us=10, event_bytes=250, state_bytes=100, hub_frames=40_000)


def test_a_million_events_a_second() -> None:
    found = plan(COSTS, Target(1e6))
    assert found.flink_cores == pytest.approx(30)
    assert found.state_gb == pytest.approx(100e6 * 7 * 3600 / 1e9)
    assert found.taskmanagers == 6, "2,520 GB of state in 500 GB each: more than 30 cores of 9.6"
    assert found.kafka_cores == pytest.approx(20)
    assert found.log_tb == pytest.approx(108)
    assert found.brokers == 14
    assert found.bound_by == "state, disk"
    assert found.hubs == 1
    assert plan(COSTS, Target(1e6, state_gb=1e6, disk_tb=1e6)).bound_by == "processors, processors"


@given(st.floats(1, 1e8), st.floats(1.01, 100))
def test_more_events_never_take_less(rate: float, factor: float) -> None:
    less, more = plan(COSTS, Target(rate)), plan(COSTS, Target(rate * factor))
    for name in ("flink_cores", "taskmanagers", "state_gb", "kafka_cores", "brokers", "log_tb", "hubs"):
        assert getattr(more, name) >= getattr(less, name)


def test_what_was_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="flink_us"):
        plan(replace(COSTS, flink_us=0), Target(1e6))
    with pytest.raises(ValueError, match="rate"):
        plan(COSTS, Target(float("nan")))
