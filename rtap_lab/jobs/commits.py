"""When to ask a job for a checkpoint: rows of an `exactly_once` job are seen once the next one is complete.

Asked for on demand, a lab that is idle takes few, and one that is busy takes them one after the other: as often as the
machine can; for two thirds of its time at most where there is one job and they are heavy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from rtap_lab.errors import JobError
from rtap_lab.waiting import backoff

REST_S = 0.02
"""From the end of one checkpoint to the next of its job at least."""

REST = 0.5
"""Of the time that a checkpoint took; and all of it for each further job, so that fewer than one is taken at a time on average."""

QUICK_S = 0.15
"""A checkpoint that took less is a light one: half the rest is enough."""

LONGEST_REST_S = 2.0
"""A longer one would mean nothing: Flink's own interval is no longer."""

FIRST_LOOK_S = 0.02
"""No checkpoint is complete sooner."""

GIVEN_UP_S = 130.0
"""A checkpoint that is not complete by then has timed out."""


@dataclass
class _Request:
    """A checkpoint that was asked for."""

    name: str
    asked: float
    look_at: float

    def looked(self, now: float) -> None:
        """The next look, the later the longer it takes: looking costs the JobManager something too."""
        self.look_at = now + min(0.5, max(0.008, (now - self.asked) / 8))


@dataclass
class _Job:
    waiting: bool = True
    """Rows came since the newest checkpoint was asked for, or may have come before anybody looked."""
    request: _Request | None = None
    rests_until: float = 0.0
    failures: int = 0
    """Requests in a row that came to nothing: the job is restarting, or the JobManager is."""


class Commits:
    """Asks jobs for the checkpoints that their rows wait for; one at a time of each.

    Args:
        trigger: Asks a job, by Flink's id, for a checkpoint; gives the request's id.
        is_complete: Whether what a job was asked for is there; raises `JobError` where it failed.
        clock: Seconds.
    """

    def __init__(
        self,
        trigger: Callable[[str], str],
        is_complete: Callable[[str, str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trigger = trigger
        self._is_complete = is_complete
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._left: list[tuple[str, _Request]] = []
        """Of jobs that are followed no more. A JobManager that ends waits until somebody has looked at them."""

    def follow(self, job_ids: Collection[str]) -> None:
        """These jobs, and no others."""
        for job_id, job in self._jobs.items():
            if job_id not in job_ids and job.request is not None:
                self._left.append((job_id, job.request))
        self._jobs = {each: self._jobs.get(each) or _Job() for each in job_ids}

    def came(self, job_id: str) -> None:
        """Rows of a job came."""
        if job_id in self._jobs:
            self._jobs[job_id].waiting = True

    def step(self) -> float:
        """Look after what was asked for, ask for what is due.

        Returns:
            Seconds until there is something to do, should no row come.
        """
        self._left = [(job_id, request) for job_id, request in self._left if not self._is_answered(job_id, request)]
        for job_id, job in self._jobs.items():
            try:
                self._look_after(job_id, job)
            except JobError:  # Flink's own interval commits meanwhile; what stays so is in `rtap status`
                self._failed(job)
        now = self._clock()
        due = [self._due(job) for job in self._jobs.values()] + [request.look_at for _, request in self._left]
        return max(0.0, min([each - now for each in due if each is not None], default=0.5))

    def finish(self, seconds: float) -> None:
        """Ask for nothing more, and look until what was asked for is answered, for so many seconds at most."""
        self.follow([])
        end = self._clock() + seconds
        while self._left and self._clock() < end:
            time.sleep(self.step())

    def _look_after(self, job_id: str, job: _Job) -> None:
        request = job.request
        if request is not None and self._clock() >= request.look_at:
            if self._is_complete(job_id, request.name):
                took = self._clock() - request.asked
                # several jobs share the machine
                share = (REST / 2 if took < QUICK_S else REST) + len(self._jobs) - 1
                rest = min(max(REST_S, took * share), LONGEST_REST_S)
                job.request, job.failures, job.rests_until = None, 0, self._clock() + rest
            elif self._clock() - request.asked > GIVEN_UP_S:
                self._failed(job)
            else:
                request.looked(self._clock())
        if job.request is None and job.waiting and self._clock() >= job.rests_until:
            asked = self._clock()
            name = self._trigger(job_id)
            job.waiting, job.request = False, _Request(name, asked, asked + FIRST_LOOK_S)

    def _failed(self, job: _Job) -> None:
        job.failures += 1
        job.waiting, job.request = True, None
        job.rests_until = self._clock() + backoff(job.failures, first=0.2, longest=2)

    def _is_answered(self, job_id: str, request: _Request) -> bool:
        if self._clock() < request.look_at:
            return False
        try:
            answered = self._is_complete(job_id, request.name)
        except JobError:  # that is an answer, too
            return True
        request.looked(self._clock())
        return answered or self._clock() - request.asked > GIVEN_UP_S

    @staticmethod
    def _due(job: _Job) -> float | None:
        if job.request is not None:
            return job.request.look_at
        return job.rests_until if job.waiting else None
