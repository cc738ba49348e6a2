"""The live hub: result topics to WebSocket clients."""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from typing import Any

from rtap_lab.errors import RowError
from rtap_lab.jobs.documents import jobs_document
from rtap_lab.jobs.model import catalog
from rtap_lab.kafka.reader import TopicReader
from rtap_lab.live.client import ping
from rtap_lab.live.hub import HISTORY, Hub
from rtap_lab.live.server import LiveServer
from rtap_lab.queries.waits import first_row
from rtap_lab.services.process import ServiceProcess, log, own_service
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.service import Service
from rtap_lab.store.writer import Feed


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
        self.names: list[str] = []
        self.followed: dict[str, Feed] = {}
        self.positions: dict[str, int] = {}

    def step(self) -> None:
        self._refresh()
        arrived = self.reader.poll(0.25)
        self.positions.update(arrived.positions)
        received_ms = time.time_ns() // 1_000_000
        rows: dict[str, list[dict[str, Any]]] = {}
        appended: dict[str, int] = {}
        for topic, offset, value, appended_ms in arrived.rows:
            if topic in self.followed and offset >= self.followed[topic].begins:
                try:
                    row = self.followed[topic].query.schema.read(value)
                except RowError as error:  # the writer counts them
                    log.warning("%s, offset %d: %s", topic, offset, error)
                    continue
                rows.setdefault(topic, []).append(row)
                appended[topic] = appended_ms
        for topic, new in rows.items():
            feed = self.followed[topic]
            publish = partial(self.server.publish, appended_ms=appended[topic], received_ms=received_ms)
            self.loop.call_soon_threadsafe(publish, feed.query.name, feed.source, new)

    def _refresh(self) -> None:
        names = catalog(self.jobs.read()).names
        if names != self.names:
            self.loop.call_soon_threadsafe(self.server.set_channels, names)
            self.names = names
        wanted = {feed.topic: feed for feed in self.process.feeds()}
        if wanted == self.followed:
            return
        ends = self.process.site.topics.ends(wanted, committed=True)
        new = {topic: feed for topic, feed in wanted.items() if self.followed.get(topic) != feed}
        for feed in new.values():
            self.loop.call_soon_threadsafe(self.server.reset, feed.query.name, feed.source)
            words = first_row(feed.query.definition)
            self.loop.call_soon_threadsafe(self.server.describe, feed.query.name, feed.source, words)
        self.positions.update({t: max(f.begins, ends.get((t, 0), 0) - HISTORY) for t, f in new.items()})
        self.reader.follow({topic: self.positions[topic] for topic in wanted})
        self.followed = wanted


def main(process: ServiceProcess) -> None:
    """Serve clients, until the stop."""
    server = LiveServer(Hub((), secrets.token_hex(4)), process.state.secret("hub.secret"))

    def read(loop: asyncio.AbstractEventLoop) -> None:
        follower = _Follower(process, server, loop)
        process.repeat(follower.step)
        follower.reader.close()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server.set_channels(catalog(jobs_document(process.state).read()).names)
        await server.start(process.site.ports["hub"])
        try:
            await loop.run_in_executor(None, read, loop)
        finally:
            await server.stop()

    asyncio.run(serve())
