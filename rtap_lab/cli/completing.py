"""The names that the shell completes: of queries, jobs, services, sources, slices, scenarios and reports.

They are read from files: no service is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rtap_lab.errors import RtapLabError
from rtap_lab.settings import LIVE

if TYPE_CHECKING:
    from rtap_lab.lab import Lab


def _lab() -> Lab:
    from rtap_lab.lab import Lab

    return Lab()


def _jobs() -> Iterable[str]:
    from rtap_lab.queries.catalogue import PACKAGED_JOBS

    return [*PACKAGED_JOBS, *(run.job for run in _lab().runs().values())]


def _scenarios() -> Iterable[str]:
    from rtap_lab.lab.scenarios import list_scenarios

    return list_scenarios()


def _reports() -> Iterable[str]:
    from rtap_lab.bench.reports import templates

    return templates()


def _beginning(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What completes a word: from its beginning to the names that begin so."""

    def complete(incomplete: str) -> list[str]:
        try:
            return sorted({name for name in names() if name.startswith(incomplete)})
        except (RtapLabError, OSError):  # the command would say it; in the middle of a line there is nobody to tell
            return []

    return complete


jobs = _beginning(_jobs)
queries = _beginning(lambda: [str(each["name"]) for each in _lab().queries()])
reports = _beginning(_reports)
scenarios = _beginning(_scenarios)
services = _beginning(lambda: [log.stem for log in _lab().state.logs.glob("*.log")])
slices = _beginning(lambda: _lab().slices())
recorded = _beginning(lambda: _lab().sources())
sources = _beginning(lambda: [LIVE, *_lab().sources()])
