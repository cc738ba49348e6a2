"""Recompute everything and compare: result rows of topic and store, late and rejected records.

What is right comes from `rtap_lab.streams`, which shares no code with the SQL. Live, rows are compared
up to W, the least over partitions of (arrival - bound) at the offsets of a completed checkpoint: no
record that comes later can change them.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from rtap_lab.errors import JobError
from rtap_lab.events.model import FUTURE_MS
from rtap_lab.events.times import instant_text
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.topics import LATE, REJECTED, Topics, events_topic
from rtap_lab.settings import JobParameters
from rtap_lab.store.port import Store
from rtap_lab.streams.fates import Judge, Judged, Place
from rtap_lab.streams.queries import STANDARD, Query, normal
from rtap_lab.streams.standard import standard_rows

if TYPE_CHECKING:
    from rtap_lab.monitoring.scoring import Score
    from rtap_lab.simulator.truth import Truth

SHOWN = 5
"""How many differing rows are shown."""

Row = dict[str, Any]


@dataclass
class Compared:
    """Rows of one query in one place, against the reference."""

    name: str
    where: str
    rows: int = 0
    """Rows that the reference has."""
    missing: int = 0
    extra: int = 0
    wrong: int = 0
    repeated: int = 0
    """Rows that came again, equal: an error in `exactly_once`."""
    open: int = 0
    """Rows found that are not due yet."""
    first: list[dict[str, Any]] = field(default_factory=list)
    """The first differing rows."""

    @property
    def differences(self) -> int:
        return self.missing + self.extra + self.wrong + self.repeated

    def note(self, what: str, expected: Any, found: Any) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.first) < SHOWN:
            self.first.append({"what": what, "expected": expected, "found": found})


@dataclass
class Report:
    """The outcome of a verification."""

    source: str
    run: str
    delivery: str
    upto: str | None
    """W, an instant; None when the run was compared whole."""
    ledger: dict[str, int]
    """read = counted + duplicate + late + rejected; ticks and lines refused at import beside it."""
    compared: list[Compared]
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def differences(self) -> int:
        return sum(each.differences for each in self.compared)

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.compared if each.where == "topic")

    @property
    def exact(self) -> bool:
        return not self.problems and not self.differences and self.ledger["read"] > 0

    def as_json(self) -> dict[str, Any]:
        facts = {k: v for k, v in self.__dict__.items() if k != "compared"}
        table = [each.__dict__ | {"differences": each.differences} for each in self.compared]
        return facts | {"exact": self.exact, "differences": self.differences, "compared": table}

    def __str__(self) -> str:
        lines = [
            f"{'rows of':<20}{'in':<8}{'expected':>9}{'missing':>9}{'extra':>7}{'wrong':>7}{'repeated':>10}{'open':>7}"
        ]
        for c in self.compared:
            lines.append(
                f"{c.name:<20}{c.where:<8}{c.rows:>9}{c.missing:>9}{c.extra:>7}{c.wrong:>7}{c.repeated:>10}{c.open:>7}"
            )
        led = self.ledger
        lines.append(
            f"read {led['read']} = counted {led['counted']} + duplicate {led['duplicate']} + late {led['late']}"
            f" + rejected {led['rejected']}   (ticks {led['ticks']}, lines refused at import {led['refused_lines']})"
        )
        for c in self.compared:
            for each in c.first:
                lines.append(
                    f"  {c.name} in {c.where}, {each['what']}: expected {_shown(each['expected'])}, "
                    f"found {_shown(each['found'])}"
                )
        lines += [f"  {problem}" for problem in self.problems]
        upto = f"up to {self.upto}" if self.upto else "whole"
        verdict = "EXACT" if self.exact else "NOT EXACT"
        lines.append(f"{verdict}: {self.source}, run {self.run}, {upto}, {self.seconds:.1f} s")
        return "\n".join(lines)


def _shown(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    return str({k: instant_text(v) if isinstance(v, int) and v > 10**11 else v for k, v in row.items()})


@dataclass(frozen=True)
class Subject:
    """What is verified: one run of the standard job."""

    source: str
    run: str
    parameters: JobParameters
    results: Mapping[str, str]
    """Topic of each query."""
    begins: Mapping[str, int]
    """Where the run's rows begin in each of these topics."""
    refused_lines: int = 0
    files: frozenset[str] = frozenset()
    """Digests of the imported files, as rejected rows name them."""


