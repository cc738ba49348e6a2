"""The standard queries as values: what each is called, keyed by, and measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rtap_lab.errors import SettingsError
from rtap_lab.events.times import instant_ms

Kind = Literal["text", "integer", "number", "boolean", "time"]


@dataclass(frozen=True)
class Query:
    """A named continuous question.

    Its rows are JSON objects with the columns below; times are RFC 3339 in UTC.
    """

    name: str
    title: str
    keys: dict[str, Kind]
    measures: dict[str, Kind]
    windowed: bool = True
    """Whether rows belong to windows `[window_start, window_end)`; else to matches of a pattern."""
    time_column: str = "window_end"
    """Whose value is the time of the point."""
    absence: bool = False
    """Whether a row says that something did not happen within the run's `within`."""
    additive: tuple[str, ...] = ()
    """Measures that may be summed over windows: these the hourly rollup keeps."""

    @property
    def columns(self) -> dict[str, Kind]:
        """All columns of a row, in order."""
        window: dict[str, Kind] = {"window_start": "time", "window_end": "time"}
        return (window if self.windowed else {}) | self.keys | self.measures

    @property
    def identity(self) -> list[str]:
        """The columns that make a row this row: window and keys; of a pattern, all."""
        return ["window_start", "window_end", *self.keys] if self.windowed else [*self.columns]

    def point_time_ms(self, row: dict[str, Any], *, within_ms: int) -> int:
        """The time of a row's point: the window's end; of a pattern, when the row is due.

        Args:
            row: A row as `normal` gives it.
            within_ms: The run's `within`.
        """
        moment = int(row[self.time_column])
        return moment + within_ms if self.absence else moment

    def row_time_ms(self, row: dict[str, Any], *, within_ms: int) -> int:
        """When a row is due: a window's end - 1 ms, a match's last event, the end of an absence."""
        return self.point_time_ms(row, within_ms=within_ms) - (1 if self.windowed else 0)


_COUNTS: dict[str, Kind] = {"views": "integer", "visitors": "integer"}

STANDARD: dict[str, Query] = {
    query.name: query
    for query in (
        Query(
            "page_views_1m",
            "Views and visitors of each page, by the minute",
            {"page": "text"},
            _COUNTS,
            additive=("views",),
        ),
        Query("traffic_hop", "Views and visitors of the last minute, every 10 s", {}, _COUNTS),
        Query("traffic_cumulate", "Views and visitors of the hour so far, by the minute", {}, _COUNTS),
        Query(
            "sessions",
            "Visits",
            {"visitor_id": "text"},
            {
                "events": "integer",
                "page_views": "integer",
                "entry_page": "text",
                "exit_page": "text",
                "bounced": "boolean",
            },
        ),
        Query(
            "conversions_1m",
            "Conversions of each goal and their worth, by the minute",
            {"goal": "text"},
            {"conversions": "integer", "value": "number"},
            additive=("conversions", "value"),
        ),
        Query(
            "cart_to_purchase",
            "Purchases after an add to cart",
            {"visitor_id": "text"},
            {"cart_time": "time", "purchase_time": "time", "seconds": "number"},
            windowed=False,
            time_column="purchase_time",
        ),
        Query(
            "checkout_abandoned",
            "Adds to cart that led to nothing",
            {"visitor_id": "text"},
            {"cart_time": "time", "cart_event_id": "text"},
            windowed=False,
            time_column="cart_time",
            absence=True,
        ),
    )
}
"""The seven queries of the standard job."""


def query_named(name: str) -> Query:
    """A standard query.

    Raises:
        SettingsError: When there is none of that name.
    """
    if name not in STANDARD:
        raise SettingsError(f"query {name!r} is not known", hint=f"one of {', '.join(STANDARD)}")
    return STANDARD[name]


def normal(query: Query, row: dict[str, Any]) -> dict[str, Any]:
    """A row in one form, so that rows of topic, store and reference can be compared.

    Times become milliseconds since the epoch, sums are rounded to 6 decimals; a missing column is None.
    """
    result: dict[str, Any] = {}
    for name, kind in query.columns.items():
        value = row.get(name)
        if value is not None and kind == "time":
            value = instant_ms(value) if isinstance(value, str) else int(value)
        elif value is not None and kind == "number":
            value = round(float(value), 6)
        result[name] = value
    return result
