"""How far a live run's answers are final.

By the topic and the offsets of its newest checkpoint, not by Flink's metrics: after a TaskManager's death the JobManager tells
the dead one's for a minute, and what it tells of a living one is up to ten seconds old.
"""

from __future__ import annotations

from rtap_lab.jobs.model import Run
from rtap_lab.kafka.clients import RangeReader
from rtap_lab.kafka.topics import Topics

NEAR = 50
"""Offsets before the end in which a partition's last record is: the markers of transactions have some."""

Places = dict[int, int]


class Watermarks:
    """Asks how far live runs are, again and again; one thread asks.

    Args:
        topics: The lab's topics.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._reader = RangeReader(topics.kafka, committed=False, patience=topics.patience)
        self._read: dict[str, tuple[Places, Places]] = {}
        """By run: its checkpoint's offsets, and of each partition the greatest arrival before them."""

    def places(self, run: Run) -> Places:
        """How far the newest checkpoint of a run has read, by partition.

        Raises:
            ServiceError: When Kafka does not answer.
        """
        return self._topics.committed(run.group, run.events)

    def upto_ms(self, run: Run, places: Places) -> int | None:
        """The least over partitions of (arrival - bound) at the offsets of a checkpoint.

        Args:
            run: A live run.
            places: The checkpoint's offsets.

        Returns:
            Milliseconds since the epoch; None until every partition was heard from.

        Raises:
            ServiceError: When Kafka does not answer.
        """
        topic = run.events
        before, arrivals = self._read.get(run.run, ({}, {}))
        starts = {p: start for (_, p), start in self._topics.starts([topic]).items()}
        ends = {(topic, p): end for p, end in places.items() if end != before.get(p)}
        near = {(topic, p): max(starts.get(p, 0), end - NEAR) for (_, p), end in ends.items()}
        arrivals = {p: arrival for p, arrival in arrivals.items() if p in starts}
        for record in self._reader.read(near, ends):
            partition = record.partition() or 0
            arrivals[partition] = max(arrivals.get(partition, -1), record.timestamp()[1])
        self._read[run.run] = (dict(places), arrivals)
        return min(arrivals.values()) - run.parameters.bound_ms if arrivals.keys() == starts.keys() and starts else None

    def keep(self, runs: set[str]) -> None:
        """Forget all other runs."""
        self._read = {run: each for run, each in self._read.items() if run in runs}

    def close(self) -> None:
        """Leave Kafka."""
        self._reader.close()
