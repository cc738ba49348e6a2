"""How a live lab fares under a steady load: how soon answers come, what it costs, and how much it can take without falling behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rtap_lab.bench.costs import Cost, Meter
from rtap_lab.bench.driver import Driver
from rtap_lab.bench.session import collect, received
from rtap_lab.errors import JobError
from rtap_lab.events.times import instant_ms
from rtap_lab.jobs.model import run_key
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.queries.standard import JOB
from rtap_lab.settings import LIVE
from rtap_lab.simulator.fed import Fed
from rtap_lab.waiting import until

STEADY = 0.01
"""A lag that grows by more than this share of the rate grows without end."""

MOST_LAG_S = 3.0
"""Seconds of load that may be unread: in `exactly_once` what is read shows with the next checkpoint."""

CATCHES_UP_S = 300.0
"""Seconds in which what was sent must be read after its end."""

MOST_SLIP_MS = 500.0
"""A driver that is later than this sends another load than it says."""


@dataclass
class Stretch:
    """A stretch of steady load."""

    fed: Fed
    rows: int
    """Rows that the clients received."""
    durations: dict[str, list[float]]
    """Of each row, in milliseconds: the whole way and its stages."""
    cost: Cost
    lag: int | None
    """Records that the job had not read when the sending ended; None: it was not told."""


def stretch(
    lab: Lab, driver: Driver, *, rate: float, seconds: float, seed: int, scenario: str = "brisk", clients: int = 1
) -> Stretch:
    """Send at a rate, and time what clients of the hub receive of it, until the job has read all of it.

    Rows that are still to come when the sending ends are the late ones: without them a lab that cannot keep up looks fast.

    Raises:
        LiveError: When a client failed.
        JobError: When the job has not read what was sent five minutes later.
    """
    starts = Topics(lab.endpoints.kafka).ends([LIVE_EVENTS])
    collectors = [collect(lab) for _ in range(clients)]
    try:
        with Meter(lab) as cost:
            fed = driver.start(scenario=scenario, rate=rate, seconds=seconds, seed=seed).result()
        lag = _lag(lab)
        caught_up(lab, CATCHES_UP_S)
        found = received(lab, collectors, starts)
    finally:
        for each in collectors:
            each.stop.set()
    return Stretch(fed, sum(len(each.seen) for each in collectors), found, cost, lag)


def _standard(lab: Lab) -> dict[str, Any]:
    """What the status says of the live standard job."""
    (job,) = [each for each in lab.status()["jobs"] if (each["name"], each["source"]) == (JOB, LIVE)]
    return dict(job)


def _lag(lab: Lab) -> int | None:
    """Records that the standard job has not read; None while that is not told."""
    lag = _standard(lab)["lag"]
    return None if lag is None else int(lag)


@dataclass
class Tried:
    """A rate that was tried."""

    rate: float
    sent_per_s: float
    """On average: the first visitors come one by one, so it is below the rate."""
    slip_ms: float
    """p99 of how much later than due messages left."""
    slope: float
    """By how many records a second the lag grew, as a share of the rate."""
    error: float
    """The standard error of the slope: what is read shows in steps, one a checkpoint."""
    lag_s: float
    """Seconds of load that were not read at its end."""
    cost: Cost
    lags: list[tuple[float, int]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the driver kept its schedule, and the lag did not grow."""
        steady = self.slope <= max(STEADY, 3 * self.error)
        return self.slip_ms <= MOST_SLIP_MS and steady and self.lag_s <= MOST_LAG_S


def tried(lab: Lab, driver: Driver, *, rate: float, seconds: float, seed: int) -> Tried:
    """Send at a rate and watch the lag of the standard job; its first third is warm-up and does not count."""
    lags: list[tuple[float, int]] = []
    with Meter(lab) as cost:
        sending = driver.start(rate=rate, seconds=seconds, seed=seed)
        began = time.monotonic()
        while not sending.done():
            time.sleep(0.5)
            if (lag := _lag(lab)) is not None:
                lags.append((time.monotonic() - began, lag))
    fed = sending.result()
    steady = [(at, lag) for at, lag in lags if seconds / 3 <= at <= seconds]
    slope, error = (each / rate for each in slope_of(steady))
    last = float(np.median([lag for _, lag in steady[-5:]])) / rate
    return Tried(rate, fed.sent / fed.seconds, fed.slip_ms(0.99), slope, error, last, cost, lags)


def slope_of(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """By how much a series grows a second, by least squares, and the standard error of that. Pure.

    Raises:
        ValueError: Of fewer than four points.
    """
    if len(points) < 4:
        raise ValueError(f"{len(points)} points have no slope")
    at, values = np.array(points, dtype=float).T
    (slope, _), covariance = np.polyfit(at, values, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))


def bisect(low: float, high: float, holds: Callable[[float], bool], *, within: float = 0.1) -> float:
    """The greatest rate that holds, to such a share. Pure but for `holds`.

    Args:
        low: A rate that is hoped to hold; it is tried first.
        high: One above which nothing is tried.
        holds: Tries a rate.
        within: How close.

    Returns:
        The rate; 0 when `low` did not hold.
    """
    if not holds(low):
        return 0.0
    rate = low
    while rate * 2 <= high and holds(rate * 2):
        rate *= 2
    best, bad = rate, min(rate * 2, high)
    while bad / best > 1 + within:
        middle = (best * bad) ** 0.5
        if holds(middle):
            best = middle
        else:
            bad = middle
    return best


def caught_up(lab: Lab, patience: float) -> None:
    """Wait until the standard job has read what there is.

    Raises:
        JobError: When it has not within so many seconds.
    """

    def has() -> bool:
        lag = _lag(lab)
        return lag is not None and lag < 500

    until(has, patience, lambda: JobError(f"the standard job lags by {_lag(lab)} records"), every=0.5)


def at_rest(lab: Lab, patience: float = 180) -> None:
    """Wait until nothing that was sent before now is under way: no session and no pattern is open any more.

    Raises:
        JobError: When it is not so within so many seconds.
    """
    parameters = lab.runs()[run_key(JOB, LIVE)].parameters
    rest_ms = time.time_ns() // 1_000_000 + max(parameters.gap_ms, parameters.within_ms) + parameters.bound_ms

    def rests() -> bool:
        return (instant_ms(_standard(lab)["watermark"] or "") or 0) >= rest_ms

    until(rests, patience, lambda: JobError("the watermark did not pass the last sessions"), every=0.5)
