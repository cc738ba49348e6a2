"""The messages between hub and client, as JSON objects. Pure.

Client to hub, and first of all, within five seconds:
  {"type": "authorize", "token": TEXT}     `live.access`; who does not, or has a token that expired, is closed with 4401,
  who says nothing with 4408
then:
  {"type": "subscribe", "channel": QUERY, "source": SOURCE}     SOURCE is "live" unless named
  {"type": "unsubscribe", "channel": QUERY, "source": SOURCE}
  {"type": "ping"}

Hub to client:
  {"type": "hello", "protocol": 2, "epoch": TEXT, "channels": [QUERY, …]}     again when queries come or go
  {"type": "snapshot", "channel", "source", "epoch", "seq": N, "rows": [ROW, …], "first_row": TEXT}
  {"type": "update", "channel", "source", "seq": N, "prev_seq": M, "rows": [ROW, …],
   "appended_ms": T, "received_ms": T}
  {"type": "pong"} · {"type": "error", "message": TEXT}

`first_row` says in words when the first row can be there; "" where no run answers the query.
A client drops an update whose `seq` it has, and asks for a new snapshot (subscribes again) when
`prev_seq` is not the `seq` it has. `epoch` changes when the hub begins anew; a snapshot replaces
all that was before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rtap_lab.errors import LiveError
from rtap_lab.settings import LIVE

VERSION = 2

SILENT = 4408
"""The close code of a client that said nothing in time: it may come back."""

UNAUTHORIZED = 4401
"""The close code of a client without a good token; coming back with the same one is of no use."""


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    type: str
    channel: str = ""
    source: str = LIVE


def authorize(token: str) -> str:
    """What a client says first, as text."""
    return encode({"type": "authorize", "token": token})


def parse_authorize(text: str | bytes) -> object:
    """The token of a client's first message.

    Raises:
        LiveError: When it is something else.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("type") != "authorize":
        raise LiveError('the first message must be {"type": "authorize", "token": TEXT}')
    return data.get("token")


def parse_request(text: str | bytes, channels: frozenset[str]) -> Request:
    """A client's message.

    Raises:
        LiveError: When it is no request, or names an unknown channel.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise LiveError('a request is a JSON object with a "type"')
    kind = data["type"]
    if kind == "ping":
        return Request("ping")
    if kind not in ("subscribe", "unsubscribe"):
        raise LiveError(f'type {kind!r} is not known: one of "subscribe", "unsubscribe", "ping"')
    channel, source = data.get("channel"), data.get("source", LIVE)
    if channel not in channels:
        raise LiveError(f"channel {channel!r} is not known: one of {', '.join(sorted(channels))}")
    if not isinstance(source, str) or len(source) > 40:
        raise LiveError("source must be the name of a source")
    return Request(kind, channel, source)


def hello(epoch: str, channels: frozenset[str]) -> dict[str, Any]:
    """The greeting."""
    return {"type": "hello", "protocol": VERSION, "epoch": epoch, "channels": sorted(channels)}


def encode(message: dict[str, Any]) -> str:
    """A message as text."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
