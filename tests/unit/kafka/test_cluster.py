"""Who lives in a cluster is asked with a client that is made anew after a question without an answer."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from rtap_lab.endpoints import Endpoint
from rtap_lab.kafka import topics
from rtap_lab.kafka.topics import Cluster


class Admin:
    """A client that answers, or not."""

    made: list[Admin]
    answers: bool

    def __init__(self, config: dict[str, Any]) -> None:
        assert config["bootstrap.servers"] == "127.0.0.1:9"
        self.made.append(self)

    def describe_cluster(self, *, request_timeout: float) -> Future[Any]:
        found: Future[Any] = Future()
        if self.answers:
            found.set_result(SimpleNamespace(cluster_id="mine", nodes=[SimpleNamespace(id=1)]))
        else:
            found.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        return found


def test_a_client_without_an_answer_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Admin.made, Admin.answers = [], True
    monkeypatch.setattr(topics, "AdminClient", Admin)
    cluster = Cluster(Endpoint("127.0.0.1:9"))
    assert cluster.brokers() == cluster.brokers() == ("mine", {1})
    assert len(Admin.made) == 1, "one that answers is kept"
    Admin.answers = False
    for _ in range(2):
        with pytest.raises(KafkaException):
            cluster.brokers()
    Admin.answers = True
    assert cluster.brokers() == ("mine", {1})
    assert len(Admin.made) == 3
