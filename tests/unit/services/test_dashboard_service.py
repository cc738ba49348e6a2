"""Whether the dashboard lives, when it does not answer."""

from __future__ import annotations

import httpx
import pytest

from rtap_lab.services import dashboard
from rtap_lab.services.dashboard import Liveness


def test_one_that_works_and_does_not_answer_is_waited_for_and_one_that_hangs_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked, now, silent = 0.0, 1_000.0, False

    def answers() -> None:
        if silent:
            raise httpx.ReadTimeout("timed out")

    monkeypatch.setattr(dashboard.time, "monotonic", lambda: now)
    lives = Liveness(answers, lambda pid: worked)
    lives(1)
    silent, worked = True, 2.0
    lives(1)  # it makes a page
    now += 50
    worked = 4.0
    lives(1)
    with pytest.raises(httpx.ReadTimeout):
        lives(1)  # nothing was done since
    now, worked = now + 20, 6.0
    with pytest.raises(httpx.ReadTimeout):
        lives(1)  # it has worked for too long
    silent = False
    lives(1)
    silent, worked = True, 8.0
    lives(1)


def test_one_that_has_ended_is_not_waited_for() -> None:
    def answers() -> None:
        raise httpx.ConnectError("refused")

    with pytest.raises(httpx.ConnectError):
        Liveness(answers)(2**22 + 1)
