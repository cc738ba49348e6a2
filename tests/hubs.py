"""Real hubs in a thread: one over a topic of ours, that can be killed and come back; one over a simulated shop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from rtap_lab.endpoints import Endpoint
from rtap_lab.events.times import instant_text
from rtap_lab.lab import Lab
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import History, Latest, Question, Row, Verdict, Watermark
from rtap_lab.live.server import Answering, LiveServer
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.query import Catalog, Query
from rtap_lab.queries.schema import Schema
from rtap_lab.queries.waits import first_row
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event
from rtap_lab.services.past import behind
from rtap_lab.settings import JobParameters
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


class ShopHub:
    """The packaged queries of a simulated shop, recomputed by the reference engine, behind a real hub.

    Args:
        scenario: A packaged one.
        seconds: How long it was played.
        ahead_s: How long from now the newest event happens: so long its rows are news.
        left_out: Queries that no run answers.
        own: Queries beside the packaged ones.
    """

    def __init__(
        self,
        scenario: str,
        seconds: float,
        left_out: Collection[str] = (),
        ahead_s: float = 0,
        own: Collection[Query] = (),
    ) -> None:
        self.queries = Catalog([*packaged(JobParameters(gap_ms=20_000, within_ms=30_000)), *own])
        self.events = played(scenario, seconds, ahead_s)
        self.now_ms = self.events[-1].event_time
        self.rows = {query.name: self._rows(query) for query in self.queries if query.name not in left_out}
        self._times = {name: [self._time(name, row) for row in rows] for name, rows in self.rows.items()}
        self.endpoint = Endpoint(f"ws://127.0.0.1:{free_port()}", secret=SECRET)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def _rows(self, query: Query) -> list[Row]:
        schema = query.schema
        due = [row for row in rows_of(query.definition, self.events) if schema.row_time_ms(row) <= self.now_ms - 2_000]
        return schema.written(due)

    def _time(self, name: str, row: Row) -> int:
        schema = self.queries[name].schema
        return schema.point_time_ms(schema.normal(row))

    def _answer(self, asked: Question) -> dict[str, Any]:
        if isinstance(asked, Latest):
            newest = self.events[: -asked.limit - 1 : -1]
            about = [{"arrival": instant_text(e.event_time + 40), "place": f"0-{n}"} for n, e in enumerate(newest)]
            return {"events": [_told(event) | where for event, where in zip(newest, about, strict=True)]}
        query = self.queries[asked.channel]
        if isinstance(asked, History):
            times = zip(self.rows[query.name], self._times[query.name], strict=True)
            found = [row for row, at in times if asked.begin_ms <= at < asked.end_ms]
            return {"rows": found[-asked.limit :], "more": len(found) > asked.limit, "upto": len(self.rows[query.name])}
        begin_ms, end_ms, test = behind(query, asked.row)
        events = [event for event in self.events if begin_ms <= event.event_time < end_ms and test(event)]
        shown = [_told(event) for event in events]
        return {"events": shown[: asked.limit], "found": len(events), "complete": True, "reason": ""}

    def start(self) -> None:
        """Serve all rows, each query verified."""
        self._thread.start()
        self.back()

    def back(self) -> None:
        """Serve again, by a hub that knows nothing of the one before."""

        async def serve() -> None:
            self.server = LiveServer(Hub("a shop", {q.name: q.schema for q in self.queries}), SECRET, self._answer)
            name = "traffic_hop"  # the same again, as another source
            self.server.begin(name, "again", "run 2", 0)
            self.server.publish(name, "again", list(enumerate(self.rows[name], 1)), appended_ms=1, received_ms=2)
            self.server.loaded(name, "again")
            for name, rows in self.rows.items():
                query = self.queries[name]
                about = {"first_row": first_row(query.definition), "first_row_ms": self.now_ms + 1_800_000}
                self.server.begin(name, "live", "run 1", 0, due_ms=query.schema.absent_ms, bound_ms=5_000, **about)
                self.server.publish(name, "live", list(enumerate(rows, 1)), appended_ms=1, received_ms=2)
                self.server.loaded(name, "live")
                self.server.notify(Watermark(name, "live", "run 1", self.now_ms - 2_000))
                self.server.notify(Verdict(name, "live", "run 1", True, self.now_ms, self.now_ms, len(rows), 0))
            await self.server.start(int(self.endpoint.address.rpartition(":")[2]))

        asyncio.run_coroutine_threadsafe(serve(), self._loop).result(30)

    def away(self) -> None:
        """Serve no longer, until `back`."""
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(60)  # what is asked is answered first

    def publish(self, name: str, rows: list[Row], *, appended_ms: int, received_ms: int) -> None:
        """Rows that come now."""

        async def tell() -> None:
            place = len(self.rows[name])
            self.rows[name] += rows
            places = list(enumerate(rows, place + 1))
            self.server.publish(name, "live", places, appended_ms=appended_ms, received_ms=received_ms)

        asyncio.run_coroutine_threadsafe(tell(), self._loop).result(30)

    def stop(self) -> None:
        self.away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def _told(event: Event) -> dict[str, Any]:
    told = {name: value for name, value in asdict(event).items() if value is not None}
    return told | {"event_time": instant_text(event.event_time)}


def played(scenario: str, seconds: float, ahead_s: float) -> list[Event]:
    """The counted events of a packaged scenario, by their times; the newest happens so many seconds from now."""
    offline = Lab.offline()
    offline.simulate(scenario, seconds=seconds)
    events = sorted(offline._counted("live"), key=lambda event: event.event_time)
    shift_ms = time.time_ns() // 1_000_000 + round(ahead_s * 1000) - events[-1].event_time
    return [replace(event, event_time=event.event_time + shift_ms) for event in events]
