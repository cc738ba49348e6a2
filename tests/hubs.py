"""A real hub in a thread, over a topic of ours, that can be killed and come back."""

from __future__ import annotations

import asyncio
import threading

from rtap_lab.endpoints import Endpoint
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import Row
from rtap_lab.live.server import Answering, LiveServer
from rtap_lab.queries.schema import Schema
from rtap_lab.stack.process import free_port

SECRET = "secret"


class HubThread:
    """One channel, `a`, on `live`.

    Args:
        schema: Of its rows.
        past: Gives rows of the past.
    """

    def __init__(self, schema: Schema, past: Answering | None = None) -> None:
        self.schema, self.past = schema, past
        self.port = free_port()
        self.endpoint = Endpoint(f"ws://127.0.0.1:{self.port}", secret=SECRET)
        self.topic: list[tuple[int, Row]] = []
        self.epoch = "run 1"

    def start(self) -> None:
        """Serve what the topic holds."""
        self._loop, ready = asyncio.new_event_loop(), threading.Event()

        async def serve() -> None:
            self._server = LiveServer(Hub("a hub", {"a": self.schema}), SECRET, self.past)
            self._server.begin("a", "live", self.epoch, 0)
            self._server.publish("a", "live", self.topic, appended_ms=1, received_ms=2)
            self._server.loaded("a", "live")
            await self._server.start(self.port)
            ready.set()

        def run() -> None:
            self._loop.run_until_complete(serve())
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def publish(self, *rows: tuple[int, Row]) -> None:
        """Rows come, each with its place."""
        self.topic += rows
        self._loop.call_soon_threadsafe(lambda: self._server.publish("a", "live", rows, appended_ms=1, received_ms=2))

    def stop(self) -> None:
        """End; the topic stays."""
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
