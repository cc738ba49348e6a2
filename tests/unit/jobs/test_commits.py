"""When a job is asked for a checkpoint, on a clock that stands still."""

from __future__ import annotations

import itertools

import pytest

from rtap_lab.errors import JobError
from rtap_lab.jobs.commits import GIVEN_UP_S, LONGEST_REST_S, QUICK_S, REST, REST_S, Commits


class Flink:
    """Jobs that take so long for a checkpoint, or refuse it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[tuple[float, str]] = []
        self.looks = 0
        self.takes = 0.2
        self.refuses = False

    def trigger(self, job_id: str) -> str:
        if self.refuses:
            raise JobError("flink: not all required tasks are running")
        self.asked.append((round(self.now, 3), job_id))
        return str(len(self.asked))

    def is_complete(self, job_id: str, request: str) -> bool:
        self.looks += 1
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


def moments(flink: Flink, commits: Commits, seconds: float, *jobs: str) -> list[float]:
    """When checkpoints were asked for, while rows of all jobs come all the time."""
    flink.asked.clear()
    end = flink.now + seconds
    while flink.now < end:
        for job in jobs:
            commits.came(job)
        flink.pass_time(commits, 0.01)
    return [moment for moment, _ in flink.asked]


@pytest.mark.parametrize("takes", [0.02, 0.2, 1.5])
def test_heavy_checkpoints_take_two_thirds_of_the_time_at_most_and_of_several_jobs_less_than_all_of_it(
    flink: Flink, commits: Commits, takes: float
) -> None:
    flink.takes = takes
    share = REST if takes >= QUICK_S else REST / 2
    found = moments(flink, commits, 60, "a")
    assert len(found) > 10
    assert all(b - a >= max((1 + share) * takes, takes + REST_S) - 0.011 for a, b in itertools.pairwise(found))
    commits.follow(["a", "b", "c"])
    flink.pass_time(commits, 10)
    found = moments(flink, commits, 60, "a", "b", "c")
    rest = min(max((2 + share) * takes, REST_S), LONGEST_REST_S)
    assert len(found) <= 3 * (60 / (takes + rest) + 1)


def test_a_long_one_is_looked_at_seldom_and_not_rested_from_as_long(flink: Flink, commits: Commits) -> None:
    flink.takes, flink.looks = 60.0, 0
    commits.came("a")
    flink.pass_time(commits, 61)
    assert len(flink.asked) == 1
    assert flink.looks < 160
    flink.takes = 0.1
    commits.came("a")
    flink.pass_time(commits, LONGEST_REST_S + 0.1)
    assert len(flink.asked) == 2


def test_one_that_never_ends_is_given_up(flink: Flink, commits: Commits) -> None:
    flink.takes = 1e9
    commits.came("a")
    flink.pass_time(commits, GIVEN_UP_S + 5)
    assert len(flink.asked) == 2


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
    assert found["a"] - began <= 2.1
    commits.came("a")
    flink.pass_time(commits, 0.5)
    assert flink.asked[-1][1] == "a", "what failed before is forgotten"


def test_what_is_not_followed_any_more_is_asked_for_nothing_but_looked_after(flink: Flink, commits: Commits) -> None:
    """A JobManager that ends waits for somebody to look at what was asked for."""
    commits.came("a")
    flink.pass_time(commits, 0.01)
    assert len(flink.asked) == 1
    flink.looks = 0
    commits.follow([])
    commits.came("a")
    flink.pass_time(commits, 5)
    assert len(flink.asked) == 1
    assert 0 < flink.looks < 20
