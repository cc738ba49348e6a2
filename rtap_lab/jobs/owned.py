"""Flink jobs that belong to a process, and end with it: what a PyFlink program started and did not name.

The job's name says whose it is, so that nothing has to be written down, and a SIGKILL is no gap.
"""

from __future__ import annotations

import os
import re
from typing import Any, Protocol

from rtap_lab.flink.properties import TERMINAL
from rtap_lab.stack.process import Identity

_NAME = re.compile(r"program of process (\d+)-(\d+)")


class Jobs(Protocol):
    """What is asked of Flink."""

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that it knows."""

    def cancel(self, job_id: str) -> None:
        """End one."""


def owned_name() -> str:
    """The name for jobs of this process."""
    me = Identity.of(os.getpid())
    assert me is not None
    return f"program of process {me.pid}-{me.birth}"


def is_left(name: str) -> bool:
    """Whether a job's name says that it belongs to a process, and that process is gone."""
    owner = _NAME.fullmatch(name)
    if owner is None:
        return False
    now = Identity.of(int(owner[1]))
    return now is None or now.birth != int(owner[2]) or not now.alive()


def end_left(flink: Jobs) -> list[str]:
    """End the jobs whose process is gone; their ids.

    Raises:
        JobError: When Flink does not answer.
    """
    left = [job["jid"] for job in flink.jobs() if job["state"] not in TERMINAL and is_left(job["name"])]
    for job_id in left:
        flink.cancel(job_id)
    return left
