"""What was handed over is not what was sent: only what the broker acknowledged counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from rtap_lab.errors import ServiceError
from rtap_lab.kafka import sender as module
from rtap_lab.kafka.sender import Sender


class Broker:
    """A producer whose broker acknowledges, refuses or ignores what it is handed, in turn.

    Args:
        answers: Of each record: None, acknowledged; an error, refused; "nothing", no answer ever.
        room: Records that the producer takes before it is polled.
    """

    def __init__(self, *answers: KafkaError | str | None, room: int = 100) -> None:
        self.answers, self.room = list(answers), room
        self.waiting: list[tuple[Callable[..., None], str]] = []

    def produce(self, topic: str, value: bytes, key: bytes | None, *, on_delivery: Any, **_: Any) -> None:
        if len(self.waiting) >= self.room:
            raise BufferError
        self.waiting.append((on_delivery, topic))

    def poll(self, timeout: float) -> int:
        while self.waiting and self.answers and not isinstance(self.answers[0], str):
            told, topic = self.waiting.pop(0)
            told(self.answers.pop(0), SimpleNamespace(topic=partial(str, topic)))
        return 0

    def flush(self, timeout: float) -> int:
        self.poll(timeout)
        return len(self.waiting)


def send(broker: Broker, records: int) -> Sender:
    found = Sender(broker)  # type: ignore[arg-type]
    for _ in range(records):
        found.send("events", b"x", None, None, [])
    return found


def test_what_was_acknowledged_is_counted() -> None:
    sender = send(Broker(None, None, None, room=2), 3)
    sender.finish()
    assert (sender.sent, sender.accepted["events"]) == (3, 3)


def test_what_was_refused_ends_it_and_is_not_counted() -> None:
    sender = send(Broker(None, KafkaError(KafkaError._MSG_TIMED_OUT), None), 3)
    with pytest.raises(ServiceError, match="1 of 3 records were refused"):
        sender.finish()
    assert sender.accepted["events"] == 2


def test_a_broker_that_answers_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    sender = send(Broker(None, "nothing"), 3)
    with pytest.raises(ServiceError, match="1 of 3 records were before"):
        sender.finish()
    full = Broker("nothing", room=1)
    with pytest.raises(ServiceError, match="nothing was accepted"):
        send(full, 2)
