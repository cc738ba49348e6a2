"""Records that expired before somebody had read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.jobs.documents import runs_document
from rtap_lab.jobs.model import Run
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


def test_one_thrown_forward_between_two_looks_is_noticed_where_it_was_near() -> None:
    first = looked(None, {0: 60}, {0: 50}, 1.0)
    assert looked(first, {0: 130}, {0: 100}, 2.0).records == 40
    # else it has read on, and the log was cut behind it: its clock was set forward, say
    assert looked(first, {0: 130}, {0: 100}, 2.0, was_near=False).records == 0
    assert looked(first, {0: 90}, {0: 100}, 2.0, was_near=False).records == 10, "it lies before the beginning: no doubt"


def test_ticks_behind_the_last_event_are_no_loss() -> None:
    first = looked(None, {0: 60, 1: 60}, {0: 50, 1: 50}, 1.0)
    gone = looked(first, {0: 60, 1: 60}, {0: 100, 1: 100}, 2.0, events={0: 59, 1: 69})
    assert gone.records == 10
    assert looked(first, {0: 60, 1: 60}, {0: 100, 1: 100}, 2.0, events={0: 59}).records == 40, (
        "of the other nobody knows"
    )


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
        self.groups: dict[str, dict[int, int]] = {GROUP: {0: 90}, "rtap-standard-live": {0: 10}}
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
    facts: dict[str, Any] = {"job": "standard", "source": "live", "run": "r1", "parameters": JobParameters()}
    facts |= {"queries": (), "results_from": {}, "started": 0.0, "state": "running", "checkpointed": True}
    return Run(**facts | changes)


class _Stage:
    """A watch of a lab of one job."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.state, self.topics, self.now = State(folder), _Topics(), [1000.0]
        self.newest: dict[int, int] = {}
        self.becomes(**changes)
        self.watch = self.begins()

    def becomes(self, **changes: Any) -> None:
        runs_document(self.state).write({"standard/live": run(**changes)})

    def begins(self) -> Watch:
        topics = cast(Topics, self.topics)
        return Watch(self.state, topics, self.newest, retention_ms=21_600_000, clock=lambda: self.now[0])

    @property
    def found(self) -> dict[str, Unread]:
        return unread_document(self.state).read().readers


def test_the_watch_looks_at_all_who_read_and_closer_where_it_is_tight(tmp_path: Path) -> None:
    stage = _Stage(tmp_path)
    others = {"old/live": run(job="old", run="r0", state="drained"), "standard/weblog": run(source="weblog", run="r2")}
    runs_document(stage.state).change(lambda runs: runs | others)
    assert stage.watch.step() == LOOK_S, "a log that has forgotten nothing"
    assert stage.topics.asked == [GROUP, "rtap-standard-live"]
    assert stage.found.keys() == {AUDITOR, "r1"}
    stage.topics.begin = 5
    assert stage.watch.step() == NEAR_LOOK_S
    stage.topics.begin = 30
    stage.watch.step()
    assert (stage.found["r1"].records, stage.found[AUDITOR].records) == (20, 0)
    stage.topics.groups["rtap-standard-live"] = {0: 95}
    assert stage.watch.step() == LOOK_S


def test_only_events_count_as_far_as_the_auditor_has_read(tmp_path: Path) -> None:
    stage = _Stage(tmp_path)
    stage.watch.step()
    stage.newest[0] = 14
    stage.topics.begin = 30
    stage.watch.step()
    assert stage.found["r1"].records == 5
    stage.topics.begin = 95  # the auditor is at 90: what it has not read may be events
    stage.watch.step()
    assert stage.found["r1"].records == 5 + 65


def test_a_watch_that_begins_anew_goes_on_from_what_is_written(tmp_path: Path) -> None:
    stage = _Stage(tmp_path, state="stopped", desired="stopped")
    stage.watch.close()
    stage.topics.begin = 50  # overnight
    assert stage.begins().step() == LOOK_S, "nobody hurries for a job that is stopped"
    assert stage.found["r1"].records == 40


def test_what_was_read_on_while_nobody_looked_is_no_loss(tmp_path: Path) -> None:
    stage = _Stage(tmp_path)
    stage.watch.close()
    stage.topics.begin, stage.topics.groups["rtap-standard-live"] = 50, {0: 99}
    stage.begins().step()
    assert stage.found["r1"].records == 0


def test_a_run_without_a_checkpoint_has_lost_nothing(tmp_path: Path) -> None:
    stage = _Stage(tmp_path, checkpointed=False)
    for begin in (5, 8, 20):
        stage.topics.begin = begin
        stage.watch.step()
    stage.topics.groups["rtap-standard-live"] = {0: 20}
    stage.becomes()
    stage.watch.step()
    assert stage.found["r1"].records == 0


def test_one_that_failed_is_watched_on_and_one_that_was_drained_keeps_what_it_lost(tmp_path: Path) -> None:
    stage = _Stage(tmp_path)
    stage.watch.step()
    stage.becomes(state="failed")
    stage.topics.begin = 30
    stage.watch.step()
    assert stage.found["r1"].records == 20
    stage.becomes(state="drained")
    stage.topics.begin = 60
    stage.watch.step()
    assert stage.found["r1"].records == 20
    stage.becomes(run="r2", checkpointed=False)
    stage.watch.step()
    assert stage.found["r2"].records == 0
    assert "r1" not in stage.found


def test_places_are_written_down_now_and_then(tmp_path: Path) -> None:
    stage = _Stage(tmp_path)
    stage.watch.step()
    stage.topics.groups[GROUP] = {0: 91}
    stage.watch.step()
    assert stage.found[AUDITOR].places == {"0": 90}
    stage.now[0] += WRITE_S
    stage.watch.step()
    assert stage.found[AUDITOR].places == {"0": 91}
    stage.now[0] -= 500  # the clock was set back
    stage.topics.groups[GROUP] = {0: 92}
    stage.watch.step()
    assert stage.found[AUDITOR].places == {"0": 92}
