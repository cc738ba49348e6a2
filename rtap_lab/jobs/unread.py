"""Live records that expired before a job, or the auditor, had read them.

Kafka forgets by age and size, whoever has not read yet. A reader whose place lies before the log's beginning goes on at the
beginning and says so in its own log alone: its answers lack what was there between. A job's place is the one of its newest
checkpoint, which the job is ahead of, so that what is counted here is how many there are at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from rtap_lab.events.times import instant_text
from rtap_lab.jobs.documents import runs_document
from rtap_lab.jobs.model import OVER
from rtap_lab.kafka.auditor import GROUP
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import RESULTS_RETENTION_MS, Topics
from rtap_lab.settings import LIVE
from rtap_lab.stack.state import Document, State

AUDITOR = "auditor"
"""What the auditor is kept under, beside the ids of runs, which begin with a date."""

LOOK_S = 5.0
"""Seconds between two looks."""

NEAR_LOOK_S = 0.5
"""Seconds between two looks while somebody's next record is in the older half of the log."""

WRITE_S = 60.0
"""Seconds after which places are written down though nothing has expired unread."""


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """How far a reader had come, and what expired before it."""

    places: dict[str, int]
    """The next record to be read, by partition: what lay before the log's beginning is counted, and is there."""
    records: int = 0
    """How many expired unread, at most; ticks count."""
    first: float = 0.0
    """When that was seen first, seconds since the epoch."""
    last: float = 0.0
    """When that was seen last."""

    def __str__(self) -> str:
        first, last = (instant_text(int(at * 1000)) for at in (self.first, self.last))
        when = f"at {first}" if first == last else f"from {first} to {last}"
        return f"up to {self.records:,} records of {LIVE_EVENTS} expired before it had read them ({when})"


def unread_document(state: State) -> Document[dict[str, Unread]]:
    """What expired unread, by run id, and of the auditor; the auditor's process is its only writer."""
    return Document(state, "unread", dict[str, Unread], dict)


def looked(before: Unread | None, committed: Mapping[int, int], starts: Mapping[int, int], now: float) -> Unread:
    """What is known of a reader after one more look. Pure.

    Args:
        before: What was known; None: nothing, and what has expired before is not its loss.
        committed: Its places by partition; of one that is missing, it has told nothing yet.
        starts: Where each partition begins, seen after the places: a reader that was thrown forward in between is noticed.
        now: Seconds since the epoch.
    """
    old = {int(p): offset for p, offset in before.places.items()} if before else {}
    lost = sum(max(0, start - old.get(p, start)) for p, start in starts.items())
    places = {str(p): max(start, committed.get(p, old.get(p, start))) for p, start in starts.items()}
    records, first, last = (before.records, before.first, before.last) if before else (0, 0.0, 0.0)
    if records and now - last > RESULTS_RETENTION_MS / 1000:  # its rows of that time are gone too
        records, first = 0, 0.0
    if lost:
        records, first, last = records + lost, first if records else now, now
    return Unread(places=places, records=records, first=first, last=last)


class Watch:
    """Looks how far everybody has come who reads the live topic.

    Args:
        state: The lab's state.
        topics: Its topics.
        clock: Seconds since the epoch.
    """

    def __init__(self, state: State, topics: Topics, *, clock: Callable[[], float] = time.time) -> None:
        self._runs = runs_document(state)
        self._topics = topics
        self._clock = clock
        self._document = unread_document(state)
        self._known = self._document.read()
        self._written = 0.0

    def step(self) -> float:
        """Look once; in how many seconds to look again.

        Raises:
            ServiceError: When Kafka does not answer.
        """
        now = self._clock()
        committed = self._places()
        starts = {p: start for (_, p), start in self._topics.starts([LIVE_EVENTS]).items()}
        known = {name: looked(self._known.get(name), places, starts, now) for name, places in committed.items()}
        changed = {n: u.records for n, u in known.items()} != {n: u.records for n, u in self._known.items()}
        self._known = known
        if changed or not 0 <= now - self._written < WRITE_S:
            self._document.write(known)
            self._written = now
        if not any(starts.values()):
            return LOOK_S
        ends = {p: end for (_, p), end in self._topics.ends([LIVE_EVENTS]).items()}
        near = any(
            2 * (each.places[str(p)] - start) < ends.get(p, start) - start
            for each in known.values()
            for p, start in starts.items()
        )
        return NEAR_LOOK_S if near else LOOK_S

    def _places(self) -> dict[str, dict[int, int]]:
        """The next record of each reader, by partition; empty of one that has told nothing yet."""
        runs = [run for run in self._runs.read().values() if run.source == LIVE]
        runs = [run for run in runs if run.desired != "removed" and run.state not in OVER]
        self._topics.ask_no_more(but=[GROUP, *(run.group for run in runs)])
        found = {AUDITOR: self._topics.committed(GROUP, LIVE_EVENTS)}
        for run in runs:
            # a group is of a job: before a run's first checkpoint it says where the run before ended
            found[run.run] = self._topics.committed(run.group, LIVE_EVENTS) if run.checkpointed else {}
        return found
