"""Producers and consumers with this lab's settings, and reading a topic as a plain iterator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from rtap_lab.errors import ServiceError


def producer(bootstrap: str, *, transactional_id: str | None = None, linger_ms: int = 0) -> Producer:
    """An idempotent producer that places keys as Java clients do."""
    config: dict[str, str | int | bool] = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "linger.ms": linger_ms,
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": 500_000,
        "log_level": 2,
    }
    if transactional_id:
        config |= {"transactional.id": transactional_id, "transaction.timeout.ms": 900_000}
        config |= {"message.timeout.ms": 600_000}
    return Producer(config)


def consumer(bootstrap: str, *, group: str = "rtap-reader", committed: bool = True) -> Consumer:
    """A consumer that is told where to read (`assign`) and commits only when asked."""
    return Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.partition.eof": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed" if committed else "read_uncommitted",
        "fetch.wait.max.ms": 100,
        "fetch.error.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "queued.max.messages.kbytes": 16_384,
        "log_level": 2,
    })  # fmt: skip


def drain(reader: Consumer, timeout: float, most: int = 5000) -> list[Message]:
    """What has arrived: waits for the first record only, so that nothing is held back.

    Raises:
        KafkaException: On an error that the client does not mend by itself.
    """
    first = reader.poll(timeout)
    if first is None:
        return []
    records = [first, *reader.consume(most - 1, 0)]
    for record in records:
        error = record.error()
        if error and not (error.retriable() or error.code() in _PASSING):
            raise KafkaException(error)
    return [record for record in records if not record.error()]


_PASSING = {
    KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT,
    KafkaError._PARTITION_EOF, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._MAX_POLL_EXCEEDED, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._RESOLVE,
}  # fmt: skip


def read_range(
    bootstrap: str,
    starts: Mapping[tuple[str, int], int],
    ends: Mapping[tuple[str, int], int],
    *,
    committed: bool = True,
    patience: float = 30.0,
) -> Iterator[Message]:
    """Yield the records from `starts` up to `ends`, partition after partition in its order.

    Offsets may have holes (transaction markers), so the end is where the consumer's position is.

    Raises:
        ServiceError: When the broker stops answering before the end.
    """
    import time

    wanted = {key: end for key, end in ends.items() if end > starts.get(key, 0)}
    if not wanted:
        return
    reader = consumer(bootstrap, committed=committed)
    try:
        reader.assign([TopicPartition(t, p, starts.get((t, p), 0)) for t, p in wanted])
        heard = time.monotonic()
        while wanted:
            records = drain(reader, 0.2)
            for record in records:
                key = (record.topic(), record.partition())
                if key in ends and record.offset() < ends[key]:
                    yield record
            now = time.monotonic()
            if records:
                heard = now
            positions = reader.position([TopicPartition(t, p) for t, p in wanted])
            for place in positions:
                if place.offset >= wanted[place.topic, place.partition]:
                    reader.pause([TopicPartition(place.topic, place.partition)])
                    del wanted[place.topic, place.partition]
            if now - heard > patience:
                raise ServiceError(
                    f"kafka: no more records for {patience:.0f} s, before the end of {sorted(wanted)[:3]}"
                )
    finally:
        reader.close()
