"""The live hub: result topics to WebSocket clients."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from rtap_lab.errors import JobError, RowError
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.jobs.documents import jobs_document
from rtap_lab.jobs.model import Run, catalog
from rtap_lab.jobs.watermark import Watermarks
from rtap_lab.kafka.reader import TopicReader
from rtap_lab.live.client import ping
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import HISTORY, Final, Notice, Verdict, Watermark
from rtap_lab.live.server import LiveServer
from rtap_lab.queries.schema import Schema
from rtap_lab.queries.waits import first_row, waits_ms
from rtap_lab.services.past import Past
from rtap_lab.services.process import ServiceProcess, log, own_service
from rtap_lab.services.site import Site
from rtap_lab.settings import LIVE, Settings
from rtap_lab.stack.service import Service
from rtap_lab.store.writer import Feed
from rtap_lab.verification.verdicts import verdicts_document

LOOK_S = 1.0
"""Seconds between two looks at what is told beside rows: verdicts, and how far provisional rows are final."""

PROGRESS_S = 2.0
"""Seconds between two looks at how far runs are."""

AWAY_S = 10.0
"""Seconds until a JobManager that did not answer is asked again: rows must not wait for it."""


def ports(settings: Settings) -> list[str]:
    return settings.hub_names


def declare(site: Site) -> list[Service]:
    return [
        own_service(
            site,
            name,
            depends=tuple(site.kafka_names),
            answers=partial(ping, endpoint),
            port=site.ports[name],
            link=endpoint.address,
        )
        for name, endpoint in zip(site.settings.hub_names, site.endpoints.hub.each, strict=True)
    ]


class Finality:
    """Up to where rows are final that a job may write again after a failure. Pure.

    A job writes again what came after its newest completed checkpoint began; what was in the topic before stays.
    """

    def __init__(self) -> None:
        self._appended: dict[str, deque[tuple[int, int]]] = {}
        """Of each topic the places that are not final yet, and when each was appended."""
        self._seq: dict[str, int] = {}

    def appended(self, topic: str, seq: int, appended_ms: int) -> None:
        """A row came."""
        self._appended.setdefault(topic, deque()).append((seq, appended_ms))

    def begun(self, topic: str, checkpoint_ms: int) -> None:
        """A checkpoint that began then is complete."""
        waiting = self._appended.get(topic, deque())
        while waiting and waiting[0][1] < checkpoint_ms:
            self._seq[topic] = waiting.popleft()[0]

    def forget(self, topic: str) -> None:
        """Another run writes it."""
        self._appended.pop(topic, None)
        self._seq.pop(topic, None)

    def seq(self, topic: str) -> int | None:
        """The newest place that is final; None: none is known."""
        return self._seq.get(topic)


class _Progress:
    """Up to when all rows of each run are there; it asks in a thread of its own, which rows do not wait for.

    Rows of a checkpoint are committed once it is complete; that they were is certain when a later one is.
    """

    def __init__(self, process: ServiceProcess) -> None:
        self.process = process
        self.upto_ms: dict[str, int | None] = {}
        """By run; None: it has ended."""
        self._watermarks = Watermarks(process.site.topics_at_a_glance)
        self._newest: dict[str, tuple[dict[int, int], int | None]] = {}
        """By run: how far its newest checkpoint has read, and what that will say once a later one is complete."""

    def step(self) -> float:
        """Look at each run; seconds until the next look."""
        runs = {run.run: run for run in self.process.runs().values()}
        self._watermarks.keep(set(runs))
        self._newest = {run: each for run, each in self._newest.items() if run in runs}
        found = {run: each for run, each in self.upto_ms.items() if run in runs}
        for run in runs.values():
            if run.state in ("finished", "drained"):
                found[run.run] = None
            elif run.source == LIVE and run.state == "running" and run.checkpointed:
                self._look(run, found)
        self.upto_ms = found
        return PROGRESS_S

    def _look(self, run: Run, found: dict[str, int | None]) -> None:
        places = self._watermarks.places(run)
        before, upto_ms = self._newest.get(run.run, ({}, None))
        if places == before:
            return
        if upto_ms is not None:
            found[run.run] = max(upto_ms, found.get(run.run) or upto_ms)
        self._newest[run.run] = (places, self._watermarks.upto_ms(run, places))


class _Follower:
    """Follows the result topics of all current runs, and publishes what comes on the server's loop."""

    def __init__(
        self, process: ServiceProcess, server: LiveServer, loop: asyncio.AbstractEventLoop, progress: _Progress
    ) -> None:
        self.process, self.server, self.loop, self.progress = process, server, loop, progress
        self.reader = TopicReader(process.site.endpoints.kafka, f"rtap-{process.name}")
        self.jobs = jobs_document(process.state)
        self.channels: dict[str, Schema] = {}
        self.followed: dict[str, Feed] = {}
        self.positions: dict[str, int] = {}
        self.behind = False
        """Whether the reader may be ahead of what was published."""
        self.awaited: dict[str, int] = {}
        """How far the topics must be read until what was there has been read."""
        self.verdicts = verdicts_document(process.state)
        self.final = Finality()
        self.looked_s = 0.0
        """When was last looked at what is told beside rows (`time.monotonic`)."""
        self.flink = FlinkRest(process.site.endpoints.flink, patience_s=0.5)
        self.away_s = 0.0
        """Until when Flink is not asked (`time.monotonic`)."""

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
                if self.followed[topic].provisional:
                    self.final.appended(topic, offset + 1, appended_ms)
        for topic, new in rows.items():
            self._call(
                self.server.publish, self.followed[topic], new, appended_ms=appended[topic], received_ms=received_ms
            )
        self._tell_loaded()
        if time.monotonic() - self.looked_s > LOOK_S:
            self.looked_s = time.monotonic()
            self._tell_notices()

    def _tell_notices(self) -> None:
        """Tell followers how far all rows are there, what was verified, and how far provisional rows are final."""
        verdicts = self.verdicts.read()
        upto_ms = self.progress.upto_ms
        for feed in self.followed.values():
            if feed.run in upto_ms and feed.topic not in self.awaited:
                self._tell(Watermark(feed.query.name, feed.source, feed.run, upto_ms[feed.run]))
            verdict = verdicts.get(feed.key)
            if verdict is not None and verdict.run == feed.run and verdict.tells_of(feed.query.name):
                self._tell(Verdict(feed.query.name, feed.source, feed.run, **verdict.of(feed.query.name)))
        for feed in self._provisional():
            seq = self.final.seq(feed.topic)
            if seq is not None:
                self._tell(Final(feed.query.name, feed.source, feed.run, seq))

    def _tell(self, told: Notice) -> None:
        self.loop.call_soon_threadsafe(partial(self.server.notify, told))

    def _provisional(self) -> list[Feed]:
        """The feeds whose rows are provisional, once it is known up to when rows are final."""
        found = [feed for feed in self.followed.values() if feed.provisional]
        begun_ms: dict[str, int] = {}
        if not found or time.monotonic() < self.away_s:
            return []
        runs = self.process.runs()
        for key in {feed.key for feed in found}:
            job_id = runs[key].job_id if key in runs else None
            try:
                completed = self.flink.checkpoints(job_id)["latest"]["completed"] if job_id else None
            except JobError:  # nothing becomes final meanwhile
                self.away_s = time.monotonic() + AWAY_S
                return []
            if completed:
                begun_ms[key] = completed["trigger_timestamp"]
        told = [feed for feed in found if feed.key in begun_ms]
        for feed in told:
            self.final.begun(feed.topic, begun_ms[feed.key])
        return told

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
        runs = {run.run: run for run in self.process.runs().values()}
        for topic in self.followed.keys() - wanted.keys():
            self.awaited.pop(topic, None)
            self._call(self.server.end, self.followed[topic])
        for topic, feed in wanted.items():
            if self.followed.get(topic) == feed:
                continue
            self.awaited[topic] = end = ends.get((topic, 0), 0)
            # a row takes two places at most where each is a transaction of its own
            self.final.forget(topic)
            self.positions[topic] = start = max(feed.begins, end - 2 * HISTORY)
            run, waits = runs.get(feed.run), waits_ms(feed.query)
            about = {
                "schema": feed.query.schema,  # what the run answers, whatever its job asks by now
                "provisional": feed.provisional,
                "first_row": first_row(feed.query.definition),
                "first_row_ms": int(run.started * 1000) + waits + run.parameters.bound_ms if run and waits else 0,
                "due_ms": feed.query.schema.absent_ms,
                "bound_ms": run.parameters.bound_ms if run else 0,
                "begins": feed.begins,
            }
            self._call(self.server.begin, feed, feed.run, start, **about)
        self.reader.follow({topic: self.positions[topic] for topic in wanted})
        self.followed = wanted


def main(process: ServiceProcess) -> None:
    """Serve clients, until the stop; what was there when the hub began is read before."""
    port = process.site.ports[process.name]
    hub = Hub(f"{process.name} {port}")
    server = LiveServer(hub, process.state.secret("hub.secret"), Past(process), hosts=process.site.settings.hosts)

    def read(loop: asyncio.AbstractEventLoop, caught_up: asyncio.Event) -> None:
        progress = _Progress(process)
        looking = process.beside("progress", progress.step)
        follower = _Follower(process, server, loop, progress)

        def step() -> None:
            if not looking.is_alive() and not process.stop.is_set():
                raise RuntimeError("the look at how far runs are has ended: the log says why")
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
        await server.start(port)
        try:
            await reading
        finally:
            await server.stop()

    asyncio.run(serve())
