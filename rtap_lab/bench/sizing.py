"""From what an event costs here to what so many events a second need elsewhere. Pure.

Costs are taken to grow with the rate: what a TaskManager does for one event it does for each, on as many cores as there are. What
does not grow so is named among the assumptions, and a plan is a start for a load test, not its result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ASSUMPTIONS = (
    "Costs grow with the rate: keys are spread evenly, no visitor has more than a thousandth of the events, one JSON event a record.",
    "A core there does what a core here did; a machine is kept below the utilisation given, so that it can catch up after a fault.",
    "Followers copy what a leader wrote: each further replica costs a broker half of what the first one does.",
    "State is what ids of seven hours, open sessions and open patterns take; it grows with the rate, not with the day.",
    "Points grow with keys and windows, not with the rate: a page has one point a minute, whatever its views. So one store does.",
    "Networks, disks and zones are not in it, and neither is the price.",
)


@dataclass(frozen=True)
class Measured:
    """What was measured on one machine."""

    flink_us: float
    """Processor microseconds of the TaskManager for each event."""
    kafka_us: float
    """And of the broker, one replica."""
    event_bytes: float
    """Of an event in the log."""
    state_bytes: float
    """That each event adds to the state while it is held."""
    hub_frames: float
    """Frames a second that a hub's one core pushes."""


@dataclass(frozen=True)
class Target:
    """What is planned for."""

    rate: float
    """Events a second."""
    viewers: int = 1_000
    """Clients of the hubs."""
    frames: float = 5.0
    """Updates a second that each is pushed."""
    replicas: int = 3
    retention_h: float = 40.0
    """Hours that the log is kept."""
    state_h: float = 7.0
    """Hours that an id is remembered."""
    utilisation: float = 0.6
    """Share of a machine that is used."""
    cores: int = 16
    """Of a machine."""
    state_gb: float = 500.0
    """That a TaskManager's disk holds."""
    disk_tb: float = 8.0
    """That a broker's disks hold."""


@dataclass(frozen=True)
class Plan:
    """What it takes."""

    rate: float
    flink_cores: float
    taskmanagers: int
    state_gb: float
    kafka_cores: float
    brokers: int
    log_tb: float
    mb_per_s: float
    """Into the log, all replicas."""
    hubs: int
    bound_by: str
    """What decides the number of TaskManagers, and of brokers."""


def plan(measured: Measured, target: Target) -> Plan:
    """What a rate takes.

    Args:
        measured: What an event costs.
        target: What is planned for.

    Raises:
        ValueError: When a cost, a rate or a share is not positive.
    """
    for name, value in {**vars(measured), "rate": target.rate, "utilisation": target.utilisation}.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive: {value:g}")
    usable = target.cores * target.utilisation
    flink = measured.flink_us * target.rate / 1e6
    state = measured.state_bytes * target.rate * target.state_h * 3600 / 1e9
    by_state = state / target.state_gb
    kafka = measured.kafka_us * target.rate / 1e6 * (1 + 0.5 * (target.replicas - 1))
    log = measured.event_bytes * target.rate * target.retention_h * 3600 * target.replicas / 1e12
    by_disk = log / target.disk_tb
    taskmanagers = math.ceil(max(flink / usable, by_state))
    brokers = max(target.replicas, math.ceil(max(kafka / usable, by_disk)))
    hubs = math.ceil(target.viewers * target.frames / (measured.hub_frames * target.utilisation))
    bounds = (
        "state" if by_state > flink / usable else "processors",
        "disk" if by_disk > kafka / usable else "processors",
    )
    return Plan(
        target.rate,
        flink,
        taskmanagers,
        state,
        kafka,
        brokers,
        log,
        measured.event_bytes * target.rate * target.replicas / 1e6,
        max(1, hubs),
        f"{bounds[0]}, {bounds[1]}",
    )
