"""When to ask a job for a checkpoint: rows of an `exactly_once` job are seen once the next one is complete.

Asked for on demand, a lab that is idle takes few, and one that is busy takes them one after the other: as often as the
machine can, and for half of its time at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from rtap_lab.errors import JobError

REST_S = 0.05
"""From the end of one checkpoint to the next at least, and as long as the last one took: more than half of a machine's time
cannot go into them."""

AGAIN_S = 1.0
"""After one that failed: the job is restarting, stopping, or taking a savepoint."""

FIRST_LOOK_S = 0.03
"""No checkpoint is complete sooner."""


@dataclass
class _Job:
    waiting: bool = False
    """Rows came since the newest checkpoint was asked for."""
    request: str | None = None
    asked: float = 0.0
    rests_until: float = 0.0


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

    def follow(self, job_ids: Collection[str]) -> None:
        """These jobs, and no others; one that is new may have rows that nobody saw coming."""
        self._jobs = {each: self._jobs.get(each) or _Job(waiting=True) for each in job_ids}

    def came(self, job_id: str) -> None:
        """Rows of a job came."""
        if job_id in self._jobs:
            self._jobs[job_id].waiting = True

    def step(self) -> float:
        """Look after what was asked for, ask for what is due.

        Returns:
            Seconds until there is something to do, should no row come.
        """
        now = self._clock()
        for job_id, job in self._jobs.items():
            try:
                self._look_after(job_id, job, now)
            except JobError:  # Flink's own interval commits meanwhile; what stays so is in `rtap status`
                job.waiting, job.request, job.rests_until = True, None, self._clock() + AGAIN_S
        due = [self._due(job, self._clock()) for job in self._jobs.values()]
        return min([max(each, 0.0) for each in due if each is not None], default=0.5)

    def _look_after(self, job_id: str, job: _Job, now: float) -> None:
        if job.request is not None:
            if now - job.asked < FIRST_LOOK_S or not self._is_complete(job_id, job.request):
                return
            now = self._clock()
            job.request, job.rests_until = None, now + max(REST_S, now - job.asked)
        if job.waiting and now >= job.rests_until:
            job.waiting, job.asked = False, now
            job.request = self._trigger(job_id)

    @staticmethod
    def _due(job: _Job, now: float) -> float | None:
        if job.request is not None:
            return max(job.asked + FIRST_LOOK_S - now, 0.01)
        return job.rests_until - now if job.waiting else None
