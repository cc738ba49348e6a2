"""The auditor: keeps, whole, what the SQL drops or can only name.

It reads every live record and writes those that are rejected to `events.rejected`, with their bytes;
to rows of `events.late` that the SQL wrote without bytes it adds a row that has them. A row is known
by its place, so that a repeat (the SQL's own, or one after a crash) is ignored by readers.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from confluent_kafka import KafkaException, Message, TopicPartition

from rtap_lab.events.model import TICK_RECORD
from rtap_lab.kafka.clients import consumer, drain, producer, read_range
from rtap_lab.kafka.names import COPIED, LATE, LIVE_EVENTS, REJECTED, events_topic
from rtap_lab.kafka.topics import Topics
from rtap_lab.recordings.rejects import encode_row, key_of, reject_row, rejected_rows
from rtap_lab.settings import LIVE

GROUP = "rtap-auditor"

LOOK_S = 5.0
"""Seconds after which it looks for partitions that were added."""


class Auditor:
    """Reads on from its committed offsets; commits after what it wrote was accepted.

    Args:
        topics: The lab's topics.
        warn: Told what could not be completed.
        counts: What was counted before: by source or run "read", "rejected", "late", and each reason of the last two. For
            the status only; the verifier counts for itself.
        newest: By partition, the newest live record that is no tick, when the auditor before had read so far:
        read_to: By partition. Of one that it read further since, any record may have been an event.
    """

    def __init__(
        self,
        topics: Topics,
        warn: Callable[[str], None],
        counts: dict[str, dict[str, int]],
        *,
        newest: Mapping[int, int] | None = None,
        read_to: Mapping[int, int] | None = None,
    ) -> None:
        self._kafka = topics.kafka
        self.warn = warn
        self.counts = counts
        self.changed = False
        self._topics = topics
        self._reader = consumer(topics.kafka, group=GROUP, patient=True)
        self._out = producer(topics.kafka)
        self._assigned = False
        self._looked = 0.0
        self.newest = dict(newest or {})
        """By partition, the newest live record that is no tick, as far as it has read."""
        self._read_to = dict(read_to or {})
        self._begun: set[int] = set()

    def rewind(self) -> None:
        """Read again from the committed offsets: after a failure."""
        self._assigned = False

    def _assign(self) -> None:
        committed = self._reader.committed(self._places(), timeout=10)
        for each in committed:
            if each.error:
                raise KafkaException(each.error)
            if each.topic == LIVE_EVENTS and each.partition not in self._begun:
                self._begun.add(each.partition)
                if self._read_to.get(each.partition) != each.offset:
                    self.newest[each.partition] = max(self.newest.get(each.partition, -1), each.offset - 1)
        self._reader.assign(committed)
        self._assigned = True
        self._looked = time.monotonic()

    def _places(self) -> list[TopicPartition]:
        return [*self._topics.partitions(LIVE_EVENTS), *self._topics.partitions(LATE)]

    def _has_new_partitions(self) -> bool:
        """Whether a partition was added; looked for every few seconds."""
        if time.monotonic() - self._looked < LOOK_S:
            return False
        self._looked = time.monotonic()
        return len(self._places()) != len(self._reader.assignment())

    def step(self, timeout: float) -> None:
        """Audit what has arrived."""
        if not self._assigned or self._has_new_partitions():
            self._assign()
        batch = drain(self._reader, timeout, most=20_000)
        late: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        for record in batch.records:
            if record.topic() == LATE:
                if COPIED in dict(record.headers() or ()):
                    continue
                row = late_row(record.value())
                if row is None:
                    self.warn(f"{LATE}, offset {record.offset()}: not a row of ours")
                elif row.get("sha256") is None:
                    late[row["source"], row["partition"]].append(row)
                    self._count(row["run"], "late")
                    self._count(row["run"], f"late: {row['reason']}")
            elif record.value() != TICK_RECORD:
                self._count(LIVE, "read")
                self.newest[record.partition() or 0] = record.offset() or 0
                for row in rejected(record, LIVE):
                    self._count(LIVE, "rejected")
                    self._count(LIVE, f"rejected: {row['reason']}")
                    self._write(REJECTED, row)
        if late:
            self._complete(late)
        positions = batch.positions()
        if positions:
            if self._out.flush(30):
                raise TimeoutError("kafka did not take what the auditor wrote")
            places = [TopicPartition(*key, offset) for key, offset in positions.items()]
            self._reader.commit(offsets=places, asynchronous=False)

    def _count(self, whose: str, what: str) -> None:
        mine = self.counts.setdefault(whose, {})
        mine[what] = mine.get(what, 0) + 1
        self.changed = True

    def _complete(self, late: dict[tuple[str, int], list[dict[str, Any]]]) -> None:
        """Add the bytes to the SQL's rows of late records: all that came together are read together."""
        there = self._topics.names()
        wanted: dict[tuple[str, int], dict[int, list[dict[str, Any]]]] = {}
        for (source, partition), rows in late.items():
            places = wanted.setdefault((events_topic(source), partition), defaultdict(list))
            for row in rows:  # of several jobs, perhaps
                places[row["offset"]].append(row)
        topics = {topic for topic, _ in wanted} & there
        first, end = self._topics.starts(topics), self._topics.ends(topics, committed=True)
        held = {key: places for key, places in wanted.items() if key[0] in there}
        starts = {key: max(first.get(key, 0), min(places)) for key, places in held.items()}
        ends = {key: min(end.get(key, 0), max(places) + 1) for key, places in held.items()}
        for record in read_range(self._kafka, starts, ends):
            places = held[str(record.topic()), int(record.partition() or 0)]
            for row in places.pop(record.offset() or 0, ()):
                self._write_whole(row, record)
        for (topic, _), places in wanted.items():
            if places:
                self.warn(f"{len(places)} late records of {topic} are not there (any more)")

    def _write_whole(self, row: dict[str, Any], record: Message) -> None:
        full = reject_row(
            source=row["source"],
            reason=row["reason"],
            record=record.value(),
            event_id=row["event_id"],
            partition=row["partition"],
            offset=row["offset"],
            run=row["run"],
            arrival_ms=record.timestamp()[1],
        )
        full["event_time"] = row.get("event_time")
        self._write(LATE, full)

    def _write(self, topic: str, row: dict[str, Any]) -> None:
        """Hand a row over; where the client's queue is full (one record may make many rows), once there is room."""
        while True:
            try:
                self._out.produce(topic, encode_row(row), key_of(row))
                return
            except BufferError:
                if not self._out.poll(30):
                    raise

    def close(self) -> None:
        self._out.flush(10)
        self._reader.close()


_NEEDED = {"source": str, "run": str, "partition": int, "offset": int, "reason": str}


def late_row(value: bytes | None) -> dict[str, Any] | None:
    """A row of `events.late`; None when somebody else wrote it."""
    try:
        row = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("event_id", 0), str | None):
        return None
    return row if all(isinstance(row.get(name), kind) for name, kind in _NEEDED.items()) else None


def rejected(record: Message, source: str) -> list[dict[str, Any]]:
    """The rows of `events.rejected` that a record of a source gives rise to."""
    place = (int(record.partition() or 0), int(record.offset() or 0))
    return rejected_rows(record.value(), source, *place, arrival_ms=record.timestamp()[1])
