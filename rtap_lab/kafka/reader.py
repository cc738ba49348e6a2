"""Follows one-partition topics whose number changes while it runs: the result topics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import TopicPartition

from rtap_lab.endpoints import Endpoint
from rtap_lab.kafka.clients import consumer, drain


@dataclass
class Arrived:
    """What has arrived."""

    rows: list[tuple[str, int, bytes, int]] = field(default_factory=list)
    """Topic, offset, value and the time it was appended (milliseconds)."""
    positions: dict[str, int] = field(default_factory=dict)
    """How far each topic was read."""


class TopicReader:
    """Reads what is committed, or all.

    Args:
        kafka: Where Kafka is.
        group: The consumer group in which positions are shown.
        committed: False: also what is not committed yet, or was taken back.
    """

    def __init__(self, kafka: Endpoint, group: str, *, committed: bool = True) -> None:
        self._consumer = consumer(kafka, group=group, committed=committed)
        self._assigned = False

    def follow(self, topics: Mapping[str, int]) -> None:
        """Read these topics from these offsets on, and no others."""
        self._consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in topics.items()])
        self._assigned = bool(topics)

    def poll(self, timeout: float) -> Arrived:
        """What has arrived, after so many seconds at most."""
        batch = drain(self._consumer, timeout)
        rows = [(str(r.topic()), r.offset() or 0, r.value() or b"", r.timestamp()[1]) for r in batch.records]
        return Arrived(rows, {topic: offset for (topic, _), offset in batch.positions().items()})

    def close(self) -> None:
        self._consumer.close()
