"""Pure: what topics are called."""

from __future__ import annotations

from rtap_lab.settings import LIVE

LIVE_EVENTS = "events"
LATE = "events.late"
REJECTED = "events.rejected"
COPIED = "copied"
"""The header of a row of these that was written before, and again when what lay before it went."""


def events_topic(source: str) -> str:
    """The topic of the live events, or of a recorded source."""
    return LIVE_EVENTS if source == LIVE else f"events.{source}"


_JOB, _IMPORT = "rtap.", "rtap-import-"


def transactional_prefix(job: str, source: str) -> str:
    """What the transactional ids of a job on a source begin with. No name holds a dot: none is the beginning of another."""
    return f"{_JOB}{job}.{source}."


def import_id(source: str) -> str:
    """The transactional id of who writes into a source: an import or a replay, one at a time."""
    return f"{_IMPORT}{source}"


def writer_of(transactional_id: str) -> tuple[str | None, str] | None:
    """Job and source that a transactional id is of; of an import or a replay no job and the source; None: not of a lab."""
    if transactional_id.startswith(_IMPORT):
        return None, transactional_id.removeprefix(_IMPORT)
    parts = transactional_id.removeprefix(_JOB).split(".")
    return (parts[0], parts[1]) if transactional_id.startswith(_JOB) and len(parts) > 2 else None


def results_topic(query: str, source: str) -> str:
    """The topic of a query's rows."""
    return f"results.{query}" if source == LIVE else f"results.{source}.{query}"
