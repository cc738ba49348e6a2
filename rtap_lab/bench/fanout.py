"""How many clients one hub serves, how fast: a hub in a process of its own, rows on a fixed schedule, raw sockets that read.

The schedule is open: a row is due at its moment whether the one before has been written or not, and its age counts from then
(coordinated omission would hide what waited). The clients are as light as they can be, so that it is the hub that is measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import secrets
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import psutil

from rtap_lab.bench.pushers import ROW_BYTES, on_schedule
from rtap_lab.live.access import issue
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import Subscribe, authorize, encode
from rtap_lab.live.server import LiveServer
from rtap_lab.queries.schema import Schema
from rtap_lab.stack.process import free_port

CHANNEL = "fanout"
SCHEMA = Schema(keys={"page": "text"}, measures={"due_ns": "integer", "filling": "text"})

Server = Literal["hub", "broadcast", "sessions"]
"""The hub, or what is beside it in `bench.pushers`."""

_MARK = b"due_ns"
_DUE = re.compile(rb'due_ns"?:(\d+)')
_TIMED = 20
"""One client of so many notes the age of each row; the others count rows."""

_AT_ONCE = 200
"""Connections that are made at a time."""


@dataclass
class Fanout:
    """What was measured."""

    clients: int
    hertz: float
    seconds: float
    sent: int
    """Rows that were published."""
    received: int
    """Rows that all clients received together."""
    missing: int
    """Rows that some client did not receive."""
    doubled: int
    """Rows that some client received again."""
    lost_clients: int
    """Clients whose connection ended."""
    push_ms: dict[str, float]
    """From when a row was due to when a client had read it; of one client in twenty."""
    hub_cpu: float
    """Share of a core that the hub took."""
    hub_kb_per_client: float
    """Resident memory that an idle client takes."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Opening:
    """How a client begins."""

    words: tuple[str | bytes, ...] = ()
    """What it sends first."""
    begun: bytes = b'"snapshot"'
    """What a frame holds that tells it that it is there."""
    path: str = "/"
    headers: str = ""
    """More of its handshake, each line with its end."""


class _Reader(asyncio.Protocol):
    """A client: a handshake, a few words, then it counts what comes."""

    def __init__(self, opening: _Opening, *, timed: bool) -> None:
        self.opening = opening
        self.timed = timed
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rows = 0
        self.ages_ns: list[int] = []
        self.ended = False
        self._buffer = b""
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        host, port = transport.get_extra_info("peername")[:2]
        transport.write(
            f"GET {self.opening.path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"{self.opening.headers}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.time_ns()
        self._buffer += data
        if not self._open:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.splitlines()[0]:
                self._transport.abort()
                return
            self._open, self._buffer = True, rest
            for words in self.opening.words:
                self._send(0x81, words if isinstance(words, bytes) else words.encode())
        while (frame := self._frame()) is not None:
            kind, payload = frame
            if kind == 0x9:
                self._send(0x8A, payload)
            elif not self.ready.done():
                if self.opening.begun in payload:
                    self.ready.set_result(None)
            elif self.timed:
                for due in _DUE.findall(payload):
                    self.rows += 1
                    self.ages_ns.append(now - int(due))
            else:
                self.rows += payload.count(_MARK)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("the hub closed the connection"))

    def close(self) -> None:
        self._transport.abort()

    def _send(self, head: int, payload: bytes) -> None:
        """A client's frame is masked (RFC 6455, 5.3); a key of zeros leaves the bytes as they are."""
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self._transport.write(bytes([head]) + size + bytes(4) + payload)

    def _frame(self) -> tuple[int, bytes] | None:
        """The next whole frame: its opcode and payload."""
        if len(self._buffer) < 2:
            return None
        begin, size = 2, self._buffer[1] & 0x7F
        if size > 125:
            begin += 2 if size == 126 else 8
            size = int.from_bytes(self._buffer[2:begin], "big")
        if len(self._buffer) < max(begin, begin + size):
            return None
        payload, kind = self._buffer[begin : begin + size], self._buffer[0] & 0x0F
        self._buffer = self._buffer[begin + size :]
        return kind, payload


def _reader(opening: _Opening, number: int) -> Callable[[], _Reader]:
    return lambda: _Reader(opening, timed=number % _TIMED == 0)


def measure(clients: int, hertz: float, seconds: float, server: Server = "hub") -> Fanout:
    """Serve so many clients so many rows a second each.

    Args:
        clients: How many.
        hertz: Rows a second.
        seconds: For how long.
        server: The hub, or what is beside it (`bench.pushers`).

    Raises:
        ConnectionError: When it does not take all of them.
    """
    with ThreadPoolExecutor(1) as thread:  # a notebook's own thread has a loop that runs
        return thread.submit(asyncio.run, _server_and_clients(clients, hertz, seconds, server)).result()


