"""The store writer: result topics to points, at least once, into a store where twice is once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from msgspec import structs

from rtap_lab.errors import RowError
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
    provisional: bool = False
    """Whether rows may come again after a failure (`low_latency`)."""


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


class Foreign(msgspec.Struct, frozen=True):
    """Records of a result topic that are no rows of its query, set aside."""

    count: int
    first: int
    """Offset of the first of them."""
    last: int
    reason: str
    """Why the first is none."""


def decode(feed: Feed, value: bytes) -> Point:
    """The point of a result row's bytes.

    Raises:
        RowError: When they are no row of its query.
    """
    return point(feed.query, feed.source, feed.query.schema.normal(feed.query.schema.read(value)))


class Writer:
    """Fills a store.

    Args:
        store: The store.
        reader: Where rows come from.
        feeds: Gives the topics that should be followed now.
        foreign: What was set aside before, by topic.
    """

    def __init__(
        self,
        store: Store,
        reader: Reader,
        feeds: Callable[[], Iterable[Feed]],
        foreign: Mapping[str, Foreign] | None = None,
    ) -> None:
        self.store = store
        self.reader = reader
        self.feeds = feeds
        self.foreign: Mapping[str, Foreign] = foreign or {}
        """What was set aside of the topics that are followed; replaced when it changes."""
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
        self.foreign = {t: f for t, f in self.foreign.items() if t in wanted and f.first >= wanted[t].begins}
        self.reader.follow({topic: max(feed.begins, offsets.get(topic, 0)) for topic, feed in wanted.items()})

    def step(self, timeout: float) -> int:
        """Write what has arrived; the number of points.

        What is no row of its query is set aside and counted, so that it holds up nothing else: `rtap status` names it,
        `rtap verify` has it as a difference.
        """
        arrived = self.reader.poll(timeout)
        points = []
        for topic, offset, value, _ in arrived.rows:
            feed = self._followed.get(topic)
            if feed is None or offset < feed.begins:
                continue
            try:
                points.append(decode(feed, value))
            except RowError as error:
                self._set_aside(topic, offset, error.message)
        if arrived.positions:
            self.store.write(points, arrived.positions)
        if time.monotonic() - self._maintained > MAINTENANCE_S:
            self._maintained = time.monotonic()
            live = [feed.query for feed in self._followed.values() if feed.source == LIVE]
            self.store.maintain(live, time.time_ns() // 1_000_000)
        return len(points)

    def _set_aside(self, topic: str, offset: int, reason: str) -> None:
        before = self.foreign.get(topic) or Foreign(0, offset, -1, reason)
        if offset > before.last:  # else it comes again, after a failure
            counted = structs.replace(before, count=before.count + 1, last=offset)
            self.foreign = {**self.foreign, topic: counted}

    def forget(self) -> None:
        """Begin again from the store's own offsets: after a failure between reading and writing."""
        self._followed = {}
