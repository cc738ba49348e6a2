"""Sockets around the hub: one task a client, woken when there is something to send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from rtap_lab.errors import LiveError
from rtap_lab.live.access import holds
from rtap_lab.live.hub import Hub, Row
from rtap_lab.live.protocol import SILENT, UNAUTHORIZED, encode, parse_authorize, parse_request
from rtap_lab.settings import LOCAL

CLIENTS = 1_000
"""Connections at a time."""

PATIENCE_S = 5.0
"""Seconds that a client has to say who it is."""


class LiveServer:
    """Serves a hub on 127.0.0.1.

    Browsers apply no same-origin rule to WebSockets, so a page of another site is refused by its
    Origin; programs send none. Page or program, what a client says first is its token.

    Args:
        hub: Channels and clients.
        secret: What tokens are made from.
    """

    def __init__(self, hub: Hub, secret: str) -> None:
        self.hub = hub
        self._secret = secret
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
        )

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def _check(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        if self.hub.clients >= CLIENTS:
            return connection.respond(503, f"there are {CLIENTS} clients already\n")
        origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
        if origin is not None and urlsplit(origin).hostname not in LOCAL:
            return connection.respond(403, "only pages of this machine may connect\n")
        if urlsplit(f"//{host}").hostname not in LOCAL:  # a name of somebody else's that was made to point here
            return connection.respond(403, "this is reached as 127.0.0.1 or localhost only\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                token = parse_authorize(await connection.recv())
        except TimeoutError:
            await connection.close(SILENT, f"nothing was said within {PATIENCE_S:.0f} s")
            return
        except LiveError:
            token = None
        except ConnectionClosed:
            return
        if not holds(self._secret, token, time.time()):
            await connection.close(UNAUTHORIZED, "the first message must be authorize, with a token of this lab")
            return
        wake = asyncio.Event()
        self.hub.connect(connection)
        self._wake[connection] = wake
        wake.set()
        sender = asyncio.create_task(self._send(connection, wake))
        try:
            async for text in connection:
                try:
                    self.hub.request(connection, parse_request(text, self.hub.names))
                except LiveError as error:
                    await connection.send(encode({"type": "error", "message": error.message}))
                wake.set()
        except ConnectionClosed:
            pass  # how a client leaves is its own business
        finally:
            sender.cancel()
            self._wake.pop(connection, None)
            self.hub.disconnect(connection)

    async def _send(self, connection: ServerConnection, wake: asyncio.Event) -> None:
        try:
            while True:
                await wake.wait()
                wake.clear()
                for message in self.hub.take(connection):
                    await connection.send(encode(message))
        except ConnectionClosed:
            pass

    def publish(self, channel: str, source: str, rows: list[Row], **times: Any) -> None:
        """Rows came (call it on the server's loop)."""
        self._wake_up(self.hub.publish(channel, source, rows, **times))

    def reset(self, channel: str, source: str) -> None:
        """A new run began (call it on the server's loop)."""
        self._wake_up(self.hub.reset(channel, source))

    def describe(self, channel: str, source: str, first_row: str) -> None:
        """Say when the first row can be there (call it on the server's loop)."""
        self._wake_up(self.hub.describe(channel, source, first_row))

    def set_channels(self, names: Iterable[str]) -> None:
        """Queries came or went (call it on the server's loop)."""
        self._wake_up(self.hub.set_channels(names))

    def _wake_up(self, clients: set[object]) -> None:
        for client in clients:
            if client in self._wake:
                self._wake[client].set()
