"""Load from a process of its own: what measures must not take the time of what drives (and a kernel has other things to do).

Each message has a moment at which it is due; how much later it left is its slip. Latencies count from when it was due (the
header `created`), so that nothing hides what waits; a report says so where the slip is large (`Measurements.find_late`).
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from rtap_lab.lab import Lab
from rtap_lab.lab.scenarios import load_scenario
from rtap_lab.simulator.fed import Fed


class Driver:
    """Sends a scenario to the live topic of a lab, from a process of its own. Use as a context.

    Args:
        state: The lab's state folder.
    """

    def __init__(self, state: str | Path) -> None:
        self._state = str(state)
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._pool.submit(_warm).result()

    def start(self, *, scenario: str = "brisk", rate: float, seconds: float, seed: int = 1) -> Future[Fed]:
        """Begin to send; the result says what was sent."""
        return self._pool.submit(_drive, self._state, scenario, rate, seconds, seed)

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def _warm() -> None:
    """Load what is needed before the first message is due."""
    import rtap_lab.kafka.feeder
    import rtap_lab.simulator.playback  # noqa: F401


def _drive(state: str, scenario: str, rate: float, seconds: float, seed: int) -> Fed:
    # more visitors, not a faster story: else all that visitors do would come closer together
    visitors = rate / load_scenario(scenario).rate
    return Lab(state).simulate(scenario, visitors=visitors, seconds=seconds, seed=seed, stop=threading.Event())
