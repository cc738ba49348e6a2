"""Two reports side by side: what became better or worse by more than the noise. Pure.

The band of noise of a figure is the spread of the samples of either report (twice the range of their middle half), five percent
at least; where neither measured it more than once, a quarter: these machines are shared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from rtap_lab.bench.measurements import Figure, Measurements
from rtap_lab.errors import JobError

LEAST_NOISE = 0.05
UNKNOWN_NOISE = 0.25

Change = Literal["better", "worse", "same", "info"]
"""`info`: of a figure that is neither good nor bad."""


@dataclass(frozen=True)
class Difference:
    """One figure in both reports."""

    metric: str
    baseline: float
    value: float
    unit: str
    difference: float
    """As a share of the baseline."""
    noise: float
    """As a share."""
    change: Change

    def as_json(self) -> dict[str, Any]:
        return self.__dict__ | {"difference": round(self.difference, 4), "noise": round(self.noise, 4)}


def noise_of(*figures: Figure) -> float:
    """The band of noise of a figure, as a share of its value."""
    spreads = [each.spread for each in figures if not math.isnan(each.spread)]
    return max([LEAST_NOISE, *spreads]) if spreads else UNKNOWN_NOISE


def compare(baseline: Measurements, value: Measurements) -> list[Difference]:
    """Every figure of the baseline, against the same of another run.

    Raises:
        JobError: When they are of two reports, one of them is of a wrong or void run, or a figure is missing.
    """
    if baseline.report != value.report:
        raise JobError(f"{baseline.report} and {value.report} are two reports: their figures mean different things")
    for name, each in (("the first", baseline), ("the second", value)):
        if each.wrong or each.void:
            raise JobError(f"{name} is {each.verdict}: {(each.wrong + each.void)[0]}")
    if "quick" in set(baseline.flags) ^ set(value.flags):
        raise JobError("one of them is a quick run: it warms up and measures for a shorter time")
    found = []
    for name, was in baseline.figures.items():
        if name not in value.figures:
            raise JobError(f"the second lacks {name}, which the first has: a missing figure is no good figure")
        found.append(_difference(name, was, value.figures[name]))
    return found


def _difference(name: str, was: Figure, now: Figure) -> Difference:
    by = (now.value - was.value) / abs(was.value) if was.value else (0.0 if now.value == was.value else math.inf)
    noise = noise_of(was, now)
    change: Change = "info"
    if was.better:
        gain = by if was.better == "higher" else -by
        change = "same" if abs(by) <= noise else ("better" if gain > 0 else "worse")
    return Difference(name, was.value, now.value, was.unit, by, noise, change)


def summary(differences: list[Difference]) -> str:
    """For a CI's page: Markdown, what changed first."""
    order = {"worse": 0, "better": 1, "same": 2, "info": 3}
    lines = ["| figure | baseline | now | difference | noise | |", "|---|---|---|---|---|---|"]
    for each in sorted(differences, key=lambda d: order[d.change]):
        lines.append(
            f"| {each.metric} | {each.baseline:g} {each.unit} | {each.value:g} {each.unit} | {each.difference:+.1%} | ±{each.noise:.0%} "
            f"| {'**worse**' if each.change == 'worse' else each.change} |"
        )
    return "\n".join(lines) + "\n"
