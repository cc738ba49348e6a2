"""Recorded slices of a lab: record a piece of a source, replay it, list, show, export, import, remove."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from rtap_lab.errors import SettingsError, SourceError
from rtap_lab.events.model import schema
from rtap_lab.events.times import instant_ms, instant_text
from rtap_lab.kafka import recorder
from rtap_lab.kafka.names import events_topic
from rtap_lab.kafka.topics import Topics, source_topic
from rtap_lab.lab import sources
from rtap_lab.lab.context import Context
from rtap_lab.lab.interrupts import interruptible
from rtap_lab.recordings import slices as slice_files
from rtap_lab.recordings.slices import About
from rtap_lab.recordings.sources import ImportedFile, Source
from rtap_lab.settings import LIVE, duration_ms, source_name
from rtap_lab.stack.disk import with_room

Moment = str | datetime | Mapping[int, int]
"""An instant (RFC 3339 or a datetime), or the offset of each partition."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Replayed:
    """What a replay made."""

    source: str
    records: int
    rejected: int


@interruptible
class Slice:
    """A recorded piece of the event log, in a file.

    Args:
        context: The lab.
        path: The file.
    """

    def __init__(self, context: Context, path: Path) -> None:
        self._context = context
        self.path = path
        self.about: About = slice_files.about(path)

    @property
    def name(self) -> str:
        return self.path.stem

    def replay(
        self, source: str | None = None, *, speed: float | str = "max", progress: Callable[[int], None] = lambda n: None
    ) -> Replayed:
        """Play the slice into a fresh source, in the original partitions, order and timestamps.

        Args:
            source: The source's name; the slice's own when left out. One of that name that a replay made
                is emptied first.
            speed: "max", or how much faster than it arrived: 1, 10.
            progress: Told the number of records so far.

        Raises:
            SourceError: When the file is damaged, or an import holds the source's name.
        """
        return _replay(self._context, self, source or self.name, speed, progress)

    def export(self, path: str | Path) -> Path:
        """Copy the file somewhere, checked.

        Raises:
            SourceError: When it is damaged, or cannot be written.
        """
        slice_files.read(self.path)
        to = Path(path)
        if to.is_dir():
            to /= self.path.name
        try:
            shutil.copyfile(self.path, to)
        except OSError as error:
            raise SourceError(f"slice {self.name} cannot be exported to {to}: {error.strerror or error}") from error
        return to

    def records(self) -> list[slice_files.Recorded]:
        """Its records, by arrival; its digest is checked.

        Raises:
            SourceError: When the file is damaged.
        """
        return slice_files.read(self.path)[1]

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink()

    def as_json(self) -> dict[str, Any]:
        """What it is, as plain values."""
        return self.about.as_json() | {"name": self.name, "bytes": self.path.stat().st_size}

    def __repr__(self) -> str:
        return f"Slice({self.name!r}: {self.about.records} records of {self.about.topic}, {self.about.digest[:12]})"

    def _repr_html_(self) -> str:
        a = self.about  # its texts come from a file that somebody may have sent
        span = f"{_instant(a.first_ms)} to {_instant(a.last_ms)}"
        return (
            f"<b>slice {escape(self.name)}</b>: {a.records:,} records of <code>{escape(a.topic)}</code>, {span}, "
            f"{self.path.stat().st_size / 1e6:.1f} MB, digest <code>{escape(a.digest[:16])}</code>"
        )


def _instant(ms: int | None) -> str:
    return instant_text(ms) if ms is not None else "-"


def folder(context: Context) -> Path:
    """Where the slices of a lab are."""
    return context.state.folder / "slices"


def list_slices(context: Context) -> dict[str, Slice]:
    """The slices of a lab, by name."""
    return {path.stem: Slice(context, path) for path in sorted(folder(context).glob("*.parquet"))}


def get_slice(context: Context, name: str) -> Slice:
    """A slice.

    Raises:
        SourceError: When there is none of that name.
    """
    path = folder(context) / f"{checked(name)}.parquet"
    if not path.exists():
        there = ", ".join(p.stem for p in sorted(folder(context).glob("*.parquet"))) or "none yet"
        raise SourceError(f"there is no slice {name!r}", hint=f"there are: {there}; `rtap slices record` makes one")
    return Slice(context, path)


