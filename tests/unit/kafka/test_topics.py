"""Topics, without a broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import ServiceError
from rtap_lab.kafka.topics import Topics


def test_a_broker_that_went_away_while_it_was_asked_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka then gives no error, but an offset that is none: it was taken for the end of a topic without a record."""
    told = [[OFFSET_INVALID, 7], [5, OFFSET_INVALID], [5, 7]]

    class Admin:
        def list_offsets(self, wanted: dict[TopicPartition, Any], **_: Any) -> dict[TopicPartition, Any]:
            offsets = told.pop(0)
            results = [SimpleNamespace(offset=each, timestamp=each * 10) for each in offsets]
            return dict(zip(wanted, [SimpleNamespace(result=lambda r=r: r) for r in results], strict=True))

    topics = Topics(Endpoint("127.0.0.1:1"))
    monkeypatch.setattr(topics, "_client", Admin)
    monkeypatch.setattr(topics, "partitions", lambda topic: [TopicPartition(topic, n) for n in range(2)])
    topics.admin = Admin()  # type: ignore[assignment]
    assert topics.ends(["events"], committed=True) == {("events", 0): 5, ("events", 1): 7}
    assert told == []
    told = [[OFFSET_INVALID, OFFSET_INVALID], [5, 7]]
    assert topics.last_written_ms(["events"]) == 70


def test_what_passes_by_itself_at_the_broker_is_asked_again() -> None:
    topics = Topics(Endpoint("127.0.0.1:1"))
    loading = KafkaException(KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS))
    answers: list[KafkaException | int] = [loading, loading, 7]

    def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, KafkaException):
            raise answer
        return answer

    assert topics._patiently(ask) == 7
    answers = [KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)), 7]
    with pytest.raises(ServiceError, match="does not answer"):
        topics._patiently(ask)
