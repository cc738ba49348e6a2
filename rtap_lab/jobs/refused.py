"""What goes from the shared topics of late and rejected records: rows of removed sources, of given-up runs, and of live records
that the log has forgotten.

Kafka forgets from the front only, so that rows which are needed and lie before one that is not are written again, to the end;
readers ignore a repeat. What is before goes a while later: whoever reads now began before the copies were there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

from rtap_lab.errors import ServiceError
from rtap_lab.jobs.documents import runs_document, sources_document
from rtap_lab.kafka.clients import producer, read_range
from rtap_lab.kafka.names import COPIED, LATE, LIVE_EVENTS, REJECTED
from rtap_lab.kafka.topics import Topics
from rtap_lab.recordings.sources import Sources
from rtap_lab.settings import LIVE
from rtap_lab.stack.state import State

Row = dict[str, Any]

SETTLED_S = 60.0
"""Seconds between the copies and the removal of what is before them."""

_SOURCE = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def is_needed(
    row: Row, offset: int, *, sources: Sources, runs: Collection[str], starts: Mapping[int, int], first: bool
) -> bool:
    """Whether a row still says something about a record that is there. Pure.

    Args:
        row: Of `events.late` or `events.rejected`.
        offset: Where it is.
        sources: The recorded sources.
        runs: The ids of all current runs.
        starts: Where each partition of the live topic begins.
        first: Whether the topic is the one that `Source.refused_from` is about.
    """
    if row.get("run") is not None and row["run"] not in runs:
        return False
    if row["source"] != LIVE:
        found = sources.get(row["source"])
        return found is not None and (not first or offset >= found.refused_from)
    if row.get("partition") is None:  # a line of a file that was played live
        return True
    return bool(row["offset"] >= starts.get(row["partition"], 0))


class Sweeper:
    """Lets rows that nobody needs go; asked now and then, by the auditor.

    Args:
        state: The lab's state.
        topics: Its topics.
        settled_s: Seconds between copies and removal.
    """

    def __init__(self, state: State, topics: Topics, *, settled_s: float = SETTLED_S) -> None:
        self.state = state
        self.topics = topics
        self.settled_s = settled_s
        self.sources = sources_document(state)
        self.runs = runs_document(state)
        self._due: dict[str, tuple[float, int]] = {}
        """By topic: when what lies before an offset may go (`time.monotonic`)."""
        self._seen: object = None

    def step(self) -> None:
        """Remove what is due; look again where something has changed since the last look."""
        for topic, (due, offset) in list(self._due.items()):
            if time.monotonic() >= due:
                self.topics.trim({topic: offset})
                del self._due[topic]
        starts = {partition: start for (_, partition), start in self.topics.starts([LIVE_EVENTS]).items()}
        runs = {run.run for run in self.runs.read().values()}
        seen = (starts, runs, set(self.sources.read()))
        if self._due or seen == self._seen:
            return
        for topic in (LATE, REJECTED):
            self._look(topic, starts)
        self._seen = seen

    def _look(self, topic: str, starts: Mapping[int, int]) -> None:
        # first how far, then what is written down: a row's source and run were there before the row
        end = self.topics.ends([topic], committed=True)[topic, 0]
        sources, runs = self.sources.read(), {run.run for run in self.runs.read().values()}
        verdicts: dict[str, bool] = {}

        def needed(value: bytes | None, offset: int) -> bool:
            row = row_of(value)
            if row is None:  # somebody else's
                return True
            name = row["source"]
            if name != LIVE and name not in sources:
                if name not in verdicts:
                    verdicts[name] = self._is_being_made(name)
                return verdicts[name]
            return is_needed(row, offset, sources=sources, runs=runs, starts=starts, first=topic == REJECTED)

        last = self._last_unneeded(topic, end, needed)
        if last is None:
            return
        out = producer(self.topics.kafka, linger_ms=20)
        for record in self._read(topic, last):
            if needed(_bytes(record.value()), record.offset() or 0):
                out.produce(topic, record.value(), record.key(), headers=[(COPIED, b"")])
                out.poll(0)
        if out.flush(60):
            raise ServiceError(f"kafka: what is needed of {topic} could not be copied", service="kafka")
        self._due[topic] = (time.monotonic() + self.settled_s, last + 1)

    def _read(self, topic: str, end: int) -> Any:
        return read_range(self.topics.kafka, self.topics.starts([topic]), {(topic, 0): end})

    def _last_unneeded(self, topic: str, end: int, needed: Callable[[bytes | None, int], bool]) -> int | None:
        last = None
        for record in self._read(topic, end):
            if not needed(_bytes(record.value()), record.offset() or 0):
                last = record.offset()
        return last

    def _is_being_made(self, source: str) -> bool:
        """Whether a source that is not written down is being written: its rows come before its entry."""
        if not _SOURCE.fullmatch(source):
            return False
        try:
            with self.state.lock(f"source-{source}", timeout=0):
                return source in self.sources.read()  # it may have been finished a moment ago
        except ServiceError:
            return True


def row_of(value: bytes | None) -> Row | None:
    """A row of a shared topic; None when somebody else wrote it."""
    try:
        row = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("source"), str) else None


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
