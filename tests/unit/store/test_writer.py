"""The writer, with a reader and a store that are none: what is foreign is set aside, and holds up nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from rtap_lab.errors import RowError
from rtap_lab.kafka.reader import Arrived
from rtap_lab.queries.catalogue import packaged
from rtap_lab.store.points import Point
from rtap_lab.store.writer import Feed, Foreign, Writer

QUERY = packaged()["conversions_1m"]
ROW = {
    "window_start": "2026-11-25T10:00:00.000Z",
    "window_end": "2026-11-25T10:01:00.000Z",
    "goal": "purchase",
    "conversions": 2,
    "value": 3.5,
}
FOREIGN: dict[str, bytes | None] = {
    "it is empty": None,
    "it is no JSON$": b"{",
    "it is no JSON object": b"[1]",
    "its columns are others": json.dumps(ROW | {"colour": "red"}).encode(),
    "its columns are others: goal": json.dumps({k: v for k, v in ROW.items() if k != "goal"}).encode(),
    "it has no window_end": json.dumps(ROW | {"window_end": None}).encode(),
    "its window_end is no time": json.dumps(ROW | {"window_end": "noon"}).encode(),
    "its conversions is no integer": json.dumps(ROW | {"conversions": True}).encode(),
    "its value is no number": json.dumps(ROW | {"value": "3.5"}).encode(),
    "its goal is no text": json.dumps(ROW | {"goal": 5}).encode(),
}


@pytest.mark.parametrize(("reason", "value"), FOREIGN.items())
def test_what_is_no_row_of_a_query_is_told_by_its_reason(reason: str, value: bytes | None) -> None:
    with pytest.raises(RowError, match=reason):
        QUERY.schema.read(value)


def test_every_packaged_query_reads_its_own_rows() -> None:
    values: dict[str, Any] = {"text": "a", "integer": 1, "number": 1.5, "boolean": True, "time": ROW["window_end"]}
    for query in packaged():
        schema = query.schema
        row = {name: values[kind] for name, kind in schema.columns.items()}
        assert schema.read(json.dumps(row).encode()) == row
        times = {"window_start", "window_end"} if schema.windowed else {schema.time_column}
        sparse = {name: value if name in times else None for name, value in row.items()}
        assert schema.read(json.dumps(sparse).encode()) == sparse


class _Reader:
    def __init__(self, rows: list[tuple[str, int, bytes, int]]) -> None:
        self.rows = rows
        self.followed: Mapping[str, int] = {}

    def follow(self, topics: Mapping[str, int]) -> None:
        self.followed = topics

    def poll(self, timeout: float) -> Arrived:
        return Arrived(self.rows, {row[0]: row[1] + 1 for row in self.rows})


class _Store:
    def __init__(self) -> None:
        self.points: list[Point] = []

    def runs(self) -> dict[str, str]:
        return {"standard/live": "run"}

    def offsets(self) -> dict[str, int]:
        return {}

    def write(self, points: Iterable[Point], offsets: Mapping[str, int]) -> None:
        self.points += points

    def maintain(self, queries: object, now_ms: int) -> None:
        pass


def test_foreign_records_are_set_aside_counted_and_hold_up_nothing() -> None:
    topic = "results.conversions_1m"
    good = json.dumps(ROW).encode()
    values = [b"", good, b"{}", good, b"[]"]
    feed = Feed(topic, QUERY, "live", "standard/live", "run", 7)
    store, reader = _Store(), _Reader([(topic, 7 + n, value, 0) for n, value in enumerate(values)])
    writer = Writer(store, reader, lambda: [feed])  # type: ignore[arg-type]
    writer.refresh()
    assert writer.step(0) == 2
    assert len(store.points) == 2
    expected = {topic: Foreign(3, 7, 11, "it is empty (a tombstone)")}
    assert writer.foreign == expected
    writer.forget()
    writer.refresh()
    writer.step(0)
    assert writer.foreign == expected, "what comes again is counted once"
    other = Writer(store, reader, lambda: [Feed(topic, QUERY, "live", "standard/live", "run", 12)], expected)  # type: ignore[arg-type]
    other.refresh()
    assert other.foreign == {}, "of an earlier run"
