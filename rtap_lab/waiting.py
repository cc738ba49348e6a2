"""Waiting: for a condition, with the one loop that has a deadline, and for the wish of a person to end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

Found = TypeVar("Found")


class Clock(Protocol):
    """Tells how time passes, and waits; `time` is one."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait for so many seconds."""
        ...


def until(
    condition: Callable[[], Found],
    seconds: float,
    otherwise: Callable[[], Exception] | None = None,
    *,
    every: float = 0.1,
    clock: Clock = time,
) -> Found:
    """Ask again and again until the answer is true.

    Args:
        condition: Asked at least once; what it raises ends the waiting.
        seconds: How long at most.
        otherwise: Makes the error that is raised when the time is over; None: the last answer is returned.
        every: Seconds between two questions.
        clock: The clock.

    Returns:
        The first true answer.
    """
    deadline = clock.monotonic() + seconds
    while not (found := condition()):
        if clock.monotonic() >= deadline:
            if otherwise is None:
                return found
            raise otherwise()
        clock.sleep(min(every, max(0.001, deadline - clock.monotonic())))
    return found


def backoff(failures: int, *, first: float = 0.2, longest: float = 10.0) -> float:
    """Seconds to wait before the next try, after so many failures in a row."""
    return min(longest, first * float(2 ** min(max(failures - 1, 0), 16)))


@contextmanager
def until_interrupt() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that what runs ends in order."""
    stop = threading.Event()
    before = {n: signal.signal(n, lambda *_: stop.set()) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
