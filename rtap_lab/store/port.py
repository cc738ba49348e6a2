"""The port: what the writer and the readers need of a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from rtap_lab.queries.query import Query
from rtap_lab.store.points import Point

RETENTION_MS = 7 * 24 * 3_600_000
"""How long a live point is kept; what is recorded never expires."""

ROLLUP_MS = 3_600_000
"""The rollup's step: sums of a query's additive measures by the hour and key, of live points."""


class Store(Protocol):
    """A store of points, by query and source. Methods raise `StoreError` when it refuses or does not answer.

    A query's points come from one job on a source; which run of it they are of is kept beside them.
    """

    def prepare(self) -> None:
        """Make what it needs; the writer calls it once before all else."""
        ...

    def write(self, points: Iterable[Point], offsets: Mapping[str, int]) -> None:
        """Keep points, then how far each topic was read; a point that is there is replaced."""
        ...

    def offsets(self) -> dict[str, int]:
        """How far each topic was read."""
        ...

    def begin(self, key: str, run: str, source: str, queries: Sequence[Query], offsets: Mapping[str, int]) -> None:
        """A new run begins: remove the points of its queries, keep where its topics begin, then whose run it is.

        Args:
            key: The job and its source, "standard/live".
            run: The run's id.
            source: Whose events.
            queries: The run's queries.
            offsets: Of each of its topics, where its rows begin.
        """
        ...

    def runs(self) -> dict[str, str]:
        """Whose run's points are held, by job and source."""
        ...

    def remove(self, key: str, source: str, queries: Sequence[Query], topics: Iterable[str]) -> None:
        """Remove what is held of a job on a source: points, rollup, offsets and run."""
        ...

    def rows(
        self, query: Query, source: str, *, between: tuple[int, int] | None = None, most: int | None = None
    ) -> list[dict[str, Any]]:
        """Rows of a query, in no order, as `Schema.normal` gives them; none where nothing was ever written.

        Args:
            query: The query.
            source: Whose rows.
            between: Only those whose point lies in [begin, end), milliseconds; read by it, whatever else there is.
            most: Only so many, the newest.
        """
        ...

    def maintain(self, queries: Iterable[Query], now_ms: int) -> None:
        """Bring the rollup of these live queries up to date, then drop their points past their retention."""
        ...

    def rollup(self, query: Query) -> list[dict[str, Any]]:
        """The hourly sums of a query: window_start and window_end (ms), keys, additive measures."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
