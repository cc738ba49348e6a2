"""A reverse proxy that takes a prefix away, as jupyter-server-proxy does: `/lab/me/proxy/PORT/x` is `/x` at a port of this machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

NAME = "lab.localhost"
"""A name that browsers lead to this machine, and that nobody here takes for it."""
PREFIX = "/lab/me/proxy"
_DROPPED = {"connection", "upgrade", "content-length", "transfer-encoding", "content-encoding"}


class _Pages(RequestHandler):
    def compute_etag(self) -> None:
        return None

    def check_xsrf_cookie(self) -> None:
        pass

    async def get(self, port: str, path: str) -> None:
        query = f"?{self.request.query}" if self.request.query else ""
        headers = {k: v for k, v in self.request.headers.get_all() if k.lower() not in _DROPPED}
        wanted = HTTPRequest(
            f"http://127.0.0.1:{port}/{path}{query}",
            method=self.request.method or "GET",
            headers=headers,
            body=self.request.body or None,
            follow_redirects=False,
            request_timeout=30,
        )
        answer = await AsyncHTTPClient().fetch(wanted, raise_error=False)
        self.set_status(answer.code)
        self.clear_header("Content-Type")
        for name, value in answer.headers.get_all():
            if name.lower() not in _DROPPED:
                self.add_header(name, value)
        if answer.code not in (204, 304):
            self.finish(answer.body)

    post = get


class _Sockets(WebSocketHandler):
    other: WebSocketClientConnection | None = None

    def check_origin(self, origin: str) -> bool:
        return True  # who may come is what the hub and the dashboard decide

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[0] if subprotocols else None

    async def open(self, port: str, path: str) -> None:
        query = f"?{self.request.query}" if self.request.query else ""
        kept = ("Host", "Origin", "Cookie")
        headers = {name: self.request.headers[name] for name in kept if name in self.request.headers}
        protocols = [each.strip() for each in self.request.headers.get("Sec-WebSocket-Protocol", "").split(",") if each]
        address = HTTPRequest(f"ws://127.0.0.1:{port}/{path}{query}", headers=headers)
        try:
            self.other = await websocket_connect(
                address, on_message_callback=self._back, subprotocols=protocols or None, max_message_size=2**26
            )
        except Exception as error:
            self.close(1011, type(error).__name__)

    def _back(self, message: str | bytes | None) -> None:
        if message is None:
            self.close()
        elif self.ws_connection is not None:
            self.write_message(message, binary=isinstance(message, bytes))

    async def on_message(self, message: str | bytes) -> None:
        while self.other is None:  # the other side is still being connected
            await asyncio.sleep(0.01)
        self.other.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        if self.other is not None:
            self.other.close()


class _Both(RequestHandler):
    """A socket where one is asked for, else a page."""

    def __new__(cls, application: Application, request: object, **about: object) -> RequestHandler:  # type: ignore[misc]
        socket = request.headers.get("Upgrade", "").lower() == "websocket"  # type: ignore[attr-defined]
        return (_Sockets if socket else _Pages)(application, request, **about)  # type: ignore[arg-type]


@contextmanager
def proxy(port: int) -> Iterator[str]:
    """Serve it; yields the address of a port, as `rtap up --proxy` takes it."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        server = HTTPServer(Application([(rf"{PREFIX}/(\d+)/(.*)", _Both)]))
        server.listen(port, "127.0.0.1")
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"http://{NAME}:{port}{PREFIX}/{{port}}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
