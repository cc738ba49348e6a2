"""The ticker: time for silent partitions. A tick to each live partition that was silent for 200 ms."""

from __future__ import annotations

from rtap_lab.events.model import TICK_RECORD
from rtap_lab.kafka.clients import producer
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.services.process import ServiceProcess, own_service
from rtap_lab.services.site import Site
from rtap_lab.stack.service import Service


def declare(site: Site) -> list[Service]:
    return [own_service(site, "ticker", depends=tuple(site.kafka_names))]


def main(process: ServiceProcess) -> None:
    """Write ticks, until the stop."""
    out = producer(process.site.endpoints.kafka)
    topics = process.site.topics
    last: dict[int, int] = {}

    def step() -> None:
        nonlocal last, out
        ends = {partition: end for (_, partition), end in topics.ends([LIVE_EVENTS]).items()}
        if last and ends.keys() != last.keys():  # a partition was added: a producer would learn of it minutes later
            out.flush(5)
            out = producer(process.site.endpoints.kafka)
        for partition, end in ends.items():
            if end == last.get(partition):
                out.produce(LIVE_EVENTS, TICK_RECORD, partition=partition)
        out.flush(5)
        # a tick moves the end too: it is not what breaks the silence
        last = {p: end + (end == last.get(p)) for p, end in ends.items()}
        process.stop.wait(0.2)

    process.repeat(step)
