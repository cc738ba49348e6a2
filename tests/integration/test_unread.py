"""A log that forgets what somebody had not read: a job goes on, and everybody is told what its answers lack; a verification that
reads begins anew."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtap_lab.jobs.unread import unread_document
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.queries.standard import JOB
from rtap_lab.settings import LIVE
from rtap_lab.waiting import until


@contextmanager
def forgetful(state: Path, *, rate: float) -> Iterator[Lab]:
    """A lab that keeps events for a minute, and traffic."""
    lab = Lab.up(state, gap="10s", within="10s", retention="60s")
    stop, errors = threading.Event(), list[BaseException]()

    def shop() -> None:
        try:
            lab.simulate(rate=rate, seconds=800, seed=7, stop=stop)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=shop)
    thread.start()
    try:
        yield lab
        assert not errors, errors
    finally:
        stop.set()
        thread.join(60)
        lab.down()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_what_expired_unread_is_told(tmp_path: Path) -> None:
    with forgetful(tmp_path / "state", rate=50) as lab:
        topics = Topics(lab.endpoints.kafka)
        until(lambda: len(lab.rows("traffic_hop")) > 5, 60, lambda: AssertionError("no rows"))
        assert not lab.status()["jobs"][0]["unread"]
        run = lab.stop_job(JOB)
        places = topics.committed(run.group, LIVE_EVENTS)
        assert places

        def lost() -> int:
            starts = {p: start for (_, p), start in topics.starts([LIVE_EVENTS]).items()}
            return sum(max(0, starts[p] - place) for p, place in places.items())

        until(lambda: lost() > 1_000, 300, lambda: AssertionError(f"{lost()} records expired unread"), every=1)
        least = lost()
        lab.run_job(JOB)

        def told() -> bool:
            entry = unread_document(lab.state).read().readers.get(run.run)
            return entry is not None and entry.records >= least

        until(told, 30, lambda: AssertionError(f"{least}: {unread_document(lab.state).read()}"))
        words = "records of events expired before it had read them"

        def caught_up() -> bool:
            facts = lab.status()
            job = next(j for j in facts["jobs"] if (j["name"], j["source"]) == (JOB, LIVE))
            assert job["unread"] >= least
            assert any(words in each for each in [*facts["problems"], *facts["notices"]]), facts
            return bool(facts["ok"]) and any(words in each for each in facts["notices"])

        until(caught_up, 120, lambda: AssertionError(str(lab.status())), every=1)
        assert any(words in each.found and each.verdict == "FAIL" for each in lab.doctor())
        report = lab.verify(full=True)
        print(report)
        assert report.differences == 0
        assert not report.exact
        assert [words in each for each in report.problems] == [True]
        lab.stop_job(JOB, drain=True)
        anew = lab.run_job(JOB).run
        assert anew != run.run
        begin = sum(topics.starts([LIVE_EVENTS]).values())

        def watched() -> bool:
            expired = sum(topics.starts([LIVE_EVENTS]).values()) > begin + 2_000
            return expired and anew in unread_document(lab.state).read().readers

        until(watched, 60, lambda: AssertionError(str(unread_document(lab.state).read())), every=1)
        assert not lab.status()["jobs"][0]["unread"], "a new run lacks nothing of what it began with"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_verification_that_is_overtaken_begins_anew(tmp_path: Path) -> None:
    with forgetful(tmp_path / "state", rate=1_500) as lab:
        topics, seen = Topics(lab.endpoints.kafka), list[int]()
        until(
            lambda: min(topics.starts([LIVE_EVENTS]).values()) > 0,
            300,
            lambda: AssertionError("nothing expired"),
            every=1,
        )

        def slow(records: int) -> None:
            seen.append(records)
            if len(seen) <= 2:
                time.sleep(50)  # so long the log goes on to forget

        report = lab.verify(full=True, progress=slow)
        print(report)
        assert any(after < before for before, after in itertools.pairwise(seen)), f"it was not overtaken: {seen}"
        assert report.exact, str(report)
        # of a log of a minute no window can be recomputed: an event may lie five minutes before its record
        assert sum(each.rows for each in report.compared if each.name == "rejected") > 10
