"""Recompute everything and compare: result rows of topic, store and hub, late and rejected records.

Live, rows are compared up to W, the least over partitions of (arrival - bound) at the offsets of a completed
checkpoint: no record that comes later can change them.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import JobError, LiveError, RowError
from rtap_lab.events.limits import MAX_TEXT
from rtap_lab.events.model import FUTURE_MS
from rtap_lab.events.times import instant_text
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.names import LATE, REJECTED
from rtap_lab.kafka.topics import Topics
from rtap_lab.live.client import snapshots
from rtap_lab.live.protocol import HISTORY
from rtap_lab.queries.query import Query
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Fate, Judge, Judged, Place, copies, judged_anew
from rtap_lab.settings import LIVE
from rtap_lab.store.port import ROLLUP_MS, Store
from rtap_lab.store.writer import MAINTENANCE_S
from rtap_lab.verification.choosing import choose
from rtap_lab.verification.comparing import Compared, Row, compare, compare_rollup, compare_shown, identity
from rtap_lab.verification.report import RunReport, Subject, Upto
from rtap_lab.verification.scoring import Score, score
from rtap_lab.waiting import until

if TYPE_CHECKING:
    from rtap_lab.simulator.truth import Truth


_SHOWN_OFFSETS = 4 * HISTORY
"""Offsets in which there are surely as many rows as the hub shows: a transaction of one row takes two."""


class Verifier:
    """Verifies runs of one lab.

    Args:
        topics: The lab's topics.
        store: The store.
        hub: Where clients are shown the rows; None: what they are shown is not compared.
        late, rejected: The topics of what was late and what was refused.
        patience: Seconds that what follows the job (the auditor, the hub) gets to be there too.
    """

    def __init__(
        self,
        topics: Topics,
        store: Store,
        hub: Endpoint | None = None,
        *,
        late: str = LATE,
        rejected: str = REJECTED,
        patience: float = 20.0,
    ) -> None:
        self.topics = topics
        self.kafka = topics.kafka
        self.store = store
        self.hub = hub
        self.late = late
        self.rejected = rejected
        self.patience = patience

    def live_upto(self, subject: Subject, checkpoints: Callable[[], int], *, patience: float = 60.0) -> Upto:
        """Wait until a live job and the store have passed the topic's ends as they are now.

        Args:
            subject: The run.
            checkpoints: Lets the job take one after the other, one at a call at most; how many are complete.
            patience: Seconds to wait at most.

        Raises:
            JobError: When the job, or its watermark, does not move.
        """
        topic = subject.events
        ends, starts = self.topics.ends([topic]), self.topics.starts([topic])
        deadline = time.monotonic() + patience

        def wait(condition: Callable[[], bool], what: str) -> None:
            words = f"verify: {what} within {patience:.0f} s"
            hint = "`rtap status` shows the job's lag and watermark"
            until(condition, deadline - time.monotonic(), lambda: JobError(words, hint=hint))

        done: dict[int, int] = {}

        def read() -> bool:
            checkpoints()
            done.update(self.topics.committed(subject.group, topic))
            return all(done.get(p, 0) >= end or end == starts[t, p] for (t, p), end in ends.items())

        wait(read, "the job did not read to the topic's ends")
        offsets = {(topic, p): done.get(p, starts[topic, p]) for (_, p) in ends}
        # a watermark leaves the source up to 50 ms after its record: what it closes is in the checkpoint
        # that begins half a second later
        time.sleep(0.5)
        count = checkpoints()
        wait(lambda: checkpoints() >= count + 2, "the job completed no checkpoints")
        self.await_store(subject, max(10, deadline - time.monotonic()))
        return Upto(offsets, whole=False)

    def await_store(self, subject: Subject, patience: float) -> None:
        """Wait until the store holds all committed rows of a run.

        Raises:
            JobError: When it does not within so many seconds.
            ServiceError: When a transaction stays open.
        """
        patience = max(patience, 1)
        ends = self.topics.await_committed(subject.results.values(), patience)
        behind: dict[str, int] = {}

        def caught_up() -> bool:
            held = self.store.offsets() if self.store.runs().get(subject.key) == subject.run else {}
            behind.clear()
            behind.update({t: end - held.get(t, 0) for (t, _), end in ends.items() if held.get(t, 0) < end})
            return not behind

        until(
            caught_up,
            patience,
            lambda: JobError(
                f"the store is behind the result topics: {behind}",
                hint="`rtap status` shows the writer; `rtap logs writer` its log",
            ),
        )

    def verify(self, subject: Subject, upto: Upto, *, progress: Callable[[int], None] = lambda n: None) -> RunReport:
        """Compare one run with the reference."""
        with without_cycles():
            return self._verify(subject, upto, progress)

    def _verify(self, subject: Subject, upto: Upto, progress: Callable[[int], None]) -> RunReport:
        began = time.monotonic()
        imported: dict[str, _Content] = defaultdict(_Content)
        starts = self.topics.starts([subject.events])
        judged, records, since_ms, w_ms = self._judge(subject, starts, upto, progress, imported)
        unsure = copies(judged)
        found = self._found(subject, judged, starts, upto, unsure, since_ms)

        def compared_with(fates: Sequence[Judged]) -> list[Compared]:
            return self._compared(subject, fates, found, records, w_ms=w_ms, since_ms=since_ms)

        late = {key[:2] for key in found.kept["late"][0]}
        judged, compared = _choice(subject, judged, found.topic, late, compared_with, w_ms=w_ms, since_ms=since_ms)
        if subject.source == LIVE and w_ms is not None:
            compared += self._rolled_up(subject, judged, w_ms=w_ms, since_ms=since_ms)
        problems = []
        if self.hub is not None:
            try:
                compared += [each for hub in self.hub.each for each in self._shown(hub, subject)]
            except LiveError as error:
                problems.append(f"what clients are shown cannot be compared: {error.message}")
        fates = Counter(j.fate for j in judged)
        ledger = {
            "read": len(judged) - fates["tick"],
            "counted": fates["counted"],
            "duplicate": fates["duplicate"],
            "late": fates["late"],
            "rejected": fates["rejected"],
            "ticks": fates["tick"],
            "refused_lines": subject.refused_lines,
        }
        upto_text = instant_text(w_ms) if w_ms is not None else None
        report = RunReport(
            subject.job, subject.source, subject.run, subject.parameters.delivery, upto_text, ledger, compared
        )
        report.problems += problems + self._lost_lines(subject, imported)
        if not ledger["read"]:
            report.problems.append("there is nothing to compare: no record was read")
        report.seconds = time.monotonic() - began
        return report

    def _found(
        self,
        subject: Subject,
        judged: Iterable[Judged],
        starts: Mapping[tuple[str, int], int],
        upto: Upto,
        unsure: Collection[str],
        since_ms: int,
    ) -> _Found:
        """All that is there to be compared, read once."""
        found = _Found()
        for query in subject.queries:
            found.topic[query.name], found.foreign[query.name] = self._topic_rows(subject, query)
            found.store[query.name] = self.store.rows(query, subject.source)
        for topic, fate in self._kept_topics:
            sure = (
                j for j in judged if j.fate == fate and j.event_id not in unsure and not _may_be_a_copy(j, since_ms)
            )
            due = [_kept_key(j) for j in sure]

            def all_there(topic: str = topic, fate: Fate = fate, due: Sequence[Any] = due) -> bool:
                found.kept[fate] = self._kept_rows(subject, topic, starts, upto)
                return all(key in found.kept[fate][1] for key in due)

            until(all_there, self.patience, every=0.3)  # the auditor follows a moment later
        return found

    @property
    def _kept_topics(self) -> tuple[tuple[str, Fate], ...]:
        return (self.late, "late"), (self.rejected, "rejected")

    def _compared(
        self,
        subject: Subject,
        judged: Sequence[Judged],
        found: _Found,
        records: Mapping[tuple[int, int], tuple[int, str]],
        *,
        w_ms: int | None,
        since_ms: int,
    ) -> list[Compared]:
        """What is there, against what it should be if these are the fates."""
        events = [j.event for j in judged if j.fate == "counted" and j.event]
        compared = []
        for query in subject.queries:
            rows = rows_of(query.definition, events)
            wanted = {identity(query.schema, query.schema.normal(row)): row for row in rows}
            for where, there in (("topic", found.topic[query.name]), ("store", found.store[query.name])):
                compared.append(
                    compare(
                        query, where, wanted, there, delivery=subject.parameters.delivery, w_ms=w_ms, since_ms=since_ms
                    )
                )
            for what, words in found.foreign[query.name]:
                compared[-2].note(what, None, f"{subject.results[query.name]}, {words}")
        for _, fate in self._kept_topics:
            wanted_records = [j for j in judged if j.fate == fate]
            compared.append(_compare_kept(fate, wanted_records, records, *found.kept[fate], since_ms=since_ms))
        return compared

    def _rolled_up(self, subject: Subject, judged: Iterable[Judged], *, w_ms: int, since_ms: int) -> list[Compared]:
        """Compare the hours of the rollup that are over, once the writer has brought them up to date."""
        events = [j.event for j in judged if j.fate == "counted" and j.event]
        oldest_ms = min((event.event_time for event in events), default=w_ms)
        if oldest_ms // ROLLUP_MS == w_ms // ROLLUP_MS:  # no hour is over
            return []
        wanted = {
            query: [query.schema.normal(row) for row in rows_of(query.definition, events)]
            for query in subject.queries
            if query.schema.additive
        }
        found: list[Compared] = []

        def up_to_date() -> bool:
            found[:] = [
                compare_rollup(
                    query,
                    rows,
                    self.store.rollup(query),
                    hour_ms=ROLLUP_MS,
                    since_ms=since_ms,
                    until_ms=w_ms - query.schema.span_ms,
                )
                for query, rows in wanted.items()
            ]
            return not any(each.differences for each in found)

        until(up_to_date, max(self.patience, MAINTENANCE_S + 5), every=1.0)
        return found

    def score(
        self, subject: Subject, upto: Upto, truths: Iterable[Truth], *, progress: Callable[[int], None] = lambda n: None
    ) -> Score:
        """Compare one run with what really happened."""
        began = time.monotonic()
        starts = self.topics.starts([subject.events])
        judged, _, since_ms, w_ms = self._judge(subject, starts, upto, progress, None)
        found = {query.name: self.store.rows(query, subject.source) for query in subject.queries}
        expected: dict[str, list[Row]] = {}

        def compared_with(fates: Sequence[Judged]) -> list[Compared]:
            events = [j.event for j in fates if j.fate == "counted" and j.event]
            compared = []
            for query in subject.queries:
                expected[query.name] = rows_of(query.definition, events)
                wanted = {identity(query.schema, query.schema.normal(row)): row for row in expected[query.name]}
                delivery = subject.parameters.delivery
                compared.append(
                    compare(query, "store", wanted, found[query.name], delivery=delivery, w_ms=w_ms, since_ms=since_ms)
                )
            return compared

        late = {key[:2] for key in self._kept_rows(subject, self.late, starts, upto)[0]}
        judged, _ = _choice(subject, judged, found, late, compared_with, w_ms=w_ms, since_ms=since_ms)
        compared_with(judged)  # the last one tried need not be the one that was chosen
        result = score(subject, truths, judged, expected, found, w_ms=w_ms, since_ms=since_ms)
        result.seconds = time.monotonic() - began
        return result

    def _judge(
        self,
        subject: Subject,
        starts: Mapping[tuple[str, int], int],
        upto: Upto,
        progress: Callable[[int], None],
        imported: dict[str, _Content] | None,
    ) -> tuple[list[Judged], dict[tuple[int, int], tuple[int, str]], int, int | None]:
        """Fates of all records, size and digest of those that are kept, since when all are there, and W.

        Raises:
            JobError: When a partition never had a record: then no watermark moves.
        """
        judge = Judge(subject.parameters.bound_ms)
        judged: list[Judged] = []
        digests: dict[tuple[int, int], tuple[int, str]] = {}
        since_ms = -(2**62)
        fresh = {key for key, start in starts.items() if start > 0}
        # one partition after the other would judge copies in the same partition only; that is how
        # copies of one id come (they share a key)
        for number, record in enumerate(read_range(self.kafka, starts, upto.offsets)):
            place = Place(record.partition() or 0, record.offset() or 0, record.timestamp()[1])
            key = (record.topic() or "", place.partition)
            if key in fresh:  # older records have expired
                fresh.discard(key)
                since_ms = max(since_ms, place.arrival_ms + FUTURE_MS)
            value = record.value()
            if imported is not None and subject.files:
                headers = dict(record.headers() or ())
                if isinstance(file := headers.get("file"), bytes):
                    imported[file.decode("ascii", "replace")].add(value or b"")
            for each in judge.judge(value, place):
                judged.append(each)
                if place[:2] not in digests and (each.fate in ("late", "rejected") or each.copy_is_late):
                    content = value or b""
                    digests[place[:2]] = (len(content), hashlib.sha256(content).hexdigest())
            if number % 20_000 == 0:
                progress(number)
        if upto.whole:
            return judged, digests, since_ms, None
        if len(judge.latest) < len(upto.offsets):
            raise JobError(
                "verify: some partitions never had a record, so no watermark moves",
                hint="is the ticker running? `rtap status`",
            )
        return judged, digests, since_ms, min(judge.latest.values()) - judge.bound_ms

    def _topic_rows(self, subject: Subject, query: Query) -> tuple[list[Row], list[tuple[str, str]]]:
        """The rows of a result topic; and what is there beside rows with their keys: what kind of difference, and words."""
        topic = subject.results[query.name]
        ends = self.topics.ends([topic], committed=True)
        starts = {(topic, 0): subject.begins[topic]}
        found = read_range(self.kafka, starts, ends)
        rows: list[Row] = []
        foreign: list[tuple[str, str]] = []
        for record in found:
            try:
                row = query.schema.read(record.value())
            except RowError as error:
                foreign.append(("extra", f"offset {record.offset()}: {error.message}"))
                continue
            rows.append(query.schema.normal(row))
            if _row_of(record.key()) != {name: row[name] for name in query.schema.identity}:
                foreign.append(("wrong", f"offset {record.offset()}: its key is {record.key()!r}"))
        return rows, foreign

    def _shown(self, hub: Endpoint, subject: Subject) -> list[Compared]:
        """Compare what a new client of the hub is shown with the newest rows of the result topics, while both may go on.

        Raises:
            LiveError: When the hub does not answer for as long as it may take.
        """
        topics = list(subject.results.values())
        starts, ends = self.topics.starts(topics), self.topics.ends(topics, committed=True)
        first = {
            topic: max(subject.begins[topic], starts[topic, 0], end - _SHOWN_OFFSETS)
            for (topic, _), end in ends.items()
        }
        found: list[Compared] = []
        away: list[LiveError] = []

        def published(query: Query) -> list[tuple[int, Row]]:
            """The rows of a result topic as they are, in order; what is no row of the query is left out."""
            topic = subject.results[query.name]
            now = self.topics.ends([topic], committed=True)
            rows = []
            for record in read_range(self.kafka, {(topic, 0): first[topic]}, now):
                with suppress(RowError):  # `_topic_rows` counts it
                    rows.append((record.offset() or 0, query.schema.read(record.value())))
            return rows

        def in_step() -> bool:
            away.clear()
            found.clear()
            now = self.topics.ends(topics, committed=True)
            before = {query.name: published(query) for query in subject.queries}
            try:
                shown = snapshots(hub, list(before), subject.source)
            except LiveError as error:  # it may be starting
                away.append(error)
                return False
            for query in subject.queries:
                rows = [row for _, row in published(query)]
                topic = subject.results[query.name]
                newest = shown[query.name]
                if first[topic] > subject.begins[topic]:  # rows before this are not read, or have expired
                    newest = newest[max(0, len(newest) - len(rows)) :]
                # what a hub that begins anew reads; it keeps no more than that
                read = sum(offset >= now[topic, 0] - HISTORY for offset, _ in before[query.name])
                least = min(read, HISTORY)
                repeats = subject.parameters.delivery == "low_latency"
                found.append(
                    compare_shown(
                        query.name, newest, rows, before=len(before[query.name]), least=least, repeats=repeats
                    )
                )
            return not any(each.differences for each in found)

        until(in_step, min(self.patience, 10.0), every=0.5)  # the hub follows a moment later, or comes back
        if away:
            raise away[0]
        return found

    def _lost_lines(self, subject: Subject, imported: Mapping[str, _Content]) -> list[str]:
        """Where the lines of an imported file are not all there, as events or as refused lines."""
        refused: Counter[str] = Counter()

        def all_there() -> bool:
            nonlocal refused
            refused = self._refused_lines(subject)
            return all(refused[digest] >= each.rejected for digest, each in subject.files.items())

        until(all_there, self.patience, every=0.3)  # somebody's open transaction may hide them for a moment
        problems = []
        for digest, each in subject.files.items():
            if each.read != each.imported + each.rejected:
                problems.append(
                    f"{each.name}: {each.read} lines were read, {each.imported} imported, {each.rejected} refused"
                )
            held = imported.get(digest, _Content())
            if held.number != each.imported:
                problems.append(
                    f"{each.name}: {each.imported} events were imported, {subject.events} holds {held.number}"
                )
            elif each.content not in (None, held.hexdigest):
                problems.append(f"{each.name}: what {subject.events} holds of its events is not what was imported")
            if refused[digest] != each.rejected:
                problems.append(
                    f"{each.name}: {each.rejected} lines were refused, {self.rejected} holds {refused[digest]} of them"
                )
        return problems

    def _refused_lines(self, subject: Subject) -> Counter[str]:
        """How many lines of each of the source's files `events.rejected` holds."""
        if not subject.files:  # what was played live, and what a slice holds, are lines of no import
            return Counter()
        first, ends = self._from(self.rejected, subject), self.topics.ends([self.rejected], committed=True)
        lines = set()
        for record in read_range(self.kafka, first, ends):
            row = _row_of(record.value())
            ours = row.get("source") == subject.source and row.get("file") in subject.files
            if ours and row.get("line") is not None:
                lines.add((row["file"], row["line"]))
        return Counter(file for file, _ in lines)

    def _from(self, topic: str, subject: Subject) -> dict[tuple[str, int], int]:
        """Where rows about a subject's source begin in a shared topic."""
        begin = self.topics.starts([topic])[topic, 0]
        return {(topic, 0): max(begin, subject.refused_from) if topic == self.rejected else begin}

    def _kept_rows(
        self, subject: Subject, topic: str, starts: Mapping[tuple[str, int], int], upto: Upto
    ) -> tuple[dict[Any, Row], dict[Any, Row]]:
        """Rows of a shared topic about this run's records: the SQL's, and those with content."""
        by_sql: dict[Any, Row] = {}
        whole: dict[Any, Row] = {}
        first, ends = self._from(topic, subject), self.topics.ends([topic], committed=True)
        for record in read_range(self.kafka, first, ends):
            row = _row_of(record.value())
            if row.get("source") != subject.source or not _tells_of_a_record(row):
                continue
            if row.get("run") not in (None, subject.run):
                continue
            place = (subject.events, row["partition"])
            if not starts.get(place, 0) <= row["offset"] < upto.offsets.get(place, 0):
                continue
            key = (row["partition"], row["offset"], row["event_id"])
            (whole if row.get("sha256") else by_sql).setdefault(key, row)
        return by_sql, whole


