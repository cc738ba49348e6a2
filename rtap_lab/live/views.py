"""What the followers of a channel are shown: its newest rows, or the newest row of each key. Pure.

Hub and client hold the same: `View` is the hub's, `live.replica` the client's. What it holds is decided by the topic alone:
a row's place is its offset there, so that two hubs, or one hub before and after it was killed, show the same.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rtap_lab.live.checksum import row_hash
from rtap_lab.live.protocol import HISTORY, Message, Row, Snapshot, Subscribe, Update

_BITS = 0xFFFFFFFF


class Held:
    """Rows by place, and their checksum.

    Args:
        columns: The columns of the rows.
        latest_by: The key of which the newest row is held; empty: all rows are.
    """

    def __init__(self, columns: Sequence[str], latest_by: Sequence[str] = ()) -> None:
        self.columns = list(columns)
        self.latest_by = list(latest_by)
        self.checksum = 0
        self.forgotten = 0
        """The place up to which rows are held no longer."""
        self._rows: OrderedDict[Hashable, tuple[int, Row, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def newest(self) -> int | None:
        """The place of the newest row."""
        return next(reversed(self._rows.values()))[0] if self._rows else None

    def put(self, seq: int, row: Row) -> None:
        """A row came; `seq` is its place."""
        key: Hashable = tuple(row.get(name) for name in self.latest_by) if self.latest_by else seq
        before = self._rows.pop(key, None)
        hashed = row_hash(row, self.columns)
        self._rows[key] = (seq, row, hashed)
        self.checksum = (self.checksum + hashed - (before[2] if before else 0)) & _BITS

    def forget(self, seq: int) -> None:
        """Hold nothing up to a place."""
        self.forgotten = max(self.forgotten, seq)
        while self._rows:
            key, (place, _, hashed) = next(iter(self._rows.items()))
            if place > seq:
                break
            del self._rows[key]
            self.checksum = (self.checksum - hashed) & _BITS

    def rows(self) -> list[Row]:
        """The rows, in the order in which they came."""
        return [row for _, row, _ in self._rows.values()]

    def places(self) -> list[int]:
        """The place of each row."""
        return [seq for seq, _, _ in self._rows.values()]

    def since(self, seq: int) -> tuple[list[int], list[Row]]:
        """The places and rows after a place, in order."""
        places, rows = [], []
        for place, row, _ in reversed(self._rows.values()):
            if place <= seq:
                break
            places.append(place)
            rows.append(row)
        return places[::-1], rows[::-1]


def _kind(value: Any) -> str:
    return "bool" if isinstance(value, bool) else ""


@dataclass(frozen=True)
class Asked:
    """What a view shows."""

    channel: str
    source: str
    where: tuple[tuple[str, str, Any], ...] = ()
    """Column, whether it is a truth value ("bool") or not, and the value: 1 and true are equal in Python."""
    columns: tuple[str, ...] = ()
    latest_by: tuple[str, ...] = ()

    @staticmethod
    def by(request: Subscribe) -> Asked:
        """What a client asks to be shown."""
        return Asked(
            request.channel,
            request.source,
            tuple((name, _kind(value), value) for name, value in sorted(request.where.items())),
            tuple(request.columns),
            tuple(request.latest_by),
        )

    @property
    def name(self) -> str:
        """The view's name, as messages carry it: `CHANNEL/SOURCE`, and what is asked beside, as JSON."""
        beside = {
            "where": {name: value for name, _, value in self.where},
            "columns": list(self.columns),
            "latest_by": list(self.latest_by),
        }
        words = {name: value for name, value in beside.items() if value}
        return f"{self.channel}/{self.source}" + (f"?{json.dumps(words, separators=(',', ':'))}" if words else "")


