"""Which rows of the shared topics somebody may still ask for."""

from __future__ import annotations

from typing import Any

import pytest

from rtap_lab.jobs.refused import is_needed, row_of
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