@contextmanager
def without_cycles() -> Iterator[None]:
    """Without the search for cycles: among millions of events, of which none is in one, it takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass
class _Content:
    """The events of an imported file that its topic holds."""

    number: int = 0
    total: int = 0

    def add(self, value: bytes) -> None:
        self.number += 1
        self.total += int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "big")

    @property
    def hexdigest(self) -> str:
        """As `recordings.sources.ImportedFile.content` has it."""
        return f"{self.total % 2**64:016x}"


@dataclass
class _Found:
    """What was found of a run: rows by query, and rows about its late and rejected records by fate."""

    topic: dict[str, list[Row]] = field(default_factory=dict)
    foreign: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    store: dict[str, list[Row]] = field(default_factory=dict)
    kept: dict[Fate, tuple[dict[Any, Row], dict[Any, Row]]] = field(default_factory=dict)


def _choice(
    subject: Subject,
    judged: list[Judged],
    rows: Mapping[str, Sequence[Row]],
    late: Collection[tuple[int, int]],
    compared_with: Callable[[Sequence[Judged]], list[Compared]],
    *,
    w_ms: int | None,
    since_ms: int,
) -> tuple[list[Judged], list[Compared]]:
    """The fates under which there are the fewest differences, for all queries alike, and what is compared with them.

    Args:
        subject: The run.
        judged: The fates, had the copies come in the order in which they were read.
        rows: The rows that are there, by query.
        late: Partition and offset of the records that the job took for late.
        compared_with: What is there, against what it should be under such fates.
        w_ms, since_ms: Rows are compared up to and from here.
    """
    compared = compared_with(judged)
    unsure = copies(judged)
    if not unsure or not any(each.differences for each in compared):
        return judged, compared
    first = choose(subject.queries, judged, unsure, rows, late=late, w_ms=w_ms, since_ms=since_ms)
    anew = judged_anew(judged, first)
    better = compared_with(anew)
    if sum(each.differences for each in better) < sum(each.differences for each in compared):
        return anew, better
    return judged, compared


def _kept_key(each: Judged) -> tuple[int, int, str | None]:
    """What identifies a row about a late or rejected record: its place and as much of its id as is kept."""
    return each.place.partition, each.place.offset, each.event_id[:MAX_TEXT] if each.event_id is not None else None


def _may_be_a_copy(each: Judged, since_ms: int) -> bool:
    """Whether a late record may be a duplicate whose first copy the log has forgotten: Flink remembers ids for longer."""
    return each.fate == "late" and each.event is not None and each.event.event_time < since_ms


def _compare_kept(
    name: str,
    wanted: Iterable[Judged],
    digests: Mapping[tuple[int, int], tuple[int, str]],
    by_sql: Mapping[Any, Row],
    whole: Mapping[Any, Row],
    *,
    since_ms: int,
) -> Compared:
    """Compare `events.late` or `events.rejected`, record by record, both of its writers."""
    compared = Compared(name, "topic")
    wanted = list(wanted)
    perhaps = {_kept_key(each) for each in wanted if _may_be_a_copy(each, since_ms)}
    expected: dict[tuple[int, int, str | None], str] = {}
    for each in wanted:  # of several rows of a record under one id the first counts, as it does below
        expected.setdefault(_kept_key(each), each.reason or "late")
    compared.rows = len(expected)
    for key, reason in expected.items():
        row = {"partition": key[0], "offset": key[1], "event_id": key[2], "reason": reason}
        found = whole.get(key) or by_sql.get(key)
        if found is None and key in perhaps:
            continue
        if found is None or key not in whole or (reason != "parse" and key not in by_sql):
            compared.note("missing", row, found)
        elif any(r["reason"] != reason for r in (by_sql.get(key), whole[key]) if r):
            compared.note("wrong", row, found)
        elif (whole[key]["size"], whole[key]["sha256"]) != digests[key[:2]]:
            compared.note("wrong", row | {"sha256": digests[key[:2]][1]}, whole[key])
    for key, found in {**by_sql, **whole}.items():
        if key not in expected:
            compared.note("extra", None, {k: found[k] for k in ("partition", "offset", "event_id", "reason")})
    return compared


_TOLD = {"partition": int, "offset": int, "reason": str}


def _tells_of_a_record(row: Row) -> bool:
    """Whether a row of a shared topic is one about a record, and whole; else somebody else wrote it."""
    fits = all(isinstance(row.get(name), kind) for name, kind in _TOLD.items())
    whole = row.get("sha256") is None or isinstance(row.get("size"), int)
    return fits and whole and isinstance(row.get("event_id", 0), str | None)


def _row_of(value: str | bytes | None) -> Row:
    """A row of a shared topic; empty when somebody else wrote it."""
    try:
        row = orjson.loads(value or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) else {}
