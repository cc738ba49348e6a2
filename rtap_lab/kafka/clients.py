"""Producers and consumers with this lab's settings, and reading a topic as a plain iterator."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import RtapLabError, ServiceError
from rtap_lab.events.model import MAX_ROW_BYTES
from rtap_lab.settings import TRANSACTION_MS

Record = Message
"""A record as it was read."""


def producer(kafka: Endpoint, *, transactional_id: str | None = None, linger_ms: int = 0) -> Producer:
    """An idempotent producer that places keys as Java clients do, and never takes for written what was not.

    One request at a time to each broker. With several, a partition that was just made may refuse a producer's first
    batch and take its second (a broker asks a producer that it does not know for no first sequence: KIP-360), whereupon
    librdkafka takes the first for written: delivered without error, without offset, and in no log. It is as fast, as
    batches grow meanwhile (six turns each of 300,000 records on one broker: 352 to 756 K/s, 368 to 845 K/s with five).
    """
    config: dict[str, str | int | bool] = {
        "bootstrap.servers": kafka.address,
        "enable.idempotence": True,
        "max.in.flight": 1,
        "linger.ms": linger_ms,
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": 500_000,
        "reconnect.backoff.max.ms": 1000,  # a broker that is back is used at once, not ten seconds later
        "message.max.bytes": MAX_ROW_BYTES,  # the topic decides; a slice may hold the largest record that one took
        "log_level": 2,
    }
    if transactional_id:
        # as long as the broker allows: an import may take long. Who ends in any way aborts (`kafka.transactions`)
        config |= {"transactional.id": transactional_id, "transaction.timeout.ms": TRANSACTION_MS}
        config |= {"message.timeout.ms": 600_000}
    return Producer(config)


def consumer(kafka: Endpoint, *, group: str = "rtap-reader", committed: bool = True, patient: bool = False) -> Consumer:
    """A consumer that is told where to read (`assign`) and commits only when asked.

    It fetches ahead what fits into 10,000 messages (librdkafka's own 100,000 took 30 to 60 MB), and when that is full it
    looks again after 5 ms instead of a second: 90,000 records of 400 bytes took 1.1 s, and now 0.15 to 0.2.

    Args:
        kafka: Where Kafka is.
        group: The consumer group.
        committed: Whether records of open and of aborted transactions are left out.
        patient: Whether half a second does not matter: the broker answers when 64 KiB are there, not with each record.
    """
    return Consumer(
        {
            "bootstrap.servers": kafka.address,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "fetch.wait.max.ms": 500 if patient else 100,
            "fetch.min.bytes": 65_536 if patient else 1,
            "fetch.error.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "queued.max.messages.kbytes": 8192,
            "queued.min.messages": 10_000,
            "fetch.queue.backoff.ms": 5,
            "log_level": 2,
        }
    )


@dataclass
class Batch:
    """What has arrived."""

    records: list[Message]
    ends: dict[tuple[str, int], int]
    """Partitions read to their end: the offset there, past markers of transactions."""

    def positions(self) -> dict[tuple[str, int], int]:
        """Of each partition heard from, the offset to go on from."""
        found: dict[tuple[str, int], int] = {}
        for record in self.records:
            found[_place(record)] = (record.offset() or 0) + 1
        return found | {key: end for key, end in self.ends.items() if end >= found.get(key, 0)}


def _place(record: Message) -> tuple[str, int]:
    return str(record.topic()), int(record.partition() or 0)


def drain(reader: Consumer, timeout: float, most: int = 5000) -> Batch:
    """What has arrived: waits for the first record only, so that nothing is held back.

    Raises:
        KafkaException: On an error that the client does not mend by itself.
    """
    first = reader.poll(timeout)
    batch = Batch([], {})
    for record in [first, *reader.consume(most - 1, 0)] if first is not None else []:
        error = record.error()
        if error is None:
            batch.records.append(record)
        elif error.code() == KafkaError._PARTITION_EOF:
            batch.ends[_place(record)] = record.offset() or 0
        elif not (error.retriable() or error.code() in _PASSING):
            raise KafkaException(error)
    return batch


_PASSING = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._MAX_POLL_EXCEEDED,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError._RESOLVE,
}


def read_range(
    kafka: Endpoint,
    starts: Mapping[tuple[str, int], int],
    ends: Mapping[tuple[str, int], int],
    *,
    committed: bool = True,
    patience: float = 30.0,
) -> Iterator[Message]:
    """Yield the records from `starts` up to `ends`, each partition in its order.

    Raises:
        ServiceError: When the broker stops answering before the end.
    """
    reader = RangeReader(kafka, committed=committed, patience=patience)
    try:
        yield from reader.read(starts, ends)
    finally:
        reader.close()


class RangeReader:
    """Reads pieces of topics, one after the other; who reads one alone takes `read_range`.

    Args:
        kafka: Where Kafka is.
        committed: Whether records of open and of aborted transactions are left out.
        patience: Seconds for which the broker may say nothing.
    """

    def __init__(self, kafka: Endpoint, *, committed: bool = True, patience: float = 30.0) -> None:
        self._kafka, self._committed, self._patience = kafka, committed, patience
        self._consumer: Consumer | None = None

    def read(self, starts: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> Iterator[Message]:
        """Yield the records from `starts` up to `ends`, each partition in its order; read it to its end.

        Raises:
            ServiceError: When the broker stops answering before the end.
        """
        wanted = {key: end for key, end in ends.items() if end > starts.get(key, 0)}
        if not wanted:
            return
        reader, self._consumer = self._consumer or consumer(self._kafka, committed=self._committed), None
        try:
            reader.assign([TopicPartition(t, p, starts.get((t, p), 0)) for t, p in wanted])
            heard = time.monotonic()
            while wanted:
                batch = drain(reader, 0.2)
                for record in batch.records:
                    if (record.offset() or 0) < ends[_place(record)]:
                        yield record
                for key, position in batch.positions().items():
                    heard = time.monotonic()
                    if position >= wanted.get(key, position + 1):
                        reader.incremental_unassign([TopicPartition(*key)])
                        del wanted[key]
                if time.monotonic() - heard > self._patience:
                    raise ServiceError(
                        f"kafka: no more records for {self._patience:.0f} s, before the end of {sorted(wanted)[:3]}"
                    )
        except BaseException:
            reader.close()
            raise
        self._consumer = reader  # one that failed, or was left before its end, is not used again

    def close(self) -> None:
        """Leave Kafka."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def is_temporary(error: Exception) -> bool:
    """Whether what a client of this package raised may pass by itself: a broker is away, a coordinator is loading."""
    if isinstance(error, KafkaException):
        reason = error.args[0]
        return not isinstance(reason, KafkaError) or not reason.fatal()
    return error.temporary if isinstance(error, RtapLabError) else isinstance(error, (OSError, BufferError))
