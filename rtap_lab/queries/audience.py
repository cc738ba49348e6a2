"""Who comes, from where, and how far they get: the packaged job `audience`, which a lab runs when it is asked to."""

from __future__ import annotations

from rtap_lab.queries.aggregates import count, distinct, total
from rtap_lab.queries.query import Query, WindowQuery
from rtap_lab.queries.standard import IS_CART, IS_PRODUCT, IS_PURCHASE, IS_VIEW, MINUTE
from rtap_lab.queries.windows import TumbleWindow

AUDIENCE_JOB = "audience"
"""The job of these queries."""

SOURCES = "traffic_by_source"
AUDIENCE = "audience"
FUNNEL = "funnel_1m"


def audience_queries() -> tuple[Query, ...]:
    """The packaged queries of a run of the job `audience`."""
    visitors = distinct("visitor_id")
    return (
        Query(
            SOURCES,
            WindowQuery(
                TumbleWindow(MINUTE),
                {"views": count(), "visitors": visitors},
                {"referrer": "referrer", "campaign": "campaign"},
                IS_VIEW,
            ),
            "Views and visitors by where they came from, by the minute",
        ),
        Query(
            AUDIENCE,
            WindowQuery(
                TumbleWindow(MINUTE),
                {
                    "views": count(IS_VIEW),
                    "visitors": visitors,
                    "purchases": count(IS_PURCHASE),
                    "revenue": total("value", default=0, where=IS_PURCHASE),
                },
                {"country": "country", "device": "device", "campaign": "campaign"},
            ),
            "Views, visitors and purchases by country, device and campaign, by the minute",
        ),
        Query(
            FUNNEL,
            WindowQuery(
                TumbleWindow(MINUTE),
                {
                    "landing": distinct("visitor_id", IS_VIEW),
                    "product": distinct("visitor_id", IS_VIEW & IS_PRODUCT),
                    "cart": distinct("visitor_id", IS_CART),
                    "purchase": distinct("visitor_id", IS_PURCHASE),
                },
            ),
            "Visitors who saw a page, saw a product, added to the cart, bought, by the minute",
        ),
    )
