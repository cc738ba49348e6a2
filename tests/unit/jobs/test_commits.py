"""When a job is asked for a checkpoint, on a clock that stands still."""

from __future__ import annotations

import itertools

import pytest

from rtap_lab.errors import JobError
from rtap_lab.jobs.commits import AGAIN_S, REST_S, Commits


class Flink:
    """Jobs that take so long for a checkpoint, or refuse it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[tuple[float, str]] = []
        self.takes = 0.2
        self.refuses = False

    def trigger(self, job_id: str) -> str:
        if self.refuses:
            raise JobError("flink: not all required tasks are running")
        self.asked.append((round(self.now, 3), job_id))
        return str(len(self.asked))

    def is_complete(self, job_id: str, request: str) -> bool:
        return self.now >= self.asked[int(request) - 1][0] + self.takes

    def pass_time(self, commits: Commits, seconds: float) -> None:
        """Let it step whenever it wants to, for so long."""
        end = self.now + seconds
        while True:
            wait = commits.step()
            assert wait >= 0
            if self.now + wait >= end:
                self.now = end
                return
            self.now += max(wait, 0.001)


@pytest.fixture
def flink() -> Flink:
    return Flink()


@pytest.fixture
def commits(flink: Flink) -> Commits:
    made = Commits(flink.trigger, flink.is_complete, lambda: flink.now)
    made.follow(["a"])
    flink.pass_time(made, 10)  # what a new job wrote before anybody looked
    assert [job for _, job in flink.asked] == ["a"]
    flink.asked.clear()
    return made


def test_a_row_is_waited_for_by_one_checkpoint_and_silence_by_none(flink: Flink, commits: Commits) -> None:
    flink.pass_time(commits, 60)
    assert flink.asked == []
    commits.came("a")
    flink.pass_time(commits, 60)
    assert len(flink.asked) == 1


def test_a_row_that_comes_meanwhile_waits_for_another(flink: Flink, commits: Commits) -> None:
    commits.came("a")
    flink.pass_time(commits, 0.1)
    commits.came("a")
    commits.came("a")
    flink.pass_time(commits, 60)
    assert len(flink.asked) == 2


@pytest.mark.parametrize("takes", [0.02, 0.2, 3.0])
def test_checkpoints_take_half_of_the_time_at_most(flink: Flink, commits: Commits, takes: float) -> None:
    flink.takes = takes
    end = flink.now + 60
    while flink.now < end:
        commits.came("a")
        flink.pass_time(commits, 0.01)
    moments = [moment for moment, _ in flink.asked]
    assert len(moments) > 1
    assert all(b - a >= max(2 * takes, takes + REST_S) - 0.011 for a, b in itertools.pairwise(moments))


def test_one_jobs_trouble_is_not_anothers_and_is_tried_again(flink: Flink, commits: Commits) -> None:
    commits.follow(["a", "b"])
    flink.pass_time(commits, 5)
    flink.asked.clear()
    flink.refuses = True
    commits.came("a")
    flink.pass_time(commits, 3)
    flink.refuses = False
    commits.came("b")
    began = flink.now
    flink.pass_time(commits, 5)
    found = {job: moment for moment, job in flink.asked}
    assert found.keys() == {"a", "b"}
    assert found["a"] - began <= AGAIN_S


def test_what_is_not_followed_any_more_is_forgotten(flink: Flink, commits: Commits) -> None:
    commits.came("a")
    commits.follow([])
    commits.came("a")
    flink.pass_time(commits, 5)
    assert flink.asked == []
