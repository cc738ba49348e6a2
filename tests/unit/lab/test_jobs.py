"""Whether Flink has room for a job, asked before it is given one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rtap_lab.errors import JobError
from rtap_lab.lab import jobs

AWAY = JobError("flink: the JobManager does not answer (ConnectError)")


class Flink:
    """A cluster by the slots that it tells of, one answer after the other; the last one stays."""

    def __init__(self, answers: list[int | JobError], free: int) -> None:
        self.answers, self.free = answers, free

    def free_slots(self) -> tuple[int, int]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, JobError):
            raise answer
        return min(self.free, answer), answer

    def jobs(self) -> list[dict[str, str]]:
        return [{"name": "standard on live", "state": "RUNNING"}]


def context(flink: Flink) -> Any:
    return SimpleNamespace(site=SimpleNamespace(flink=flink), runs=SimpleNamespace(read=dict))


def test_a_taskmanager_that_is_being_replaced_is_waited_for() -> None:
    jobs._check_slots(context(Flink([0, 0, 8], 7)), "mine", "live", 30)


def test_a_jobmanager_that_is_being_replaced_is_waited_for() -> None:
    jobs._check_slots(context(Flink([AWAY, 0, AWAY, 8], 7)), "mine", "live", 30)


def test_no_room_no_taskmanager_and_no_jobmanager_are_told_apart() -> None:
    with pytest.raises(JobError, match="JobManager does not answer"):
        jobs._check_slots(context(Flink([0, AWAY], 0)), "mine", "live", 0.5)
    with pytest.raises(JobError, match="there is no TaskManager"):
        jobs._check_slots(context(Flink([0], 0)), "mine", "live", 0.5)
    with pytest.raises(JobError, match=r"0 are free; these run: standard on live"):
        jobs._check_slots(context(Flink([8], 0)), "mine", "live", 30)
