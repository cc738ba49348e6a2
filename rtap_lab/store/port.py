"""The port: what the writer and the readers need of a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from rtap_lab.store.points import Point

LIVE = "live"
RETENTION_MS = 7 * 24 * 3_600_000
"""How long a live point is kept; what is recorded never expires."""

ROLLUP_MS = 3_600_000
"""The rollup's step: sums of a query's additive measures by the hour and key, of live points."""


class Store(Protocol):
    """A store of points. Methods raise `StoreError` when it refuses or does not answer."""

    def prepare(self) -> None:
        """Make what it needs; the writer calls it once before all else."""
        ...

    def write(self, points: Iterable[Point], offsets: Mapping[str, int]) -> None:
        """Keep points, then how far each topic was read; a point that is there is replaced."""
        ...

    def offsets(self) -> dict[str, int]:
        """How far each topic was read."""
        ...

    def begin(self, source: str, run: str) -> None:
        """Remove a source's points: a new run of the standard job begins."""
        ...

    def runs(self) -> dict[str, str]:
        """Whose run's points are held, by source."""
        ...

    def remove(self, source: str) -> None:
        """Remove a source: points and run."""
        ...

    def rows(self, query: str, source: str) -> list[dict[str, Any]]:
        """All rows of a query, in no order, as `rtap_lab.streams.queries.normal` gives them."""
        ...

    def maintain(self, now_ms: int) -> None:
        """Bring the rollup up to date, then drop live points past their retention."""
        ...

    def rollup(self, query: str) -> list[dict[str, Any]]:
        """The hourly sums of a query: window_start and window_end (ms), keys, additive measures."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
