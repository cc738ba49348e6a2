"""One measured stretch of a live lab: traffic, a live client, and the latency of what it received."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from rtap_lab.jobs.model import run_key
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.monitoring.latency import Collector, Origins, latencies
from rtap_lab.queries.query import Catalog
from rtap_lab.queries.standard import JOB, standard_queries
from rtap_lab.settings import LIVE
from rtap_lab.simulator.fed import Fed


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
    topics = Topics(lab.endpoints.kafka)
    starts = topics.ends([LIVE_EVENTS])
    collector = collector or collect(lab)
    fed = lab.simulate(scenario, rate=rate, seed=seed, seconds=seconds, stop=stop, progress=progress)
    collector.stop.wait(3.0)  # the last windows that are due still come
    collector.stop.set()
    collector.join(10)
    if collector.error:
        raise collector.error
    run = lab.runs()[run_key(JOB, LIVE)]
    origins = Origins.read(lab.endpoints.kafka, starts, topics.ends([LIVE_EVENTS]))
    figures = latencies(collector.seen, origins, Catalog(run.queries), bound_ms=run.parameters.bound_ms)
    return Measured(fed, len(collector.seen), figures)
