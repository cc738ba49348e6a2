"""How many events a second one Python process hands to the broker: ready bytes, a key each, all acknowledged."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rtap_lab.bench.shop import counted, messages
from rtap_lab.errors import JobError
from rtap_lab.kafka.clients import producer
from rtap_lab.kafka.topics import Topic, Topics
from rtap_lab.lab import Lab
from rtap_lab.settings import PARTITIONS

TOPIC = "bench.produced"
KINDS = 20_000
"""Different events that are sent again and again: to make them costs more than to send them."""


@dataclass
class Produced:
    """What was sent."""

    events: int
    seconds: float
    """Until the last was acknowledged."""

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def produce(lab: Lab, events: int, *, seed: int = 1) -> Produced:
    """Send so many events into a topic of their own, which goes afterwards.

    Args:
        lab: A lab that is up.
        events: How many.
        seed: Of the simulated shop that they come from.

    Raises:
        JobError: When the topic does not hold each of them.
    """
    made = [(line, event.visitor_id.encode()) for line, event in counted(messages(KINDS, seed=seed))]
    topics = Topics(lab.endpoints.kafka)
    topics.ensure([Topic(TOPIC, PARTITIONS)])
    try:
        out = producer(lab.endpoints.kafka, linger_ms=20)
        began = time.perf_counter()
        for number in range(events):
            value, key = made[number % len(made)]
            while True:
                try:
                    out.produce(TOPIC, value, key)
                    break
                except BufferError:  # as many as it may hold wait for the broker
                    out.poll(0.01)
        waiting = out.flush(120)
        took = time.perf_counter() - began
        held = sum(topics.ends([TOPIC]).values())
        if waiting or held != events:
            raise JobError(f"of {events:,} events {held:,} are in {TOPIC}, {waiting:,} wait")
        return Produced(events, took)
    finally:
        topics.delete([TOPIC])
