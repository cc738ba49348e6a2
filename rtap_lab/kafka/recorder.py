"""Slices to and from Kafka: recording a piece of a topic, replaying it into a fresh source."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_INVALID, Message, TopicPartition

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import ServiceError
from rtap_lab.kafka.auditor import rejected
from rtap_lab.kafka.clients import consumer, producer, read_range
from rtap_lab.kafka.names import REJECTED, import_id
from rtap_lab.kafka.sender import Sender
from rtap_lab.kafka.topics import Topics
from rtap_lab.recordings.rejects import encode_row, key_of
from rtap_lab.recordings.slices import Recorded, in_order
from rtap_lab.recordings.sources import content_of, digest_of_value

Offsets = Mapping[tuple[str, int], int]


@dataclass(frozen=True)
class Written:
    """What a replay wrote."""

    records: int
    rejected: int
    content: str
    """As `recordings.sources.ImportedFile.content`."""


def read(
    kafka: Endpoint, starts: Offsets, ends: Offsets, progress: Callable[[int], None] = lambda n: None
) -> list[Recorded]:
    """The records of a piece of a topic, by arrival."""
    found = []
    for number, record in enumerate(read_range(kafka, starts, ends)):
        found.append(recorded(record))
        if number % 5000 == 0:
            progress(number)
    return in_order(found)


def recorded(record: Message) -> Recorded:
    """A Kafka record as it goes into a slice."""
    headers = tuple(
        (name, value.encode() if isinstance(value, str) else value) for name, value in record.headers() or ()
    )
    key = record.key()
    return Recorded(
        str(record.topic()),
        int(record.partition() or 0),
        int(record.offset() or 0),
        record.timestamp()[1],
        key.encode() if isinstance(key, str) else key,
        record.value(),
        headers,
    )


def offsets_at(topics: Topics, topic: str, moment_ms: int) -> dict[tuple[str, int], int]:
    """Of each partition, the offset of the first record that arrived at a moment or later; else its end."""
    ends = topics.ends([topic], committed=True)
    reader = consumer(topics.kafka)
    try:
        asked = [TopicPartition(topic, p, moment_ms) for _, p in ends]
        found = reader.offsets_for_times(asked, timeout=10)
        for each in found:  # of a broker that dies while it is asked, an offset that is none, and no error
            if each.error or each.offset == OFFSET_INVALID:
                why = each.error or "the broker went away while it was asked"
                raise ServiceError(f"kafka: where {topic} was at that time was not told: {why}", service="kafka")
        return {(p.topic, p.partition): p.offset if p.offset >= 0 else ends[p.topic, p.partition] for p in found}
    finally:
        reader.close()


def replay(
    topics: Topics,
    records: Iterable[Recorded],
    topic: str,
    source: str,
    *,
    speed: float | None,
    progress: Callable[[int], None] = lambda n: None,
) -> Written:
    """Write records into a source's empty topic: partitions, order, timestamps and bytes as they were.

    What is rejected of them goes to `events.rejected`, as the auditor does it for live records.

    Args:
        topics: The lab's topics.
        records: By arrival.
        topic: The source's topic.
        source: The source.
        speed: How much faster than they arrived; None: as fast as it goes.
        progress: Told the number of records so far.

    Raises:
        ServiceError: When Kafka refuses, or accepts nothing for half a minute.
    """
    out = producer(topics.kafka, transactional_id=import_id(source), linger_ms=20)
    bad: list[dict[str, Any]] = []
    sender = Sender(out, lambda record: bad.extend(rejected(record, source) if record.topic() == topic else ()))
    sent = refused = content = 0

    def refuse() -> None:
        """Write down what was rejected of the records whose offsets are known by now."""
        nonlocal refused
        rows, bad[:] = bad[:], []
        for row in rows:
            sender.send(REJECTED, encode_row(row), key_of(row), None, [])
        refused += len(rows)

    def commit() -> None:
        sender.finish()
        refuse()
        sender.finish()
        out.commit_transaction(120)

    out.init_transactions(60)
    out.begin_transaction()
    began, first, committed = time.monotonic(), None, time.monotonic()
    try:
        for each in records:
            if speed is not None:
                first = each.timestamp_ms if first is None else first
                wait = (each.timestamp_ms - first) / 1000 / speed - (time.monotonic() - began)
                if wait > 0.01 or time.monotonic() - committed > 1:  # what came so far can be read
                    commit()
                    out.begin_transaction()
                    committed = time.monotonic()
                    time.sleep(max(0.0, wait))
            sender.send(topic, each.value, each.key, each.timestamp_ms, list(each.headers), each.partition)
            content += digest_of_value(each.value)
            sent += 1
            if sent % 2000 == 0:
                out.poll(0)
                refuse()
                progress(sent)
        commit()
    except BaseException:
        with suppress(Exception):  # the first error says more; what stays open `remove` and the next replay end
            out.abort_transaction(10)
        raise
    topics.await_committed([topic, REJECTED])
    progress(sent)
    return Written(sent, refused, content_of(content))
