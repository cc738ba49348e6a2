"""The seven standard queries, defined for the reference engine (the SQL says the same in its own words)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from rtap_lab.settings import JobParameters
from rtap_lab.streams.aggregates import count, distinct, first, last, total
from rtap_lab.streams.conditions import field
from rtap_lab.streams.engine import Definition, rows_of
from rtap_lab.streams.fates import Event
from rtap_lab.streams.patterns import Matched, Measure, Pattern
from rtap_lab.streams.windowing import Row, Windowed
from rtap_lab.streams.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow

MINUTE = 60_000
HOUR = 60 * MINUTE

IS_VIEW = field("event_type") == "page_view"
IS_CART = (field("event_type") == "custom") & (field("name") == "add_to_cart")
IS_PURCHASE = (field("event_type") == "conversion") & (field("name") == "purchase")


def definitions(parameters: JobParameters) -> dict[str, Definition]:
    """The standard queries of a run, by name."""
    traffic = {"views": count(), "visitors": distinct("visitor_id")}
    within = timedelta(milliseconds=parameters.within_ms)
    return {
        "page_views_1m": Windowed(TumbleWindow(MINUTE), traffic, {"page": "page"}, IS_VIEW),
        "traffic_hop": Windowed(HopWindow(MINUTE, 10_000), traffic, where=IS_VIEW),
        "traffic_cumulate": Windowed(CumulateWindow(HOUR, MINUTE), traffic, where=IS_VIEW),
        "sessions": Windowed(
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
        "conversions_1m": Windowed(
            TumbleWindow(MINUTE),
            {"conversions": count(), "value": total("value", default=0)},
            {"goal": "name"},
            field("event_type") == "conversion",
        ),
        "cart_to_purchase": Matched(
            Pattern.begin("cart", IS_CART).next("paid", IS_PURCHASE).within(within),
            {
                "cart_time": Measure("last", "cart"),
                "purchase_time": Measure("last", "paid"),
                "seconds": Measure("elapsed", "cart", until="paid"),
            },
            where=IS_CART | IS_PURCHASE,
        ),
        "checkout_abandoned": Matched(
            Pattern.begin("cart", IS_CART).then_not(IS_CART | IS_PURCHASE, within),
            {"cart_time": Measure("last", "cart"), "cart_event_id": Measure("last", "cart", "event_id")},
            where=IS_CART | IS_PURCHASE,
        ),
    }


def standard_rows(events: Iterable[Event], parameters: JobParameters) -> dict[str, list[Row]]:
    """Every row of every standard query, once all windows are closed."""
    counted = list(events)
    return {name: rows_of(each, counted) for name, each in definitions(parameters).items()}
