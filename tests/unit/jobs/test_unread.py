"""Records that expired before somebody had read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.jobs.documents import runs_document
from rtap_lab.jobs.unread import AUDITOR, LOOK_S, NEAR_LOOK_S, WRITE_S, Unread, Watch, looked, unread_document
from rtap_lab.kafka.auditor import GROUP
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import RESULTS_RETENTION_MS, Topics
from rtap_lab.settings import JobParameters
from rtap_lab.stack.state import State

WEEK_S = RESULTS_RETENTION_MS / 1000


def test_what_expired_before_the_first_look_is_nobodys_loss() -> None:
    assert looked(None, {}, {0: 50, 1: 0}, 9.0) == Unread(places={"0": 50, "1": 0})


def test_what_lay_between_a_place_and_the_beginning_of_the_log_is_lost_and_counted_once() -> None:
    first = looked(None, {0: 60, 1: 5}, {0: 50, 1: 0}, 1.0)
    gone = looked(first, {0: 60, 1: 5}, {0: 100, 1: 0}, 2.0)
    assert (gone.records, gone.first, gone.last) == (40, 2.0, 2.0)
    again = looked(gone, {0: 60, 1: 5}, {0: 100, 1: 0}, 3.0)
    assert again == gone, "nothing more"
    more = looked(again, {0: 110, 1: 5}, {0: 100, 1: 9}, 4.0)
    assert (more.records, more.first, more.last) == (44, 2.0, 4.0)
    assert "up to 44 records of events expired before it had read them (from 1970-01-01T00:00:02" in str(more)


def test_one_thrown_forward_between_two_looks_is_noticed() -> None:
    first = looked(None, {0: 60}, {0: 50}, 1.0)
    assert looked(first, {0: 130}, {0: 100}, 2.0).records == 40


def test_a_partition_that_was_added_begins_where_it_begins() -> None:
    first = looked(None, {0: 60}, {0: 50}, 1.0)
    assert looked(first, {0: 60}, {0: 50, 1: 7}, 2.0).records == 0


def test_a_loss_is_forgotten_with_the_rows_that_lack_it() -> None:
    lost = Unread(places={"0": 100}, records=40, first=1.0, last=2.0)
    assert looked(lost, {0: 100}, {0: 100}, 2.0 + WEEK_S).records == 40
    assert looked(lost, {0: 100}, {0: 100}, 3.0 + WEEK_S) == Unread(places={"0": 100}, last=2.0)
    again = looked(lost, {0: 100}, {0: 101}, 3.0 + WEEK_S)
    assert (again.records, again.first, again.last) == (1, 3.0 + WEEK_S, 3.0 + WEEK_S)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=30))
def test_it_never_tells_of_fewer_than_were_lost(moves: list[tuple[int, int]]) -> None:
    """A reader reads, the log forgets, in turn; who is behind is thrown forward to what is left."""
    read, start, lost = 0, 0, 0
    known = looked(None, {0: read}, {0: start}, 0.0)
    for now, (reads, forgets) in enumerate(moves, 1):
        start += forgets
        if start > read:
            lost += start - read
            read = start
        told = looked(known, {0: read + reads}, {0: start}, float(now))
        read += reads
        assert told.records >= lost
        assert told.records - known.records <= forgets, "nor of more than the log forgot"
        known = told


class _Topics:
    """A log that the test moves."""

    def __init__(self) -> None:
        self.groups: dict[str, dict[int, int]] = {GROUP: {0: 10}, "rtap-standard-live": {0: 10}}
        self.begin, self.end = 0, 100
        self.asked: list[str] = []

    def committed(self, group: str, topic: str) -> dict[int, int]:
        assert topic == LIVE_EVENTS
        return self.groups[group]

    def ask_no_more(self, but: list[str]) -> None:
        self.asked = but

    def starts(self, topics: list[str]) -> dict[tuple[str, int], int]:
        return {(topic, 0): self.begin for topic in topics}

    def ends(self, topics: list[str]) -> dict[tuple[str, int], int]:
        return {(topic, 0): self.end for topic in topics}


def run(**changes: Any) -> Any:
    from rtap_lab.jobs.model import Run

    facts: dict[str, Any] = {"job": "standard", "source": "live", "run": "r1", "parameters": JobParameters()}
    facts |= {"queries": (), "results_from": {}, "started": 0.0, "state": "running", "checkpointed": True}
    return Run(**facts | changes)


def watch(tmp_path: Path, topics: _Topics, now: list[float]) -> Watch:
    return Watch(State(tmp_path), cast(Topics, topics), clock=lambda: now[0])


def test_the_watch_looks_at_all_who_read_and_closer_where_it_is_tight(tmp_path: Path) -> None:
    state, topics, now = State(tmp_path), _Topics(), [1000.0]
    runs = {"standard/live": run(), "old/live": run(job="old", run="r0", state="drained")}
    runs |= {"standard/weblog": run(source="weblog", run="r2")}
    runs_document(state).write(runs)
    watched = watch(tmp_path, topics, now)
    assert watched.step() == LOOK_S, "a log that has forgotten nothing"
    assert topics.asked == [GROUP, "rtap-standard-live"]
    assert unread_document(state).read().keys() == {AUDITOR, "r1"}
    topics.begin = 5
    assert watched.step() == NEAR_LOOK_S
    topics.begin, topics.groups[GROUP] = 30, {0: 90}
    now[0] += 1
    watched.step()
    found = unread_document(state).read()
    assert (found["r1"].records, found[AUDITOR].records) == (20, 20), "what it read meanwhile is not known: at most"
    topics.groups["rtap-standard-live"] = {0: 95}
    assert watched.step() == LOOK_S


def test_a_watch_that_begins_anew_goes_on_from_what_is_written(tmp_path: Path) -> None:
    state, topics, now = State(tmp_path), _Topics(), [1000.0]
    runs_document(state).write({"standard/live": run(state="stopped", desired="stopped")})
    watch(tmp_path, topics, now).step()
    topics.begin = 50  # overnight
    watch(tmp_path, topics, now).step()
    assert unread_document(state).read()["r1"].records == 40


def test_places_are_written_down_now_and_then(tmp_path: Path) -> None:
    state, topics, now = State(tmp_path), _Topics(), [1000.0]
    watched = watch(tmp_path, topics, now)
    watched.step()
    topics.groups[GROUP] = {0: 60}
    watched.step()
    assert unread_document(state).read()[AUDITOR].places == {"0": 10}
    now[0] += WRITE_S
    watched.step()
    assert unread_document(state).read()[AUDITOR].places == {"0": 60}
    now[0] -= 500  # the clock was set back
    topics.groups[GROUP] = {0: 70}
    watched.step()
    assert unread_document(state).read()[AUDITOR].places == {"0": 70}


def test_a_new_run_is_not_where_the_one_before_ended(tmp_path: Path) -> None:
    state, topics, now = State(tmp_path), _Topics(), [1000.0]
    topics.begin = 5
    runs_document(state).write({"standard/live": run(checkpointed=False)})
    watched = watch(tmp_path, topics, now)
    watched.step()
    topics.begin = 8
    watched.step()
    assert unread_document(state).read()["r1"].records == 3