@dataclass(frozen=True)
class Upto:
    """How far a run is compared."""

    offsets: Mapping[tuple[str, int], int]
    w_ms: int | None
    """None: whole."""


class Verifier:
    """Verifies runs of one lab.

    Args:
        bootstrap: Kafka's address.
        store: The store.
    """

    def __init__(self, bootstrap: str, store: Store) -> None:
        self.bootstrap = bootstrap
        self.store = store
        self.topics = Topics(bootstrap)

    def live_upto(
        self, subject: Subject, group: str, checkpoints: Callable[[], int], *, patience: float = 60.0
    ) -> Upto:
        """Wait until a live job and the store have passed the topic's ends as they are now.

        Args:
            subject: The run.
            group: Where the job's checkpoints show their offsets.
            checkpoints: Gives the number of completed checkpoints so far.
            patience: Seconds to wait at most.

        Raises:
            JobError: When the job, or its watermark, does not move.
        """
        topic = events_topic(None if subject.source == "live" else subject.source)
        ends, starts = self.topics.ends([topic]), self.topics.starts([topic])
        deadline = time.monotonic() + patience

        def wait(condition: Callable[[], bool], what: str) -> None:
            while not condition():
                if time.monotonic() > deadline:
                    raise JobError(
                        f"verify: {what} within {patience:.0f} s",
                        hint="`rtap status` shows the job's lag and watermark",
                    )
                time.sleep(0.1)

        done: dict[int, int] = {}

        def read() -> bool:
            done.update(self.topics.committed(group, topic))
            return all(done.get(p, 0) >= end or end == starts[t, p] for (t, p), end in ends.items())

        wait(read, "the job did not read to the topic's ends")
        offsets = {(topic, p): done.get(p, starts[topic, p]) for (_, p) in ends}
        # a watermark leaves the source up to 50 ms after its record: what it closes is in a
        # checkpoint or two after the one with these offsets
        begun, count = time.monotonic(), checkpoints()
        wait(lambda: checkpoints() >= count + 3 and time.monotonic() - begun > 0.5, "the job completed no checkpoints")
        arrivals = self._last_arrivals(starts, offsets)
        if len(arrivals) < len(ends):
            raise JobError(
                "verify: some partitions never had a record, so no watermark moves",
                hint="is the ticker running? `rtap status`",
            )
        self.await_store(subject, deadline - time.monotonic())
        return Upto(offsets, min(arrivals.values()) - subject.parameters.bound_ms)

    def _last_arrivals(
        self, starts: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]
    ) -> dict[int, int]:
        """When the last record before each end arrived."""
        near = {key: max(starts[key], end - 50) for key, end in ends.items()}
        found: dict[int, int] = {}
        for record in read_range(self.bootstrap, near, ends):
            found[record.partition() or 0] = record.timestamp()[1]
        return found

    def await_store(self, subject: Subject, patience: float) -> None:
        """Wait until the store holds all committed rows of a run.

        Raises:
            JobError: When it does not within so many seconds.
            ServiceError: When a transaction stays open.
        """
        deadline = time.monotonic() + max(patience, 1)
        ends = self.topics.await_committed(subject.results.values(), max(patience, 1))
        while True:
            held = self.store.offsets() if self.store.runs().get(subject.source) == subject.run else {}
            behind = {t: end - held.get(t, 0) for (t, _), end in ends.items() if held.get(t, 0) < end}
            if not behind:
                return
            if time.monotonic() > deadline:
                raise JobError(
                    f"the store is behind the result topics: {behind}",
                    hint="`rtap status` shows the writer; `rtap logs writer` its log",
                )
            time.sleep(0.1)

    def verify(self, subject: Subject, upto: Upto, *, progress: Callable[[int], None] = lambda n: None) -> Report:
        """Compare one run with the reference."""
        began = time.monotonic()
        starts, judged, records, since_ms, expected = self._recompute(subject, upto, progress)
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
        compared = []
        for query in STANDARD.values():
            in_topic = self._topic_rows(subject, query)
            in_store = self.store.rows(query.name, subject.source)
            wanted = {identity(query, row): row for row in expected[query.name]}
            for where, rows in (("topic", in_topic), ("store", in_store)):
                compared.append(compare(query, where, wanted, rows, subject, upto.w_ms, since_ms))
        for name, fate in ((LATE, "late"), (REJECTED, "rejected")):
            wanted_records = [j for j in judged if j.fate == fate]
            compared.append(self._kept(subject, name, wanted_records, records, starts, upto))
        shown = instant_text(upto.w_ms) if upto.w_ms is not None else None
        report = Report(subject.source, subject.run, subject.parameters.delivery, shown, ledger, compared)
        deadline = time.monotonic() + 20
        kept = self._refused_lines(subject)
        while kept < subject.refused_lines and time.monotonic() < deadline:
            time.sleep(0.3)  # somebody's open transaction may hide them for a moment
            kept = self._refused_lines(subject)
        if kept != subject.refused_lines:
            report.problems.append(
                f"{subject.refused_lines} lines were refused at import, {REJECTED} holds {kept} of them"
            )
        if not ledger["read"]:
            report.problems.append("there is nothing to compare: no record was read")
        report.seconds = time.monotonic() - began
        return report

    def score(
        self, subject: Subject, upto: Upto, truths: Iterable[Truth], *, progress: Callable[[int], None] = lambda n: None
    ) -> Score:
        """Compare one run with what really happened."""
        from rtap_lab.monitoring.scoring import score

        began = time.monotonic()
        _, judged, _, since_ms, expected = self._recompute(subject, upto, progress)
        found = {name: self.store.rows(name, subject.source) for name in STANDARD}
        result = score(subject, truths, judged, expected, found, w_ms=upto.w_ms, since_ms=since_ms)
        result.seconds = time.monotonic() - began
        return result

    def _recompute(
        self, subject: Subject, upto: Upto, progress: Callable[[int], None]
    ) -> tuple[Any, list[Judged], dict[tuple[int, int], tuple[int, str]], int, dict[str, list[Row]]]:
        """Where the topic starts, the fates of its records, what is kept of some, since when, and the rows."""
        topic = events_topic(None if subject.source == "live" else subject.source)
        starts = self.topics.starts([topic])
        judged, records, since_ms = self._judge(subject, starts, upto, progress)
        events = [j.event for j in judged if j.fate == "counted" and j.event]
        return starts, judged, records, since_ms, standard_rows(events, subject.parameters)

    def _judge(
        self, subject: Subject, starts: Mapping[tuple[str, int], int], upto: Upto, progress: Callable[[int], None]
    ) -> tuple[list[Judged], dict[tuple[int, int], tuple[int, str]], int]:
        """Fates of all records, size and digest of those that are kept, and since when all are there."""
        judge = Judge(subject.parameters.bound_ms)
        judged: list[Judged] = []
        digests: dict[tuple[int, int], tuple[int, str]] = {}
        since_ms = -(2**62)
        fresh = {key for key, start in starts.items() if start > 0}
        # one partition after the other would judge copies in the same partition only; that is how
        # copies of one id come (they share a key)
        for number, record in enumerate(read_range(self.bootstrap, starts, upto.offsets)):
            place = Place(record.partition() or 0, record.offset() or 0, record.timestamp()[1])
            key = (record.topic() or "", place.partition)
            if key in fresh:  # older records have expired
                fresh.discard(key)
                since_ms = max(since_ms, place.arrival_ms + FUTURE_MS)
            value = record.value()
            for each in judge.judge(value, place):
                judged.append(each)
                if each.fate in ("late", "rejected"):
                    content = value or b""
                    digests[place[:2]] = (len(content), hashlib.sha256(content).hexdigest())
            if number % 20_000 == 0:
                progress(number)
        return judged, digests, since_ms

    def _topic_rows(self, subject: Subject, query: Query) -> list[Row]:
        topic = subject.results[query.name]
        ends = self.topics.ends([topic], committed=True)
        starts = {(topic, 0): subject.begins[topic]}
        found = read_range(self.bootstrap, starts, ends)
        return [normal(query, orjson.loads(record.value() or b"{}")) for record in found]

    def _refused_lines(self, subject: Subject) -> int:
        """How many lines of the source `events.rejected` holds."""
        if subject.source == "live":  # lines of what was played live belong to no import
            return subject.refused_lines
        first, ends = self.topics.starts([REJECTED]), self.topics.ends([REJECTED], committed=True)
        lines = set()
        for record in read_range(self.bootstrap, first, ends):
            row = _row_of(record.value())
            ours = row.get("source") == subject.source and row.get("file") in subject.files
            if ours and row.get("line") is not None:
                lines.add((row["file"], row["line"]))
        return len(lines)

    def _kept(
        self,
        subject: Subject,
        topic: str,
        wanted: Iterable[Judged],
        digests: Mapping[tuple[int, int], tuple[int, str]],
        starts: Mapping[tuple[str, int], int],
        upto: Upto,
    ) -> Compared:
        """Compare `events.late` or `events.rejected`, record by record, both of its writers."""
        name = topic.removeprefix("events.")
        compared = Compared(name, "topic")
        expected: dict[tuple[int, int, str | None], str] = {}
        for each in wanted:
            reason: str = each.reason or "late"
            expected[each.place.partition, each.place.offset, each.event_id] = reason
        compared.rows = len(expected)
        source_topic = events_topic(None if subject.source == "live" else subject.source)
        deadline = time.monotonic() + 20
        while True:
            by_sql, whole = self._kept_rows(subject, topic, source_topic, starts, upto)
            lacking = [k for k in expected if k not in whole]
            if not lacking or time.monotonic() > deadline:
                break
            time.sleep(0.3)  # the auditor follows a moment later
        for key, reason in expected.items():
            row = {"partition": key[0], "offset": key[1], "event_id": key[2], "reason": reason}
            found = {**by_sql, **whole}.get(key)
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

    def _kept_rows(
        self, subject: Subject, topic: str, source_topic: str, starts: Mapping[tuple[str, int], int], upto: Upto
    ) -> tuple[dict[Any, Row], dict[Any, Row]]:
        """Rows of a shared topic about this run's records: the SQL's, and those with content."""
        by_sql: dict[Any, Row] = {}
        whole: dict[Any, Row] = {}
        first, ends = self.topics.starts([topic]), self.topics.ends([topic], committed=True)
        for record in read_range(self.bootstrap, first, ends):
            row = _row_of(record.value())
            if row.get("source") != subject.source or row.get("partition") is None:
                continue
            if row.get("run") not in (None, subject.run):
                continue
            place = (source_topic, row["partition"])
            if not starts.get(place, 0) <= row["offset"] < upto.offsets.get(place, 0):
                continue
            key = (row["partition"], row["offset"], row["event_id"])
            (whole if row.get("sha256") else by_sql).setdefault(key, row)
        return by_sql, whole


