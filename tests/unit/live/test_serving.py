"""What the server writes to its clients, over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from rtap_lab.live import server as serving
from rtap_lab.live.access import LIFE_S, holds, issue
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import SILENT, SLOW, UNAUTHORIZED, Encoding, Subscribe, authorize, encode, messages_of
from rtap_lab.live.server import LiveServer
from rtap_lab.queries.schema import Schema
from rtap_lab.stack.process import free_port

SCHEMA = Schema(keys={}, measures={"n": "integer", "text": "text"})


@asynccontextmanager
async def served() -> AsyncIterator[tuple[LiveServer, Callable[..., Awaitable[ClientConnection]]]]:
    """A server with one channel, and what makes a client of it."""
    port, server = free_port(), LiveServer(Hub("a hub", {"a": SCHEMA}), "secret")
    server.begin("a", "live", "run", 0)
    server.loaded("a", "live")
    await server.start(port)
    made: list[ClientConnection] = []

    async def client(encoding: Encoding = "json", **options: Any) -> ClientConnection:
        socket = await connect(f"ws://127.0.0.1:{port}", proxy=None, **options)
        made.append(socket)
        await socket.send(authorize(issue("secret", time.time()), encoding))
        return socket

    try:
        yield server, client
    finally:
        for socket in made:
            await socket.close()
        await server.stop()


def publish(server: LiveServer, *places: int, text: str = "") -> None:
    rows = [(n, {"window_start": "s", "window_end": "e", "n": n, "text": text}) for n in places]
    server.publish("a", "live", rows, appended_ms=1, received_ms=2)


async def received(socket: ClientConnection, until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while not found or not until(found[-1]):
        found += messages_of(await asyncio.wait_for(socket.recv(), 10))
    return found


async def closing_code(socket: ClientConnection) -> int | None:
    """Read to the end; the code that the server closed with, None when the end came without one."""
    try:
        while True:
            await asyncio.wait_for(socket.recv(), 10)
    except ConnectionClosed as ended:
        return ended.rcvd.code if ended.rcvd else None


def test_clients_of_both_encodings_and_a_slow_one_get_every_row() -> None:
    async def play() -> None:
        async with served() as (server, client):
            fast, packed, slow = await client(), await client("msgpack"), await client(max_queue=1)
            await fast.send(encode(Subscribe("a")))
            await packed.send(encode(Subscribe("a"), "msgpack"))
            await slow.send(encode(Subscribe("a", rate=2)))
            for socket in (fast, packed, slow):
                await received(socket, lambda message: message["type"] == "snapshot")
            began = time.monotonic()
            for n in range(1, 21):
                publish(server, n)
                await asyncio.sleep(0.02)
            for socket, rate in ((fast, 50), (packed, 50), (slow, 2)):
                messages = await received(socket, lambda message: message["seq"] == 20)
                assert [seq for message in messages for seq in message["seqs"]] == list(range(1, 21))
                assert len(messages) <= min(20, 2 + rate * (time.monotonic() - began))

    asyncio.run(play())


def test_who_reads_nothing_is_closed_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SLOW_S", 1.0)

    async def play() -> None:
        async with served() as (server, client):
            stuck, fine = await client(max_queue=1), await client()
            for socket in (stuck, fine):
                await socket.send(encode(Subscribe("a")))
                await received(socket, lambda message: message["type"] == "snapshot")
            stuck.transport.pause_reading()
            n, began = 0, time.monotonic()
            while server.hub.clients == 2 and time.monotonic() - began < 20:
                n += 1
                publish(server, n, text="x" * 100_000)
                messages = await received(fine, lambda message, n=n: message["seq"] == n)  # type: ignore[misc]
                assert [seq for message in messages for seq in message["seqs"]] == [n]
            assert server.hub.clients == 1
            stuck.transport.resume_reading()
            assert await closing_code(stuck) in (SLOW, None)

    asyncio.run(play())


def test_who_reads_slowly_but_steadily_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page behind a narrow link is busy with its first frames for longer than one that reads nothing is waited for."""
    monkeypatch.setattr(serving, "SLOW_S", 0.5)

    async def play() -> None:
        async with served() as (server, client):
            narrow = await client(max_size=None)
            await narrow.send(encode(Subscribe("a")))
            await received(narrow, lambda message: message["type"] == "snapshot")
            narrow.transport.pause_reading()
            (inside,) = server._encodings
            publish(server, *range(1, 501), text="x" * 100_000)
            await asyncio.sleep(0.1)
            left, began = inside.transport.get_write_buffer_size(), time.monotonic()
            assert left > 10_000_000
            while left > serving.FULL:  # some megabytes, then nothing for a while
                narrow.transport.resume_reading()
                goal = left - 2_000_000
                while inside.transport.get_write_buffer_size() > max(0, goal):
                    await asyncio.sleep(0.001)
                narrow.transport.pause_reading()
                await asyncio.sleep(0.2)
                left = inside.transport.get_write_buffer_size()
                assert server.hub.clients == 1, f"cut off with {left} bytes left"
            assert time.monotonic() - began > 2 * serving.SLOW_S
            narrow.transport.abort()

    asyncio.run(play())