@dataclass
class Channel:
    """A query's rows on a source: the newest, whatever clients ask."""

    columns: list[str]
    identity: list[str]
    time: str
    """The column that says when a row happened."""
    epoch: str = ""
    """The run that answers; "" when none does."""
    seq: int = 0
    """The place of the newest row."""
    begins: int = 0
    """The place after which the run's rows are."""
    loaded: bool = True
    """Whether what was there when the hub began has been read: before, nothing of it is shown."""
    provisional: bool = False
    """Whether rows may come again after a failure (`low_latency`): those that are held already are passed over."""
    first_row: str = ""
    """When the first row can be there, in words."""
    first_row_ms: int = 0
    """The same as a time, milliseconds since the epoch, if events came since the run began; 0: not known."""
    due_ms: int = 0
    """How long after its time a row is due: of what says that something did not happen."""
    bound_ms: int = 0
    """The lateness bound of the run: how long after its time, by the log's clock, an answer is due at the earliest."""
    appended_ms: int = 0
    received_ms: int = 0
    """When the newest rows were appended to the topic, and read by the hub."""
    notices: dict[type, Message] = field(default_factory=dict)
    """What is told beside rows, by kind: the newest `verdict`, how far rows are `final`."""

    def __post_init__(self) -> None:
        self.held = Held(self.columns)
        self._known: dict[Hashable, Row] = {}

    def begin(self, epoch: str, seq: int, begins: int) -> None:
        """A run's rows follow, from a place on; `begins` is where its first row can be."""
        self.epoch, self.seq, self.begins = epoch, seq, begins
        self.notices.clear()
        self.held = Held(self.columns)
        self.held.forgotten = seq
        self._known.clear()

    def put(self, rows: Iterable[tuple[int, Row]]) -> list[tuple[int, Row]]:
        """Rows came; those that are new."""
        new = []
        for seq, row in rows:
            self.seq = max(self.seq, seq)
            if self.provisional:
                mark = tuple(row.get(name) for name in self.identity)
                if self._known.get(mark) == row:
                    continue
                self._known[mark] = row
            self.held.put(seq, row)
            new.append((seq, row))
        beyond = len(self.held) - HISTORY
        if beyond > 0:
            self.held.forget(self.held.places()[beyond - 1])
            if len(self._known) > 4 * HISTORY:
                held = {tuple(row.get(name) for name in self.identity) for row in self.held.rows()}
                self._known = {mark: row for mark, row in self._known.items() if mark in held}
        return new


class View:
    """Rows of a channel as some clients asked for them; clients that ask the same share it."""

    def __init__(self, asked: Asked, channel: Channel) -> None:
        self.asked = asked
        self.channel = channel
        wanted = {*asked.columns, *asked.latest_by}
        self.columns = [name for name in channel.columns if not asked.columns or name in wanted]
        self.followers: set[object] = set()
        """Its clients."""
        self._messages: dict[str, Message] = {}
        self.renew()

    def renew(self) -> None:
        """Begin with what the channel holds."""
        self.held = Held(self.columns, self.asked.latest_by)
        self.put(zip(self.channel.held.places(), self.channel.held.rows(), strict=True))

    def put(self, rows: Iterable[tuple[int, Row]]) -> None:
        """Rows came, with their places."""
        for seq, row in rows:
            if all(row.get(name) == value and _kind(row.get(name)) == kind for name, kind, value in self.asked.where):
                self.held.put(seq, {name: row.get(name) for name in self.columns} if self.asked.columns else row)
        self.held.forget(self.channel.held.forgotten)
        self._messages.clear()

    def _keep(self, key: str, message: Message) -> Message:
        """Clients that are far apart each have a message of their own: only some are kept."""
        if len(self._messages) >= 16:
            self._messages.clear()
        self._messages[key] = message
        return message

    def goes_on(self, epoch: str, seq: int) -> str:
        """Why a client at a place cannot go on from there; "" when it can."""
        if epoch != self.channel.epoch:
            return "another run answers now"
        if seq < self.channel.held.forgotten:
            return "more rows came than are kept"
        return ""

    def has_news(self, seq: int) -> bool:
        """Whether rows came after a place."""
        newest = self.held.newest
        return newest is not None and newest > seq

    def snapshot(self, reason: str) -> Message:
        """All rows that are held; `reason`: why a client that asked to go on begins anew."""
        key = f"snapshot {reason}"
        if key not in self._messages:
            said = Snapshot(**self._about(), rows=self.held.rows(), seqs=self.held.places(), reason=reason)
            return self._keep(key, Message(said))
        return self._messages[key]

    def update(self, seq: int) -> Message:
        """What came after a place; one message for all clients that are there."""
        key = f"update {seq}"
        if key not in self._messages:
            places, rows = self.held.since(seq)
            appended_ms, received_ms = self.channel.appended_ms, self.channel.received_ms
            said = Update(
                **self._about(), rows=rows, seqs=places, prev_seq=seq, appended_ms=appended_ms, received_ms=received_ms
            )
            return self._keep(key, Message(said))
        return self._messages[key]

    def _about(self) -> dict[str, Any]:
        channel = self.channel
        return {
            "view": self.asked.name,
            "channel": self.asked.channel,
            "source": self.asked.source,
            "epoch": channel.epoch,
            "seq": channel.seq,
            "forgotten": self.held.forgotten,
            "begins": self.channel.begins,
            "checksum": self.held.checksum,
            "provisional": channel.provisional,
            "first_row": channel.first_row,
            "first_row_ms": channel.first_row_ms,
            "due_ms": channel.due_ms,
            "bound_ms": channel.bound_ms,
        }
