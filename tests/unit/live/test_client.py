"""The Python client, against a server in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import LiveError
from rtap_lab.live.client import history, ping, snapshots, watch
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import History, Row
from rtap_lab.live.server import LiveServer
from rtap_lab.queries.schema import Schema
from rtap_lab.stack.process import free_port

SCHEMA = Schema(keys={}, measures={"n": "integer"})


def row(n: int) -> Row:
    return {"window_start": "s", "window_end": "e", "n": n}


class Served:
    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = Endpoint(f"ws://127.0.0.1:{self.port}", secret="secret")
        self.topic: list[tuple[int, Row]] = []

    def start(self) -> None:
        self.loop, ready = asyncio.new_event_loop(), threading.Event()

        async def serve() -> None:
            self.server = LiveServer(
                Hub("a hub", {"a": SCHEMA}), "secret", lambda asked: ([row(asked.begin_ms)], False)
            )
            self.server.begin("a", "live", "run", 0)
            self.server.publish("a", "live", self.topic, appended_ms=1, received_ms=2)
            self.server.loaded("a", "live")
            await self.server.start(self.port)
            ready.set()

        def run() -> None:
            self.loop.run_until_complete(serve())
            self.loop.run_forever()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        assert ready.wait(10)

    def publish(self, *places: int) -> None:
        new = [(n, row(n)) for n in places]
        self.topic += new
        self.loop.call_soon_threadsafe(lambda: self.server.publish("a", "live", new, appended_ms=1, received_ms=2))

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    made.start()
    yield made
    made.stop()


def test_it_goes_on_from_where_it_was_when_the_hub_is_back(served: Served) -> None:
    served.publish(1, 2)
    seen: list[dict[str, Any]] = []
    stop = threading.Event()
    for message in watch(served.endpoint, ["a"], stop=stop):
        seen.append(message)
        if message["seq"] == 2:
            served.stop()
            served.topic.append((4, row(4)))
            served.start()
            served.publish(5)
        if message["seq"] == 5:
            stop.set()
    assert [message["type"] for message in seen].count("snapshot") == 1
    assert [each["n"] for message in seen for each in message["rows"]] == [1, 2, 4, 5]
    assert all(message["ref"] == "a/live" and message["client_ms"] > 0 for message in seen)


def test_greeting_snapshots_and_the_past(served: Served) -> None:
    served.publish(1)
    assert ping(served.endpoint) is None
    assert snapshots(served.endpoint, ["a"], "live") == {"a": [row(1)]}
    assert history(served.endpoint, History("a", 7, 9)) == ([row(7)], False)
    with pytest.raises(LiveError, match="'zzz' is not known"):
        snapshots(served.endpoint, ["zzz"], "live")
    with pytest.raises(LiveError, match="does not know this lab's token"):
        next(watch(Endpoint(served.endpoint.address, secret="guessed"), ["a"]))
    with pytest.raises(LiveError, match="does not answer"):
        next(watch(Endpoint(f"ws://127.0.0.1:{free_port()}", secret="secret"), ["a"], reconnect=False))
