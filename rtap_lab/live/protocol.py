"""The messages between hub and client: typed, as JSON or msgpack. Pure. `docs/live-protocol.md` shows them in tables.

A frame is one message, or an array of messages. What a client says first is `authorize`; it chooses the encoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from rtap_lab.errors import LiveError
from rtap_lab.settings import LIVE

VERSION = 4

HISTORY = 2_000
"""Rows of a view that hub and client keep: the newest."""

MODULE = "/hub_client.js"
"""Where a hub serves the browser's client, to pages of this machine."""

UNAUTHORIZED = 4401
"""Close code: without a good token; coming back with the same one is of no use."""
SILENT = 4408
"""Close code: nothing was said in time, or no sign of life came; the client may come back."""
SLOW = 4429
"""Close code: the client asked too much; it may come back, and goes on from where it was. One that reads nothing is cut off without a
code: no frame would reach it."""

Encoding = Literal["json", "msgpack"]
Value = str | int | float | bool | None
Row = dict[str, Any]


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a client is in a channel."""

    epoch: str
    """The run whose rows it holds."""
    seq: int


class Authorize(msgspec.Struct, frozen=True, tag="authorize", forbid_unknown_fields=True):
    """Who the client is: its first message."""

    token: str
    encoding: Encoding = "json"
    """Of everything after it, in both directions."""


class Subscribe(msgspec.Struct, frozen=True, tag="subscribe", forbid_unknown_fields=True):
    """Follow a channel; again with the same `ref`: begin anew."""

    channel: str
    source: str = LIVE
    ref: str = ""
    """The client's name for it; the channel's and source's where left out."""
    where: dict[str, Value] = {}
    """Only rows with these values."""
    columns: list[str] = []
    """Only these columns; all when empty."""
    latest_by: list[str] = []
    """Only the newest row of each value of these columns, instead of all rows."""
    rate: float = 0.0
    """Updates a second at most; 0: each as it comes."""
    resume: Position | None = None
    """Go on from here instead of beginning with a snapshot."""


class Unsubscribe(msgspec.Struct, frozen=True, tag="unsubscribe", forbid_unknown_fields=True):
    """Follow no longer."""

    ref: str


class History(msgspec.Struct, frozen=True, tag="history", forbid_unknown_fields=True):
    """Rows of a time range, from the store."""

    channel: str
    begin_ms: int
    end_ms: int
    source: str = LIVE
    ref: str = ""
    limit: int = 10_000


class Events(msgspec.Struct, frozen=True, tag="events", forbid_unknown_fields=True):
    """The counted events behind a row, from the log."""

    channel: str
    row: dict[str, Value]
    """The row: its times and its keys say which events they are."""
    source: str = LIVE
    ref: str = ""
    limit: int = 50


class Latest(msgspec.Struct, frozen=True, tag="latest", forbid_unknown_fields=True):
    """The newest events of a source, whatever becomes of them."""

    source: str = LIVE
    ref: str = ""
    limit: int = 20


class Ping(msgspec.Struct, frozen=True, tag="ping", forbid_unknown_fields=True):
    """A sign of life, answered by `pong`."""


class Renew(msgspec.Struct, frozen=True, tag="renew", forbid_unknown_fields=True):
    """A token that is good for longer is wanted, for the next connection; answered by `token`."""


Question = History | Events | Latest
"""What is answered from store and log, and may take its time."""

Request = Subscribe | Unsubscribe | Question | Ping | Renew


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The greeting; again when queries come or go."""

    protocol: int
    hub: str
    channels: list[str]
    """Queries that can be followed."""
    heads: dict[str, dict[str, Any]]
    """By "CHANNEL/SOURCE" the `epoch` and `head` (newest place) of what a run answers."""
    keep: int
    """Rows of a view that hub and client keep."""


class Subscribed(msgspec.Struct, frozen=True, tag="subscribed"):
    """The answer to `subscribe`."""

    ref: str
    view: str
    """Names what follows: clients that ask the same share it."""
    columns: list[str]
    latest_by: list[str]
    identity: list[str]
    """The columns that make a row this row."""
    time: str
    """The column that says when it happened."""
    recovered: bool
    """Whether it goes on from where the client wanted to."""
    epoch: str
    head: int


class Unsubscribed(msgspec.Struct, frozen=True, tag="unsubscribed"):
    """Its query went, or has other columns now."""

    ref: str


class OfView(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a view, and how it is."""

    view: str
    channel: str
    source: str
    epoch: str
    """The run that answers; "" when none does."""
    seq: int
    """How far the channel is."""
    rows: list[Row]
    seqs: list[int]
    """The place of each row."""
    forgotten: int
    """The place up to which rows are held no longer."""
    begins: int
    """The place after which the run's rows are: what is forgotten beyond it were rows."""
    checksum: int
    """Of all rows that are held then."""
    provisional: bool
    first_row: str
    first_row_ms: int
    due_ms: int
    bound_ms: int


class Snapshot(OfView, frozen=True, kw_only=True, tag="snapshot"):
    """All rows that are held: it replaces what was before."""

    reason: str
    """Why a client that asked to go on begins anew; "" for any other."""


class Update(OfView, frozen=True, kw_only=True, tag="update"):
    """What came after a place."""

    prev_seq: int
    appended_ms: int
    received_ms: int


class HistoryRows(msgspec.Struct, frozen=True, tag="history"):
    """The answer to `history`."""

    ref: str
    rows: list[Row]
    more: bool
    """Whether there are rows beyond the limit."""
    upto: int
    """The store holds all rows up to this place: one that is behind lacks those between it and what the hub keeps."""


