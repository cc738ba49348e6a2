"""A cell that keeps showing how something is: its display is drawn anew, under one display id, until it is stopped."""

from __future__ import annotations

import time
from typing import Protocol

from IPython.display import display


class Refreshing(Protocol):
    """What can be read again: a pattern's debugger, for one."""

    def refresh(self) -> object:
        """Read what has come since."""
        ...


def follow(shown: Refreshing, *, seconds: float = 60.0, every: float = 2.0) -> None:
    """Show it, and again every few seconds with what has come since; the stop button ends it, and what was shown stays.

        follow(lab.query("browsed_only").debug())  # the pattern's state machine, its counts moving

    Args:
        shown: What is shown.
        seconds: For how long.
        every: Seconds between two looks.
    """
    handle = display(shown, display_id=True)
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            time.sleep(min(every, max(0.0, until - time.monotonic())))  # the pace, no condition
            shown.refresh()
            handle.update(shown)
    except KeyboardInterrupt:
        pass  # as it was asked for