async def _server_and_clients(clients: int, hertz: float, seconds: float, server: Server) -> Fanout:
    port, secret = free_port(), secrets.token_hex(16)
    pipe = asyncio.subprocess.PIPE
    module = ["rtap_lab.bench.fanout"] if server == "hub" else ["rtap_lab.bench.pushers", server]
    command = [sys.executable, "-m", *module, str(port), str(hertz), str(seconds)]
    environment = {**os.environ, "RTAP_FANOUT_SECRET": secret}
    hub = await asyncio.create_subprocess_exec(*command, env=environment, stdin=pipe, stdout=pipe)
    try:
        return await _measure(hub, port, _openings(server, port, secret), clients, hertz, seconds)
    finally:
        if hub.returncode is None:
            hub.kill()
        await hub.wait()


def _openings(server: Server, port: int, secret: str) -> Callable[[], _Opening]:
    """What makes the next client's beginning."""
    if server == "hub":
        token = issue(secret, time.time())
        return lambda: _Opening((authorize(token), encode(Subscribe(CHANNEL))))
    if server == "broadcast":
        return _Opening

    def session() -> _Opening:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{port}/", timeout=30
        ) as answer:
            page = answer.read().decode()
        (token, *_) = re.findall(r'"token":"([^"]+)"', page)
        headers = f"Origin: http://127.0.0.1:{port}\r\nSec-WebSocket-Protocol: bokeh, {token}\r\n"
        return _Opening(begun=b'"ACK"', path="/ws", headers=headers)

    return session


async def _measure(
    hub: asyncio.subprocess.Process,
    port: int,
    opening: Callable[[], _Opening],
    clients: int,
    hertz: float,
    seconds: float,
) -> Fanout:
    assert hub.stdin is not None
    assert hub.stdout is not None
    loop, process = asyncio.get_running_loop(), psutil.Process(hub.pid)
    await hub.stdout.readline()  # it listens
    before = process.memory_info().rss
    readers: list[_Reader] = []
    while len(readers) < clients:
        some = min(_AT_ONCE, clients - len(readers))
        openings = [await asyncio.to_thread(opening) for _ in range(some)]
        made = await asyncio.gather(
            *(
                loop.create_connection(_reader(each, len(readers) + n), "127.0.0.1", port)
                for n, each in enumerate(openings)
            )
        )
        readers += [reader for _, reader in made]
        await asyncio.wait_for(asyncio.gather(*(reader.ready for _, reader in made)), 60)
    idle_kb = (process.memory_info().rss - before) / 1024 / clients
    hub.stdin.write(b"go\n")
    said = json.loads(await hub.stdout.readline())
    sent = int(said["sent"])
    for _ in range(100):  # the last ones are on their way
        if all(reader.rows >= sent or reader.ended for reader in readers):
            break
        await asyncio.sleep(0.1)
    ages = np.concatenate([np.array(reader.ages_ns, dtype=np.int64) for reader in readers]) / 1e6
    lost = sum(reader.ended for reader in readers)
    for reader in readers:
        reader.close()
    return Fanout(
        clients,
        hertz,
        seconds,
        sent,
        sum(reader.rows for reader in readers),
        sum(max(0, sent - reader.rows) for reader in readers),
        sum(max(0, reader.rows - sent) for reader in readers),
        lost,
        _quantiles(ages),
        round(said["cpu_s"] / said["seconds"], 3),
        round(idle_kb, 1),
    )


def _quantiles(ages: np.ndarray[Any, Any]) -> dict[str, float]:
    if not len(ages):
        return {}
    found = {f"p{p}": round(float(np.percentile(ages, p)), 2) for p in (50, 95, 99)}
    return found | {"max": round(float(ages.max()), 2), "n": float(len(ages))}


async def serve(port: int, hertz: float, seconds: float, secret: str) -> None:
    """The hub's process: it listens, waits for a line, publishes on schedule, and says what that cost."""
    server = LiveServer(Hub("fanout", {CHANNEL: SCHEMA}), secret)
    server.begin(CHANNEL, "live", "run", 0)
    server.loaded(CHANNEL, "live")
    await server.start(port)
    filling, sent = "x" * ROW_BYTES, 0

    def publish(due_ns: int) -> None:
        nonlocal sent
        sent += 1
        row = {"window_start": "", "window_end": "", "page": "/", "due_ns": due_ns, "filling": filling}
        server.publish(CHANNEL, "live", [(sent, row)], appended_ms=0, received_ms=0)

    await on_schedule(publish, hertz, seconds)


def main(arguments: Sequence[str]) -> None:
    """`python -m rtap_lab.bench.fanout PORT HERTZ SECONDS`, the secret in the environment."""
    port, hertz, seconds = arguments
    asyncio.run(serve(int(port), float(hertz), float(seconds), os.environ["RTAP_FANOUT_SECRET"]))


if __name__ == "__main__":
    main(sys.argv[1:])
