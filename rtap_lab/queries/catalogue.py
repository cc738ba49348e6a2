"""The packaged queries by their jobs: `standard` runs in every lab, the others in one that asks for them."""

from __future__ import annotations

from collections.abc import Callable

from rtap_lab.queries.audience import AUDIENCE_JOB, audience_queries
from rtap_lab.queries.query import Catalog, Query
from rtap_lab.queries.standard import JOB, standard_queries
from rtap_lab.queries.watchlist import WATCHLIST_JOB, watchlist_queries
from rtap_lab.settings import JobParameters

_PACKAGED: dict[str, Callable[[JobParameters | None], tuple[Query, ...]]] = {
    JOB: standard_queries,
    AUDIENCE_JOB: lambda parameters: audience_queries(),
    WATCHLIST_JOB: lambda parameters: watchlist_queries(),
}

PACKAGED_JOBS = tuple(_PACKAGED)


def packaged_queries(job: str, parameters: JobParameters | None = None) -> tuple[Query, ...]:
    """What a packaged job asks under these parameters."""
    return _PACKAGED[job](parameters)


def packaged(parameters: JobParameters | None = None) -> Catalog:
    """The packaged queries by name."""
    return Catalog(query for job in PACKAGED_JOBS for query in packaged_queries(job, parameters))
