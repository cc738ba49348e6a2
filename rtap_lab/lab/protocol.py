"""What a lab with a stack and one without have in common: the same names, arguments and results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from rtap_lab.jobs.model import Run
from rtap_lab.lab.rows import Row
from rtap_lab.queries.query import Catalog, Definition
from rtap_lab.recordings.imported import Imported
from rtap_lab.recordings.sources import Sources
from rtap_lab.settings import LIVE, JobOptions
from rtap_lab.simulator.fed import Fed
from rtap_lab.verification.report import Report
from rtap_lab.verification.scoring import Score

if TYPE_CHECKING:
    import pandas as pd

    from rtap_lab.simulator.truth import Truth


class AnyLab(Protocol):
    """A lab as lessons use it: `Lab`, or `OfflineLab`, which answers with the reference engine."""

    @property
    def catalog(self) -> Catalog:
        """Every query that the lab knows."""
        ...

    def sources(self) -> Sources:
        """The recorded sources."""
        ...

    def import_access_log(
        self, *paths: str | Path, source: str | None = None, progress: Callable[[int], None] = ...
    ) -> Imported:
        """Import access logs in the combined format into a recorded source."""
        ...

    def import_jsonl(
        self, *paths: str | Path, source: str | None = None, progress: Callable[[int], None] = ...
    ) -> Imported:
        """Import events of the model, one JSON object a line."""
        ...

    def remove_source(self, source: str) -> None:
        """Delete a recorded source."""
        ...

    def simulate(
        self,
        scenario: str = "brisk",
        *,
        visitors: float | None = None,
        seed: int = 1,
        seconds: float | None = None,
        events: int | None = None,
    ) -> Fed:
        """Let a simulated website send events."""
        ...

    def run_standard(self, source: str = LIVE, **options: Any) -> Run:
        """Run the standard job."""
        ...

    def run(
        self, name: str, definition: Definition, source: str = LIVE, *, title: str = "", **options: Unpack[JobOptions]
    ) -> Run:
        """Keep a query of one's own running."""
        ...

    def rows(self, query: str, source: str = LIVE) -> list[Row]:
        """The rows of a query, sorted by time, then keys; instants are RFC 3339 texts."""
        ...

    def results(self, query: str, source: str = LIVE) -> pd.DataFrame:
        """The rows of a query as a DataFrame; instants are UTC timestamps."""
        ...

    def watch(self, *queries: str, source: str = LIVE) -> Iterator[dict[str, Any]]:
        """Yield snapshots and updates of queries."""
        ...

    def verify(self, source: str = LIVE) -> Report:
        """Recompute every query and compare all rows."""
        ...

    def score(self, source: str = LIVE) -> Score:
        """Compare every answer with what the simulated visitors really did."""
        ...

    def truths(self, source: str = LIVE) -> list[Truth]:
        """The ground truth of the simulator's runs on a source."""
        ...
