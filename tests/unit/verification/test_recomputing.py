"""Reading on where the verification before ended gives what reading all at once gives; and what is kept of it on disk."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtap_lab.events.codec import encode
from rtap_lab.queries.query import HOUR_MS, Query, query
from rtap_lab.queries.standard import standard_queries
from rtap_lab.reference.engine import operator
from rtap_lab.reference.fates import Judge, Place, copies, judged_anew
from rtap_lab.settings import JobParameters
from rtap_lab.testing import cases
from rtap_lab.verification.recomputing import RecentIds, Recomputation
from rtap_lab.verification.report import Subject
from rtap_lab.verification.standing import Standings, anew

seeds = st.integers(0, 10**6)
Records = list[tuple[bytes | None, Place]]


def records_of(seed: int, size: int = 120) -> tuple[Records, int]:
    """A random disordered stream in three partitions, with copies and garbage; and its bound."""
    stream, random = cases.stream(seed, size), Random(seed)
    offsets: Counter[int] = Counter()
    found: Records = []
    now = cases.START_MS
    for event in stream.events:
        partition = random.randrange(3)
        now = max(now, event["event_time"]) if random.random() < 0.8 else now + 500
        for value in [encode(event)] + ([b"{"] if random.random() < 0.05 else []):
            found.append((value, Place(partition, offsets[partition], now)))
            offsets[partition] += 1
    return found, stream.bound_ms


def subject_of(queries: tuple[Query, ...], run: str = "r1") -> Subject:
    topics = {each.name: f"results.{each.name}" for each in queries}
    return Subject("standard", "live", run, JobParameters(), queries, topics, dict.fromkeys(topics.values(), 0))


@settings(deadline=None, max_examples=60)
@given(seeds, seeds, st.booleans())
def test_piece_by_piece_the_same_rows_fates_and_records_as_at_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: int, chosen: bool
) -> None:
    records, bound_ms = records_of(seed)
    queries = tuple(query(f"q{n}", cases.query(seed * 5 + n)) for n in range(3))
    judge = Judge(bound_ms)
    judged = [each for value, place in records for each in judge.judge(value, place)]
    random = Random(cut)
    first = {event_id: random.choice(found) for event_id, found in copies(judged).items()} if chosen else {}
    judged = judged_anew(judged, first)
    w_ms = min(judge.latest.values()) - bound_ms

    subject = subject_of(queries)
    standings = Standings(tmp_path_factory.mktemp("standings"))
    standing = anew(subject, dict.fromkeys(range(3), 0), shared={}, kept_ms=None, first=first)
    standing.recomputation.judge.bound_ms = standing.recomputation.watermarks.bound_ms = bound_ms
    rows: dict[str, list[object]] = {each.name: [] for each in queries}
    kept = []
    rest = list(records)
    while rest:
        size = random.randint(1, 60)
        standing.recomputation.take(rest[:size])
        rest = rest[size:]
        for name, due in standing.recomputation.due().items():
            rows[name] += due
        for each in standing.recomputation.kept_since().values():
            kept += each
        if random.random() < 0.5:  # another process goes on
            standings.write(subject, standing)
            read = standings.read(subject)
            assert read is not None
            standing = read
            standing.recomputation.judge.bound_ms = standing.recomputation.watermarks.bound_ms = bound_ms
    recomputed = standing.recomputation
    assert recomputed.left_out == 0
    assert recomputed.counts == Counter(each.fate for each in judged)
    assert recomputed.watermark == w_ms
    assert sorted(each.place for each in kept) == sorted(
        each.place[:2] for each in judged if each.fate in ("late", "rejected")
    )
    events = [each.event for each in judged if each.fate == "counted" and each.event]
    for each in queries:
        at_once = operator(each.definition)
        at_once.add(events)
        assert sorted(map(repr, rows[each.name])) == sorted(map(repr, at_once.advance(w_ms)))


def test_ids_are_forgotten_by_the_hour() -> None:
    ids = RecentIds(2 * HOUR_MS)
    ids.begin(0)
    assert [ids.first("a"), ids.first("a"), ids.first("\ud800")] == [True, False, True]
    ids.begin(3 * HOUR_MS - 1)
    assert not ids.first("a")
    ids.begin(3 * HOUR_MS)
    assert ids.first("a")


def test_what_expired_before_it_was_read_is_not_compared() -> None:
    found = Recomputation(standard_queries(), bound_ms=0, starts={0: 5, 1: 0})
    assert found.watermark is None
    tick = b'{"event_type":"_tick"}'
    found.take([(tick, Place(1, 0, cases.START_MS)), (tick, Place(0, 7, cases.START_MS))])
    assert found.since_ms == cases.START_MS + 300_000
    assert found.positions == {0: 8, 1: 1}
    assert found.watermark == cases.START_MS


def test_a_standing_belongs_to_one_run_and_is_plain_data(tmp_path: Path) -> None:
    subject, standings = subject_of(standard_queries()), Standings(tmp_path / "standings")
    assert standings.read(subject) is None
    standing = anew(subject, {0: 0}, shared={"events.late": 3}, kept_ms=5)
    standing.tell("late", 0, 7)
    standing.upto_ms = 9
    standings.write(subject, standing)
    found = standings.read(subject)
    assert found is not None
    assert (found.upto_ms, found.shared, found.recomputation.ids.kept_ms) == (9, {"events.late": 3}, 5)
    assert found.was_told("late", 0, 7)
    assert not found.was_told("late", 0, 8)
    assert not found.was_told("rejected", 0, 7)
    assert standings.read(subject_of(standard_queries(), run="r2")) is None
    assert standings.read(subject_of(standard_queries(JobParameters(gap_ms=5)))) is None
    (path,) = standings.folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    for content in (pickle.dumps(print), b"", path.read_bytes()[:-9]):
        path.write_bytes(content)
        assert standings.read(subject) is None
    standings.keep_only({"standard/live"})
    assert path.exists()
    standings.keep_only({"mine/live"})
    assert not path.exists()
    standings.write(subject, None)


def test_a_standing_that_cannot_be_written_is_told_and_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "standings").write_text("a file where the folder would be")
    subject, standings = subject_of(standard_queries()), Standings(tmp_path / "standings")
    standings.write(subject, anew(subject, {0: 0}, shared={}, kept_ms=5))
    assert "could not be kept" in caplog.text
    assert standings.read(subject) is None
