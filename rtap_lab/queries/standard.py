"""The seven packaged queries: the standard job."""

from __future__ import annotations

from datetime import timedelta

from rtap_lab.queries.aggregates import count, distinct, first, last, total
from rtap_lab.queries.conditions import field
from rtap_lab.queries.patterns import Measure, Pattern
from rtap_lab.queries.query import PatternQuery, Query, WindowQuery
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow
from rtap_lab.settings import JobParameters

JOB = "standard"
"""The job of these queries."""

PAGE_VIEWS = "page_views_1m"
TRAFFIC = "traffic_hop"
TRAFFIC_OF_HOUR = "traffic_cumulate"
VISITS = "sessions"
CONVERSIONS = "conversions_1m"
BOUGHT = "cart_to_purchase"
ABANDONED = "checkout_abandoned"

MINUTE = 60_000
HOUR = 60 * MINUTE

IS_VIEW = field("event_type") == "page_view"
IS_PRODUCT = field("page").starts_with("/product/")
IS_CART = (field("event_type") == "custom") & (field("name") == "add_to_cart")
IS_PURCHASE = (field("event_type") == "conversion") & (field("name") == "purchase")


def standard_queries(parameters: JobParameters | None = None) -> tuple[Query, ...]:
    """The packaged queries of a run of the standard job.

    Args:
        parameters: Session gap and how far a purchase may follow an add to cart; the defaults when left out.
    """
    parameters = parameters or JobParameters()
    traffic = {"views": count(), "visitors": distinct("visitor_id")}
    within = timedelta(milliseconds=parameters.within_ms)
    return (
        Query(
            PAGE_VIEWS,
            WindowQuery(TumbleWindow(MINUTE), traffic, {"page": "page"}, IS_VIEW),
            "Views and visitors of each page, by the minute",
        ),
        Query(
            TRAFFIC,
            WindowQuery(HopWindow(MINUTE, 10_000), traffic, where=IS_VIEW),
            "Views and visitors of the last minute, every 10 s",
        ),
        Query(
            TRAFFIC_OF_HOUR,
            WindowQuery(CumulateWindow(HOUR, MINUTE), traffic, where=IS_VIEW),
            "Views and visitors of the hour so far, by the minute",
        ),
        Query(
            VISITS,
            WindowQuery(
                SessionWindow(parameters.gap_ms),
                {
                    "events": count(),
                    "page_views": count(IS_VIEW),
                    "entry_page": first("page", IS_VIEW),
                    "exit_page": last("page", IS_VIEW),
                    "bounced": count(IS_VIEW).equal_to(1),
                },
                {"visitor_id": "visitor_id"},
            ),
            "Visits",
        ),
        Query(
            CONVERSIONS,
            WindowQuery(
                TumbleWindow(MINUTE),
                {"conversions": count(), "value": total("value", default=0)},
                {"goal": "name"},
                field("event_type") == "conversion",
            ),
            "Conversions of each goal and their worth, by the minute",
        ),
        Query(
            BOUGHT,
            PatternQuery(
                Pattern.begin("cart", IS_CART).next("paid", IS_PURCHASE).within(within),
                {
                    "cart_time": Measure("last", "cart"),
                    "purchase_time": Measure("last", "paid"),
                    "seconds": Measure("elapsed", "cart", until="paid"),
                },
                where=IS_CART | IS_PURCHASE,
            ),
            "Purchases after an add to cart",
        ),
        Query(
            ABANDONED,
            PatternQuery(
                Pattern.begin("cart", IS_CART).then_not(IS_CART | IS_PURCHASE, within),
                {"cart_time": Measure("last", "cart"), "cart_event_id": Measure("last", "cart", "event_id")},
                where=IS_CART | IS_PURCHASE,
            ),
            "Adds to cart that led to nothing",
        ),
    )
