"""A slice's file: bit-exact, with one error for whatever is wrong with it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.errors import SourceError
from rtap_lab.recordings.slices import META, About, Recorded, about, digest_of, in_order, read, write

HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3).map(tuple)
RECORDS = st.lists(
    st.builds(
        Recorded,
        topic=st.just("events"),
        partition=st.integers(0, 3),
        offset=st.integers(0, 2**60),
        timestamp_ms=st.integers(-1, 2**50),
        key=st.none() | st.binary(max_size=8),
        value=st.none() | st.binary(max_size=30),
        headers=HEADERS,
    ),
    min_size=1,
    max_size=20,
)


def made(records: list[Recorded]) -> About:
    return About("s", "events", len(records), digest_of(records), 2000, 12, 1, 2, "2026-01-01T00:00:00.000Z", {})


@given(RECORDS)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, records: list[Recorded]) -> None:
    path = tmp_path_factory.mktemp("slices") / "s.parquet"
    write(path, made(records), records)
    facts, found = read(path)
    assert found == records
    assert facts == made(records) == about(path)


@given(RECORDS, st.data())
def test_the_digest_sees_every_byte(records: list[Recorded], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records) - 1))
    one = records[at]
    for other in (
        replace(one, value=(one.value or b"") + b"x"),
        replace(one, key=(one.key or b"") + b"x"),
        replace(one, timestamp_ms=one.timestamp_ms + 1),
        replace(one, headers=(*one.headers, ("h", None))),
    ):
        assert digest_of([*records[:at], other, *records[at + 1 :]]) != digest_of(records)
    assert digest_of([replace(r, offset=0, topic="events.x") for r in records]) == digest_of(records)


@given(RECORDS)
def test_order_is_by_arrival_and_within_a_partition_as_it_was(records: list[Recorded]) -> None:
    numbered = [replace(r, offset=n) for n, r in enumerate(records)]
    ordered = in_order(numbered)
    assert sorted(r.offset for r in ordered) == list(range(len(records)))
    for partition in range(4):
        offsets = [r.offset for r in ordered if r.partition == partition]
        assert offsets == sorted(offsets)


def damaged(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [Recorded("events", 0, n, n, b"k", b"v%d" % n, ()) for n in range(2000)]
    good = tmp_path / "good.parquet"
    write(good, made(records), records)
    content = good.read_bytes()
    cases: dict[str, tuple[Path, str]] = {}

    def case(name: str, data: bytes | None, words: str) -> None:
        path = tmp_path / f"{name}.parquet"
        if data is not None:
            path.write_bytes(data)
        cases[name] = (path, words)

    case("missing", None, "no such file")
    case("empty", b"", "not readable Parquet")
    case("text", b"hello\n" * 100, "not readable Parquet")
    case("cut", content[: len(content) // 2], "not readable Parquet")
    broken = bytearray(content)
    broken[len(content) // 4 : len(content) // 4 + 40] = b"\0" * 40
    case("flipped", bytes(broken), "slice ")
    table = pq.read_table(good)
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "plain.parquet")
    cases["plain"] = (tmp_path / "plain.parquet", "but not a slice")
    pq.write_table(table.replace_schema_metadata({META: b"{"}), tmp_path / "meta.parquet")
    cases["meta"] = (tmp_path / "meta.parquet", "are damaged")
    pq.write_table(table.slice(1), tmp_path / "fewer.parquet")
    cases["fewer"] = (tmp_path / "fewer.parquet", "says 2000 records and holds 1999")
    other = table.set_column(5, "value", pa.array([b"w"] * 2000, pa.binary()))
    pq.write_table(other.replace_schema_metadata(table.schema.metadata), tmp_path / "other.parquet")
    cases["other"] = (tmp_path / "other.parquet", "have digest")
    renamed = table.rename_columns([*table.column_names[:-1], "heads"])
    renamed = renamed.replace_schema_metadata(table.schema.metadata)
    pq.write_table(renamed, tmp_path / "renamed.parquet")
    cases["renamed"] = (tmp_path / "renamed.parquet", "its columns are not a slice's")
    return cases


def test_a_damaged_slice_has_one_error(tmp_path: Path) -> None:
    for path, words in damaged(tmp_path).values():
        with pytest.raises(SourceError, match=re.escape(words)) as caught:
            read(path)
        assert str(path) in str(caught.value)
