"""Handing records to a producer so that what was sent is what the broker acknowledged."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from rtap_lab.errors import ServiceError

PATIENCE_S = 30.0
"""So long Kafka may accept nothing before a sender gives up."""


class Sender:
    """Hands records to a producer, and counts what the broker acknowledged: only that was sent.

    Args:
        out: The producer.
        on_accepted: Called with each record that the broker acknowledged; it hands over none itself.
    """

    def __init__(self, out: Producer, on_accepted: Callable[[Message], None] = lambda record: None) -> None:
        self.out = out
        self._on_accepted = on_accepted
        self.sent = 0
        self.accepted: Counter[str] = Counter()
        """Acknowledged records, by topic."""
        self._errors: list[KafkaError] = []

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.accepted[str(message.topic())] += 1
            self._on_accepted(message)
        else:
            self._errors.append(error)

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        timestamp_ms: int | None,
        headers: Any,
        partition: int | None = None,
    ) -> None:
        """Hand over a record; waits while the producer's queue is full.

        Without a partition the key says which.

        Raises:
            ServiceError: When the broker refused one, or accepts nothing.
        """
        place = {"timestamp": max(0, timestamp_ms)} if timestamp_ms is not None else {}
        if partition is not None:
            place["partition"] = partition

        def taken() -> bool:
            try:
                self.out.produce(topic, value, key, headers=headers, on_delivery=self._delivered, **place)
            except BufferError:
                return False
            return True

        self._while_it_moves(taken)
        self.sent += 1

    def finish(self) -> None:
        """Wait until all of it is acknowledged.

        Raises:
            ServiceError: When the broker refused one, or accepts nothing.
        """
        self._while_it_moves(lambda: self.out.flush(0.2) == 0)
        self._check()

    def _while_it_moves(self, done: Callable[[], bool]) -> None:
        moved, accepted = time.monotonic(), -1
        while not done():
            self._check()
            self.out.poll(0.1)
            if self.accepted.total() != accepted:
                moved, accepted = time.monotonic(), self.accepted.total()
            elif time.monotonic() - moved > PATIENCE_S:
                raise ServiceError(
                    f"kafka: nothing was accepted for {PATIENCE_S:.0f} s; {accepted} of {self.sent} records were before",
                    service="kafka",
                    hint="`rtap status` shows the broker; `rtap logs kafka` its log",
                )

    def _check(self) -> None:
        if self._errors:
            raise ServiceError(
                f"kafka: {len(self._errors)} of {self.sent} records were refused ({self._errors[0]})",
                service="kafka",
                hint="`rtap status` shows the broker; `rtap logs kafka` its log",
            )
