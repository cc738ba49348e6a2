"""Windows over columns give the rows of the reference engine: random queries on random streams, cut into batches."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pytest

from rtap_lab.events.batches import pack
from rtap_lab.events.codec import decode, encode
from rtap_lab.events.model import Decoded
from rtap_lab.flink.columns import Parts, holds, read_batch, rows_of
from rtap_lab.flink.compile import windowed
from rtap_lab.queries.builders import count, distinct, last, mean, smallest, total, tumble
from rtap_lab.queries.conditions import field
from rtap_lab.queries.query import Definition, WindowQuery
from rtap_lab.queries.standard import standard_queries
from rtap_lab.queries.windows import SessionWindow
from rtap_lab.reference import engine
from rtap_lab.reference.fates import Event, Judge, Place
from rtap_lab.testing import cases

AFTER_ALL = 2**50
SEEDS = range(1, 61)


def _events(seed: int) -> tuple[list[Decoded], list[Event]]:
    """The events of a stream that count, as the decoder and as the engine has them."""
    drawn, judge = cases.stream(seed), Judge(2 * AFTER_ALL)
    rows, counted = [], []
    for offset, event in enumerate(drawn.events):
        value = encode(event)
        for each in judge.judge(value, Place(0, offset, AFTER_ALL)):
            if each.fate == "counted" and each.event:
                counted.append(each.event)
                rows += decode(value)
    return rows, counted


def _by_columns(query: WindowQuery, rows: list[Decoded], size: int) -> list[dict[str, Any]]:
    assert not isinstance(query.window, SessionWindow)
    cutter, windows = Parts(query), defaultdict(list)
    for at in range(0, len(rows), size):
        batch = read_batch(pack(rows[at : at + size]), AFTER_ALL)
        assert batch is not None
        for begin, part in cutter.of(batch):
            for window in query.window.of_slice(begin):
                windows[window].append(part)
    names = [*query.keys, *query.measures]
    return [
        {"window_start": start, "window_end": end} | dict(zip(names, cells, strict=True))
        for (start, end), parts in windows.items()
        for cells in rows_of(query, parts, end - start)
    ]


def _comparable(query: Definition, rows: list[dict[str, Any]]) -> Counter[bytes]:
    return Counter(orjson.dumps(query.schema.normal(row), option=orjson.OPT_SORT_KEYS) for row in rows)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_windows_over_random_batches(seed: int) -> None:
    query = cases.query(seed)
    if not windowed(query):  # then it takes event after event, by the SQL of any other source
        return
    assert isinstance(query, WindowQuery)
    rows, counted = _events(seed)
    found = _by_columns(query, rows, size=1 + seed % 7 * 40)
    assert _comparable(query, found) == _comparable(query, engine.rows_of(query, counted))


def test_enough_of_them_are_windows() -> None:
    assert sum(windowed(cases.query(seed)) for seed in SEEDS) > len(SEEDS) / 3


@pytest.mark.parametrize(
    "query", [each for each in standard_queries() if windowed(each.definition)], ids=lambda each: each.name
)
def test_the_packaged_windows(query: Any) -> None:
    rows, counted = _events(7)
    found = _by_columns(query.definition, rows, size=100)
    assert found
    assert _comparable(query.definition, found) == _comparable(
        query.definition, engine.rows_of(query.definition, counted)
    )


def _row(**more: Any) -> Decoded:
    return Decoded("e", "page_view", 1_000, "v", **more)


@pytest.mark.parametrize(
    "row",
    [
        Decoded(None, "page_view", 1_000, "v"),
        Decoded("e", "other", 1_000, "v"),
        Decoded("e", "custom", 1_000, "v"),
        _row(page="x" * 8_193),
        _row(properties={"k" * 8_193: "v"}),
        _row(properties={str(n): "v" for n in range(101)}),
        Decoded("e", "page_view", 400_001, "v"),
    ],
    ids=["no id", "kind", "no name", "long", "long property", "many properties", "ahead"],
)
def test_a_batch_with_an_event_that_does_not_fit_is_none_for_job_and_reference(row: Decoded) -> None:
    for record in (pack([_row(), row]) if row.event_id else _without_checks(row),):
        assert read_batch(record, 100_000) is None
        (judged,) = Judge(10_000, columnar=True).judge(record, Place(0, 0, 100_000))
        assert (judged.fate, judged.reason) == ("rejected", "parse")


def _without_checks(row: Decoded) -> bytes:
    """A batch of somebody else: the column of ids says that it may be empty."""
    good = read_batch(pack([_row()]), 100_000)
    assert good is not None
    schema = pa.schema([pa.field(each.name, each.type) for each in good.schema])
    columns = [pa.nulls(1, pa.utf8()), *good.columns[1:]]
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, schema) as stream:
        stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return bytes(out.getvalue())


@pytest.mark.parametrize(
    "record", [b"", b"{}", b"\xff\xff\xff\xff", pack([_row()])[:-40]], ids=["empty", "json", "marker", "cut"]
)
def test_what_is_no_batch(record: bytes) -> None:
    assert read_batch(record, 100_000) is None
    (judged,) = Judge(10_000, columnar=True).judge(record, Place(0, 0, 100_000))
    assert judged.reason == "parse"


def test_what_follows_a_batch_is_ignored_as_behind_a_value_of_json() -> None:
    record = pack([_row()]) + b"more"
    batch = read_batch(record, 100_000)
    assert batch is not None
    assert batch.num_rows == 1
    assert len(list(Judge(10_000, columnar=True).judge(record, Place(0, 0, 100_000)))) == 1


def test_conditions_have_three_answers() -> None:
    batch = read_batch(pack([_row(page="/a"), _row(page="/b", value="2.5"), _row()]), 100_000)
    assert batch is not None
    assert holds(batch, field("page") == "/a").to_pylist() == [True, False, None]
    assert holds(batch, ~(field("page") == "/a")).to_pylist() == [False, True, None]
    assert holds(batch, (field("page") == "/a") | field("value").is_missing()).to_pylist() == [True, False, True]
    assert holds(batch, field("value") > 2).to_pylist() == [None, True, None]


def _foreign(**columns: pa.Array) -> bytes:
    """A batch of somebody else: one column of a good one is another."""
    batch = read_batch(pack([_row(), _row()]), 100_000)
    assert batch is not None
    for name, column in columns.items():
        batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), column)
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(out.getvalue())


def _texts(codes: list[int], texts: list[str | None]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(texts, pa.utf8()))


@pytest.mark.parametrize(
    "record",
    [
        _foreign(visitor_id=_texts([0, 1], [None, "v"])),
        _foreign(page=_texts([0, 0], ["/", "x" * 8_193])),
        _foreign(page=_texts([0, 0], ["/", "/a", "/b"])),
        _foreign(properties=pa.array([[("k", "v")] * 101, None], pa.map_(pa.utf8(), pa.utf8()))),
    ],
    ids=["no text", "long, unused", "more texts than events", "one property 101 times"],
)
def test_what_no_import_writes_is_no_batch_for_job_and_reference(record: bytes) -> None:
    assert read_batch(record, 100_000) is None
    (judged,) = Judge(10_000, columnar=True).judge(record, Place(0, 0, 100_000))
    assert judged.reason == "parse"


@pytest.mark.parametrize(
    "query",
    [
        tumble("1s").agg(ids=distinct("event_id"), least=smallest(field("event_id"))),
        tumble("1s").by("event_id").agg(n=count(), latest=last(field("event_id"))),
        tumble("1s").by("page").agg(worth=total(field("value")), usual=mean(field("value"))).top(2, "worth"),
    ],
    ids=["ids counted", "by id", "worth"],
)
def test_windows_that_no_draw_has(query: Any) -> None:
    drawn, counted = _events(11)
    worths = [1e22, 1e12, 19.99, 0.1, 1.7e308, -1.7e308, -1e15]
    rows, events = [], []
    for n, (row, event) in enumerate(zip(drawn, counted, strict=True)):
        worth = worths[n % len(worths)]
        rows.append(replace(row, value=repr(worth)))
        events.append(replace(event, value=worth))
    found = _by_columns(query.definition if hasattr(query, "definition") else query, rows, size=90)
    wanted = engine.rows_of(query, events)
    assert _comparable(query, found) == _comparable(query, wanted)
