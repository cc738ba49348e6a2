"""What a client holds, and how it stays in step with the hub: `hub_client.js` does the same. Pure.

It never shows a gap, a row twice, or less than it has shown before of the same run: a message that does not follow is left out,
and the hub is asked to go on from where the client is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from rtap_lab.errors import LiveError
from rtap_lab.live.protocol import Position, Subscribe
from rtap_lab.live.views import Held

MISMATCHES = 3
"""Checksums in turn that may be others than the hub's."""


@dataclass
class _Followed:
    request: Subscribe
    view: str = ""
    columns: list[str] | None = None
    """None: the hub has not answered."""
    latest_by: list[str] | None = None
    held: Held | None = None
    """None: no snapshot has come."""
    epoch: str = ""
    seq: int = 0
    lost: bool = True
    """Whether the hub does not follow it: it is asked for when the hub has its query."""
    mismatches: int = 0
    """How often in turn the checksum was another than the hub's."""


class Replica:
    """The views that a client follows.

    Args:
        requests: What it follows; each has a `ref` of its own.
    """

    def __init__(self, requests: Iterable[Subscribe]) -> None:
        named = [
            request if request.ref else msgspec.structs.replace(request, ref=f"{request.channel}/{request.source}")
            for request in requests
        ]
        self._followed = {request.ref: _Followed(request) for request in named}
        self._asks: list[Subscribe] = []
        self._channels: set[str] = set()
        """Queries that the hub has."""

    def connected(self) -> None:
        """A connection was made: everything is asked for, from where it is, once the hub has said what it has."""
        self._channels, self._asks = set(), []
        for each in self._followed.values():
            each.columns, each.lost = None, True

    def asks(self) -> list[Subscribe]:
        """What is to be sent to the hub; each is given once."""
        found, self._asks = self._asks, []
        return found

    def held(self, ref: str) -> Held | None:
        """What is held of a view; None before its first snapshot."""
        return self._followed[ref].held

    def position(self, ref: str) -> Position:
        """How far a view is."""
        return Position(self._followed[ref].epoch, self._followed[ref].seq)

    def receive(self, message: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """A message of the hub came.

        Returns:
            The views that changed by it, by their `ref`, each with the message.
        """
        kind = message["type"]
        if kind == "hello":
            self._greeted(set(message["channels"]))
        elif kind == "unsubscribed":
            self._lost(message["ref"])
        elif kind == "subscribed":
            self._answered(message)
        elif kind in ("snapshot", "update"):
            take = self._begin if kind == "snapshot" else self._go_on
            of_view = [
                each for each in self._followed.values() if each.columns is not None and each.view == message["view"]
            ]
            return [(each.request.ref, message) for each in of_view if take(each, message)]
        return []

    def _greeted(self, channels: set[str]) -> None:
        self._channels = channels
        for each in self._followed.values():
            if each.lost and each.request.channel in channels:
                self._ask(each)

    def _lost(self, ref: str) -> None:
        """The hub follows it no longer: its query went, or has other columns now."""
        each = self._followed.get(ref)
        if each is not None:
            each.columns, each.lost = None, True
            if each.request.channel in self._channels:
                self._ask(each)

    def _ask(self, each: _Followed) -> None:
        resume = Position(each.epoch, each.seq) if each.held is not None else None
        each.lost = False
        each.columns = None  # what comes until the answer is of an earlier question
        self._asks.append(msgspec.structs.replace(each.request, resume=resume))

    def _answered(self, message: dict[str, Any]) -> None:
        each = self._followed.get(message["ref"])
        if each is not None:
            each.view, each.columns, each.latest_by = message["view"], message["columns"], message["latest_by"]

    def _begin(self, each: _Followed, message: dict[str, Any]) -> bool:
        if each.held is not None and message["epoch"] == each.epoch and message["seq"] < each.seq:
            self._ask(each)  # the hub has not read so far yet
            return False
        held = Held(each.columns or [], each.latest_by or [])
        for seq, row in zip(message["seqs"], message["rows"], strict=True):
            held.put(seq, row)
        held.forget(message["forgotten"])
        each.held, each.epoch, each.seq = held, message["epoch"], message["seq"]
        return self._agrees(each, message)

    def _go_on(self, each: _Followed, message: dict[str, Any]) -> bool:
        if each.held is None:
            return False
        if message["epoch"] == each.epoch and message["seq"] <= each.seq and message["prev_seq"] != each.seq:
            return False  # it has that
        if message["epoch"] != each.epoch or message["prev_seq"] != each.seq:
            self._ask(each)
            return False
        for seq, row in zip(message["seqs"], message["rows"], strict=True):
            each.held.put(seq, row)
        each.held.forget(message["forgotten"])
        each.seq = message["seq"]
        return self._agrees(each, message) and bool(message["rows"])

    def _agrees(self, each: _Followed, message: dict[str, Any]) -> bool:
        """Whether what is held has the hub's checksum; else it is dropped, and asked for anew."""
        assert each.held is not None
        if each.held.checksum == message["checksum"]:
            each.mismatches = 0
            return True
        each.mismatches += 1
        if each.mismatches > MISMATCHES:
            raise LiveError(f"hub: {each.request.ref} is out of step again and again: hub and client hash differently")
        each.held = None
        self._ask(each)
        return False
