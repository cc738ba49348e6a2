"""Recompute everything and compare: result rows of topic, store and hub, late and rejected records.

Live, rows are compared up to W, the least over partitions of (arrival - bound) at the offsets of a completed
checkpoint: no record that comes later can change them.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import JobError, LiveError, RowError
from rtap_lab.events.model import FUTURE_MS
from rtap_lab.events.times import instant_text
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.names import LATE, REJECTED
from rtap_lab.kafka.topics import Topics
from rtap_lab.live.client import snapshots
from rtap_lab.live.protocol import HISTORY
from rtap_lab.queries.query import PatternQuery, Query
from rtap_lab.recordings.sources import content_of, digest_of_value
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Fate, Judge, Judged, Place, copies, judged_anew
from rtap_lab.reference.windowing import BEGIN
from rtap_lab.settings import LIVE
from rtap_lab.store.port import ROLLUP_MS, Store
from rtap_lab.store.writer import MAINTENANCE_S
from rtap_lab.verification.choosing import choose
from rtap_lab.verification.comparing import Compared, Row, compare, compare_rollup, compare_shown, identity
from rtap_lab.verification.recomputing import Kept, Recomputation
from rtap_lab.verification.report import RunReport, Subject, Upto
from rtap_lab.verification.scoring import Score, score
from rtap_lab.verification.standing import Standing, anew
from rtap_lab.verification.trail import Trail
from rtap_lab.waiting import until

if TYPE_CHECKING:
    from rtap_lab.simulator.truth import Truth


_PIECE = 5_000
"""Records that are recomputed at once."""

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
        ids_kept_ms: For how long a live job remembers an event id; None: for good.
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
        ids_kept_ms: int | None = None,
    ) -> None:
        self.topics = topics
        self.kafka = topics.kafka
        self.store = store
        self.hub = hub
        self.late = late
        self.rejected = rejected
        self.patience = patience
        self.ids_kept_ms = ids_kept_ms

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
        # a watermark leaves the source up to 10 ms after its record: what it closes is in the checkpoint
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

    def verify(
        self,
        subject: Subject,
        upto: Upto,
        *,
        standing: Standing | None = None,
        progress: Callable[[int], None] = lambda n: None,
    ) -> tuple[RunReport, Standing | None]:
        """Compare one run with the reference.

        Args:
            subject: The run.
            upto: How far.
            standing: What the verification before left: what was compared then is not read again. It is used up.
            progress: Called with the number of records read.

        Returns:
            The report, and what the next verification can go on from: nothing, where something differs or the run has ended.

        Raises:
            OvertakenError: When the log forgot records before they were read; asked how far anew, it may go well.
        """
        with without_cycles():
            starts = self._starts(subject)
            if standing is not None and not upto.whole and _follows(standing, starts):
                report, after = self._verify(subject, upto, starts, standing, progress)
                if not report.differs:
                    return report, after
                # only the whole says what differs: a row of before that came again, which of several copies counted
            report, after = self._verify(subject, upto, starts, self._anew(subject, starts), progress)
            if report.differences and report.ledger["duplicate"]:
                first = self._chosen(subject, upto, progress)
                if first:
                    better, other = self._verify(subject, upto, starts, self._anew(subject, starts, first), progress)
                    if better.differences < report.differences:
                        report, after = better, other
            return report, None if report.differs or upto.whole else after

    def _starts(self, subject: Subject) -> dict[int, int]:
        """Where each partition of its topic begins now."""
        return {p: start for (_, p), start in self.topics.starts([subject.events]).items()}

    def _anew(self, subject: Subject, starts: Mapping[int, int], first: Mapping[str, int] | None = None) -> Standing:
        shared = {topic: self._from(topic, subject)[topic, 0] for topic, _ in self._kept_topics}
        return anew(
            subject, starts, shared=shared, kept_ms=self.ids_kept_ms if subject.source == LIVE else None, first=first
        )

    def _verify(
        self,
        subject: Subject,
        upto: Upto,
        starts: Mapping[int, int],
        standing: Standing,
        progress: Callable[[int], None],
    ) -> tuple[RunReport, Standing]:
        began = time.monotonic()
        recomputation, before_ms = standing.recomputation, standing.upto_ms
        before = dict(recomputation.positions)
        imported: dict[str, _Content] = defaultdict(_Content)
        trail = self._read(subject, upto, recomputation, progress, imported)
        now = self._starts(subject)
        if trail.has_hole(now, {p: end for (_, p), end in upto.offsets.items()}):
            raise OvertakenError(
                f"verify: records of {subject.events} expired while they were read",
                hint="they expire faster than they are read: fewer events a second, or a longer `rtap up --retention`",
            )
        begins = trail.begins(now)
        starts, before = {**starts, **begins}, {**before, **begins}
        if upto.whole:
            recomputation.close()
        w_ms = None if upto.whole else recomputation.watermark
        if not upto.whole and w_ms is None:
            raise JobError(
                "verify: some partitions never had a record, so no watermark moves",
                hint="is the ticker running? `rtap status`",
            )
        due = recomputation.due()
        kept = recomputation.kept_since()
        compared: list[Compared] = []
        rolled_up = subject.source == LIVE and w_ms is not None
        for query in subject.queries:
            rows = due.pop(query.name)
            if rolled_up and query.schema.additive:
                standing.hours.setdefault(query.name, []).extend(map(query.schema.normal, rows))
            compared += self._compared(subject, query, standing, rows, w_ms=w_ms)
        for topic, fate in self._kept_topics:
            compared.append(self._compared_kept(subject, topic, fate, standing, kept[fate], starts, before, upto))
        if rolled_up and w_ms is not None:
            compared += self._rolled_up(subject, standing, w_ms=w_ms)
        problems = []
        if recomputation.left_out:
            problems.append(
                f"{recomputation.left_out} events came behind rows that were due: {subject.events} is not what it was"
            )
        if self.hub is not None:
            try:
                compared += [each for hub in self.hub.each for each in self._shown(hub, subject)]
            except LiveError as error:
                problems.append(f"what clients are shown cannot be compared: {error.message}")
        counts = recomputation.counts
        ledger = {
            "read": counts.total() - counts["tick"],
            "counted": counts["counted"],
            "duplicate": counts["duplicate"],
            "late": counts["late"],
            "rejected": counts["rejected"],
            "ticks": counts["tick"],
            "refused_lines": subject.refused_lines,
        }
        for each in compared:
            if each.where != "hub":
                each.rows += standing.totals.get((each.name, each.where), 0)
                standing.totals[each.name, each.where] = each.rows
        report = RunReport(
            subject.job,
            subject.source,
            subject.run,
            subject.parameters.delivery,
            instant_text(w_ms) if w_ms is not None else None,
            ledger,
            compared,
            before=instant_text(before_ms) if before_ms > BEGIN else None,
        )
        report.problems += problems + self._lost_lines(subject, imported)
        if not ledger["read"]:
            report.problems.append("there is nothing to compare: no record was read")
        standing.upto_ms = before_ms if w_ms is None else w_ms
        report.seconds = time.monotonic() - began
        return report, standing

    def _read(
        self,
        subject: Subject,
        upto: Upto,
        recomputation: Recomputation,
        progress: Callable[[int], None],
        imported: dict[str, _Content],
    ) -> Trail:
        """Recompute with the records up to there that were not read before; where that went."""
        trail = Trail(recomputation.positions, recomputation.fresh)
        places = {(subject.events, p): position for p, position in recomputation.positions.items()}
        number = 0

        def records() -> Iterator[tuple[bytes | None, Place]]:
            nonlocal number
            for record in read_range(self.kafka, places, upto.offsets):
                value = record.value()
                if subject.files:
                    imported[subject.file_of(record.headers())].add(value or b"")
                number += 1
                trail.note(record.partition() or 0, record.offset() or 0)
                yield value, Place(record.partition() or 0, record.offset() or 0, record.timestamp()[1])

        reading = records()
        while piece := list(itertools.islice(reading, _PIECE)):
            recomputation.take(piece)
            progress(number)
        for (_, partition), end in upto.offsets.items():  # past markers of transactions
            recomputation.positions[partition] = max(end, recomputation.positions.get(partition, 0))
        return trail

    @property
    def _kept_topics(self) -> tuple[tuple[str, Fate], ...]:
        return (self.late, "late"), (self.rejected, "rejected")

    def _compared(
        self, subject: Subject, query: Query, standing: Standing, due: Sequence[Row], *, w_ms: int | None
    ) -> list[Compared]:
        """The rows of a query in topic and store, against those that became due."""
        schema, delivery = query.schema, subject.parameters.delivery
        since_ms = standing.recomputation.since_ms
        w_ms = None if w_ms is None else Recomputation.horizon(query, w_ms)
        wanted = {identity(schema, schema.normal(row)): row for row in due}
        rows, foreign = self._topic_rows(subject, query, standing.results)
        rows = standing.ahead.get(query.name, []) + rows
        standing.ahead[query.name] = [row for row in rows if w_ms is not None and schema.row_time_ms(row) > w_ms]
        topic = compare(query, "topic", wanted, rows, delivery=delivery, w_ms=w_ms, since_ms=since_ms)
        for what, words in foreign:
            topic.note(what, None, f"{subject.results[query.name]}, {words}")
        del rows  # of one place at a time: of a long log they are many
        stored = self._stored(subject, query, standing, w_ms, wanted)
        return [topic, compare(query, "store", wanted, stored, delivery=delivery, w_ms=w_ms, since_ms=since_ms)]

    def _stored(
        self, subject: Subject, query: Query, standing: Standing, w_ms: int | None, wanted: Collection[Any]
    ) -> list[Row]:
        """The rows that the store has of a query; where some were compared before, without those."""
        if standing.upto_ms <= BEGIN or w_ms is None:
            return self.store.rows(query, subject.source)
        schema, before_ms = query.schema, Recomputation.horizon(query, standing.upto_ms)
        step = 2 if schema.windowed else 1  # a point is at its window's end, its row is due 1 ms before
        between: tuple[int, int] | None = (before_ms + step, w_ms + step)
        if isinstance(query.definition, PatternQuery):
            # a match that an earlier attempt held back comes up to that attempt's time after its own
            within_ms = query.definition.pattern.within_ms
            between = (before_ms + step - within_ms, w_ms + step) if within_ms is not None else None
        rows = self.store.rows(query, subject.source, between=between)
        return [row for row in rows if schema.row_time_ms(row) > before_ms or identity(schema, row) in wanted]

    def _compared_kept(
        self,
        subject: Subject,
        topic: str,
        fate: Fate,
        standing: Standing,
        wanted: Sequence[Kept],
        starts: Mapping[int, int],
        before: Mapping[int, int],
        upto: Upto,
    ) -> Compared:
        """`events.late` or `events.rejected`, record by record, against those that were late or rejected."""
        ends = {p: end for (_, p), end in upto.offsets.items()}
        ahead = standing.kept_ahead.setdefault(fate, [])
        by_sql: dict[Any, Row] = {}
        whole: dict[Any, Row] = {}
        again: dict[Any, Row] = {}
        nowhere: list[Row] = []

        @cache
        def written() -> dict[int, int]:
            """How many records there are: asked after the rows were read, which tell of none beyond."""
            return {p: end for (_, p), end in self.topics.ends([subject.events]).items()}

        def sort_in() -> bool:
            """Read what came; whether all that is wanted is there."""
            rows, ahead[:] = [*ahead, *self._kept_rows(subject, topic, standing)], []
            written.cache_clear()
            for row in rows:
                partition, offset = row["partition"], row["offset"]
                key = (partition, offset, row["event_id"])
                if offset >= ends.get(partition, 0):
                    (nowhere if offset >= written().get(partition, 0) else ahead).append(row)
                elif offset >= before.get(partition, 0):
                    (whole if row.get("sha256") else by_sql).setdefault(key, row)
                elif offset >= starts.get(partition, 0) and not standing.was_told(fate, partition, offset):
                    again[key] = row
            return all(each.key in whole for each in wanted if not each.may_be_a_copy)

        until(sort_in, self.patience, every=0.3)  # the auditor follows a moment later
        compared = _compare_kept(fate, wanted, by_sql, whole)
        for row in (*again.values(), *nowhere):
            compared.note("extra", None, {k: row[k] for k in ("partition", "offset", "event_id", "reason")})
        for each in sorted(wanted, key=lambda each: each.place):
            standing.tell(fate, *each.place)
        return compared

    def _rolled_up(self, subject: Subject, standing: Standing, *, w_ms: int) -> list[Compared]:
        """Compare the hours of the rollup that are over, once the writer has brought them up to date."""
        queries = [query for query in subject.queries if query.schema.additive]
        rows = [row for each in standing.hours.values() for row in each]
        oldest_ms = min((row["window_start"] for row in rows), default=w_ms)
        if oldest_ms // ROLLUP_MS == w_ms // ROLLUP_MS:  # no hour is over
            return []
        found: list[Compared] = []

        def up_to_date() -> bool:
            found[:] = [
                compare_rollup(
                    query,
                    standing.hours[query.name],
                    self.store.rollup(query),
                    hour_ms=ROLLUP_MS,
                    since_ms=max(standing.recomputation.since_ms, standing.rolled_up_ms.get(query.name, BEGIN)),
                    until_ms=w_ms - query.schema.span_ms,
                )
                for query in queries
            ]
            return not any(each.differences for each in found)

        until(up_to_date, max(self.patience, MAINTENANCE_S + 5), every=1.0)
        for query in queries:
            hour_ms = (w_ms - query.schema.span_ms) // ROLLUP_MS * ROLLUP_MS
            standing.rolled_up_ms[query.name] = hour_ms
            standing.hours[query.name] = [row for row in standing.hours[query.name] if row["window_start"] >= hour_ms]
        return found

    def _chosen(self, subject: Subject, upto: Upto, progress: Callable[[int], None]) -> dict[str, int]:
        """Of the ids of which several partitions hold a copy, the partition whose copy counted."""
        starts = self.topics.starts([subject.events])
        judged, since_ms, w_ms = self._judge(subject, starts, upto, progress)
        unsure = copies(judged)
        if not unsure:
            return {}
        begins = dict(subject.begins)
        rows = {query.name: self._topic_rows(subject, query, begins)[0] for query in subject.queries}
        late = self._told_late(subject)
        return choose(subject.queries, judged, unsure, rows, late=late, w_ms=w_ms, since_ms=since_ms)

    def _told_late(self, subject: Subject) -> set[tuple[int, int]]:
        """Partition and offset of the records that the job took for late."""
        first, ends = self._from(self.late, subject), self.topics.ends([self.late], committed=True)
        rows = (_row_of(record.value()) for record in read_range(self.kafka, first, ends))
        ours = (row for row in rows if _tells_of_a_record(row) and row.get("source") == subject.source)
        return {
            (r["partition"], r["offset"]) for r in ours if r.get("run") in (None, subject.run) and not r.get("sha256")
        }

    def score(
        self, subject: Subject, upto: Upto, truths: Iterable[Truth], *, progress: Callable[[int], None] = lambda n: None
    ) -> Score:
        """Compare one run with what really happened."""
        began = time.monotonic()
        starts = self.topics.starts([subject.events])
        judged, since_ms, w_ms = self._judge(subject, starts, upto, progress)
        found = {query.name: self.store.rows(query, subject.source) for query in subject.queries}
        expected: dict[str, list[Row]] = {}

        def expect(fates: Sequence[Judged]) -> None:
            events = [j.event for j in fates if j.fate == "counted" and j.event]
            expected.update({query.name: rows_of(query.definition, events) for query in subject.queries})

        def differs(query: Query) -> bool:
            wanted = {identity(query.schema, query.schema.normal(row)): row for row in expected[query.name]}
            delivery, there = subject.parameters.delivery, found[query.name]
            compared = compare(query, "store", wanted, there, delivery=delivery, w_ms=w_ms, since_ms=since_ms)
            return compared.differences > 0

        expect(judged)
        unsure = copies(judged)
        if unsure and any(differs(query) for query in subject.queries):
            late = self._told_late(subject)
            first = choose(subject.queries, judged, unsure, found, late=late, w_ms=w_ms, since_ms=since_ms)
            judged = judged_anew(judged, first)
            expect(judged)
        result = score(subject, truths, judged, expected, found, w_ms=w_ms, since_ms=since_ms)
        result.seconds = time.monotonic() - began
        return result

    def _judge(
        self, subject: Subject, starts: Mapping[tuple[str, int], int], upto: Upto, progress: Callable[[int], None]
    ) -> tuple[list[Judged], int, int | None]:
        """Fates of all records, since when all are there, and W."""
        judge = Judge(subject.parameters.bound_ms)
        judged: list[Judged] = []
        since_ms = BEGIN
        fresh = {key for key, start in starts.items() if start > 0}
        for number, record in enumerate(read_range(self.kafka, starts, upto.offsets)):
            place = Place(record.partition() or 0, record.offset() or 0, record.timestamp()[1])
            key = (record.topic() or "", place.partition)
            if key in fresh:  # older records have expired
                fresh.discard(key)
                since_ms = max(since_ms, place.arrival_ms + FUTURE_MS)
            judged += judge.judge(record.value(), place)
            if number % 20_000 == 0:
                progress(number)
        w_ms = None if upto.whole else min(judge.latest.values(), default=BEGIN) - judge.bound_ms
        return judged, since_ms, w_ms

    def _topic_rows(
        self, subject: Subject, query: Query, begins: dict[str, int]
    ) -> tuple[list[Row], list[tuple[str, str]]]:
        """The rows of a result topic; and what is there beside rows with their keys: what kind of difference, and words.

        Args:
            subject: The run.
            query: Whose.
            begins: The offset from which each topic is read; moved to where this one is read on.
        """
        topic = subject.results[query.name]
        ends = self.topics.ends([topic], committed=True)
        if not ends:
            return [], [("missing", "which is gone")]
        found = read_range(self.kafka, {(topic, 0): begins[topic]}, ends)
        begins[topic] = max(begins[topic], ends[topic, 0])
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
        queries = [query for query in subject.queries if subject.results[query.name] in first]
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
            before = {query.name: published(query) for query in queries}
            try:
                shown = snapshots(hub, list(before), subject.source)
            except LiveError as error:  # it may be starting
                away.append(error)
                return False
            for query in queries:
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
        strangers = sum(held.number for file, held in imported.items() if file not in subject.files)
        if strangers:
            problems.append(
                f"{strangers} records of {subject.events} are of no file that was imported: an import that was killed at its "
                "commit (import that file again), or another program"
            )
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
        if (
            not subject.files or subject.is_slice
        ):  # what was played live, and what a slice holds, are lines of no import
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

    def _kept_rows(self, subject: Subject, topic: str, standing: Standing) -> Iterator[Row]:
        """Rows of a shared topic about this run's records that were not read before: the SQL's, and those with content."""
        first, ends = {(topic, 0): standing.shared[topic]}, self.topics.ends([topic], committed=True)
        standing.shared[topic] = max(standing.shared[topic], ends[topic, 0])
        for record in read_range(self.kafka, first, ends):
            row = _row_of(record.value())
            if row.get("source") != subject.source or not _tells_of_a_record(row):
                continue
            if row.get("run") in (None, subject.run):
                yield row


class OvertakenError(JobError):
    """Records expired while they were read, between others that were: what was recomputed means nothing."""


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
        self.total += digest_of_value(value)

    @property
    def hexdigest(self) -> str:
        """As `recordings.sources.ImportedFile.content` has it."""
        return content_of(self.total)


def _follows(standing: Standing, starts: Mapping[int, int]) -> bool:
    """Whether no record has expired that a standing has not read."""
    positions = standing.recomputation.positions
    return positions.keys() == starts.keys() and all(positions[p] >= start for p, start in starts.items())


def _compare_kept(name: str, wanted: Sequence[Kept], by_sql: Mapping[Any, Row], whole: Mapping[Any, Row]) -> Compared:
    """Compare `events.late` or `events.rejected`, record by record, both of its writers."""
    compared = Compared(name, "topic")
    perhaps = {each.key for each in wanted if each.may_be_a_copy}
    expected: dict[tuple[int, int, str | None], Kept] = {}
    for each in wanted:  # of several rows of a record under one id the first counts, as it does below
        expected.setdefault(each.key, each)
    compared.rows = len(expected)
    for key, each in expected.items():
        row = {"partition": key[0], "offset": key[1], "event_id": key[2], "reason": each.reason}
        found = whole.get(key) or by_sql.get(key)
        if found is None and key in perhaps:
            continue
        if found is None or key not in whole or (each.reason != "parse" and key not in by_sql):
            compared.note("missing", row, found)
        elif any(r["reason"] != each.reason for r in (by_sql.get(key), whole[key]) if r):
            compared.note("wrong", row, found)
        elif (whole[key]["size"], whole[key]["sha256"]) != (each.size, each.sha256):
            compared.note("wrong", row | {"sha256": each.sha256}, whole[key])
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
