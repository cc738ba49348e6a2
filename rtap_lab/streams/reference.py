"""Recompute every row of the standard queries from the counted events.

Windows start at the epoch and are `[start, end)`. Flink's rule merges sessions whose gap is exactly
the gap. "Later" is a greater (event_time, event_id).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from rtap_lab.settings import JobParameters
from rtap_lab.streams.fates import Event

MINUTE = 60_000
HOUR = 60 * MINUTE
HOP_SLIDE = 10_000

Row = dict[str, Any]
"""Columns by name; times are milliseconds since the epoch."""


def standard_rows(events: Iterable[Event], parameters: JobParameters) -> dict[str, list[Row]]:
    """Every row of every standard query, once all windows are closed."""
    events = list(events)
    views = [event for event in events if event.event_type == "page_view"]
    return {
        "page_views_1m": page_views(views),
        "traffic_hop": traffic_hop(views),
        "traffic_cumulate": traffic_cumulate(views),
        "sessions": sessions(events, parameters.gap_ms),
        "conversions_1m": conversions(events),
        "cart_to_purchase": cart_to_purchase(events, parameters.within_ms),
        "checkout_abandoned": checkout_abandoned(events, parameters.within_ms),
    }


def _window(start: int, size: int) -> Row:
    return {"window_start": start, "window_end": start + size}


def page_views(views: Iterable[Event]) -> list[Row]:
    """Views and distinct visitors by page; tumbling windows of a minute."""
    count: dict[tuple[int, str | None], int] = defaultdict(int)
    visitors: dict[tuple[int, str | None], set[str]] = defaultdict(set)
    for event in views:
        key = (event.event_time // MINUTE * MINUTE, event.page)
        count[key] += 1
        visitors[key].add(event.visitor_id)
    return [
        _window(start, MINUTE) | {"page": page, "views": n, "visitors": len(visitors[start, page])}
        for (start, page), n in count.items()
    ]


def traffic_hop(views: Iterable[Event]) -> list[Row]:
    """Views and distinct visitors; windows of a minute, every 10 s."""
    count: dict[int, int] = defaultdict(int)
    visitors: dict[int, set[str]] = defaultdict(set)
    for event in views:
        last = event.event_time // HOP_SLIDE * HOP_SLIDE
        for start in range(last, last - MINUTE, -HOP_SLIDE):
            count[start] += 1
            visitors[start].add(event.visitor_id)
    return [
        _window(start, MINUTE) | {"views": n, "visitors": len(visitors[start])}
        for start, n in count.items()
    ]


def traffic_cumulate(views: Iterable[Event]) -> list[Row]:
    """Views and distinct visitors since the hour began; a row each minute from its first view on."""
    hours: dict[int, dict[int, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in views:
        hour = event.event_time // HOUR * HOUR
        hours[hour][event.event_time // MINUTE * MINUTE].append(event)
    rows = []
    for hour, minutes in hours.items():
        count, visitors = 0, set[str]()
        for minute in range(min(minutes), hour + HOUR, MINUTE):
            for event in minutes.get(minute, ()):
                count += 1
                visitors.add(event.visitor_id)
            end = minute + MINUTE
            rows.append({"window_start": hour, "window_end": end, "views": count,
                         "visitors": len(visitors)})  # fmt: skip
    return rows


def _by_visitor(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event.visitor_id].append(event)
    for each in found.values():
        each.sort(key=lambda e: (e.event_time, e.event_id))
    return found


def sessions(events: Iterable[Event], gap_ms: int) -> list[Row]:
    """Visits: a visitor's events, none more than the gap after the one before."""
    rows = []
    for visitor, mine in _by_visitor(events).items():
        session: list[Event] = []
        for event in mine:
            if session and event.event_time > session[-1].event_time + gap_ms:
                rows.append(_session(visitor, session, gap_ms))
                session = []
            session.append(event)
        rows.append(_session(visitor, session, gap_ms))
    return rows


def _session(visitor: str, events: list[Event], gap_ms: int) -> Row:
    pages = [(e.event_time, e.page) for e in events
             if e.event_type == "page_view" and e.page is not None]  # fmt: skip
    views = sum(e.event_type == "page_view" for e in events)
    # text is compared by its UTF-8 bytes, as Flink compares it
    first = min(pages, key=lambda p: (p[0], p[1].encode()), default=None)
    last = max(pages, key=lambda p: (p[0], p[1].encode()), default=None)
    return {
        "window_start": events[0].event_time,
        "window_end": events[-1].event_time + gap_ms,
        "visitor_id": visitor,
        "events": len(events),
        "page_views": views,
        "entry_page": first[1] if first else None,
        "exit_page": last[1] if last else None,
        "bounced": views == 1,
    }


def conversions(events: Iterable[Event]) -> list[Row]:
    """Conversions by goal and the sum of their worth; tumbling windows of a minute."""
    count: dict[tuple[int, str | None], int] = defaultdict(int)
    worth: dict[tuple[int, str | None], float] = defaultdict(float)
    for event in events:
        if event.event_type == "conversion":
            key = (event.event_time // MINUTE * MINUTE, event.name)
            count[key] += 1
            worth[key] += event.value
    return [
        _window(start, MINUTE)
        | {"goal": goal, "conversions": n, "value": round(worth[start, goal], 6)}
        for (start, goal), n in count.items()
    ]


def _is_cart(event: Event) -> bool:
    return event.event_type == "custom" and event.name == "add_to_cart"


def _is_purchase(event: Event) -> bool:
    return event.event_type == "conversion" and event.name == "purchase"


def _carts_and_purchases(events: Iterable[Event]) -> dict[str, list[Event]]:
    return _by_visitor(e for e in events if _is_cart(e) or _is_purchase(e))


def cart_to_purchase(events: Iterable[Event], within_ms: int) -> list[Row]:
    """An add to cart and the purchase right after it (of the two kinds), less than `within` apart."""
    rows = []
    for visitor, mine in _carts_and_purchases(events).items():
        for cart, then in pairwise(mine):
            apart = then.event_time - cart.event_time
            if _is_cart(cart) and _is_purchase(then) and apart < within_ms:
                rows.append({"visitor_id": visitor, "cart_time": cart.event_time,
                             "purchase_time": then.event_time, "seconds": apart / 1000})  # fmt: skip
    return rows


def checkout_abandoned(events: Iterable[Event], within_ms: int) -> list[Row]:
    """An add to cart with no purchase or other add to cart after it, less than `within` later."""
    rows = []
    for visitor, mine in _carts_and_purchases(events).items():
        for cart, then in zip(mine, [*mine[1:], None], strict=True):
            if _is_cart(cart) and (then is None or then.event_time - cart.event_time >= within_ms):
                rows.append({"visitor_id": visitor, "cart_time": cart.event_time,
                             "cart_event_id": cart.event_id})  # fmt: skip
    return rows