class EventRows(msgspec.Struct, frozen=True, tag="events"):
    """The answer to `events`."""

    ref: str
    events: list[dict[str, Any]]
    found: int
    complete: bool
    reason: str = ""
    """Why it may not be complete."""


class LatestEvents(msgspec.Struct, frozen=True, tag="latest"):
    """The answer to `latest`."""

    ref: str
    events: list[dict[str, Any]]
    """The newest by arrival first: as in the log, and with `arrival` and `place` (PARTITION-OFFSET)."""


class Verdict(msgspec.Struct, frozen=True, tag="verdict"):
    """What the newest verification says of a run's rows of a query."""

    channel: str
    source: str
    epoch: str
    exact: bool
    upto_ms: int | None
    """None: all of it."""
    at_ms: int
    rows: int
    differences: int


class Final(msgspec.Struct, frozen=True, tag="final"):
    """Up to which place provisional rows will not come again."""

    channel: str
    source: str
    epoch: str
    seq: int


class Watermark(msgspec.Struct, frozen=True, tag="watermark"):
    """Up to when all rows of a run are there, also where there is none: a later checkpoint than the one that says so is complete."""

    channel: str
    source: str
    epoch: str
    upto_ms: int | None
    """Milliseconds since the epoch; None: the run has ended, and all of its rows are there."""


class Token(msgspec.Struct, frozen=True, tag="token"):
    """The answer to `renew`."""

    token: str


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The answer to `ping`."""


class Refused(msgspec.Struct, frozen=True, tag="error"):
    """What was refused, and why; the connection stays."""

    message: str
    ref: str


Said = (
    Hello
    | Subscribed
    | Unsubscribed
    | Snapshot
    | Update
    | HistoryRows
    | EventRows
    | LatestEvents
    | Verdict
    | Final
    | Watermark
    | Token
    | Pong
    | Refused
)
"""What a hub says."""

Notice = Verdict | Final | Watermark
"""What is told beside rows; the newest of a kind counts."""


class Message:
    """A message of the hub: encoded once in each format, whatever the number of clients."""

    __slots__ = ("_json", "_msgpack", "said")

    def __init__(self, said: Said) -> None:
        self.said = said
        self._json: bytes | None = None
        self._msgpack: bytes | None = None

    def encoded(self, encoding: Encoding) -> bytes:
        if encoding == "json":
            if self._json is None:
                self._json = msgspec.json.encode(self.said)
            return self._json
        if self._msgpack is None:
            self._msgpack = msgspec.msgpack.encode(self.said)
        return self._msgpack

    @property
    def body(self) -> dict[str, Any]:
        """As a client sees it."""
        return dict(msgspec.to_builtins(self.said))


def frame(messages: Sequence[Message], encoding: Encoding) -> str | bytes:
    """Some messages as one frame: JSON as text, msgpack as bytes."""
    parts = [message.encoded(encoding) for message in messages]
    if encoding == "json":
        return (parts[0] if len(parts) == 1 else b"[" + b",".join(parts) + b"]").decode()
    return parts[0] if len(parts) == 1 else _array_header(len(parts)) + b"".join(parts)


def _array_header(length: int) -> bytes:
    """How an array begins in msgpack (specification, "array format family")."""
    if length < 16:
        return bytes([0x90 | length])
    return b"\xdc" + length.to_bytes(2, "big") if length < 65_536 else b"\xdd" + length.to_bytes(4, "big")


def messages_of(data: str | bytes) -> list[dict[str, Any]]:
    """The messages of a frame from the hub.

    Raises:
        LiveError: When it is none.
    """
    try:
        found = msgspec.json.decode(data) if isinstance(data, str) else msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise LiveError(f"hub: what it sent is no message: {error}") from error
    return found if isinstance(found, list) else [found]


def encode(request: Request, encoding: Encoding = "json") -> str | bytes:
    """A client's message as a frame."""
    return msgspec.json.encode(request).decode() if encoding == "json" else msgspec.msgpack.encode(request)


def authorize(token: str, encoding: Encoding = "json") -> str:
    """What a client says first: always JSON; `encoding` is that of everything after it."""
    return msgspec.json.encode(Authorize(token, encoding)).decode()


def parse_authorize(data: str | bytes) -> Authorize:
    """A client's first message, JSON in any case.

    Raises:
        LiveError: When it is something else.
    """
    try:
        return msgspec.json.decode(data, type=Authorize)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise LiveError('the first message must be {"type": "authorize", "token": TEXT}') from error


def parse_request(data: str | bytes, encoding: Encoding = "json") -> Request:
    """A client's message.

    Raises:
        LiveError: When it is no request.
    """
    try:
        found: Request = (
            msgspec.json.decode(data, type=Request)
            if encoding == "json"
            else msgspec.msgpack.decode(data if isinstance(data, bytes) else data.encode(), type=Request)
        )
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise LiveError(f"this is no request: {error}") from error
    return found


def ref_of(data: str | bytes, encoding: Encoding = "json") -> str:
    """The `ref` of what is no request, where it can be read: who asked is to know what was refused."""
    try:
        found = msgspec.json.decode(data) if encoding == "json" else msgspec.msgpack.decode(data)  # type: ignore[arg-type]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, TypeError):
        return ""
    ref = found.get("ref") if isinstance(found, dict) else None
    return ref if isinstance(ref, str) and len(ref) <= 2_000 else ""


def hello(hub: str, heads: Mapping[str, Mapping[str, Any]], channels: Sequence[str]) -> Message:
    """The greeting."""
    return Message(Hello(VERSION, hub, sorted(channels), {name: dict(head) for name, head in heads.items()}, HISTORY))


def error(words: str, ref: str = "") -> Message:
    """What was refused, and why."""
    return Message(Refused(words, ref))
