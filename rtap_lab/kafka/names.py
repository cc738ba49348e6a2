"""Pure: what topics are called."""

from __future__ import annotations

from rtap_lab.settings import LIVE

LIVE_EVENTS = "events"
LATE = "events.late"
REJECTED = "events.rejected"


def events_topic(source: str) -> str:
    """The topic of the live events, or of a recorded source."""
    return LIVE_EVENTS if source == LIVE else f"events.{source}"


def results_topic(query: str, source: str) -> str:
    """The topic of a query's rows."""
    return f"results.{query}" if source == LIVE else f"results.{source}.{query}"
