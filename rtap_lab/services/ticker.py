"""The ticker: time for silent partitions. A tick to each live partition that was silent for 200 ms; where nobody sends anything,
to all of them once a second.
"""

from __future__ import annotations

from rtap_lab.events.model import TICK_RECORD
from rtap_lab.kafka.clients import producer
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.services.process import ServiceProcess, own_service
from rtap_lab.services.site import Site
from rtap_lab.stack.service import Service

LOOK_S = 0.2
"""Seconds between two looks."""

QUIET_LOOKS = 10
"""So many looks without any event, and only every fifth one ticks, until an event comes: an idle lab costs less."""

QUIET_EVERY = 5


def declare(site: Site) -> list[Service]:
    return [own_service(site, "ticker", depends=tuple(site.kafka_names))]


def main(process: ServiceProcess) -> None:
    """Write ticks, until the stop."""
    out = producer(process.site.endpoints.kafka)
    topics = process.site.topics
    last: dict[int, int] = {}
    quiet = 0

    def step() -> None:
        nonlocal last, out, quiet
        ends = {partition: end for (_, partition), end in topics.ends([LIVE_EVENTS]).items()}
        if last and ends.keys() != last.keys():  # a partition was added: a producer would learn of it minutes later
            out.flush(5)
            out = producer(process.site.endpoints.kafka)
        silent = [partition for partition, end in ends.items() if end == last.get(partition)]
        quiet = quiet + 1 if len(silent) == len(ends) else 0
        if quiet > QUIET_LOOKS and quiet % QUIET_EVERY:
            silent = []
        for partition in silent:
            out.produce(LIVE_EVENTS, TICK_RECORD, partition=partition)
        out.flush(5)
        # a tick moves the end too: it is not what breaks the silence
        last = {partition: end + (partition in silent) for partition, end in ends.items()}
        process.stop.wait(LOOK_S)

    process.repeat(step)
