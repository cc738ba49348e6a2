"""The short benchmark of each CI run: ratios to a yardstick. That a fifth more work is seen: test_continuous."""

from __future__ import annotations

from pathlib import Path

from rtap_lab.bench.measurements import Measurements, read
from rtap_lab.bench.ratios import EVENTS, Contest, contests, measure
from rtap_lab.bench.shop import counted, messages

BASELINE = sorted((Path(__file__).parents[2] / "reports" / "ratios").glob("*/metrics.json"))[-1]
OTHER_MACHINE = 1.5
"""Ratios of another processor may differ by so much: what is worse than this is no processor."""


def measured(played: list[Contest]) -> Measurements:
    found = Measurements("ratios")
    measure(found, played)
    return found


def test_there_is_something_to_measure() -> None:
    events = [event for _, event in counted(messages(EVENTS))]
    assert len(events) > 0.9 * EVENTS
    judged, *answered = contests()
    assert len(list(judged.ours())) == len(events)  # type: ignore[call-overload]
    for each in answered:
        assert each.ours(), each.name


def test_no_ratio_is_far_from_the_committed_one() -> None:
    baseline, now = read(BASELINE), measured(contests())
    far = {
        name: (figure.value, now.figures[name].value)
        for name, figure in baseline.figures.items()
        if now.figures[name].value > OTHER_MACHINE * figure.value
    }
    assert not far, far
