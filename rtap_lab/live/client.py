"""A client of the hub that stays in step: it knows gaps, and comes back after a disconnect."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import LiveError
from rtap_lab.live.access import issue
from rtap_lab.live.protocol import UNAUTHORIZED, VERSION, authorize, encode
from rtap_lab.settings import LIVE

Row = dict[str, Any]


def _secret(hub: Endpoint) -> str:
    if not hub.secret:
        raise LiveError(f"hub: {hub} asks for a token, and there is no secret to make one from")
    return hub.secret


def _introduce(hub: Endpoint) -> str:
    """What a client says first; each connection has a fresh token."""
    return authorize(issue(_secret(hub), time.time()))


def ping(hub: Endpoint) -> str | None:
    """None when the hub greets."""
    with connect(hub.address, open_timeout=2, close_timeout=0.2, proxy=None) as socket:
        socket.send(_introduce(hub))
        greeting = json.loads(socket.recv(timeout=2))
    ours = greeting.get("type") == "hello" and greeting.get("protocol") == VERSION
    return None if ours else "no greeting of this version"


def snapshots(hub: Endpoint, channels: Collection[str], source: str, *, patience: float = 10.0) -> dict[str, list[Row]]:
    """What a new client is shown of each channel first: its rows, as they were published.

    Args:
        hub: Where the hub is, and its secret.
        channels: Names of queries.
        source: Whose.
        patience: Seconds to wait at most.

    Raises:
        LiveError: When the hub does not answer, or refuses.
    """
    found: dict[str, list[Row]] = {}
    deadline = time.monotonic() + patience
    try:
        with connect(hub.address, open_timeout=5, close_timeout=0.5, max_size=None, proxy=None) as socket:
            socket.send(_introduce(hub))
            for name in channels:
                socket.send(_subscribe(name, source))
            while set(channels) - found.keys():
                message = json.loads(socket.recv(timeout=max(0.0, deadline - time.monotonic())))
                if message["type"] == "error":
                    raise LiveError(f"hub: {message['message']}")
                if message["type"] == "snapshot":
                    found[message["channel"]] = message["rows"]
    except (OSError, TimeoutError, WebSocketException) as error:
        raise LiveError(f"hub: {hub} does not answer: {error}", hint="`rtap status`") from error
    return found


def watch(
    hub: Endpoint,
    channels: Iterable[str],
    *,
    source: str = LIVE,
    stop: threading.Event | None = None,
    reconnect: bool = True,
) -> Iterator[dict[str, Any]]:
    """Yield snapshots and updates of channels, each with `client_ms`, when it was received.

    Args:
        hub: Where the hub is, and its secret.
        channels: Names of queries.
        source: Whose.
        stop: Ends it from another thread.
        reconnect: Whether to come back after a disconnect (with new snapshots).

    Raises:
        LiveError: When the hub refuses a request, or is not there and `reconnect` is off.
    """
    stop = stop or threading.Event()
    names = list(channels)
    while not stop.is_set():
        try:
            with connect(hub.address, open_timeout=5, close_timeout=0.5, max_size=None, proxy=None) as socket:
                socket.send(_introduce(hub))
                for name in names:
                    socket.send(_subscribe(name, source))
                have: dict[str, int] = {}
                while not stop.is_set():
                    try:
                        message = json.loads(socket.recv(timeout=0.25))
                    except TimeoutError:
                        continue
                    if message["type"] == "error":
                        raise LiveError(f"hub: {message['message']}")
                    if message["type"] not in ("snapshot", "update"):
                        continue
                    name = message["channel"]
                    if message["type"] == "update":
                        if message["seq"] <= have.get(name, -1):
                            continue
                        if message["prev_seq"] != have.get(name):
                            socket.send(_subscribe(name, source))
                            continue
                    have[name] = message["seq"]
                    message["client_ms"] = time.time_ns() / 1e6
                    yield message
        except (OSError, ConnectionClosed, WebSocketException) as error:
            if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code == UNAUTHORIZED:
                raise LiveError(
                    f"hub: {hub} does not know this lab's token", hint="is RTAP_STATE this lab's?"
                ) from error
            if not reconnect:
                raise LiveError(f"hub: {hub} does not answer: {error}", hint="`rtap status`") from error
            stop.wait(0.3)


def _subscribe(channel: str, source: str) -> str:
    return encode({"type": "subscribe", "channel": channel, "source": source})
