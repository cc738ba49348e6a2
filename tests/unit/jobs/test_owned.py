"""Jobs that belong to a process end with it, and no other does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from rtap_lab.jobs.owned import end_left, is_left, owned_name
from rtap_lab.stack.process import Identity


class Flink:
    """Jobs, and which were ended."""

    def __init__(self, *jobs: tuple[str, str]) -> None:
        self.found = [{"jid": str(n), "name": name, "state": state} for n, (name, state) in enumerate(jobs)]
        self.ended: list[str] = []

    def jobs(self) -> list[dict[str, Any]]:
        return self.found

    def cancel(self, job_id: str) -> None:
        self.ended.append(job_id)


def test_only_what_a_dead_process_left_is_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    was = Identity.of(child.pid)
    assert was is not None
    theirs = f"program of process {was.pid}-{was.birth}"
    flink = Flink((theirs, "RUNNING"), (theirs, "FINISHED"), (owned_name(), "RUNNING"), ("standard", "RUNNING"))
    assert not is_left(theirs)
    assert end_left(flink) == []
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_left(theirs), "a zombie runs no more"
    child.communicate()
    assert end_left(flink) == flink.ended == ["0"]


def test_a_pid_that_another_process_has_now_is_not_its_owner() -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    assert is_left(f"program of process {me.pid}-{me.birth - 1}")
    assert not is_left("program of process x")
    assert not is_left("my program")
