"""Recorded slices of a lab: record a piece of a source, replay it, list, show, export, import, remove."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtap_lab.errors import SettingsError, SourceError
from rtap_lab.events.model import schema
from rtap_lab.events.times import instant_ms, instant_text
from rtap_lab.kafka import slice_files
from rtap_lab.kafka.slice_files import About
from rtap_lab.kafka.topics import LIVE_EVENTS, Topics, events_topic, source_topics
from rtap_lab.settings import JobParameters, duration_ms, source_name
from rtap_lab.streams.queries import STANDARD

if TYPE_CHECKING:
    from rtap_lab.lab.core import Lab

LIVE = "live"
Moment = str | datetime | Mapping[int, int]
"""An instant (RFC 3339 or a datetime), or the offset of each partition."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Replayed:
    """What a replay made."""

    source: str
    records: int
    rejected: int


class Slice:
    """A recorded piece of the event log, in a file.

    Args:
        lab: Whose.
        path: The file.
    """

    def __init__(self, lab: Lab, path: Path) -> None:
        self._lab = lab
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
        return _replay(self._lab, self, source or self.name, speed, progress)

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

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink()

    def as_json(self) -> dict[str, Any]:
        """What it is, as plain values."""
        return self.about.as_json() | {"name": self.name, "bytes": self.path.stat().st_size}

    def __repr__(self) -> str:
        return f"Slice({self.name!r}: {self.about.records} records of {self.about.topic}, {self.about.digest[:12]})"

    def _repr_html_(self) -> str:
        a = self.about
        span = f"{_instant(a.first_ms)} to {_instant(a.last_ms)}"
        return (
            f"<b>slice {self.name}</b>: {a.records:,} records of <code>{a.topic}</code>, {span}, "
            f"{self.path.stat().st_size / 1e6:.1f} MB, digest <code>{a.digest[:16]}</code>"
        )


def _instant(ms: int | None) -> str:
    return instant_text(ms) if ms is not None else "-"


def folder(lab: Lab) -> Path:
    """Where the slices of a lab are."""
    return lab.state.folder / "slices"


def every(lab: Lab) -> dict[str, Slice]:
    """The slices of a lab, by name."""
    return {path.stem: Slice(lab, path) for path in sorted(folder(lab).glob("*.parquet"))}


def named(lab: Lab, name: str) -> Slice:
    """A slice.

    Raises:
        SourceError: When there is none of that name.
    """
    path = folder(lab) / f"{checked(name)}.parquet"
    if not path.exists():
        there = ", ".join(p.stem for p in sorted(folder(lab).glob("*.parquet"))) or "none yet"
        raise SourceError(f"there is no slice {name!r}", hint=f"there are: {there}; `rtap slices record` makes one")
    return Slice(lab, path)


def checked(name: str) -> str:
    """A name for a slice.

    Raises:
        SettingsError: When it is none.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"slice {name!r}: a slice's name is up to 40 of a-z 0-9 _ -, not beginning with _ or -")
    return name


def imported(lab: Lab, path: str | Path, name: str | None = None) -> Slice:
    """Take a slice's file into the lab, checked.

    Raises:
        SourceError: When it is not a slice, is damaged, or the name is taken.
    """
    facts, _ = slice_files.read(Path(path))
    to = _free(lab, name or facts.name)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)
    return Slice(lab, to)


def _free(lab: Lab, name: str) -> Path:
    path = folder(lab) / f"{checked(name)}.parquet"
    if path.exists():
        raise SourceError(f"there is a slice {name!r} already", hint=f"another --name, or `rtap slices remove {name}`")
    return path


def record(
    lab: Lab,
    source: str,
    span: str | float | None,
    begin: Moment | None,
    end: Moment | None,
    name: str | None,
    progress: Callable[[int], None],
    stop: Any = None,
) -> Slice:
    """Record a piece of a source; see `Lab.record`."""
    from rtap_lab.kafka import recorder

    if span is not None and (begin is not None or end is not None):
        raise SettingsError("record: give a span, or from and to", hint='"30s" records what comes in the next 30 s')
    if source != LIVE and source not in lab.sources():
        raise SourceError(f"there is no recorded source {source!r}", hint="`rtap sources list`")
    path = _free(lab, name or f"{source}-{datetime.now(UTC):%Y%m%dt%H%M%S}")
    topic = LIVE_EVENTS if source == LIVE else events_topic(source)
    kafka = lab.addresses.kafka
    topics = Topics(kafka)
    starts = topics.starts([topic])
    if span is not None:
        starts = topics.ends([topic])
        deadline = time.monotonic() + duration_ms(span, name="span") / 1000
        while (left := deadline - time.monotonic()) > 0 and not (stop is not None and stop.is_set()):
            time.sleep(min(left, 0.2))
            progress(sum(topics.ends([topic]).values()) - sum(starts.values()))
    ends = topics.await_committed([topic])
    if begin is not None:
        starts = {k: max(v, starts[k]) for k, v in _offsets(kafka, topic, begin, starts, "from").items()}
    if end is not None:
        ends = {k: min(v, ends[k]) for k, v in _offsets(kafka, topic, end, ends, "to").items()}
    records = recorder.read(kafka, starts, ends, progress)
    if not records:
        raise SourceError(
            f"nothing to record: {source} has no records there",
            hint="`rtap simulate` sends some; `rtap status` shows what came",
        )
    if source == LIVE:
        run = lab.runs.all().get(LIVE)
        bound_ms = (JobParameters.from_json(run["parameters"]) if run else JobParameters()).bound_ms
    else:
        bound_ms = lab.sources()[source]["disorder_ms"] + 1
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
    return Slice(lab, path)


def _offsets(
    kafka: str, topic: str, moment: Moment, others: Mapping[tuple[str, int], int], what: str
) -> dict[tuple[str, int], int]:
    from rtap_lab.kafka.recorder import offsets_at

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
    return offsets_at(kafka, topic, at)


def _replay(lab: Lab, of: Slice, source: str, speed: float | str, progress: Callable[[int], None]) -> Replayed:
    from rtap_lab.kafka import recorder

    try:
        factor = None if speed == "max" else float(speed)
    except ValueError:
        factor = 0.0
    if factor is not None and not 0 < factor < float("inf"):
        raise SettingsError(f"speed {speed!r}", hint='"max", or a factor such as 1 or 10')
    facts, records = slice_files.read(of.path)
    source_name(source, reserved=frozenset(STANDARD))
    kafka = lab.addresses.kafka
    with lab.state.lock(f"source-{source}", timeout=1, busy=f"source {source!r} is being written to"):
        there = lab.sources().get(source)
        if there is not None and there.get("format") != "slice":
            raise SourceError(f"source {source!r} holds an import", hint="replay into another: --into NAME")
        if there is not None:
            lab.remove_source(source)
        topics = source_topics(source, STANDARD)
        Topics(kafka).delete([topic.name for topic in topics])  # a replay that was killed left them
        Topics(kafka).ensure(topics)
        try:
            sent, refused = recorder.replay(
                kafka, records, events_topic(source), source, speed=factor, progress=progress
            )
        except BaseException:
            Topics(kafka).delete([topic.name for topic in topics])
            raise
        with lab.state.lock("sources", timeout=30):
            counted = {"name": of.path.name, "read": sent, "imported": sent, "rejected": 0}
            lab.state.write(
                "sources",
                lab.sources()
                | {
                    source: {
                        "latest_ms": facts.last_ms,
                        "disorder_ms": facts.bound_ms - 1,
                        "files": {facts.digest: counted},
                        "format": "slice",
                    }
                },
            )
    return Replayed(source, sent, refused)
