"""One measured stretch of a live lab: traffic, a live client, and the latency of what it received."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rtap_lab.jobs.model import run_key
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.monitoring.latency import Collector, Origins, durations, quantiles
from rtap_lab.queries.query import Catalog
from rtap_lab.queries.standard import JOB, standard_queries
from rtap_lab.settings import LIVE
from rtap_lab.simulator.fed import Fed

SETTLE_S = 3.0
"""Seconds after the traffic in which the windows that are due still come."""


@dataclass
class Measured:
    """What was sent, what came, how long it took."""

    fed: Fed
    rows: int
    latency: dict[str, dict[str, float]]


def collect(lab: Lab) -> Collector:
    """A live client of all standard queries, started."""
    collector = Collector(lambda stop: lab.watch(*(query.name for query in standard_queries()), stop=stop))
    collector.start()
    return collector


def measure(
    lab: Lab,
    *,
    scenario: str = "brisk",
    rate: float = 200,
    seconds: float | None = 60,
    seed: int = 1,
    stop: threading.Event | None = None,
    collector: Collector | None = None,
    progress: Callable[[int], None] = lambda sent: None,
) -> Measured:
    """Send traffic, receive the answers, and time them; joins the collector's end.

    Args:
        lab: A lab that is up.
        scenario, rate, seconds, seed: The traffic.
        stop: Ends the traffic early.
        collector: A live client that runs already.
        progress: Told how many messages were sent.

    Raises:
        LiveError: When the live client failed.
    """
    starts = Topics(lab.endpoints.kafka).ends([LIVE_EVENTS])
    collector = collector or collect(lab)
    fed = lab.simulate(scenario, rate=rate, seed=seed, seconds=seconds, stop=stop, progress=progress)
    found = received(lab, [collector], starts)
    return Measured(fed, len(collector.seen), {name: quantiles(values) for name, values in found.items()})


def received(
    lab: Lab, collectors: Sequence[Collector], starts: Mapping[tuple[str, int], int]
) -> dict[str, list[float]]:
    """How long each row took to each client, now that the traffic is over; ends the clients.

    Args:
        lab: The lab.
        collectors: The clients.
        starts: Where the traffic begins in the topic.

    Returns:
        As `monitoring.latency.durations`.

    Raises:
        LiveError: When a client failed.
    """
    collectors[0].stop.wait(SETTLE_S)
    for each in collectors:
        each.stop.set()
    for each in collectors:
        each.join(10)
        if each.error:
            raise each.error
    run = lab.runs()[run_key(JOB, LIVE)]
    origins = Origins.read(lab.endpoints.kafka, starts, Topics(lab.endpoints.kafka).ends([LIVE_EVENTS]))
    seen = [row for each in collectors for row in each.seen]
    return durations(seen, origins, Catalog(run.queries), bound_ms=run.parameters.bound_ms)
