"""The hub's logic: channels with a bounded past, clients with a bounded queue. Pure, not thread-safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rtap_lab.live.protocol import Request, hello

HISTORY = 2_000
"""Rows a channel remembers, for snapshots."""

QUEUE = 256
"""Messages a client may be behind; a slower one gets a snapshot instead of what it missed."""

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
    queue: deque[dict[str, Any]] = field(default_factory=deque)
    subscribed: set[Place] = field(default_factory=set)
    behind: set[Place] = field(default_factory=set)
    """Channels of which updates were dropped: a snapshot is due."""


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
            client.queue.append(hello(self.epoch, self.names))
        return set(self._clients)

    def connect(self, client: object) -> None:
        """A client came; it is greeted."""
        self._clients[client] = _Client(deque([hello(self.epoch, self.names)]))

    def disconnect(self, client: object) -> None:
        """A client left."""
        self._clients.pop(client, None)

    def request(self, client: object, request: Request) -> None:
        """A client asked for something."""
        mine = self._clients[client]
        place = (request.channel, request.source)
        if request.type == "ping":
            mine.queue.append({"type": "pong"})
        elif request.type == "subscribe":
            mine.subscribed.add(place)
            mine.behind.discard(place)
            mine.queue.append(self._snapshot(place))
        else:
            mine.subscribed.discard(place)
            mine.behind.discard(place)

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
        return self._send_to(place, self._snapshot(place))

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
        return self._send_to(place, self._snapshot(place))

    def _send_to(self, place: Place, message: dict[str, Any]) -> set[object]:
        reached: set[object] = set()
        for key, client in self._clients.items():
            if place not in client.subscribed:
                continue
            reached.add(key)
            if len(client.queue) >= QUEUE:
                kept = [m for m in client.queue if (m.get("channel"), m.get("source")) != place]
                client.queue = deque(kept)
                client.behind.add(place)
            elif place not in client.behind:
                client.queue.append(message)
        return reached

    def take(self, client: object) -> list[dict[str, Any]]:
        """What a client should be sent now; empties its queue."""
        mine = self._clients.get(client)
        if mine is None:
            return []
        messages = list(mine.queue)
        mine.queue.clear()
        messages += [self._snapshot(place) for place in sorted(mine.behind)]
        mine.behind.clear()
        return messages
