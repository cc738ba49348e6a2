"""Sockets around the hub: one task a client, woken when there is something to send, and the browser's module over HTTP."""

from __future__ import annotations

import asyncio
import importlib.resources
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from rtap_lab.errors import LiveError, RtapLabError
from rtap_lab.live.access import holds
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import (
    SILENT,
    SLOW,
    UNAUTHORIZED,
    Encoding,
    History,
    Message,
    Row,
    error,
    frame,
    parse_authorize,
    parse_request,
)
from rtap_lab.queries.schema import Schema
from rtap_lab.settings import LOCAL

CLIENTS = 12_000
"""Connections at a time."""

PATIENCE_S = 5.0
"""Seconds that a client has to say who it is."""

SLOW_S = 30.0
"""Seconds that a client may take to take one frame: then it is closed, and may come back to where it was."""

REQUESTS = 200
"""Requests a second that a client may make, on average; twice as many at once."""

MODULE = "/hub_client.js"
"""Where the browser's client is served, to pages of this machine."""

PastRows = Callable[[History], tuple[list[Row], bool]]
"""Rows of the past, and whether there are more; it may take its time: it runs in a thread."""


class LiveServer:
    """Serves a hub on 127.0.0.1.

    Browsers apply no same-origin rule to WebSockets, so a page of another site is refused by its
    Origin; programs send none. Page or program, what a client says first is its token.

    Args:
        hub: Channels and clients.
        secret: What tokens are made from.
        history: Gives rows of the past; None: there are none.
    """

    def __init__(self, hub: Hub, secret: str, history: PastRows | None = None) -> None:
        self.hub = hub
        self._secret = secret
        self._history = history
        self._wake: dict[object, asyncio.Event] = {}
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
            close_timeout=2,
        )

    async def stop(self) -> None:
        """Close all connections (going away) and stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _check(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
        if origin is not None and urlsplit(origin).hostname not in LOCAL:
            return connection.respond(403, "only pages of this machine may connect\n")
        if urlsplit(f"//{host}").hostname not in LOCAL:  # a name of somebody else's that was made to point here
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
        wake = asyncio.Event()
        self.hub.connect(connection)
        self._wake[connection] = wake
        wake.set()
        sender = asyncio.create_task(self._send(connection, wake, who.encoding))
        allowance = _Allowance()
        try:
            async for data in connection:
                if not allowance.take():
                    await connection.close(SLOW, f"more than {REQUESTS} requests a second")
                    break
                await self._request(connection, data, who.encoding)
                wake.set()
        except ConnectionClosed:
            pass  # how a client leaves is its own business
        finally:
            sender.cancel()
            self._wake.pop(connection, None)
            self.hub.disconnect(connection)

    async def _request(self, connection: ServerConnection, data: str | bytes, encoding: Encoding) -> None:
        ref = ""
        try:
            request = parse_request(data, encoding)
            ref = getattr(request, "ref", "")
            if isinstance(request, History):
                await connection.send(frame([await self._past(request)], encoding))
            else:
                self.hub.request(connection, request)
        except RtapLabError as refused:
            await connection.send(frame([error(refused.message, ref)], encoding))

    async def _past(self, request: History) -> Message:
        if self._history is None:
            raise LiveError("this hub has no history")
        rows, more = await asyncio.to_thread(self._history, request)
        return Message({"type": "history", "ref": request.ref, "rows": rows, "more": more})

    async def _send(self, connection: ServerConnection, wake: asyncio.Event, encoding: Encoding) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                due = self.hub.due_s(connection)  # what a rate holds back, or a sign of life
                alarm = None if due is None else loop.call_at(due, wake.set)
                await wake.wait()
                wake.clear()
                if alarm:
                    alarm.cancel()
                messages = self.hub.take(connection, loop.time())
                if messages:
                    async with asyncio.timeout(SLOW_S):
                        await connection.send(frame(messages, encoding))
        except TimeoutError:
            await connection.close(SLOW, f"a frame was not taken within {SLOW_S:.0f} s")
        except ConnectionClosed:
            pass

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

    def set_channels(self, channels: Mapping[str, Schema]) -> None:
        """Queries came or went."""
        self._wake_up(self.hub.set_channels(channels))

    def _wake_up(self, clients: Iterable[object]) -> None:
        for client in clients:
            if client in self._wake:
                self._wake[client].set()


class _Allowance:
    """Requests that a client may make now."""

    def __init__(self) -> None:
        self.left, self.at = 2.0 * REQUESTS, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self.left = min(2.0 * REQUESTS, self.left + (now - self.at) * REQUESTS) - 1
        self.at = now
        return self.left >= 0


def _module(origin: str | None) -> Response:
    body = importlib.resources.files("rtap_lab.live").joinpath("hub_client.js").read_bytes()
    headers = Headers({"Content-Type": "text/javascript; charset=utf-8", "Content-Length": str(len(body))})
    headers["Cache-Control"] = "no-cache"
    if origin is not None:  # of this machine: it was looked at
        headers["Access-Control-Allow-Origin"] = origin
    return Response(200, "OK", headers, body)
