"""Rows as text."""

from __future__ import annotations

import csv
import io

import orjson
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.lab.rows import as_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=20)


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_no_spreadsheet_runs_what_a_visitor_sent(texts: list[str]) -> None:
    rows = [{"page": text, "n": -1.5} for text in texts]
    written = list(csv.DictReader(io.StringIO(as_text(["page", "n"], rows, "csv"))))
    assert [row["n"] for row in written] == ["-1.5"] * len(rows), "a number is none"
    for row, text in zip(written, texts, strict=True):
        assert not row["page"].startswith(("=", "+", "-", "@", "\t"))
        assert row["page"].removeprefix("'") == text.removeprefix("'")
    assert orjson.loads(as_text(["page", "n"], rows, "json")) == rows
