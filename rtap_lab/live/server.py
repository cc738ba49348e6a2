"""Sockets around the hub, and the browser's module over HTTP.

What is sent is written by one pass over the clients that have something to read: a frame is made once for all that are at the
same place, and handed to their transports. A transport that is full is left alone until it is not.
"""

from __future__ import annotations

import asyncio
import heapq
import importlib.resources
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response
from websockets.protocol import State

from rtap_lab.errors import LiveError, RtapLabError
from rtap_lab.live.access import holds, issue
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import (
    MODULE,
    SILENT,
    SLOW,
    UNAUTHORIZED,
    Encoding,
    EventRows,
    Events,
    History,
    HistoryRows,
    Latest,
    LatestEvents,
    Message,
    Notice,
    Question,
    Renew,
    Row,
    Token,
    error,
    frame,
    parse_authorize,
    parse_request,
    ref_of,
)
from rtap_lab.queries.schema import Schema
from rtap_lab.settings import LOCAL

log = logging.getLogger("rtap")

CLIENTS = 12_000
"""Connections at a time."""

PATIENCE_S = 5.0
"""Seconds that a client has to say who it is."""

SLOW_S = 30.0
"""Seconds that a client may read nothing of a full transport: then it is cut off, and may come back to where it was."""

FULL = 32_768
"""Bytes in a client's transport from which on it gets nothing more; below what asyncio waits for (64 KiB)."""

REQUESTS = 50
"""Requests a second that a client may make, on average; six times as many at once: a page that opens asks for all it shows."""

QUESTIONS = 4
"""Questions about the past that a client may have at a time; the next waits."""

SWEEP_S = 1.0
"""Seconds between two looks for clients that nothing was said to for long."""

Answering = Callable[[Question], dict[str, Any]]
"""The fields of the answer to a question about the past, but its `ref`; it may take its time: it runs in a thread."""

_ANSWERS: dict[type, Any] = {History: HistoryRows, Events: EventRows, Latest: LatestEvents}


