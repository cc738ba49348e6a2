"""The live hub: result topics to WebSocket clients."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from rtap_lab.errors import LiveError, RowError
from rtap_lab.jobs.documents import jobs_document
from rtap_lab.jobs.model import catalog
from rtap_lab.kafka.reader import TopicReader
from rtap_lab.live.client import ping
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import HISTORY, History, Row
from rtap_lab.live.server import LiveServer
from rtap_lab.queries.schema import Schema
from rtap_lab.queries.waits import first_row
from rtap_lab.services.process import ServiceProcess, log, own_service
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.service import Service
from rtap_lab.store.writer import Feed

MOST_MS = 2**53
MOST_PAST = 50_000
"""Rows of the past that one request may ask for."""


def ports(settings: Settings) -> list[str]:
    return ["hub"]


def declare(site: Site) -> list[Service]:
    endpoint = site.endpoints.hub
    return [
        own_service(
            site,
            "hub",
            depends=tuple(site.kafka_names),
            answers=lambda: ping(endpoint),
            port=site.ports["hub"],
            link=endpoint.address,
        )
    ]


class _Follower:
    """Follows the result topics of all current runs, and publishes what comes on the server's loop."""

    def __init__(self, process: ServiceProcess, server: LiveServer, loop: asyncio.AbstractEventLoop) -> None:
        self.process, self.server, self.loop = process, server, loop
        self.reader = TopicReader(process.site.endpoints.kafka, "rtap-hub")
        self.jobs = jobs_document(process.state)
        self.channels: dict[str, Schema] = {}
        self.followed: dict[str, Feed] = {}
        self.positions: dict[str, int] = {}
        self.behind = False
        """Whether the reader may be ahead of what was published."""
        self.awaited: dict[str, int] = {}
        """How far the topics must be read until what was there has been read."""

    def step(self) -> None:
        self._refresh()
        if self.behind:
            self.reader.follow({topic: self.positions[topic] for topic in self.followed})
        self.behind = True  # what a poll had read when it failed is read again
        arrived = self.reader.poll(0.25)
        self.behind = False
        self.positions.update(arrived.positions)
        received_ms = time.time_ns() // 1_000_000
        rows: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        appended: dict[str, int] = {}
        for topic, offset, value, appended_ms in arrived.rows:
            if topic in self.followed and offset >= self.followed[topic].begins:
                try:
                    row = self.followed[topic].query.schema.read(value)
                except RowError as error:  # the writer counts them
                    log.warning("%s, offset %d: %s", topic, offset, error)
                    continue
                rows.setdefault(topic, []).append((offset + 1, row))
                appended[topic] = appended_ms
        for topic, new in rows.items():
            self._call(
                self.server.publish, self.followed[topic], new, appended_ms=appended[topic], received_ms=received_ms
            )
        self._tell_loaded()

    def _call(self, act: Callable[..., None], feed: Feed, *arguments: Any, **named: Any) -> None:
        self.loop.call_soon_threadsafe(partial(act, feed.query.name, feed.source, *arguments, **named))

    def _tell_loaded(self) -> None:
        for topic, end in list(self.awaited.items()):
            if self.positions.get(topic, 0) >= end:
                del self.awaited[topic]
                self._call(self.server.loaded, self.followed[topic])

    def _refresh(self) -> None:
        feeds = self.process.feeds()
        channels = {query.name: query.schema for query in catalog(self.jobs.read())}
        channels |= {feed.query.name: feed.query.schema for feed in feeds}
        if channels != self.channels:
            self.loop.call_soon_threadsafe(self.server.set_channels, channels)
            self.channels = channels
        wanted = {feed.topic: feed for feed in feeds}
        if wanted == self.followed:
            return
        ends = self.process.site.topics.ends(wanted, committed=True)
        for topic in self.followed.keys() - wanted.keys():
            self.awaited.pop(topic, None)
            self._call(self.server.end, self.followed[topic])
        for topic, feed in wanted.items():
            if self.followed.get(topic) == feed:
                continue
            self.awaited[topic] = end = ends.get((topic, 0), 0)
            # a row takes two places at most where each is a transaction of its own
            self.positions[topic] = start = max(feed.begins, end - 2 * HISTORY)
            about = {
                "schema": feed.query.schema,  # what the run answers, whatever its job asks by now
                "provisional": feed.provisional,
                "first_row": first_row(feed.query.definition),
                "due_ms": feed.query.schema.absent_ms,
            }
            self._call(self.server.begin, feed, feed.run, start, **about)
        self.reader.follow({topic: self.positions[topic] for topic in wanted})
        self.followed = wanted


class _Past:
    """Rows behind what the hub keeps, from the store."""

    def __init__(self, process: ServiceProcess) -> None:
        self.process = process
        self.one_at_a_time = threading.Lock()

    def __call__(self, asked: History) -> tuple[list[Row], bool]:
        in_time = -MOST_MS < asked.begin_ms < asked.end_ms < MOST_MS
        if not in_time or not 1 <= asked.limit <= MOST_PAST:
            raise LiveError(f"history: begin_ms is before end_ms, both are times, and limit is 1 to {MOST_PAST}")
        feeds = self.process.feeds()
        feed = next((each for each in feeds if (each.query.name, each.source) == (asked.channel, asked.source)), None)
        if feed is None:  # what is no name of ours does not reach the store
            raise LiveError(f"no run answers {asked.channel!r} on {asked.source!r}")
        span = (asked.begin_ms, asked.end_ms)
        with self.one_at_a_time, closing(self.process.site.open_store()) as store:
            rows = store.rows(feed.query, feed.source, between=span, most=asked.limit + 1)
        rows.sort(key=feed.query.schema.point_time_ms)
        return feed.query.schema.written(rows[-asked.limit :]), len(rows) > asked.limit


def main(process: ServiceProcess) -> None:
    """Serve clients, until the stop; what was there when the hub began is read before."""
    hub = Hub(f"hub {process.site.ports['hub']}")
    server = LiveServer(hub, process.state.secret("hub.secret"), _Past(process))

    def read(loop: asyncio.AbstractEventLoop, caught_up: asyncio.Event) -> None:
        follower = _Follower(process, server, loop)

        def step() -> None:
            follower.step()
            if not follower.awaited:
                loop.call_soon_threadsafe(caught_up.set)

        try:
            process.repeat(step)
        finally:
            follower.reader.close()
            loop.call_soon_threadsafe(caught_up.set)

    async def serve() -> None:
        loop, caught_up = asyncio.get_running_loop(), asyncio.Event()
        reading = loop.run_in_executor(None, read, loop, caught_up)
        await caught_up.wait()
        if reading.done():
            return await reading
        await server.start(process.site.ports["hub"])
        try:
            await reading
        finally:
            await server.stop()

    asyncio.run(serve())
