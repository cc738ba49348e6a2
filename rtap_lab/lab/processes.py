"""The lab's own services as processes: writer, hub, ticker and auditor.

Started by the supervisor as `python -m rtap_lab.lab.processes NAME STATE`. Each says that it works by
rewriting `beats/NAME.json`, and ends on SIGTERM.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from rtap_lab.kafka.topics import LIVE_EVENTS
from rtap_lab.lab.addresses import Addresses, known
from rtap_lab.lab.runs import Runs
from rtap_lab.settings import PARTITIONS, JobParameters
from rtap_lab.stack.state import State
from rtap_lab.store.points import Point, point
from rtap_lab.store.port import Store
from rtap_lab.store.writer import Feed
from rtap_lab.streams.queries import STANDARD, normal

log = logging.getLogger("rtap")


def open_store(state: State, addresses: Addresses, kind: str) -> Store:
    """The lab's store."""
    if kind == "influxdb":
        from rtap_lab.store.influx import InfluxStore

        return InfluxStore(addresses.url("store"), state.secret("influxdb.token"))
    from rtap_lab.store.embedded import EmbeddedStore

    return EmbeddedStore(state.folder / "store" / "points.sqlite")


def feeds(state: State, runs: Runs) -> list[Feed]:
    """The result topics of all current runs."""
    return [
        Feed(
            topic,
            query,
            source,
            run["run"],
            run["results_from"][topic],
            JobParameters.from_json(run["parameters"]).within_ms,
        )
        for source, run in runs.all().items()
        for query, topic in runs.topics(source).items()
    ]


def decode(feed: Feed, value: bytes) -> Point:
    """The point of a result row's bytes."""
    query = STANDARD[feed.query]
    return point(query, feed.source, normal(query, orjson.loads(value)), within_ms=feed.within_ms)


class _Process:
    """What all of them share: the stop signal, the beat, and trying again when a peer is away."""

    def __init__(self, name: str, state: State) -> None:
        self.name = name
        self.state = state
        self.addresses = known(state)
        self.stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())

    def beat(self, **facts: Any) -> None:
        self.state.write(f"beats/{self.name}", {"pid": os.getpid(), "at": time.time(), **facts})

    def patiently(self, step: Callable[[], object]) -> None:
        """Call it again and again; what a peer's absence raises is logged once and tried again."""
        complained = ""
        while not self.stop.is_set():
            try:
                step()
                complained = ""
            except Exception as error:
                if str(error) != complained:
                    log.warning("%s: %s", type(error).__name__, error)
                    complained = str(error)
                self.stop.wait(0.5)


def writer(process: _Process) -> None:
    """Result topics to the store."""
    from rtap_lab.kafka.reader import TopicReader
    from rtap_lab.store.writer import Writer

    state, runs = process.state, Runs(process.state, process.addresses)
    store = open_store(state, process.addresses, state.read("settings")["store"])
    reader = TopicReader(process.addresses.kafka, "rtap-writer")
    job = Writer(store, reader, lambda: feeds(state, runs), decode)
    prepared = False

    def step() -> None:
        nonlocal prepared
        if not prepared:
            store.prepare()
            prepared = True
            process.beat()
        try:
            job.refresh()
            job.step(0.5)
        except Exception:
            job.forget()  # from the store's own offsets again
            raise

    process.patiently(step)
    store.close()


def hub(process: _Process) -> None:
    """Result topics to WebSocket clients."""
    import asyncio
    import secrets

    from rtap_lab.kafka.reader import TopicReader
    from rtap_lab.kafka.topics import Topics
    from rtap_lab.live.hub import HISTORY, Hub
    from rtap_lab.live.server import LiveServer

    runs = Runs(process.state, process.addresses)
    server = LiveServer(Hub(STANDARD, secrets.token_hex(4)))

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        await server.start(process.addresses.ports["hub"])
        await loop.run_in_executor(None, read, loop)
        await server.stop()

    def read(loop: asyncio.AbstractEventLoop) -> None:
        reader = TopicReader(process.addresses.kafka, "rtap-hub")
        topics = Topics(process.addresses.kafka)
        followed: dict[str, Feed] = {}
        positions: dict[str, int] = {}

        def step() -> None:
            nonlocal followed
            wanted = {feed.topic: feed for feed in feeds(process.state, runs)}
            if wanted != followed:
                ends = topics.ends(wanted, committed=True)
                for source in {f.source for t, f in wanted.items() if followed.get(t) != f}:
                    loop.call_soon_threadsafe(server.reset, source)
                for topic, feed in wanted.items():
                    if followed.get(topic) != feed:
                        positions[topic] = max(feed.begins, ends.get((topic, 0), 0) - HISTORY)
                reader.follow({topic: positions[topic] for topic in wanted})
                followed = wanted
            arrived = reader.poll(0.25)
            positions.update(arrived.positions)
            received_ms = time.time_ns() // 1_000_000
            rows: dict[str, list[dict[str, Any]]] = {}
            appended: dict[str, int] = {}
            for topic, offset, value, appended_ms in arrived.rows:
                if offset >= followed[topic].begins:
                    rows.setdefault(topic, []).append(orjson.loads(value))
                    appended[topic] = appended_ms
            for topic, new in rows.items():
                feed = followed[topic]
                publish = partial(
                    server.publish, feed.query, feed.source, new, appended_ms=appended[topic], received_ms=received_ms
                )
                loop.call_soon_threadsafe(publish)

        process.patiently(step)
        reader.close()

    asyncio.run(serve())


def ticker(process: _Process) -> None:
    """Time for silent partitions: a tick to each live partition that was silent for 200 ms."""
    from rtap_lab.kafka.clients import producer
    from rtap_lab.kafka.topics import Topics

    out = producer(process.addresses.kafka)
    topics = Topics(process.addresses.kafka)
    last: dict[int, int] = {}
    process.beat()

    def step() -> None:
        nonlocal last
        ends = {partition: end for (_, partition), end in topics.ends([LIVE_EVENTS]).items()}
        for partition in range(PARTITIONS):
            if ends.get(partition) == last.get(partition):
                out.produce(LIVE_EVENTS, b'{"event_type":"_tick"}', partition=partition)
        out.flush(5)
        # a tick moves the end too: it is not what breaks the silence
        last = {p: end + (end == last.get(p)) for p, end in ends.items()}
        process.stop.wait(0.2)

    process.patiently(step)


def auditor(process: _Process) -> None:
    """Keeps what no SQL sees: the content of rejected and late records."""
    from rtap_lab.kafka.auditor import Auditor

    auditor = Auditor(process.addresses.kafka, log.warning, process.state.read("audit") or {})
    process.beat()
    saved = time.monotonic()

    def step() -> None:
        nonlocal saved
        try:
            auditor.step(0.5)
        except Exception:
            auditor.rewind()
            raise
        if auditor.changed and time.monotonic() - saved > 1:
            saved, auditor.changed = time.monotonic(), False
            process.state.write("audit", auditor.counts)

    process.patiently(step)
    auditor.close()


_MAINS = {"writer": writer, "hub": hub, "ticker": ticker, "auditor": auditor}


def main() -> None:
    """Run the service that the arguments name."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    name, folder = sys.argv[1:]
    _MAINS[name](_Process(name, State(Path(folder))))


if __name__ == "__main__":
    main()
