"""The judge of a run that goes on is judged: it has found the first half right, and what is wrong comes after that.

The kinds of wrong answers are those of `test_mutations`; here they are seeded into what was not compared yet, and the
verification goes on from what the one before left on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from rtap_lab.jobs.refused import row_of
from rtap_lab.kafka.clients import producer
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.queries.query import Query
from rtap_lab.settings import LIVE
from rtap_lab.store.embedded import EmbeddedStore
from rtap_lab.verification.recomputing import Recomputation
from rtap_lab.verification.report import Report, RunReport, Upto
from rtap_lab.verification.standing import Standings
from rtap_lab.verification.verifier import Verifier
from rtap_lab.waiting import until
from tests.integration.test_mutations import KINDS, Court, World, Written, a_hub, named, shown_rows

pytestmark = pytest.mark.long
OF_AN_IMPORT = (
    "lines were refused",
    "events were imported",
    "is not what was imported",
    "are of no file that was imported",
)
LIVE_KINDS = [kind for kind in KINDS if kind[1] not in OF_AN_IMPORT and kind[0] != "a row of the run before"]
Offsets = Mapping[tuple[str, int], int]


def _due(query: Query, record: Written) -> int:
    """When a row of a result topic is due."""
    return query.schema.row_time_ms(query.schema.normal(query.schema.read(record.value)))


class LiveCourt(Court):
    """A live run, of which a verification has seen the records up to `half`.

    Args:
        lab: A lab at rest: all rows are due.
        folder: For the copy of the store, and what a verification leaves.
        half: How far the first verification reads.
    """

    def __init__(self, lab: Lab, folder: Path, half: Offsets) -> None:
        super().__init__(lab, folder, LIVE)
        self.half = half
        self.ends = self.topics.ends([self.subject.events], committed=True)
        self.standings = Standings(folder / "verification")
        verifier = Verifier(self.topics, lab._context.open_store(), ids_kept_ms=self._kept_ms)
        _, standing = verifier.verify(self.subject, Upto(half, whole=False))
        assert standing is not None
        self.world.after_ms = standing.upto_ms + 60_000  # past what an earlier attempt of a pattern held back
        for query in self.subject.queries:
            rows, horizon = self.world.results[query.name], Recomputation.horizon(query, standing.upto_ms)
            seen = [n for n, row in enumerate(rows) if _due(query, row) <= horizon]
            at = seen[-1] + 1 if seen else 0
            self.world.before[query.name], self.world.results[query.name] = rows[:at], rows[at:]
            assert len(rows) > at > 0, f"{query.name}: {len(rows)} rows, {at} of them before"
        self.earlier: dict[str, list[Written]] = {}
        for name in ("late", "rejected"):
            rows, new = getattr(self.world, name), list[Written]()
            self.earlier[name] = []
            for row in rows:
                (new if self._is_new(row) else self.earlier[name]).append(row)
            setattr(self.world, name, new)
        self.world.events = [e for e in self.world.events if e.offset >= half[LIVE_EVENTS, e.partition]]

    @property
    def _kept_ms(self) -> int:
        return self.lab._context.site.settings.deduplication_ms

    def _is_new(self, record: Written) -> bool:
        row = row_of(record.value) or {}
        return bool(row["offset"] >= self.half[LIVE_EVENTS, row["partition"]])

    def judge(self, spoil: Callable[[World], object]) -> RunReport:
        """Verify the first half, which must be exact; then what came after it, spoilt, from there on."""
        world = self.spoilt(spoil)
        out = producer(self.lab.endpoints.kafka)
        begins = self.topics.empty([self.places[name] for name in world.results])
        emptied = self.topics.empty([self.places["late"], self.places["rejected"]])
        for name, records in (*world.before.items(), *self.earlier.items()):
            self._write(out, self.places[name], [replace(each, partition=0) for each in records])
        subject = replace(
            self.subject,
            results={name: self.places[name] for name in world.results},
            begins=begins,
            refused_from=emptied[self.places["rejected"]],
        )
        store = EmbeddedStore(world.store)

        def verify(upto: Offsets, shown: dict[str, list[dict[str, Any]]]) -> RunReport:
            with a_hub(shown, LIVE) as hub:
                verifier = Verifier(
                    self.topics,
                    store,
                    hub,
                    late=self.places["late"],
                    rejected=self.places["rejected"],
                    patience=0.5,
                    ids_kept_ms=self._kept_ms,
                )
                standing = self.standings.read(subject)
                report, after = verifier.verify(subject, Upto(upto, whole=False), standing=standing)
                self.standings.write(subject, after)
                return report

        try:
            self.standings.write(subject, None)
            first = verify(
                self.half, {n: [orjson.loads(r.value or b"") for r in world.before[n]] for n in world.results}
            )
            assert first.exact, str(Report(LIVE, [first]))
            for name, records in world.results.items():
                self._write(out, self.places[name], [*records, *world.open.get(name, ())])
            for name in ("late", "rejected"):
                self._write(out, self.places[name], [replace(each, partition=0) for each in getattr(world, name)])
            return verify(self.ends, shown_rows(world))
        finally:
            store.close()


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCourt]:
    folder = tmp_path_factory.mktemp("court")
    lab = Lab.up(folder / "state", gap="5s", within="8s", bound="2s")
    try:
        topics = Topics(lab.endpoints.kafka)
        out = producer(lab.endpoints.kafka)
        half: Offsets = {}
        for seed in (1, 2):
            lab.simulate(rate=100, seconds=80, seed=seed)
            half = half or topics.ends([LIVE_EVENTS], committed=True)
            for number, bad in enumerate((b"no JSON", b"{}", b'{"event_id": "x"}', b"[1")):
                out.produce(LIVE_EVENTS, bad, b"bad", number)
            assert out.flush(10) == 0

        def at_rest() -> bool:
            report = lab.verify(full=True)
            assert report.exact, str(report)
            return not any(each.open for each in report.compared)

        until(at_rest, 150, lambda: AssertionError("some rows are never due"), every=5)
        ledger = lab.verify().ledger
        assert min(ledger[each] for each in ("late", "duplicate", "rejected")) > 0, ledger
        yield LiveCourt(lab, folder, half)
    finally:
        lab.down()


def test_what_was_not_touched_goes_on_exact(court: LiveCourt) -> None:
    report = court.judge(lambda world: None)
    assert report.exact, str(Report(LIVE, [report]))
    assert report.before is not None, "it went on from where the one before ended"


@pytest.mark.parametrize(("name", "place", "act"), LIVE_KINDS, ids=[each[0] for each in LIVE_KINDS])
def test_a_wrong_answer_after_what_was_verified_turns_it_red_and_is_named(
    court: LiveCourt, name: str, place: str, act: Callable[[World], object]
) -> None:
    named(court.judge(act), name, place)
