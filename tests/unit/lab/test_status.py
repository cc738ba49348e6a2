"""What a status says."""

from __future__ import annotations

import subprocess
import sys

from rtap_lab.jobs.unread import Unread
from rtap_lab.lab.status import behind
from rtap_lab.stack.service import ServiceStatus


def test_a_service_whose_process_is_gone_is_not_shown_as_ready() -> None:
    from rtap_lab.lab.status import _service

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    shown = _service("kafka", ServiceStatus("ready", pid=gone.pid))
    assert shown["state"] == "dead"
    assert shown["rss_mb"] is None


KEPT = 6 * 3_600_000


def test_a_job_that_falls_behind_is_told_of_before_records_expire() -> None:
    assert behind("job j on live", 3 * 3_600_000, None, kept_ms=KEPT) == ("", "")
    assert behind("job j on live", None, None, kept_ms=KEPT) == ("", "")
    problem, notice = behind("job j on live", 3 * 3_600_000 + 60_999, None, kept_ms=KEPT)
    assert not problem
    assert "it is 3 h 1 min behind and records are kept for 6 h: what it has not read by then is lost" in notice


def test_a_job_that_lost_records_is_a_problem_while_it_is_behind_and_a_notice_after() -> None:
    unread = Unread(places={}, records=1_234, first=1.0, last=1.0)
    problem, notice = behind("job j on live", 5 * 3_600_000, unread, kept_ms=KEPT)
    assert problem.startswith("job j on live: up to 1,234 records of events expired before it had read them")
    assert "it is 5 h behind" in problem
    assert not notice
    for behind_ms in (None, 900):
        problem, notice = behind("job j on live", behind_ms, unread, kept_ms=KEPT)
        assert not problem
        assert "its rows of that time lack them" in notice
