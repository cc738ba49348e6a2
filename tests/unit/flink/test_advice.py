"""What is said about mistakes in SQL: Flink 2.3's own words, as it said them on a stack."""

from __future__ import annotations

import pytest

from rtap_lab.errors import StatementError
from rtap_lab.flink.advice import advice, strict

SIGNATURE = "No match found for function signature cuont(<CHARACTER>)"
ORDER_BY = "You must specify either rowtime or proctime for order by as the first one."
NOT_TIME = (
    "The window function requires the timecol is a time attribute type, but is TIMESTAMP_WITH_LOCAL_TIME_ZONE(3)."
)


@pytest.mark.parametrize(
    ("why", "sql", "meant"),
    [
        ('Encountered "views" at line 1, column 80.', "SELECT COUNT(*) AS views FROM events", "`views`"),
        ('Encountered "AS value" at line 1, column 80.', "SELECT COUNT(*) AS value FROM events", "`value`"),
        ('Encountered "FROM" at line 1, column 8.', "SELECT FROM events", None),
        ('Encountered "BY" at line 1, column 31.', "SELECT page FROM events GROPU BY page", "did you mean GROUP?"),
        ('Encountered "SELCT" at line 1, column 9.', "EXPLAIN SELCT 1", "did you mean SELECT?"),
        ("Column 'evnt_type' not found in any table", "SELECT evnt_type FROM events", "did you mean event_type?"),
        ("Column 'zzz' not found in any table", "SELECT zzz FROM events", "DESCRIBE events"),
        ("Object 'evnts' not found", "SELECT * FROM evnts", "did you mean events?"),
        ("Object 'orders' not found", "SELECT * FROM orders", "SHOW TABLES"),
        (SIGNATURE, "SELECT cuont(page) FROM events", "did you mean COUNT?"),
        ("At line 1, column 13: Unknown identifier '*'", "SELECT CONT(*) FROM events", "did you mean COUNT?"),
        ("Sort on a non-time-attribute field is not supported.", "", "ORDER BY rowtime"),
        (NOT_TIME, "", "DESCRIPTOR(rowtime)"),
        (ORDER_BY, "", "ORDER BY rowtime"),
        ("Greedy quantifiers are not allowed as the last element of a Pattern yet.", "", "reluctant"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(why: str, sql: str, meant: str | None) -> None:
    found = advice(why, sql)
    assert meant in found if meant and found else found is meant


def test_the_place_is_shown_under_the_statement() -> None:
    sql = "SELECT page,\n       evnt_type\nFROM events"
    error = StatementError("flink: From line 2, column 8 to line 2, column 16: no", sql=sql, hint="look")
    assert str(error).splitlines()[1:] == ["         evnt_type", "         ^", "  -> look"]
    far = StatementError("flink: line 1, column 201: no", sql="x" * 400)
    assert len(str(far).splitlines()[1]) <= 102
    assert str(StatementError("flink: line 9, column 1: no", sql="x")).count("\n") == 0


@pytest.mark.parametrize(
    ("pattern", "expected"), [("A{3}", True), ("A B", True), ("A+ B", True), ("A", False), ("A{1}", False)]
)
def test_a_pattern_of_more_than_one_row_is_strict(pattern: str, expected: bool) -> None:
    text = f"SELECT * FROM events MATCH_RECOGNIZE (ORDER BY rowtime MEASURES A.page AS a PATTERN ({pattern}) DEFINE A AS TRUE)"
    assert strict(text) is expected
    assert strict("SELECT 'PATTERN (A B)' FROM events") is False
