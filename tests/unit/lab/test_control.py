"""What the dashboard may do with its lab, beside a lab that only answers."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from rtap_lab.errors import JobError
from rtap_lab.lab import control
from rtap_lab.lab.control import LabControl
from rtap_lab.waiting import until


class Proven:
    """A lab whose verifications end as they are told to."""

    def __init__(self, *ends: bool | Exception) -> None:
        self.ends = list(ends)
        self.asked = threading.Semaphore(0)

    def verify(self) -> Any:
        self.asked.release()
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return SimpleNamespace(exact=end, words="NOT EXACT")


def ended(controls: LabControl, words: str) -> None:
    until(
        lambda: controls._ended.get("verify", (0, "none yet"))[1] == words,
        5,
        lambda: AssertionError(str(controls._ended)),
        every=0.01,
    )


def test_it_keeps_verifying_through_trouble_until_it_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "VERIFIED_EVERY_S", 0.01)
    lab: Any = Proven(True, JobError("nothing moves"), False, True)
    controls = LabControl(lab)
    controls.keep_verifying(True)
    for _ in range(5):
        assert lab.asked.acquire(timeout=5)
    ended(controls, "")
    assert controls.keep_verifying(True) == "begun", "it goes on"
    controls.keep_verifying(False)
    until(
        lambda: not controls._working["keep verifying"].is_alive(), 5, lambda: AssertionError("it goes on"), every=0.01
    )
    controls.keep_verifying(True)
    assert lab.asked.acquire(timeout=5)
    controls.keep_verifying(False)


@pytest.mark.parametrize(
    ("end", "words"), [(False, "NOT EXACT: `rtap verify` says why"), (JobError("nothing moves"), "nothing moves")]
)
def test_how_the_newest_one_ended_is_said(monkeypatch: pytest.MonkeyPatch, end: bool | Exception, words: str) -> None:
    monkeypatch.setattr(control, "VERIFIED_EVERY_S", 60)
    lab: Any = Proven(end)
    controls = LabControl(lab)
    controls.keep_verifying(True)
    ended(controls, words)
    controls.keep_verifying(False)


def test_a_page_has_a_chart_of_each_query_of_ones_own_that_is_to_run_live() -> None:
    def run(job: str, source: str, desired: str, *queries: str) -> SimpleNamespace:
        return SimpleNamespace(job=job, source=source, desired=desired, queries=queries)

    runs = [run("standard", "live", "running", "sessions"), run("mine", "live", "running", "a", "b")]
    runs += [run("old", "live", "stopped", "c"), run("mine", "weblog", "running", "a")]
    lab: Any = SimpleNamespace(runs=lambda: dict(enumerate(runs)))
    assert LabControl(lab).queries() == ["a", "b"]

    def away() -> dict[str, Any]:
        raise JobError("there is no lab")

    lab.runs = away
    assert LabControl(lab).queries() == []