def checked(name: str) -> str:
    """A name for a slice.

    Raises:
        SettingsError: When it is none.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"slice {name!r}: a slice's name is up to 40 of a-z 0-9 _ -, not beginning with _ or -")
    return name


def import_slice(context: Context, path: str | Path, name: str | None = None) -> Slice:
    """Take a slice's file into the lab, checked.

    Raises:
        SourceError: When it is not a slice, is damaged, or the name is taken.
    """
    facts, _ = slice_files.read(Path(path))
    to = _free(context, name or facts.name)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)
    return Slice(context, to)


def _free(context: Context, name: str) -> Path:
    path = folder(context) / f"{checked(name)}.parquet"
    if path.exists():
        raise SourceError(f"there is a slice {name!r} already", hint=f"another --name, or `rtap slices remove {name}`")
    return path


def source_of(name: str) -> str:
    """The source that is meant by its name or its topic: `live`, `events`, `weblog`, `events.weblog`."""
    return LIVE if name == events_topic(LIVE) else name.removeprefix("events.")


def record(
    context: Context,
    source: str,
    span: str | float | None,
    begin: Moment | None,
    end: Moment | None,
    name: str | None,
    progress: Callable[[int], None],
    stop: Any = None,
) -> Slice:
    """Record a piece of a source; see `Lab.record`."""
    if span is not None and (begin is not None or end is not None):
        raise SettingsError("record: give a span, or from and to", hint='"30s" records what comes in the next 30 s')
    context.check_source(source)
    path = _free(context, name or f"{source}-{datetime.now(UTC):%Y%m%dt%H%M%S}")
    topic, topics = events_topic(source), context.topics
    starts = topics.starts([topic])
    if span is not None:
        starts = topics.ends([topic])
        deadline = time.monotonic() + duration_ms(span, name="span") / 1000
        while (left := deadline - time.monotonic()) > 0 and not (stop is not None and stop.is_set()):
            time.sleep(min(left, 0.2))
            progress(sum(topics.ends([topic]).values()) - sum(starts.values()))
    ends = topics.await_committed([topic])
    if begin is not None:
        starts = {k: max(v, starts[k]) for k, v in _offsets(topics, topic, begin, starts, "from").items()}
    if end is not None:
        ends = {k: min(v, ends[k]) for k, v in _offsets(topics, topic, end, ends, "to").items()}
    records = recorder.read(topics.kafka, starts, ends, progress)
    if not records:
        raise SourceError(
            f"nothing to record: {source} has no records there",
            hint="`rtap simulate` sends some; `rtap status` shows what came",
        )
    bound_ms = context.lateness_bound_ms(source) if source == LIVE else context.source(source).lateness_bound_ms
    about = About(
        path.stem,
        topic,
        len(records),
        slice_files.digest_of(records),
        bound_ms,
        len(starts),
        records[0].timestamp_ms,
        records[-1].timestamp_ms,
        instant_text(time.time_ns() // 1_000_000),
        schema(),
    )
    slice_files.write(path, about, records)
    return Slice(context, path)


def _offsets(
    topics: Topics, topic: str, moment: Moment, others: Mapping[tuple[str, int], int], what: str
) -> dict[tuple[str, int], int]:
    if isinstance(moment, Mapping):
        unknown = [p for p in moment if (topic, p) not in others]
        if unknown:
            raise SettingsError(f"record: {what} names partition {unknown[0]}, which {topic} does not have")
        return {key: moment.get(key[1], offset) for key, offset in others.items()}
    at = round(moment.timestamp() * 1000) if isinstance(moment, datetime) else instant_ms(moment)
    if at is None:
        raise SettingsError(
            f"record: {what} {moment!r} is not an instant", hint="RFC 3339 in UTC, 2026-11-23T10:00:00Z"
        )
    return recorder.offsets_at(topics, topic, at)


def _replay(context: Context, of: Slice, source: str, speed: float | str, progress: Callable[[int], None]) -> Replayed:
    factor = None if speed == "max" else sources.factor_of(speed, most="")
    facts, records = slice_files.read(of.path)
    source_name(source, reserved=frozenset(context.catalog.names))
    topics = context.topics
    with sources.writing(context, source, "written to"):
        there = context.sources.read().get(source)
        if there is not None and there.format != "slice":
            raise SourceError(f"source {source!r} holds an import", hint="replay into another: --into NAME")
        if there is not None:
            sources.remove(context, source)
        topic = source_topic(source)
        topics.delete([topic.name])  # a replay that was killed left it
        topics.ensure([topic])
        begins = sources.refused_end(context)
        try:
            written = recorder.replay(
                topics, records, topic.name, source, speed=factor, progress=with_room(context.state.folder, progress)
            )
        except BaseException:
            topics.delete([topic.name])
            raise
        replayed = ImportedFile(of.path.name, written.records, written.records, 0, written.content)
        made = Source("slice", facts.last_ms, facts.bound_ms - 1, {facts.digest: replayed}, refused_from=begins)
        sources.keep(context, source, made)
    return Replayed(source, written.records, written.rejected)
