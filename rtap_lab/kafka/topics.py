"""The declared topics: names, partitions and settings, and making them so."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import ServiceError
from rtap_lab.events.model import MAX_MESSAGE_BYTES, MAX_ROW_BYTES
from rtap_lab.kafka.clients import consumer
from rtap_lab.kafka.names import LATE, LIVE_EVENTS, REJECTED, events_topic, results_topic
from rtap_lab.kafka.transactions import Transaction, abort, open_transactions
from rtap_lab.settings import EVENTS_RETENTION_BYTES, LIVE, PARTITIONS, Settings
from rtap_lab.waiting import until

Answer = TypeVar("Answer")

_PASSING = {  # a topic that was just made, a broker that just came back
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._WAIT_COORD,
}


def _answered(result: Any) -> Any:
    """What a broker told of a partition's offset.

    Of a broker that dies while it is asked, librdkafka gives no error but an offset that is none (-1001): taken for an end, there
    would be nothing to read, and nobody would know.

    Raises:
        KafkaException: When it told nothing.
    """
    if result.offset == OFFSET_INVALID:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT, "the broker went away while it was asked for an offset"))
    return result


SHARED_SEGMENT_BYTES = 8_388_608
"""Of a segment of late and rejected rows: what was let go frees its space only once its whole segment is closed."""


RESULTS_RETENTION_MS = 7 * 24 * 3_600_000
"""How long a live row is kept in its result topic."""


@dataclass(frozen=True)
class Topic:
    """A declared topic."""

    name: str
    partitions: int = 1
    config: Mapping[str, str] = field(default_factory=dict)


def lab_topics(settings: Settings) -> list[Topic]:
    """The topics that every lab has."""
    events = {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(settings.retention_ms),
        "retention.bytes": str(EVENTS_RETENTION_BYTES),
        "segment.ms": str(settings.segment_ms),
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
    }
    shared = {"retention.ms": "-1", "segment.bytes": str(SHARED_SEGMENT_BYTES), "max.message.bytes": str(MAX_ROW_BYTES)}
    return [Topic(LIVE_EVENTS, PARTITIONS, events), Topic(LATE, 1, shared), Topic(REJECTED, 1, shared)]


def source_topic(source: str) -> Topic:
    """The topic of a recorded source; nothing of it ever expires."""
    kept = {"retention.ms": "-1", "message.timestamp.type": "CreateTime", "max.message.bytes": str(MAX_ROW_BYTES)}
    return Topic(events_topic(source), PARTITIONS, kept)


def result_topics(source: str, queries: Iterable[str]) -> list[Topic]:
    """The result topics of queries on a source; what a recorded source gave never expires."""
    retention = str(RESULTS_RETENTION_MS) if source == LIVE else "-1"
    config = {"retention.ms": retention, "message.timestamp.type": "LogAppendTime"}
    config |= {"max.message.bytes": str(MAX_ROW_BYTES)}
    return [Topic(results_topic(query, source), 1, config) for query in queries]


class Cluster:
    """Asks which brokers live, with a client that is made anew after each question without an answer.

    A client that was connected to a broker which hung and was killed has been seen to get no answer from the next one for as long
    as it was asked, while every new client did. One thread asks.

    Args:
        kafka: Where Kafka is.
    """

    def __init__(self, kafka: Endpoint) -> None:
        self._kafka = kafka
        self._client: AdminClient | None = None

    def brokers(self, timeout: float = 2.0) -> tuple[str, set[int]]:
        """The cluster's id and the ids of its living brokers, by the cluster's own answer.

        Raises:
            KafkaException, TimeoutError: When none answers in so many seconds, and some more.
        """
        client = self._client or AdminClient(_admin(self._kafka))
        self._client = None
        described = client.describe_cluster(request_timeout=timeout).result(timeout + 2)
        self._client = client
        return str(described.cluster_id), {node.id for node in described.nodes}


def _admin(kafka: Endpoint) -> dict[str, str | int | float | bool]:
    return {"bootstrap.servers": kafka.address, "log_level": 2, "reconnect.backoff.max.ms": 500}


class Topics:
    """Makes, reads and empties topics.

    Args:
        kafka: Where Kafka is.
        patience: Seconds that an answer is asked for, while what is in the way may pass by itself.
    """

    def __init__(self, kafka: Endpoint, *, patience: float = 20.0) -> None:
        self.kafka = kafka
        self.patience = patience
        self.admin = self._client()
        self._readers: dict[str, Consumer] = {}
        """By consumer group, one that asks for its offsets."""

    def _client(self) -> AdminClient:
        return AdminClient(_admin(self.kafka))

    @property
    def _timeout(self) -> float:
        return min(10.0, self.patience)

    def brokers(self) -> list[tuple[str, int]]:
        """Host and port of each living broker."""
        described = self._patiently(lambda: self.admin.describe_cluster(request_timeout=self._timeout).result())
        return [(node.host, node.port) for node in described.nodes]

    def open_transactions(self) -> list[Transaction]:
        """All open transactions of the cluster, the oldest first.

        Raises:
            ServiceError: When a broker does not answer.
        """
        return open_transactions(self.brokers())

    def abort(self, belongs: Callable[[Transaction], bool]) -> list[Transaction]:
        """End the open transactions that a test picks; whoever opened them is fenced. Which those were."""
        chosen = [each for each in self.open_transactions() if belongs(each)]
        abort(self.kafka, [each.id for each in chosen])
        return chosen

    def names(self) -> set[str]:
        return set(self._patiently(lambda: self.admin.list_topics(timeout=self._timeout)).topics)

    def ensure(self, topics: Iterable[Topic]) -> None:
        """Make the topics that are missing, and give those that are there the settings of this version.

        Raises:
            ServiceError: When the broker refuses.
        """
        topics = list(topics)
        there = self.names()
        self._configure([topic for topic in topics if topic.name in there and topic.config])
        missing = [NewTopic(t.name, t.partitions, config=dict(t.config)) for t in topics if t.name not in there]
        if not missing:
            return
        for name, made in self.admin.create_topics(missing, operation_timeout=20).items():
            try:
                made.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise ServiceError(f"kafka: topic {name} was refused: {error}") from error
        names = [topic.topic for topic in missing]
        # the controller has made them; a broker may hear of them a moment later (KRaft)
        until(
            lambda: all(self.partitions(name) for name in names),
            20,
            lambda: ServiceError(f"kafka: the broker does not know {', '.join(names)} 20 s after they were made"),
        )

    def _configure(self, topics: Iterable[Topic]) -> None:
        wanted = [
            ConfigResource(
                ResourceType.TOPIC,
                topic.name,
                incremental_configs=[
                    ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                    for name, value in topic.config.items()
                ],
            )
            for topic in topics
        ]
        for resource, done in self.admin.incremental_alter_configs(wanted).items() if wanted else ():
            try:
                done.result()
            except KafkaException as error:
                raise ServiceError(f"kafka: the settings of topic {resource.name} were refused: {error}") from error

    def delete(self, names: Iterable[str]) -> None:
        """Delete topics; waits until they are gone."""
        wanted = set(names) & self.names()
        if not wanted:
            return
        for done in self.admin.delete_topics(sorted(wanted), operation_timeout=20).values():
            done.result()
        until(lambda: not wanted & self.names(), 20)

    def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic; none when there is no such topic."""
        found = self._patiently(lambda: self.admin.list_topics(topic, timeout=self._timeout)).topics[topic]
        return [TopicPartition(topic, number) for number in sorted(found.partitions)]

    def _surely(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic: that there is none is believed after a second, for a broker may not know it for a moment."""
        return until(lambda: self.partitions(topic), 1.0, every=0.1)

    def ends(self, topics: Iterable[str], *, committed: bool = False) -> dict[tuple[str, int], int]:
        """The end offset of each partition (the next record's).

        Args:
            topics: Names.
            committed: Whether open transactions count as the end (the last stable offset).
        """
        return self._offsets(topics, OffsetSpec.latest(), committed)

    def await_committed(self, topics: Iterable[str], patience: float = 60) -> dict[tuple[str, int], int]:
        """Wait until committed readers see all that is in these topics now; where they read up to.

        A commit is answered when the coordinator has noted it; the markers that make its records
        readable reach each partition a moment later (KIP-98, section 5.2.3).

        Raises:
            ServiceError: When a transaction stays open for so many seconds.
        """
        topics = list(topics)
        written = self.ends(topics)
        readable: dict[tuple[str, int], int] = {}
        hidden: list[str] = []

        def all_readable() -> bool:
            readable.update(self.ends(topics, committed=True))
            hidden[:] = sorted({t for (t, p), end in written.items() if readable[t, p] < end})
            return not hidden

        until(
            all_readable,
            patience,
            lambda: ServiceError(
                f"kafka: an open transaction hides the newest records of {', '.join(hidden)}",
                hint="whoever writes there did not commit: `rtap status`, `rtap logs taskmanager`",
            ),
            every=0.02,
        )
        return readable

    def starts(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """The offset of each partition's first record that is still there."""
        return self._offsets(topics, OffsetSpec.earliest(), False)

    def last_written_ms(self, topics: Iterable[str]) -> int:
        """When the newest record of these topics was written, aborted ones too, milliseconds since the epoch; -1: never."""
        wanted = {part: OffsetSpec.max_timestamp() for topic in topics for part in self.partitions(topic)}

        def ask() -> int:
            answers = self.admin.list_offsets(wanted, request_timeout=self._timeout).values() if wanted else ()
            return max((_answered(done.result()).timestamp for done in answers), default=-1)

        return self._patiently(ask)

    def _offsets(self, topics: Iterable[str], spec: OffsetSpec, committed: bool) -> dict[tuple[str, int], int]:
        from confluent_kafka import IsolationLevel

        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        wanted = {part: spec for topic in topics for part in self._surely(topic)}
        if not wanted:
            return {}

        def ask() -> dict[tuple[str, int], int]:
            answers = self.admin.list_offsets(wanted, isolation_level=level, request_timeout=self._timeout)
            return {(p.topic, p.partition): _answered(done.result()).offset for p, done in answers.items()}

        return self._patiently(ask)

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """A broker's answer, asked for again while what is in the way passes by itself: a new leader, a loading coordinator."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return ask()
            except KafkaException as error:
                passing = error.args[0].code() in _PASSING
                if passing:
                    self.admin = self._client()  # what the old one knows of leaders may be from before
                if not passing or time.monotonic() > deadline:
                    raise ServiceError(f"kafka: {self.kafka} does not answer: {error}", service="kafka") from error
                time.sleep(0.1)

    def trim(self, begins: Mapping[str, int]) -> None:
        """Remove the records before an offset, of topics of one partition; a repeat changes nothing."""
        starts = self.starts(begins)
        parts = [
            TopicPartition(topic, 0, begin) for topic, begin in begins.items() if begin > starts.get((topic, 0), 0)
        ]
        if parts:
            for done in self.admin.delete_records(parts, request_timeout=20).values():
                done.result()

    def empty(self, topics: Iterable[str]) -> dict[str, int]:
        """Remove all records so far, of topics of one partition; offsets go on.

        Returns:
            For each topic the offset at which what comes next begins.
        """
        ends = {topic: end for (topic, _), end in self.ends(topics).items()}
        self.trim(ends)
        return ends

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The offsets that a consumer group has committed for a topic's partitions.

        Raises:
            ServiceError: When the group's coordinator does not answer in time.
        """
        places = self.partitions(topic)

        def ask() -> dict[int, int]:
            # a member's client, though it never joins: the admin client's way ends the process when the coordinator has moved
            # (librdkafka, issue 5040)
            reader = self._readers.pop(group, None) or consumer(self.kafka, group=group)
            found = reader.committed(places, timeout=self._timeout)
            self._readers[group] = reader  # one that failed is not asked again
            for each in found:
                if each.error:
                    raise KafkaException(each.error)
            return {each.partition: each.offset for each in found if each.offset >= 0}

        return self._patiently(ask)

    def ask_no_more(self, but: Collection[str]) -> None:
        """Close the clients that asked for the offsets of consumer groups, but for those of these groups."""
        for group in self._readers.keys() - set(but):
            reader = self._readers.pop(group, None)
            if reader is not None:
                reader.close()
