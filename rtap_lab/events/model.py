"""The event: its fields, its kinds, and why a record is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

EVENT_TYPES = ("page_view", "session_start", "session_end", "conversion", "custom")
TICK = "_tick"
"""The event_type of a tick: it carries time and nothing else."""

TICK_RECORD = b'{"event_type":"_tick"}'
"""A tick's value."""

MAX_MESSAGE_BYTES = 1_048_576
"""Of a record, as the broker takes it."""

MAX_ROW_BYTES = 8 * 1_048_576
"""Of a row in a result topic or of what is kept of a record: a row holds a few texts, each within an event's limits."""

NAMED = ("conversion", "custom")
"""Kinds of event that need a `name`."""

FUTURE_MS = 5 * 60_000
"""How far an event_time may lie after the arrival."""

Reason = Literal["parse", "missing", "type", "event_type", "time", "future", "size"]
"""Why a record is rejected; a closed list."""

STRING_FIELDS = (
    "event_id", "event_type", "visitor_id", "name", "session_id", "page", "referrer", "campaign", "device", "country",
)  # fmt: skip


@dataclass(slots=True)
class Decoded:
    """What the pinned decoder sees of one JSON object: text where text is declared, or nothing.

    `value` is still text: whether it is a number is a question of fit.
    """

    event_id: str | None = None
    event_type: str | None = None
    event_time: int | None = None
    """Milliseconds since the epoch."""
    visitor_id: str | None = None
    name: str | None = None
    session_id: str | None = None
    page: str | None = None
    referrer: str | None = None
    campaign: str | None = None
    device: str | None = None
    country: str | None = None
    value: str | None = None
    properties: dict[str, str | None] | None = None
    oversized: bool = False
    """Whether a text of it is longer than an event may hold (`limits.oversized`)."""

    @property
    def is_tick(self) -> bool:
        return self.event_type == TICK


def schema() -> dict[str, Any]:
    """The event's JSON Schema (draft-07), closed, as it is registered."""
    optional = {name: {"type": "string"} for name in STRING_FIELDS[4:]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Event",
        "description": "What a visitor of a website did.",
        "type": "object",
        "additionalProperties": False,
        "required": ["event_id", "event_type", "event_time", "visitor_id"],
        "properties": {
            "event_id": {"type": "string"},
            "event_type": {"type": "string", "enum": list(EVENT_TYPES)},
            "event_time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
            "visitor_id": {"type": "string"},
            "name": {"type": "string"},
            **optional,
            "value": {"type": "number"},
            "properties": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
