"""The reference engine: any query, on counted events or on records as they come. Pure.

It shares no code with the SQL that it checks: `rtap verify`, the offline lab and the tests run on it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from rtap_lab.queries.query import Definition, WindowQuery
from rtap_lab.reference.fates import Judge, Judged, Place
from rtap_lab.reference.matching import Matching
from rtap_lab.reference.watermarks import Watermarks
from rtap_lab.reference.windowing import Row, Windowing

Operator = Windowing | Matching


def operator(definition: Definition) -> Operator:
    """What runs a query."""
    return Windowing(definition) if isinstance(definition, WindowQuery) else Matching(definition)


def rows_of(definition: Definition, events: Iterable[Any]) -> list[Row]:
    """Every row of a query over counted events, once all windows are closed."""
    runs = operator(definition)
    runs.add(events)
    return runs.close()


class Engine:
    """Runs queries on a topic's records: fates, watermark, rows.

    Args:
        definitions: Queries by name.
        bound_ms: The lateness bound.
        partitions: The topic's partitions.
    """

    def __init__(self, definitions: Mapping[str, Definition], *, bound_ms: int, partitions: Iterable[int]) -> None:
        self.judge = Judge(bound_ms)
        self.watermarks = Watermarks(bound_ms, partitions)
        self.operators = {name: operator(each) for name, each in definitions.items()}

    def process(self, records: Iterable[tuple[bytes | None, Place]]) -> tuple[list[Judged], dict[str, list[Row]]]:
        """Take records, each partition in its order.

        Returns:
            The fate of each row of the records, and the rows that are due with them, by query.
        """
        judged: list[Judged] = []
        for value, place in records:
            judged += self.judge.judge(value, place)
            if place.partition in self.judge.latest:
                self.watermarks.observe(place.partition, self.judge.latest[place.partition])
        events = [each.event for each in judged if each.fate == "counted" and each.event]
        return judged, self._advance(events, self.watermarks.current())

    def close(self) -> dict[str, list[Row]]:
        """No more records come: the rows left, by query."""
        return {name: each.close() for name, each in self.operators.items()}

    def _advance(self, events: list[Any], watermark: int) -> dict[str, list[Row]]:
        rows = {}
        for name, each in self.operators.items():
            each.add(events)
            rows[name] = each.advance(watermark)
        return rows

    def snapshot(self) -> Any:
        """All state as plain data."""
        return copy.deepcopy((self.judge, self.watermarks)), {
            name: each.snapshot() for name, each in self.operators.items()
        }

    def restore(self, snapshot: Any) -> None:
        """Go on from a snapshot of an engine with the same queries."""
        self.judge, self.watermarks = copy.deepcopy(snapshot[0])
        for name, each in self.operators.items():
            each.restore(snapshot[1][name])