class LiveServer:
    """Serves a hub on 127.0.0.1.

    Browsers apply no same-origin rule to WebSockets, so a page of another site is refused by its
    Origin; programs send none. Page or program, what a client says first is its token.

    Args:
        hub: Channels and clients.
        secret: What tokens are made from.
        answering: Answers questions about the past; None: nothing does.
        hosts: Names under which pages and programs may come.
    """

    def __init__(
        self, hub: Hub, secret: str, answering: Answering | None = None, *, hosts: frozenset[str] = LOCAL
    ) -> None:
        self.hub = hub
        self._secret = secret
        self._answering = answering
        self._hosts = hosts
        self._encodings: dict[ServerConnection, Encoding] = {}
        self._to_serve: set[ServerConnection] = set()
        """Clients that may have something to read."""
        self._full: dict[ServerConnection, tuple[int, float]] = {}
        """Clients whose transport is full: how many bytes were in it at least, and since when that many."""
        self._due: list[tuple[float, int, ServerConnection]] = []
        """A heap: when a client gets what a rate holds back; only what `_when` says counts."""
        self._when: dict[ServerConnection, float] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._number = itertools.count()
        self._server: Server | None = None

    async def start(self, port: int) -> None:
        """Listen.

        Raises:
            OSError: When the port is taken.
        """
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            port,
            compression=None,
            max_size=65_536,
            process_request=self._check,
            ping_interval=20,
            ping_timeout=SLOW_S,
            open_timeout=PATIENCE_S,  # a browser opens connections that it may need; to stop waits for them
            close_timeout=2,
        )
        self._look_for_idle()

    async def stop(self) -> None:
        """Close all connections (going away) and stop listening."""
        for each in (self._alarm, self._sweep):
            if each is not None:
                each.cancel()
        for client in self._encodings:  # to say goodbye to one that reads nothing would take for ever
            if client.transport.get_write_buffer_size() > FULL:
                client.transport.abort()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _check(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
        if origin is not None and urlsplit(origin).hostname not in self._hosts:
            return connection.respond(403, "only pages of this machine may connect\n")
        if urlsplit(f"//{host}").hostname not in self._hosts:  # a name of somebody else's that was made to point here
            return connection.respond(403, "this is reached as 127.0.0.1 or localhost only\n")
        if request.path == MODULE:
            return _module(origin)
        if self.hub.clients >= CLIENTS:
            return connection.respond(503, f"there are {CLIENTS} clients already\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                who = parse_authorize(await connection.recv())
        except TimeoutError:
            await connection.close(SILENT, f"nothing was said within {PATIENCE_S:.0f} s")
            return
        except LiveError:
            who = None
        except ConnectionClosed:
            return
        if who is None or not holds(self._secret, who.token, time.time()):
            await connection.close(UNAUTHORIZED, "the first message must be authorize, with a token of this lab")
            return
        self.hub.connect(connection)
        self._encodings[connection] = who.encoding
        self._wake_up([connection])
        allowance, questions = _Allowance(), set[asyncio.Task[None]]()
        try:
            async for data in connection:
                if not allowance.take():
                    await connection.close(SLOW, f"more than {REQUESTS} requests a second")
                    break
                await self._request(connection, data, who.encoding, questions)
                self._wake_up([connection])
        except ConnectionClosed:
            pass  # how a client leaves is its own business
        finally:
            for each in questions:
                each.cancel()
            del self._encodings[connection]
            self._to_serve.discard(connection)
            self._full.pop(connection, None)
            self._when.pop(connection, None)
            self.hub.disconnect(connection)

    async def _request(
        self, connection: ServerConnection, data: str | bytes, encoding: Encoding, questions: set[asyncio.Task[None]]
    ) -> None:
        try:
            request = parse_request(data, encoding)
        except RtapLabError as refused:
            await connection.send(frame([error(refused.message, ref_of(data, encoding))], encoding))
            return
        if isinstance(request, Question):  # it may take long: meanwhile the client is heard
            if len(questions) >= QUESTIONS:
                await asyncio.wait(questions, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._answer(connection, request, encoding))
            questions.add(task)
            task.add_done_callback(questions.discard)
            return
        if isinstance(request, Renew):  # who is connected had a good one
            await connection.send(frame([Message(Token(issue(self._secret, time.time())))], encoding))
            return
        try:
            self.hub.request(connection, request)
        except RtapLabError as refused:
            await connection.send(frame([error(refused.message, getattr(request, "ref", ""))], encoding))

    async def _answer(self, connection: ServerConnection, request: Question, encoding: Encoding) -> None:
        try:
            try:
                answer = await self._past(request, encoding)
            except RtapLabError as refused:
                answer = frame([error(refused.message, request.ref)], encoding)
            await connection.send(answer)
        except ConnectionClosed:
            pass  # how a client leaves is its own business
        except Exception as fault:
            log.exception("%s of %s", type(request).__name__, getattr(request, "channel", request.source))
            await connection.close(1011, f"a fault of the hub's: {type(fault).__name__}")

    async def _past(self, request: Question, encoding: Encoding) -> str | bytes:
        answering = self._answering
        if answering is None:
            raise LiveError("this hub knows nothing of the past")
        kind = _ANSWERS[type(request)]

        def read() -> str | bytes:  # and encode: there may be many rows
            return frame([Message(kind(request.ref, **answering(request)))], encoding)

        return await asyncio.to_thread(read)

    # --- what is sent ----------------------------------------------------------------------------

    def _wake_up(self, clients: Iterable[object]) -> None:
        found = [each for each in clients if isinstance(each, ServerConnection)]
        if found and not self._to_serve:
            asyncio.get_running_loop().call_soon(self._write)
        self._to_serve.update(found)

    def _write(self) -> None:
        """Write to every client what it should have now."""
        clients, self._to_serve = self._to_serve, set()
        now = asyncio.get_running_loop().time()
        frames: dict[tuple[Encoding, tuple[int, ...]], bytes] = {}
        kept: list[list[Message]] = []  # as long as their identities are keys
        for each in clients:
            if each not in self._encodings or each.state is not State.OPEN:
                continue
            if each.transport.get_write_buffer_size() > FULL:
                self._wait_for(each, now)
                continue
            self._full.pop(each, None)
            messages = self.hub.take(each, now)
            if messages:
                encoding = self._encodings[each]
                key = (encoding, tuple(map(id, messages)))
                if key not in frames:
                    frames[key] = _wire(messages, encoding)
                    kept.append(messages)
                each.transport.write(frames[key])
            due = self.hub.due_s(each)
            if due is not None:
                self._call_back(each, max(due, now))
        self._set_alarm()

    def _call_back(self, client: ServerConnection, at: float) -> None:
        if at < self._when.get(client, math.inf):
            self._when[client] = at
            heapq.heappush(self._due, (at, next(self._number), client))

    def _wait_for(self, client: ServerConnection, now: float) -> None:
        """A client's transport is full: look again soon, but not for ever where it reads nothing."""
        left = client.transport.get_write_buffer_size()
        least, since = self._full.get(client, (left + 1, now))
        if left < least:
            self._full[client] = (left, now)
        elif now - since > SLOW_S:
            client.transport.abort()  # a goodbye would wait behind what is not read
            return
        elif left > least:  # an answer came to what waits
            self._full[client] = (left, since)
        self._call_back(client, now + 0.1)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._due:
            self._alarm = asyncio.get_running_loop().call_at(self._due[0][0], self._ring)

    def _look_for_idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._wake_up(self.hub.idle(loop.time()))
        self._sweep = loop.call_later(SWEEP_S, self._look_for_idle)

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        clients = []
        while self._due and self._due[0][0] <= now:
            at, _, client = heapq.heappop(self._due)
            if self._when.get(client) == at:
                del self._when[client]
                clients.append(client)
        self._wake_up(clients)
        self._set_alarm()

    # --- what comes from the topics: call these on the server's loop -----------------------------

    def publish(self, channel: str, source: str, rows: Sequence[tuple[int, Row]], **times: int) -> None:
        """Rows came, each with its place."""
        self._wake_up(self.hub.publish(channel, source, rows, **times))

    def begin(self, channel: str, source: str, epoch: str, seq: int, **about: Any) -> None:
        """A run answers from now on."""
        self._wake_up(self.hub.begin(channel, source, epoch, seq, **about))

    def loaded(self, channel: str, source: str) -> None:
        """What was there of a run has been read."""
        self._wake_up(self.hub.loaded(channel, source))

    def end(self, channel: str, source: str) -> None:
        """No run answers any more."""
        self._wake_up(self.hub.end(channel, source))

    def notify(self, told: Notice) -> None:
        """Something became known of a run beside its rows."""
        self._wake_up(self.hub.notify(told))

    def set_channels(self, channels: Mapping[str, Schema]) -> None:
        """Queries came or went."""
        self._wake_up(self.hub.set_channels(channels))


class _Allowance:
    """Requests that a client may make now."""

    def __init__(self) -> None:
        self.left, self.at = 6.0 * REQUESTS, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self.left = min(6.0 * REQUESTS, self.left + (now - self.at) * REQUESTS) - 1
        self.at = now
        return self.left >= 0


def _wire(messages: list[Message], encoding: Encoding) -> bytes:
    """Messages as the bytes of one WebSocket frame: a server's are the same for every client."""
    data = frame(messages, encoding)
    if isinstance(data, str):
        return Frame(Opcode.TEXT, data.encode()).serialize(mask=False)
    return Frame(Opcode.BINARY, data).serialize(mask=False)


def _module(origin: str | None) -> Response:
    body = importlib.resources.files("rtap_lab.live").joinpath("hub_client.js").read_bytes()
    headers = Headers({"Content-Type": "text/javascript; charset=utf-8", "Content-Length": str(len(body))})
    headers["Cache-Control"] = "no-cache"
    if origin is not None:  # of this machine: it was looked at
        headers["Access-Control-Allow-Origin"] = origin
    return Response(200, "OK", headers, body)
