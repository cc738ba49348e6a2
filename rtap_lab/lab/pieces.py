"""A piece of a source that stays as it is: the records that a look reads, whatever comes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from rtap_lab.errors import SettingsError
from rtap_lab.events.times import instant_ms, instant_text
from rtap_lab.kafka import recorder
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.names import events_topic
from rtap_lab.lab.context import Context
from rtap_lab.reference.fates import Event, Judge, Place
from rtap_lab.settings import LIVE, Duration, duration_ms

Since = Duration | datetime
"""From when on: "5m" (so long before the newest), or an instant, as `datetime` or RFC 3339 text."""


@dataclass(frozen=True)
class Piece:
    """Records of a source, by partition from an offset up to another."""

    source: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]
    earlier: int = 0
    """How many records of the source lie before it."""
    since_ms: int | None = None
    """The arrival from which on it was chosen, milliseconds since the epoch; None: from the beginning."""
    taken_ms: int | None = None
    """When it was taken, milliseconds since the epoch, of a source that goes on; None: all of it is there."""

    @property
    def records(self) -> int:
        """How many there are: offsets, so that markers of transactions are counted too."""
        return sum(max(0, end - self.starts.get(partition, 0)) for partition, end in self.ends.items())

    @property
    def topic(self) -> str:
        return events_topic(self.source)

    def places(self, offsets: Mapping[int, int]) -> dict[tuple[str, int], int]:
        """Offsets by topic and partition."""
        return {(self.topic, partition): offset for partition, offset in offsets.items()}

    def __str__(self) -> str:
        part = (
            f"{self.source} since {instant_text(self.since_ms)}"
            if self.since_ms is not None
            else f"all of {self.source}"
        )
        return f"{part}: {self.records:,} records"


def piece_of(context: Context, source: str, since: Since | None) -> Piece:
    """The piece of a source that is there now.

    Args:
        context: The lab.
        source: "live" or a recorded source.
        since: From when on, by arrival; None: all.

    Raises:
        SourceError: When there is no such source.
        SettingsError: When `since` is no time.
    """
    context.check_source(source)
    taken_ms = time.time_ns() // 1_000_000 if source == LIVE else None
    topics, topic = context.topics, events_topic(source)
    first = {p: offset for (_, p), offset in topics.starts([topic]).items()}
    ends = {p: offset for (_, p), offset in topics.ends([topic], committed=True).items()}
    if since is None:
        return Piece(source, first, ends, taken_ms=taken_ms)
    since_ms = _moment(since, _newest_ms(context, source))
    begins = {p: offset for (_, p), offset in recorder.offsets_at(topics, topic, since_ms).items()}
    # what came meanwhile is not of it
    starts = {p: min(max(first[p], begins.get(p, end)), end) for p, end in ends.items()}
    return Piece(source, starts, ends, sum(starts[p] - first[p] for p in ends), since_ms, taken_ms)


def records_of(
    context: Context, piece: Piece, starts: Mapping[int, int] | None = None, ends: Mapping[int, int] | None = None
) -> Iterator[tuple[bytes | None, Place]]:
    """The records of a piece, each partition in its order, as the reference engine takes them.

    Args:
        context: The lab.
        piece: The piece.
        starts, ends: Other offsets of its topic, by partition.
    """
    places = (
        piece.places(piece.starts if starts is None else starts),
        piece.places(piece.ends if ends is None else ends),
    )
    for record in read_range(context.endpoints.kafka, *places):
        yield record.value(), Place(record.partition() or 0, record.offset() or 0, record.timestamp()[1])


def counted_of(context: Context, piece: Piece, ends: Mapping[int, int] | None = None) -> list[Event]:
    """The counted events of a piece, judged as if it began there; `ends` as in `records_of`."""
    judge = Judge(context.lateness_bound_ms(piece.source))
    return [
        each.event
        for value, place in records_of(context, piece, ends=ends)
        for each in judge.judge(value, place)
        if each.fate == "counted" and each.event
    ]


def _newest_ms(context: Context, source: str) -> int:
    """The end of time in a source: now; in a recorded one, its newest arrival."""
    newest = None if source == LIVE else context.source(source).latest_ms
    return time.time_ns() // 1_000_000 if newest is None else newest


def _moment(since: Since, newest_ms: int) -> int:
    if isinstance(since, datetime):
        return round(since.timestamp() * 1000)
    if isinstance(since, str) and "T" in since:
        found = instant_ms(since)
        if found is None:
            raise SettingsError(f"since {since!r} is not an instant", hint="RFC 3339 in UTC, 2026-11-23T10:00:00Z")
        return found
    return newest_ms - duration_ms(since, name="since")
