"""What goes from the shared topics of late and rejected records: rows of removed sources, of given-up runs, and of live records
that the log has forgotten.

Kafka forgets from the front only, so that rows which are needed and lie before one that is not are written again, to the end;
readers ignore a repeat. What is before goes only once the copies can be read, and a while later: whoever reads now may have
begun before they were there.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from rtap_lab.errors import ServiceError
from rtap_lab.jobs.documents import runs_document, sources_document
from rtap_lab.kafka.auditor import GROUP
from rtap_lab.kafka.clients import Record, producer, read_range
from rtap_lab.kafka.names import COPIED, LATE, LIVE_EVENTS, REJECTED
from rtap_lab.kafka.sender import Sender
from rtap_lab.kafka.topics import Topics
from rtap_lab.recordings.sources import Sources
from rtap_lab.settings import LIVE
from rtap_lab.stack.state import State

Row = dict[str, Any]
Owners = tuple[set[str], dict[str, int]]
"""The ids of all runs, and where the rows of each source begin."""
Starts = dict[int, int]
"""Where each partition of the live topic begins."""

SETTLED_S = 60.0
"""Seconds between the copies and the removal of what is before them."""

EXPIRED_S = 900.0
"""Seconds that rows about a live record outlive it: a verification that began when it was there asks for them at its end."""

_SOURCE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_KINDS: dict[str, type] = {"partition": int, "offset": int, "run": str}


def row_of(value: str | bytes | None) -> Row | None:
    """A row of a shared topic; None when somebody else wrote it."""
    try:
        row = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("source"), str):
        return None
    fits = all(row.get(name) is None or type(row[name]) is kind for name, kind in _KINDS.items())
    return row if fits and (row.get("partition") is None) == (row.get("offset") is None) else None


def is_needed(
    row: Row, offset: int, *, sources: Sources, runs: Collection[str], starts: Mapping[int, int], rejected: bool
) -> bool:
    """Whether a row still says something about a record that is there. Pure.

    Args:
        row: Of `events.late` or `events.rejected`.
        offset: Where it is.
        sources: The recorded sources.
        runs: The ids of all current runs.
        starts: Where each partition of the live topic begins.
        rejected: Whether it is one of `events.rejected`.
    """
    if row.get("run") is not None and row["run"] not in runs:
        return False
    if row["source"] != LIVE:
        found = sources.get(row["source"])
        return found is not None and (not rejected or offset >= found.refused_from)
    if row.get("partition") is None:  # a line of a file that was played live
        return True
    return bool(row["offset"] >= starts.get(row["partition"], 0))


def last_to_go(rows: Iterable[tuple[int, bool]], *, whole: bool) -> int | None:
    """The row up to which a topic is cut: what is needed and lies before it is copied to the end. Pure.

    Args:
        rows: Of each row its offset and whether it is needed, in their order.
        whole: Cut at the last row that is not needed, whatever has to be copied; else where the rows that go outnumber
            those that are copied by most. So a topic is at most half dead, and rows that are forgotten in another order than
            they lie in (partitions roll at different times) are copied only where that pays.

    Returns:
        An offset; None when nothing is worth going.
    """
    last, gain, best = None, 0, 0
    for offset, wanted in rows:
        gain += -1 if wanted else 1
        if not wanted and (whole or gain > best):
            last, best = offset, gain
    return last


@dataclass(frozen=True)
class _Cut:
    """What may go from a topic, and when."""

    before: int
    copied_to: int
    """The topic's end after the copies: before committed readers are there, nothing goes."""
    due: float


