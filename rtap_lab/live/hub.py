"""The hub's logic: channels with a bounded past, clients with a bounded queue. Pure, not thread-safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rtap_lab.errors import LiveError
from rtap_lab.live.protocol import Request, hello

HISTORY = 2_000
"""Rows a channel remembers, for snapshots."""

QUEUE = 256
"""Messages a client may be behind; a slower one gets a snapshot instead of what it missed."""

SUBSCRIPTIONS = 256
"""Channels of sources that one client may follow."""

Row = dict[str, Any]
Place = tuple[str, str]
"""Channel and source."""


@dataclass
class _Channel:
    seq: int = 0
    first_row: str = ""
    """When the first row can be there, in words; for as long as there is none."""
    rows: deque[Row] = field(default_factory=lambda: deque(maxlen=HISTORY))


@dataclass
class _Client:
    """What it is sent is bounded by what it follows, however much it asks for and however little it reads."""

    queue: deque[dict[str, Any]] = field(default_factory=deque)
    subscribed: set[Place] = field(default_factory=set)
    due: set[Place] = field(default_factory=set)
    """Channels of which a snapshot is due: made when it is sent, in place of the updates until then."""
    greet: bool = True
    """Whether a greeting is due."""


class Hub:
    """Channels and clients.

    Args:
        channels: The names of the channels that there are now; `set_channels` changes them.
        epoch: Names this life of the hub.
    """

    def __init__(self, channels: Iterable[str], epoch: str) -> None:
        self.names = frozenset(channels)
        self.epoch = epoch
        self._channels: dict[Place, _Channel] = {}
        self._clients: dict[object, _Client] = {}

    @property
    def clients(self) -> int:
        return len(self._clients)

    def set_channels(self, names: Iterable[str]) -> set[object]:
        """Queries came or went: clients are reached with a new greeting; what is gone is forgotten."""
        wanted = frozenset(names)
        if wanted == self.names:
            return set()
        self.names = wanted
        for place in [place for place in self._channels if place[0] not in wanted]:
            del self._channels[place]
        for client in self._clients.values():
            client.greet = True
            client.due = {place for place in client.due if place[0] in wanted}
            client.subscribed = {place for place in client.subscribed if place[0] in wanted}
            client.queue = deque(m for m in client.queue if "channel" not in m or m["channel"] in wanted)
        return set(self._clients)

    def connect(self, client: object) -> None:
        """A client came; it is greeted."""
        self._clients[client] = _Client()

    def disconnect(self, client: object) -> None:
        """A client left."""
        self._clients.pop(client, None)

    def request(self, client: object, request: Request) -> None:
        """A client asked for something.

        Raises:
            LiveError: When it follows too much.
        """
        mine = self._clients[client]
        place = (request.channel, request.source)
        if request.type == "ping":
            if len(mine.queue) < QUEUE:  # one that reads nothing needs no answer
                mine.queue.append({"type": "pong"})
        elif request.type == "subscribe":
            if place not in mine.subscribed and len(mine.subscribed) >= SUBSCRIPTIONS:
                raise LiveError(f"a client may follow {SUBSCRIPTIONS} channels; unsubscribe from some")
            mine.subscribed.add(place)
            self._owe(mine, place)
        else:
            mine.subscribed.discard(place)
            mine.due.discard(place)

    @staticmethod
    def _owe(client: _Client, place: Place) -> None:
        """A snapshot is due; it holds what is queued of its channel."""
        client.queue = deque(m for m in client.queue if (m.get("channel"), m.get("source")) != place)
        client.due.add(place)

    def _snapshot(self, place: Place) -> dict[str, Any]:
        channel = self._channels.get(place) or _Channel()
        return {
            "type": "snapshot",
            "channel": place[0],
            "source": place[1],
            "epoch": self.epoch,
            "seq": channel.seq,
            "rows": list(channel.rows),
            "first_row": channel.first_row,
        }

    def describe(self, channel: str, source: str, first_row: str) -> set[object]:
        """Say when the first row of a channel can be there: its snapshots carry it. Returns who has something to read."""
        place = (channel, source)
        found = self._channels.setdefault(place, _Channel())
        if found.first_row == first_row:
            return set()
        found.first_row = first_row
        found.seq += 1
        return self._renew(place)

    def publish(self, channel: str, source: str, rows: list[Row], *, appended_ms: int, received_ms: int) -> set[object]:
        """Rows came; returns the clients that have something to read now."""
        place = (channel, source)
        kept = self._channels.setdefault(place, _Channel())
        kept.rows.extend(rows)
        kept.seq += 1
        message = {
            "type": "update",
            "channel": channel,
            "source": source,
            "seq": kept.seq,
            "prev_seq": kept.seq - 1,
            "rows": rows,
            "appended_ms": appended_ms,
            "received_ms": received_ms,
        }
        return self._send_to(place, message)

    def reset(self, channel: str, source: str) -> set[object]:
        """A new run began: the channel is empty again."""
        place = (channel, source)
        found = self._channels.get(place)
        if found is None:
            return set()
        found.rows.clear()
        found.seq += 1
        return self._renew(place)

    def _followers(self, place: Place) -> dict[object, _Client]:
        return {key: client for key, client in self._clients.items() if place in client.subscribed}

    def _renew(self, place: Place) -> set[object]:
        followers = self._followers(place)
        for client in followers.values():
            self._owe(client, place)
        return set(followers)

    def _send_to(self, place: Place, message: dict[str, Any]) -> set[object]:
        followers = self._followers(place)
        for client in followers.values():
            if len(client.queue) >= QUEUE:
                self._owe(client, place)
            elif place not in client.due:
                client.queue.append(message)
        return set(followers)

    def take(self, client: object) -> list[dict[str, Any]]:
        """What a client should be sent now; empties its queue."""
        mine = self._clients.get(client)
        if mine is None:
            return []
        messages = [hello(self.epoch, self.names)] if mine.greet else []
        messages += mine.queue
        messages += [self._snapshot(place) for place in sorted(mine.due)]
        mine.greet = False
        mine.queue.clear()
        mine.due.clear()
        return messages
