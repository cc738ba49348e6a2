"""What is kept of refused records."""

from __future__ import annotations

import hashlib
import json

import pytest

from rtap_lab.kafka.auditor import late_row
from rtap_lab.recordings.rejects import encode_row, rejected_rows

NOW_MS = 1_795_000_000_000


def test_a_record_of_very_many_rows_costs_what_its_ids_cost() -> None:
    """A record of 1 MiB can hold 349,000 empty objects: each would be a row with the whole record."""
    bomb = b"[" + b",".join([b"{}"] * 300_000) + b"]"
    (row,) = rejected_rows(bomb, "live", 1, 2, arrival_ms=NOW_MS)
    assert (row["reason"], row["event_id"], row["size"]) == ("missing", None, len(bomb))
    assert row["sha256"] == hashlib.sha256(bomb).hexdigest()
    many = json.dumps([{"event_id": str(n)} for n in range(40_000)]).encode()
    rows = rejected_rows(many, "live", 1, 2, arrival_ms=NOW_MS)
    assert [each["event_id"] for each in rows] == [str(n) for n in range(40_000)]
    assert {each["sha256"] for each in rows} == {hashlib.sha256(many).hexdigest()}
    assert rows[0]["record"].startswith('[{"event_id": "0"}')
    assert sum(len(encode_row(each)) for each in rows) < 20_000_000, "its content is kept once"


@pytest.mark.parametrize(("name", "value"), [("event_id", 5), ("offset", "7"), ("partition", None), ("run", 1)])
def test_a_late_row_of_somebody_else_is_none_of_ours(name: str, value: object) -> None:
    row = {"source": "live", "run": "r", "partition": 1, "offset": 7, "reason": "late", "event_id": None}
    assert late_row(encode_row(row)) == row
    assert late_row(encode_row(row | {name: value})) is None