def _row_of(value: bytes | None) -> Row:
    """A row of a shared topic; empty when somebody else wrote it."""
    try:
        row = orjson.loads(value or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) else {}


def identity(query: Query, row: Row) -> tuple[Any, ...]:
    """What makes a row this row."""
    return tuple(row[name] for name in query.identity)


def compare(
    query: Query,
    where: str,
    expected: Mapping[tuple[Any, ...], Row],
    found: Iterable[Row],
    subject: Subject,
    w_ms: int | None,
    since_ms: int,
) -> Compared:
    """Compare rows that are due and whose records are all still there."""
    compared = Compared(query.name, where)
    within = subject.parameters.within_ms

    def due(row: Row) -> bool:
        begins = row["window_start"] if query.windowed else row["cart_time"]
        if begins < since_ms:
            return False
        return w_ms is None or query.row_time_ms(row, within_ms=within) <= w_ms

    wanted = {key: row for key, row in expected.items() if due(row)}
    compared.rows = len(wanted)
    seen: set[tuple[Any, ...]] = set()
    for row in found:
        if not due(row):
            compared.open += 1
            continue
        key = identity(query, row)
        if key not in wanted:
            compared.note("extra", None, row)
        elif {k: row[k] for k in query.columns} != _rounded(query, wanted[key]):
            compared.note("wrong", wanted[key], row)
        elif key in seen and subject.parameters.delivery == "exactly_once":
            compared.note("repeated", None, row)
        seen.add(key)
    for key in wanted.keys() - seen:
        compared.note("missing", wanted[key], None)
    return compared


def _rounded(query: Query, row: Row) -> Row:
    return {
        name: round(row[name], 6) if kind == "number" and row[name] is not None else row[name]
        for name, kind in query.columns.items()
    }
