"""What a stretch of work cost: processor time and memory of each process of a lab, from the operating system.

On a machine that is shared, processor time an event says more than time on the wall.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

import psutil

from rtap_lab.lab import Lab
from rtap_lab.stack.supervisor import find_services


@dataclass
class Cost:
    """Of a stretch of work."""

    seconds: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    """Processor seconds by service."""
    rss_mb: dict[str, float] = field(default_factory=dict)
    """Resident memory at its end."""

    @property
    def cores(self) -> dict[str, float]:
        """The share of a core that each service took."""
        return {name: spent / self.seconds for name, spent in self.cpu_s.items()}

    @property
    def total_cores(self) -> float:
        """The share of a core that all services took together."""
        return sum(self.cores.values())

    def us_per_event(self, events: int) -> dict[str, float]:
        """Processor microseconds of each service for each event."""
        return {name: spent / events * 1e6 for name, spent in self.cpu_s.items()}


class Meter:
    """Measures what happens inside of `with`.

    Args:
        lab: A lab that is up.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.cost = Cost()

    def __enter__(self) -> Cost:
        self._before = self._spent()
        self._began = time.monotonic()
        return self.cost

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cost.seconds = time.monotonic() - self._began
        after = self._spent()
        for name, (pid, spent, rss) in after.items():
            before = self._before.get(name)
            same = before is not None and before[0] == pid
            self.cost.cpu_s[name] = spent - (before[1] if same and before else 0.0)
            self.cost.rss_mb[name] = rss

    def _spent(self) -> Mapping[str, tuple[int, float, float]]:
        found = {}
        for name, identity in find_services(self._lab.state.folder).items():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                process = psutil.Process(identity.pid)
                times = process.cpu_times()
                # what it had started and has ended: workers of Python functions
                ended = times.children_user + times.children_system
                found[name] = (identity.pid, times.user + times.system + ended, process.memory_info().rss / 1e6)
        return found
