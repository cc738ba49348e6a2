"""Live records that expired before a job, or the auditor, had read them.

Kafka forgets by age and size, whoever has not read yet. A reader whose place lies before the log's beginning goes on at the
beginning and says so in its own log alone: its answers lack what was there between. A job's place is the one of its newest
checkpoint, which the job is ahead of, so that what is counted here is how many there are at most; ticks behind the last event
of a partition do not count. What is not seen: a reader that is thrown forward while nobody looks (the auditor is away), and
that a job which goes on from an older checkpoint than its newest has come from further back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from rtap_lab.events.times import instant_text
from rtap_lab.jobs.documents import runs_document
from rtap_lab.jobs.model import Run
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
"""Seconds between two looks while the next record of somebody who reads is in the older half of the log."""

WRITE_S = 60.0
"""Seconds after which places are written down though nothing has expired unread, or a tenth of the retention."""


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """How far a reader had come, and what expired before it."""

    places: dict[str, int]
    """The next record to be read, by partition: what lay before the log's beginning is counted, and is there."""
    records: int = 0
    """How many expired unread, at most."""
    first: float = 0.0
    """When that was seen first, seconds since the epoch."""
    last: float = 0.0
    """When that was seen last."""

    def __str__(self) -> str:
        first, last = (instant_text(int(at * 1000)) for at in (self.first, self.last))
        when = f"at {first}" if first == last else f"from {first} to {last}"
        return f"up to {self.records:,} records of {LIVE_EVENTS} expired before it had read them ({when})"


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What the watch knows."""

    readers: dict[str, Unread] = {}
    """By run id, and `AUDITOR`."""
    events: dict[str, int] = {}
    """The newest record of each partition that is no tick, as far as the auditor has read."""


def unread_document(state: State) -> Document[Watched]:
    """How far everybody has read, and what expired before; the auditor's process is its only writer."""
    return Document(state, "unread", Watched, Watched)


def looked(
    before: Unread | None,
    committed: Mapping[int, int],
    starts: Mapping[int, int],
    now: float,
    *,
    events: Mapping[int, int] | None = None,
    was_near: bool = True,
) -> Unread:
    """What is known of a reader after one more look. Pure.

    Args:
        before: What was known; None: nothing, and what has expired before is not its loss.
        committed: Its places by partition; of one that is missing, it is where it was.
        starts: Where each partition begins, seen after the places: a reader that was thrown forward in between is noticed.
        now: Seconds since the epoch.
        events: The newest record of each partition that is no tick; of one that is missing, all may be events.
        was_near: Whether it was in the older half of the log a moment ago. Only then a beginning that has come past its old place
            tells that it may have been thrown forward; else it has read on, and the log was cut after it.
    """
    old = {int(p): offset for p, offset in before.places.items()} if before else {}
    lost = 0
    for p, start in starts.items():
        place = committed.get(p, old.get(p, start))
        known = max(place, old.get(p, start)) if place < start else old.get(p, start) if was_near else start
        until = min(start, events[p] + 1) if events and p in events else start
        lost += max(0, until - known)
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
        newest: The newest record of each partition that is no tick, as the auditor goes on to tell it.
        retention_ms: How long the live topic keeps a record.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        state: State,
        topics: Topics,
        newest: Mapping[int, int],
        *,
        retention_ms: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._runs = runs_document(state)
        self._topics = topics
        self._newest = newest
        self._clock = clock
        self._document = unread_document(state)
        self._known = self._document.read().readers
        self._near: set[str] = set()
        self._write_s = min(WRITE_S, retention_ms / 10_000)
        self._written = 0.0

    def step(self) -> float:
        """Look once; in how many seconds to look again.

        Raises:
            ServiceError: When Kafka does not answer.
        """
        now = self._clock()
        runs = {run.run: run for run in self._runs.read().values() if run.source == LIVE}
        asked = {name: run for name, run in runs.items() if run.state not in ("finished", "drained")}
        self._topics.ask_no_more(but=[GROUP, *(run.group for run in asked.values())])
        committed = {name: self._places(run) for name, run in asked.items()}
        audited = committed[AUDITOR] = self._topics.committed(GROUP, LIVE_EVENTS)
        starts = {p: start for (_, p), start in self._topics.starts([LIVE_EVENTS]).items()}
        newest = dict(self._newest)  # the auditor goes on meanwhile
        events = {p: newest[p] for p in starts if p in newest and audited.get(p, 0) >= starts[p]}
        # what has ended stays as it was: its rows are there as long as its run is
        known = {name: each for name, each in self._known.items() if name in runs}
        for name, places in committed.items():
            if places is None:  # it has told nothing yet; it begins where the log does
                known[name] = looked(None, {}, starts, now)
            else:
                near = name in self._near
                known[name] = looked(self._known.get(name), places, starts, now, events=events, was_near=near)
        changed = {n: u.records for n, u in known.items()} != {n: u.records for n, u in self._known.items()}
        if changed or not 0 <= now - self._written < self._write_s:  # set back, the clock tells nothing
            self._document.write(Watched(readers=known, events={str(p): each for p, each in newest.items()}))
            self._written = now
        self._known = known
        going = [AUDITOR, *(name for name, run in asked.items() if run.desired == "running" and run.checkpointed)]
        self._near = self._nearly_expired(going, starts) if any(starts.values()) else set()
        return NEAR_LOOK_S if self._near else LOOK_S

    def close(self) -> None:
        """Look once more, and write it down: whoever reads may be away for longer than records are kept.

        Raises:
            ServiceError: When Kafka does not answer.
        """
        self._written = -self._write_s
        self.step()

    def _places(self, run: Run) -> dict[int, int] | None:
        """The next record of a run by partition; None: it has no checkpoint yet.

        A group is of a job: before a run's first checkpoint it says where the run before ended.
        """
        return self._topics.committed(run.group, LIVE_EVENTS) if run.checkpointed else None

    def _nearly_expired(self, names: Iterable[str], starts: Mapping[int, int]) -> set[str]:
        """Those whose next record of a partition is in the older half of the log."""
        ends = {p: end for (_, p), end in self._topics.ends([LIVE_EVENTS]).items()}
        return {
            name
            for name in names
            if any(
                2 * (self._known[name].places[str(p)] - start) < ends.get(p, start) - start
                for p, start in starts.items()
            )
        }