def test_who_is_connected_gets_a_token_that_is_good_for_longer() -> None:
    async def play() -> None:
        async with served() as (_, client):
            socket = await client()
            await socket.send('{"type": "renew"}')
            (token,) = [
                m["token"] for m in await received(socket, lambda m: m["type"] == "token") if m["type"] == "token"
            ]
            assert holds("secret", token, time.time() + LIFE_S - 60)

    asyncio.run(play())


def test_a_quiet_hub_cuts_off_who_reads_nothing_and_ends_at_once_beside_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(slow_s: float) -> float:
        monkeypatch.setattr(serving, "SLOW_S", slow_s)
        async with served() as (server, client):
            stuck = await client(max_queue=1)
            await stuck.send(encode(Subscribe("a")))
            await received(stuck, lambda message: message["type"] == "snapshot")
            stuck.transport.pause_reading()
            (inside,) = server._encodings
            n = 0
            while inside.transport.get_write_buffer_size() <= serving.FULL:
                n += 1
                publish(server, n, text="x" * 100_000)
                await asyncio.sleep(0.01)
            publish(server, n + 1)  # and nothing more
            if slow_s < 5:
                async with asyncio.timeout(5):
                    while server.hub.clients:
                        await asyncio.sleep(0.05)
            began = time.monotonic()
            await server.stop()
            took = time.monotonic() - began
            stuck.transport.abort()
            return took

    assert asyncio.run(play(0.5)) < 3
    assert asyncio.run(play(60)) < 5, "it need not be cut off before"


def test_a_flood_of_requests_is_closed_and_a_bad_one_is_answered() -> None:
    async def play() -> None:
        async with served() as (_, client):
            socket = await client()
            await socket.send('{"type": "subscribe", "channel": "zzz", "ref": "mine"}')
            found = await received(socket, lambda message: message["type"] == "error")
            assert (found[-1]["ref"], "zzz" in found[-1]["message"]) == ("mine", True)
            await socket.send(json.dumps({"type": "history", "channel": "a", "begin_ms": 0, "end_ms": 1, "ref": "h"}))
            found = await received(socket, lambda message: message["type"] == "error")
            assert found[-1]["message"] == "this hub knows nothing of the past"
            for _ in range(600):
                await socket.send('{"type": "ping"}')
            assert await closing_code(socket) == SLOW

    asyncio.run(play())


def test_who_says_nothing_too_much_or_comes_when_all_places_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PATIENCE_S", 0.3)
    monkeypatch.setattr(serving, "CLIENTS", 1)

    async def play() -> None:
        async with served() as (server, client):
            port = server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            silent = await connect(f"ws://127.0.0.1:{port}", proxy=None)
            assert await closing_code(silent) == SILENT
            stranger = await connect(f"ws://127.0.0.1:{port}", proxy=None)
            await stranger.send(authorize("no token of this lab"))
            assert await closing_code(stranger) == UNAUTHORIZED
            first = await client()
            await received(first, lambda message: message["type"] == "hello")
            with pytest.raises(InvalidStatus) as refused:
                await client()
            assert refused.value.response.status_code == 503
            await first.send(json.dumps({"type": "subscribe", "channel": "a" * 70_000}))
            assert await closing_code(first) == 1009, "a message of more than 64 KiB"
            again = await client()
            await received(again, lambda message: message["type"] == "hello")

    asyncio.run(play())
