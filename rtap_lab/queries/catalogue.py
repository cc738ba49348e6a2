"""The packaged queries by their jobs: `standard` runs in every lab, `audience` in one that asks for it."""

from __future__ import annotations

from rtap_lab.queries.audience import AUDIENCE_JOB, audience_queries
from rtap_lab.queries.query import Catalog, Query
from rtap_lab.queries.standard import JOB, standard_queries
from rtap_lab.settings import JobParameters

PACKAGED_JOBS = (JOB, AUDIENCE_JOB)


def packaged_queries(job: str, parameters: JobParameters | None = None) -> tuple[Query, ...]:
    """What a packaged job asks under these parameters."""
    return standard_queries(parameters) if job == JOB else audience_queries()


def packaged(parameters: JobParameters | None = None) -> Catalog:
    """The packaged queries by name."""
    return Catalog(query for job in PACKAGED_JOBS for query in packaged_queries(job, parameters))
