"""The short benchmark of each CI run: ratios, and that a fifth more work does not go unseen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rtap_lab.bench.compare import compare
from rtap_lab.bench.measurements import Measurements, read
from rtap_lab.bench.ratios import EVENTS, Contest, contests, measure
from rtap_lab.bench.shop import counted, messages

BASELINE = sorted((Path(__file__).parents[3] / "reports" / "ratios").glob("*/metrics.json"))[-1]
OTHER_MACHINE = 1.5
"""Ratios of another processor may differ by so much: what is worse than this is no processor."""


def measured(played: list[Contest]) -> Measurements:
    found = Measurements("ratios")
    measure(found, played)
    return found


def _a_fifth_more(work: Callable[[], object]) -> Callable[[], object]:
    def slower() -> object:
        began = time.process_time()
        result = work()
        until = time.process_time() + (time.process_time() - began) / 5
        while time.process_time() < until:
            pass
        return result

    return slower


def test_there_is_something_to_measure() -> None:
    events = [event for _, event in counted(messages(EVENTS))]
    assert len(events) > 0.9 * EVENTS
    judged, *answered = contests()
    assert len(list(judged.ours())) == len(events)  # type: ignore[call-overload]
    for each in answered:
        assert each.ours(), each.name


def test_a_regression_of_a_fifth_is_seen_and_none_is_where_there_is_none() -> None:
    played = contests()
    again = [replace(each, name=f"again {each.name}") for each in played]
    worse = [replace(each, name=f"worse {each.name}", ours=_a_fifth_more(each.ours)) for each in played]
    together = measured([*played, *again, *worse])

    def part(kind: str) -> Measurements:
        figures = {name.removeprefix(kind): each for name, each in together.figures.items() if name.startswith(kind)}
        return Measurements("ratios", figures={f"{each.name}_ratio": figures[f"{each.name}_ratio"] for each in played})

    changed = {each.metric for each in compare(part(""), part("worse ")) if each.change == "worse"}
    assert len(changed) >= len(played) - 1, compare(part(""), part("worse "))
    same = [each for each in compare(part(""), part("again ")) if each.change == "worse" and each.difference > 0.15]
    assert not same, same


def test_no_ratio_is_far_from_the_committed_one() -> None:
    baseline, now = read(BASELINE), measured(contests())
    far = {
        name: (figure.value, now.figures[name].value)
        for name, figure in baseline.figures.items()
        if now.figures[name].value > OTHER_MACHINE * figure.value
    }
    assert not far, far
