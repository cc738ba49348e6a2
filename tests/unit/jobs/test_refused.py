"""Which rows of the shared topics somebody may still ask for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.jobs.refused import is_needed, last_to_go, row_of
from rtap_lab.recordings.sources import Source

SOURCES = {"weblog": Source("jsonl", refused_from=10)}
LIVE = {"source": "live", "partition": 3, "offset": 50}
OF_A_FILE = {"source": "weblog", "partition": None, "offset": None, "line": 7, "file": "abc"}


@pytest.mark.parametrize(
    ("row", "offset", "rejected", "needed"),
    [
        (LIVE, 0, True, True),
        (LIVE | {"offset": 49}, 0, True, False),
        (LIVE | {"partition": 4}, 0, True, True),
        (LIVE | {"run": "now"}, 0, False, True),
        (LIVE | {"run": "given up"}, 0, False, False),
        (LIVE | {"partition": None, "offset": None, "line": 3}, 0, True, True),
        (OF_A_FILE, 10, True, True),
        (OF_A_FILE, 9, True, False),
        (OF_A_FILE | {"source": "gone"}, 99, True, False),
        (OF_A_FILE | {"partition": 0, "offset": 1, "run": "now"}, 3, False, True),
        (OF_A_FILE | {"partition": 0, "offset": 1, "run": "given up"}, 3, False, False),
    ],
)
def test_what_is_needed(row: dict[str, Any], offset: int, rejected: bool, needed: bool) -> None:
    assert is_needed(row, offset, sources=SOURCES, runs={"now"}, starts={3: 50}, rejected=rejected) == needed


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"source": 7}',
        b'{"source": "live", "partition": 0}',
        b'{"source": "live", "partition": 0, "offset": null}',
        b'{"source": "live", "partition": true, "offset": 1}',
        b'{"source": "live", "run": []}',
    ],
)
def test_what_somebody_else_wrote_is_no_row(value: bytes | None) -> None:
    assert row_of(value) is None


@pytest.mark.parametrize(
    ("needed", "cut", "cut_whole"),
    [
        ("", None, None),
        ("nnn", None, None),
        ("---", 2, 2),
        ("n--", 2, 2),
        ("nn-", None, 2),
        ("--nn", 1, 1),
        ("--n-nn-", 1, 6),
        ("--n--nnn-", 4, 8),
        ("nnn----", 6, 6),
    ],
)
def test_a_topic_is_cut_where_most_goes_for_what_is_copied(needed: str, cut: int | None, cut_whole: int | None) -> None:
    rows = [(offset, mark == "n") for offset, mark in enumerate(needed)]
    assert (last_to_go(rows, whole=False), last_to_go(rows, whole=True)) == (cut, cut_whole)


@given(st.lists(st.booleans()))
def test_a_cut_lets_more_go_than_it_copies_and_leaves_no_worthy_one(needed: list[bool]) -> None:
    cut = last_to_go(enumerate(needed), whole=False)
    before = needed[: 0 if cut is None else cut + 1]
    assert not before or before.count(False) > before.count(True)
    left = needed[len(before) :]
    assert all(left[:end].count(False) <= left[:end].count(True) for end in range(len(left) + 1))
