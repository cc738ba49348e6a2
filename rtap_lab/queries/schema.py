"""What the rows of a query look like: columns, identity, time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import orjson

from rtap_lab.errors import RowError
from rtap_lab.events.times import instant_ms, instant_text

Kind = Literal["text", "integer", "number", "boolean", "time"]
Row = dict[str, Any]

_JSON: dict[Kind, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "time": (str,),
}
"""What a value of a kind is in a row's JSON."""


class Schema(msgspec.Struct, frozen=True):
    """The columns of a query's rows. Rows are JSON objects; times are RFC 3339 in UTC.

    Derived from a query's definition (`rtap_lab.queries.query`), never written by hand.
    """

    keys: dict[str, Kind]
    measures: dict[str, Kind]
    windowed: bool = True
    """Whether rows belong to windows `[window_start, window_end)`; else to matches of a pattern."""
    time_column: str = "window_end"
    """Whose value tells when a row happened: the window's end, or a match's last event."""
    absent_ms: int = 0
    """A row says that something did not happen for so long after its time; 0: it says what happened."""
    span_ms: int = 0
    """How long before its time a match may have begun; of a session, its gap: an event so long before would belong to it."""
    additive: tuple[str, ...] = ()
    """Measures that may be summed over windows of an hour: these the rollup keeps."""

    @property
    def columns(self) -> dict[str, Kind]:
        """All columns of a row, in order."""
        window: dict[str, Kind] = {"window_start": "time", "window_end": "time"}
        return (window if self.windowed else {}) | self.keys | self.measures

    @property
    def identity(self) -> list[str]:
        """The columns that make a row this row: window and keys; of a pattern, all."""
        return ["window_start", "window_end", *self.keys] if self.windowed else [*self.columns]

    @property
    def order(self) -> list[str]:
        """The columns by which rows are sorted: time, then keys."""
        times = ["window_end", "window_start"] if self.windowed else [self.time_column]
        return [*times, *self.keys]

    def point_time_ms(self, row: dict[str, Any]) -> int:
        """The time of a row's point: the window's end; of a pattern, when the row is due.

        Args:
            row: A row as `normal` gives it.
        """
        return int(row[self.time_column]) + self.absent_ms

    def row_time_ms(self, row: dict[str, Any]) -> int:
        """When a row is due: a window's end - 1 ms, a match's last event, the end of an absence."""
        return self.point_time_ms(row) - (1 if self.windowed else 0)

    def begin_ms(self, row: dict[str, Any]) -> int:
        """The earliest time of an event that the row can depend on."""
        return int(row["window_start" if self.windowed else self.time_column]) - self.span_ms

    def read(self, value: bytes | None) -> Row:
        """A row of a result topic, from its bytes: every column and no other, each of its kind, no time missing.

        Raises:
            RowError: When it is no row of this query.
        """
        try:
            row = orjson.loads(value or b"")
        except orjson.JSONDecodeError as error:
            raise RowError("it is no JSON" if value else "it is empty (a tombstone)") from error
        if not isinstance(row, dict):
            raise RowError("it is no JSON object")
        if row.keys() != self.columns.keys():
            differing = sorted(row.keys() ^ self.columns.keys())
            raise RowError(f"its columns are others: {', '.join(map(str, differing[:3]))[:100]}")
        needed = {"window_start", "window_end"} if self.windowed else {self.time_column}
        for name, kind in self.columns.items():
            given = row[name]
            if given is None:
                if name in needed:
                    raise RowError(f"it has no {name}")
            elif type(given) not in _JSON[kind] or (kind == "time" and instant_ms(given) is None):
                raise RowError(f"its {name} is no {kind}")
        return row

    def normal(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row in one form, so that rows of topic, store and reference can be compared.

        Times become milliseconds since the epoch, numbers are rounded to 6 decimals; a missing column is None.
        """
        result: dict[str, Any] = {}
        for name, kind in self.columns.items():
            value = row.get(name)
            if value is not None and kind == "time":
                value = instant_ms(value) if isinstance(value, str) else int(value)
            elif value is not None and kind == "number":
                value = round(float(value), 6)
            result[name] = value
        return result

    def written(self, rows: Iterable[Row]) -> list[Row]:
        """Rows as result topics have them, sorted by time, then keys: instants as RFC 3339 texts.

        Args:
            rows: As `normal` gives them.
        """
        ordered = sorted(rows, key=lambda row: [(row[name] is not None, row[name]) for name in self.order])
        moments = {name for name, kind in self.columns.items() if kind == "time"}
        return [
            {
                name: instant_text(row[name]) if name in moments and row[name] is not None else row[name]
                for name in self.columns
            }
            for row in ordered
        ]
