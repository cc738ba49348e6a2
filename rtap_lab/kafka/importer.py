"""Real input into a recorded source: access logs and JSON Lines, whole files or nothing.

The events of a file are one Kafka transaction. Its refused lines go to a topic that all sources share, where an open
transaction would hide what others write: they are written by themselves, and count once the file does. A record's timestamp
is the running maximum of the event times, "now" as the data itself knows it; how far an event may lie behind it is the
disorder, which becomes the source's bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import structs

from rtap_lab.errors import ServiceError, SourceError
from rtap_lab.events.codec import encode
from rtap_lab.kafka.clients import producer, read_range
from rtap_lab.kafka.names import LIVE_EVENTS, REJECTED, events_topic, import_id
from rtap_lab.kafka.sender import Sender
from rtap_lab.kafka.topics import Topics
from rtap_lab.recordings.imported import Imported
from rtap_lab.recordings.inputs import LineFormat, check_format, kept_of, lines_of, open_input, read_line
from rtap_lab.recordings.rejects import encode_row, key_of, reject_row
from rtap_lab.recordings.sources import ImportedFile, Pending, Source, content_of, digest_of_value
from rtap_lab.settings import LIVE


class Importer:
    """Imports files into one lab.

    Args:
        topics: The lab's topics.
        key: The lab's key for visitors' pseudonyms.
        schema_id: Goes into the header `schema_id` of every event.
        progress: Told the number of lines read so far.
    """

    def __init__(
        self,
        topics: Topics,
        key: bytes,
        schema_id: int | None = None,
        progress: Callable[[int], None] = lambda lines: None,
    ) -> None:
        self.topics = topics
        self.kafka = topics.kafka
        self.key = key
        self.progress = progress
        self._schema: list[tuple[str, str | bytes | None]] = (
            [("schema_id", str(schema_id))] if schema_id is not None else []
        )

    def record(
        self,
        paths: list[str],
        form: LineFormat,
        source: str,
        read: Callable[[], Source],
        keep: Callable[[Source], None],
    ) -> Imported:
        """Import files into a recorded source, one transaction each.

        Args:
            paths: Files, or "-".
            form: Their format.
            source: The source's name; nobody else imports into it meanwhile.
            read: Gives what is known of the source.
            keep: Writes it down.

        Raises:
            SourceError: When a file cannot be read.
            ServiceError: When Kafka refuses; then nothing of that file was imported.
        """
        began, result = time.monotonic(), Imported(source)
        self._finish(source, read, keep)
        for path in paths:
            stream, digest = open_input(path)
            with stream:
                if form == "access-log":
                    check_format(stream, path)
                if digest in read().files:
                    result.already.append(path)
                else:
                    self._one(stream, digest, path, form, source, result, read(), keep)
            result.disorder_ms = read().disorder_ms
        result.seconds = time.monotonic() - began
        return result

    def _one(
        self,
        stream: BinaryIO,
        digest: str,
        path: str,
        form: LineFormat,
        source: str,
        result: Imported,
        facts: Source,
        keep: Callable[[Source], None],
    ) -> None:
        name = "-" if path == "-" else Path(path).name
        topic = events_topic(source)
        ends = self.topics.ends([topic])
        latest, disorder = facts.latest_ms, facts.disorder_ms
        read = imported = rejected = content = 0
        out = producer(self.kafka, transactional_id=import_id(source), linger_ms=20)
        refused = Sender(producer(self.kafka, linger_ms=20))
        sender = Sender(out)
        now_ms = time.time_ns() // 1_000_000
        marker: list[tuple[str, str | bytes | None]] = [("file", digest[:24])]
        try:
            out.init_transactions(60)
            out.begin_transaction()
            for line in lines_of(stream):
                read += 1
                event = read_line(line, form, digest, self.key, now_ms)
                if isinstance(event, str):
                    rejected += 1
                    result.reasons[event] = result.reasons.get(event, 0) + 1
                    row = reject_row(
                        source=source, reason=event, record=kept_of(line, form), line=line.number, file=digest[:24]
                    )
                    refused.send(REJECTED, encode_row(row), key_of(row), None, marker)
                else:
                    imported += 1
                    latest = event["event_time"] if latest is None else max(latest, event["event_time"])
                    disorder = max(disorder, latest - event["event_time"])
                    value = event["bytes"] if "bytes" in event else encode(event)
                    content += digest_of_value(value)
                    sender.send(topic, value, event["visitor_id"].encode(), latest, [*marker, *self._schema])
                if read % 2000 == 0:
                    out.poll(0)
                    refused.out.poll(0)
                    self.progress(result.read + read)
            after = structs.replace(
                facts,
                latest_ms=latest,
                disorder_ms=disorder,
                format=form,
                pending=None,
                files=facts.files | {digest: ImportedFile(name, read, imported, rejected, content_of(content))},
            )
            # written before the commit, so that a kill in between is told apart afterwards
            starts = {str(partition): end for (_, partition), end in ends.items()}
            refused.finish()
            sender.finish()
            keep(structs.replace(facts, pending=Pending(after, starts)))
            out.commit_transaction(60)
        except BaseException as error:  # Ctrl-C too: what is left open would pin the topic for a day
            try:
                out.abort_transaction(10)
            except Exception as second:
                if isinstance(error, Exception):
                    raise ServiceError(f"kafka: the import of {path} failed: {error} ({second})") from error
            if isinstance(error, SourceError) or not isinstance(error, Exception):
                raise
            raise ServiceError(
                f"kafka: the import of {path} failed, nothing of it was imported: {error}",
                hint="`rtap status` shows the broker; then import again",
            ) from error
        keep(after)
        self.topics.await_committed([topic])
        result.read += read
        result.imported += imported
        result.rejected += rejected
        self.progress(result.read)

    def _finish(self, source: str, read: Callable[[], Source], keep: Callable[[Source], None]) -> None:
        """Put right what a kill between commit and bookkeeping left open."""
        facts = read()
        if facts.pending is None:
            return
        producer(self.kafka, transactional_id=import_id(source)).init_transactions(60)
        topic = events_topic(source)
        starts = {(topic, int(p)): offset for p, offset in facts.pending.starts.items()}
        ends = self.topics.ends([topic], committed=True)
        came = any(True for _ in read_range(self.kafka, starts, ends))
        # of a file without one event it cannot be told: it is read again, its refused lines repeated
        keep(facts.pending.after if came else structs.replace(facts, pending=None))

    def retime(
        self,
        paths: list[str],
        form: LineFormat,
        *,
        speed: float,
        bound_ms: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Imported:
        """Play files onto the live topic as if they happened now, `speed` times as fast, with new ids.

        The order of the lines is the order of sending, so the file's own disorder is what arrives
        late; the share is counted.
        """
        began, result = time.monotonic(), Imported(LIVE)
        sender = Sender(producer(self.kafka))
        out = sender.out
        run = f"{time.time_ns():x}"
        first: int | None = None
        latest = 0
        for path in paths:
            stream, digest = open_input(path)
            with stream:
                if form == "access-log":
                    check_format(stream, path)
                for line in lines_of(stream):
                    result.read += 1
                    event = read_line(line, form, digest, self.key, time.time_ns() // 1_000_000)
                    if isinstance(event, str):
                        result.rejected += 1
                        result.reasons[event] = result.reasons.get(event, 0) + 1
                        row = reject_row(
                            source=LIVE,
                            reason=event,
                            record=kept_of(line, form),
                            line=line.number,
                            file=f"{digest[:24]}/{run}",
                        )
                        sender.send(REJECTED, encode_row(row), key_of(row), None, [])
                        continue
                    if first is None:
                        first, started = event["event_time"], time.monotonic()
                    latest = max(latest, event["event_time"])
                    wait = (latest - first) / 1000 / speed - (time.monotonic() - started)
                    if wait > 0.001:
                        out.poll(0)
                        sleep(wait)
                    # when it began by the clock as it is now, which may have been set meanwhile
                    started_ms = time.time_ns() // 1_000_000 - int((time.monotonic() - started) * 1000)
                    due = started_ms + (latest - first) / speed
                    event_time = started_ms + int((event["event_time"] - first) / speed)
                    result.disorder_ms = max(result.disorder_ms, int((latest - event["event_time"]) / speed))
                    result.late += due - event_time >= bound_ms
                    value = _renewed(event, f"{run}-{line.number}", event_time)
                    headers = [("created", str(int(due))), *self._schema]
                    sender.send(LIVE_EVENTS, value, event["visitor_id"].encode(), None, headers)
                    if result.read % 200 == 0:
                        out.poll(0)
                        self.progress(result.read)
        sender.finish()
        result.imported = sender.accepted[LIVE_EVENTS]
        result.seconds = time.monotonic() - began
        return result


def _renewed(event: dict[str, Any], event_id: str, event_time: int) -> bytes:
    """The event with a new id and a new time."""
    if "bytes" in event:
        import orjson

        event = dict(orjson.loads(event["bytes"]))
    return encode(event | {"event_id": event_id, "event_time": event_time})
