"""Topics, without a broker."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import ServiceError
from rtap_lab.kafka.topics import Topics


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