class Sweeper:
    """Lets rows that nobody needs go; asked now and then, by the auditor.

    Args:
        state: The lab's state.
        topics: Its topics.
        stop: Ends a step early.
        settled_s: Seconds between copies and removal.
    """

    def __init__(
        self, state: State, topics: Topics, *, stop: threading.Event | None = None, settled_s: float = SETTLED_S
    ) -> None:
        self.state = state
        self.topics = topics
        self.stop = stop or threading.Event()
        self.settled_s = settled_s
        self.sources = sources_document(state)
        self.runs = runs_document(state)
        self._cuts: dict[str, _Cut] = {}
        self._starts: deque[tuple[float, Starts]] = deque()
        """What the live topic's starts were, and when."""
        self._seen: tuple[Owners, Starts] | None = None

    def step(self) -> None:
        """Remove what is due; look again where something has changed since the last look.

        Raises:
            ServiceError: When Kafka does not answer, or refuses a copy: then nothing is removed.
        """
        for topic, cut in list(self._cuts.items()):
            if time.monotonic() >= cut.due and self.topics.ends([topic], committed=True)[topic, 0] >= cut.copied_to:
                self.topics.trim({topic: cut.before})
                del self._cuts[topic]
        starts = self._expired()
        owners = (self._run_ids(), {name: source.refused_from for name, source in self.sources.read().items()})
        if self._cuts or self._seen == (owners, starts):
            return
        whole = self._seen is None or _left(self._seen[0], owners)  # something was removed: all of it goes
        if all(self._look(topic, starts, whole) for topic in (LATE, REJECTED)):
            self._seen = (owners, starts)

    def _run_ids(self) -> set[str]:
        return {run.run for run in self.runs.read().values()}

    def _expired(self) -> Starts:
        """Before where the live records have been gone for a while."""
        now = time.monotonic()
        self._starts.append((now, {p: start for (_, p), start in self.topics.starts([LIVE_EVENTS]).items()}))
        while len(self._starts) > 1 and self._starts[1][0] <= now - EXPIRED_S:
            self._starts.popleft()
        at, starts = self._starts[0]
        return starts if at <= now - EXPIRED_S else {}

    def _look(self, topic: str, starts: Starts, whole: bool) -> bool:
        """Copy what is needed and lies before what is not; False when it has to be done again, for a source is being made.

        Its own rows and those of one that had its name before cannot be told apart until it says where its rows begin.
        """
        # first how far, then what is written down: a row's source and run were there before the row
        end = self.topics.ends([topic], committed=True)[topic, 0]
        if topic == LATE:  # what the auditor has not read has no content yet
            end = min(end, self.topics.committed(GROUP, LATE).get(0, 0))
        making: set[str] = set()
        needed = self._judge(topic, starts, making)
        last = last_to_go(((record.offset() or 0, needed(record)) for record in self._read(topic, end)), whole=whole)
        if making:
            return False
        if last is None or self.stop.is_set():
            return True
        sender = Sender(producer(self.topics.kafka, linger_ms=20))
        needed = self._judge(topic, starts, making)  # a source may have been replaced meanwhile
        for record in self._read(topic, last):
            wanted = needed(record)
            if making:
                sender.finish()
                return False
            if wanted:
                sender.send(topic, _bytes(record.value()) or b"", _bytes(record.key()), None, [(COPIED, b"")])
        sender.finish()
        if not self.stop.is_set():
            copied_to = self.topics.ends([topic])[topic, 0]
            self._cuts[topic] = _Cut(last + 1, copied_to, time.monotonic() + self.settled_s)
        return True

    def _read(self, topic: str, end: int) -> Iterator[Record]:
        for record in read_range(self.topics.kafka, self.topics.starts([topic]), {(topic, 0): end}):
            if self.stop.is_set():
                return
            yield record

    def _judge(self, topic: str, starts: Starts, making: set[str]) -> Callable[[Record], bool]:
        """What tells whether a record of a topic is needed, by what is written down now; notes sources that are being made."""
        sources, runs = self.sources.read(), self._run_ids()
        being_made: dict[str, bool] = {}

        def needed(record: Record) -> bool:
            row = row_of(record.value())
            if row is None:  # somebody else's
                return True
            name = row["source"]
            if name == LIVE or name in sources:
                offset = record.offset() or 0
                return is_needed(row, offset, sources=sources, runs=runs, starts=starts, rejected=topic == REJECTED)
            if name not in being_made:
                being_made[name] = self._is_being_made(name)
                if being_made[name] and name not in self.sources.read():
                    making.add(name)
            return being_made[name]

        return needed

    def _is_being_made(self, source: str) -> bool:
        """Whether a source that is not written down is being written: its rows come before its entry."""
        if not _SOURCE.fullmatch(source):
            return False
        try:
            with self.state.lock(f"source-{source}", timeout=0):
                return source in self.sources.read()  # it may have been finished a moment ago
        except ServiceError:
            return True


def _left(before: Owners, now: Owners) -> bool:
    """Whether a run or a source has gone, or a source was made anew."""
    return bool(before[0] - now[0]) or any(now[1].get(name) != begin for name, begin in before[1].items())


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
