"""A cell that keeps showing how something is."""

from __future__ import annotations

from typing import Any

import pytest

from rtap_lab.jupyter import live_view
from rtap_lab.jupyter.live_view import follow


class Counter:
    def __init__(self, stops_at: int = 10**9) -> None:
        self.n, self.stops_at = 0, stops_at

    def refresh(self) -> None:
        if self.n == self.stops_at:
            raise KeyboardInterrupt
        self.n += 1


class Handle:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def update(self, shown: Any) -> None:
        self.seen.append(shown.n)


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handle:
    made = Handle()

    def display(shown: Any, display_id: bool) -> Handle:
        assert display_id
        made.seen.append(shown.n)
        return made

    monkeypatch.setattr(live_view, "display", display)
    return made


def test_it_is_drawn_anew_with_what_has_come_until_its_time_is_over(handle: Handle) -> None:
    shown = Counter()
    follow(shown, seconds=0.2, every=0.02)
    assert handle.seen == list(range(shown.n + 1))
    assert shown.n >= 2


def test_the_stop_button_ends_it_and_what_was_shown_stays(handle: Handle) -> None:
    follow(Counter(stops_at=3), seconds=60, every=0.01)
    assert handle.seen == [0, 1, 2, 3]
