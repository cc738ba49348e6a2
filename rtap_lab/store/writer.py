"""The store writer: result topics to points, at least once, into a store where twice is once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from rtap_lab.queries.query import Query
from rtap_lab.settings import LIVE
from rtap_lab.store.points import Point, point
from rtap_lab.store.port import Store


@dataclass(frozen=True)
class Feed:
    """A result topic that should be in the store."""

    topic: str
    query: Query
    source: str
    key: str
    """The job and its source: whose run it is."""
    run: str
    begins: int
    """Offset of the run's first possible row; what is before it is of an earlier run."""


class Arrived(Protocol):
    """What has arrived."""

    @property
    def rows(self) -> Sequence[tuple[str, int, bytes, int]]:
        """Topic, offset, value and the time it was appended (milliseconds)."""
        ...

    @property
    def positions(self) -> Mapping[str, int]:
        """How far each topic was read."""
        ...


class Reader(Protocol):
    """Where rows come from."""

    def follow(self, topics: Mapping[str, int]) -> None:
        """Read these topics from these offsets on."""
        ...

    def poll(self, timeout: float) -> Arrived:
        """What has arrived, after so many seconds at most."""
        ...


MAINTENANCE_S = 60.0


def decode(feed: Feed, value: bytes) -> Point:
    """The point of a result row's bytes."""
    return point(feed.query, feed.source, feed.query.schema.normal(orjson.loads(value)))


class Writer:
    """Fills a store.

    Args:
        store: The store.
        reader: Where rows come from.
        feeds: Gives the topics that should be followed now.
    """

    def __init__(self, store: Store, reader: Reader, feeds: Callable[[], Iterable[Feed]]) -> None:
        self.store = store
        self.reader = reader
        self.feeds = feeds
        self._followed: dict[str, Feed] = {}
        self._maintained = 0.0

    def refresh(self) -> None:
        """Follow what should be followed; what an earlier run of the same job left is removed first."""
        wanted = {feed.topic: feed for feed in self.feeds()}
        if wanted == self._followed:
            return
        held, offsets = self.store.runs(), self.store.offsets()
        by_run: dict[tuple[str, str, str], list[Feed]] = {}
        for feed in wanted.values():
            by_run.setdefault((feed.key, feed.run, feed.source), []).append(feed)
        for (key, run, source), feeds in by_run.items():
            if held.get(key) != run:
                begins = {feed.topic: feed.begins for feed in feeds}
                self.store.begin(key, run, source, [feed.query for feed in feeds], begins)
                offsets |= begins
        self._followed = wanted
        self.reader.follow({topic: max(feed.begins, offsets.get(topic, 0)) for topic, feed in wanted.items()})

    def step(self, timeout: float) -> int:
        """Write what has arrived; the number of points.

        A row that is no row of its query is a fault of ours, and raised, not passed over.
        """
        arrived = self.reader.poll(timeout)
        points = [
            decode(self._followed[topic], value)
            for topic, offset, value, _ in arrived.rows
            if topic in self._followed and offset >= self._followed[topic].begins
        ]
        if arrived.positions:
            self.store.write(points, arrived.positions)
        if time.monotonic() - self._maintained > MAINTENANCE_S:
            self._maintained = time.monotonic()
            live = [feed.query for feed in self._followed.values() if feed.source == LIVE]
            self.store.maintain(live, time.time_ns() // 1_000_000)
        return len(points)

    def forget(self) -> None:
        """Begin again from the store's own offsets: after a failure between reading and writing."""
        self._followed = {}
