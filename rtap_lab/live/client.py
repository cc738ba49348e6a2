"""A client of the hub that stays in step: it goes on from where it was after a disconnect, and shows no row twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import LiveError
from rtap_lab.live.access import issue
from rtap_lab.live.protocol import (
    UNAUTHORIZED,
    VERSION,
    Encoding,
    Question,
    Row,
    Subscribe,
    authorize,
    encode,
    messages_of,
)
from rtap_lab.live.replica import Replica
from rtap_lab.settings import LIVE

_FIRST_WAIT_S, _LAST_WAIT_S = 0.2, 1.0
"""Seconds between two attempts to come back: twice as many each time, half to all of them, so that not all come at once."""


@contextmanager
def _open(hub: Endpoint, encoding: Encoding = "json", patience: float = 5.0) -> Iterator[ClientConnection]:
    """A connection, introduced; each has a fresh token. Of several hubs it is one that answers, by chance."""
    if not hub.secret:
        raise LiveError(f"hub: {hub} asks for a token, and there is no secret to make one from")
    *others, last = random.sample(hub.each, len(hub.each))
    found: ClientConnection | None = None
    for each in others:
        with suppress(OSError, WebSocketException):  # the next shows the same
            found = _connected(each, patience)
            break
    with found or _connected(last, patience) as socket:
        socket.send(authorize(issue(hub.secret, time.time()), encoding))
        yield socket


def _connected(hub: Endpoint, patience: float) -> ClientConnection:
    return connect(hub.address, open_timeout=patience, close_timeout=0.5, max_size=None, proxy=None)


def ping(hub: Endpoint) -> str | None:
    """None when the hub greets."""
    with _open(hub, patience=2) as socket:
        greeting = messages_of(socket.recv(timeout=2))[0]
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
        with _open(hub) as socket:
            for name in channels:
                socket.send(encode(Subscribe(name, source)))
            while set(channels) - found.keys():
                for message in messages_of(socket.recv(timeout=max(0.0, deadline - time.monotonic()))):
                    if message["type"] == "error":
                        raise LiveError(f"hub: {message['message']}")
                    if message["type"] == "snapshot":
                        found[message["channel"]] = message["rows"]
    except (OSError, TimeoutError, WebSocketException) as error:
        raise LiveError(f"hub: {hub} does not answer: {error}", hint="`rtap status`") from error
    return found


def ask(hub: Endpoint, request: Question, *, patience: float = 30.0) -> dict[str, Any]:
    """Ask for the past: rows of a time range (`rows`, `more`), the events behind a row (`events`, `found`, `complete`), or the newest (`events`).

    Raises:
        LiveError: When the hub does not answer, or refuses.
    """
    deadline = time.monotonic() + patience
    try:
        with _open(hub) as socket:
            socket.send(encode(request))
            while True:
                for message in messages_of(socket.recv(timeout=max(0.0, deadline - time.monotonic()))):
                    if message["type"] == "error":
                        raise LiveError(f"hub: {message['message']}")
                    if message["type"] in ("history", "events", "latest"):
                        return message
    except (OSError, TimeoutError, WebSocketException) as error:
        raise LiveError(f"hub: {hub} does not answer: {error}", hint="`rtap status`") from error


def watch(
    hub: Endpoint,
    channels: Iterable[str | Subscribe],
    *,
    source: str = LIVE,
    stop: threading.Event | None = None,
    reconnect: bool = True,
    encoding: Encoding = "json",
) -> Iterator[dict[str, Any]]:
    """Yield snapshots and updates of channels in step, each with `client_ms`, when it was received, and its `ref`.

    A snapshot replaces all that was before; after a disconnect updates go on from where they were, unless the hub no longer
    keeps what was missed, or another run answers: then a snapshot comes, and its `reason` says so.

    Args:
        hub: Where the hub is, and its secret.
        channels: Names of queries, or what is asked of them.
        source: Whose, of those that are names.
        stop: Ends it from another thread.
        reconnect: Whether to come back after a disconnect.
        encoding: Of the messages.

    Raises:
        LiveError: When the hub refuses a request, or is not there and `reconnect` is off.
    """
    stop = stop or threading.Event()
    replica = Replica([Subscribe(each, source) if isinstance(each, str) else each for each in channels])
    wait = _FIRST_WAIT_S
    while not stop.is_set():
        try:
            with _open(hub, encoding) as socket:
                replica.connected()
                for message in _received(socket, replica, encoding, stop):
                    wait = _FIRST_WAIT_S
                    yield message
        except (OSError, ConnectionClosed, WebSocketException) as error:
            if isinstance(error, ConnectionClosed) and error.rcvd and error.rcvd.code == UNAUTHORIZED:
                raise LiveError(
                    f"hub: {hub} does not know this lab's token", hint="is RTAP_STATE this lab's?"
                ) from error
            if not reconnect:
                raise LiveError(f"hub: {hub} does not answer: {error}", hint="`rtap status`") from error
            stop.wait(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, _LAST_WAIT_S)


def _received(
    socket: ClientConnection, replica: Replica, encoding: Encoding, stop: threading.Event
) -> Iterator[dict[str, Any]]:
    while not stop.is_set():
        for request in replica.asks():
            socket.send(encode(request, encoding))
        try:
            data = socket.recv(timeout=0.25)
        except TimeoutError:
            continue
        received_ms = time.time_ns() / 1e6
        for message in messages_of(data):
            if message["type"] == "error":
                raise LiveError(f"hub: {message['message']}")
            for ref, each in replica.receive(message):
                yield each | {"ref": ref, "client_ms": received_ms}
