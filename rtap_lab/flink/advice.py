"""What to do about a mistake in SQL that Flink found: pure, from what Flink says and the statement."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from rtap_lab.queries.conditions import FIELDS

TABLES = ("events", "events_raw")
TIME = "rowtime"
"""The time attribute of both tables: what windows, patterns and ORDER BY go by."""
COLUMNS = (*FIELDS, "properties", "arrival", TIME, "window_start", "window_end", "window_time")
"""What a statement may name: the columns of `events`, and those of windows."""
FUNCTIONS = (
    "COUNT", "SUM", "MIN", "MAX", "AVG", "FIRST_VALUE", "LAST_VALUE", "ROW_NUMBER", "RANK", "CAST", "TRY_CAST", "COALESCE", "IF",
    "CONCAT", "LOWER", "UPPER", "SUBSTRING", "TRIM", "REPLACE", "REGEXP_EXTRACT", "SPLIT_INDEX", "CHAR_LENGTH", "ABS", "ROUND",
    "FLOOR", "CEIL", "TUMBLE", "HOP", "CUMULATE", "SESSION", "DATE_FORMAT", "TIMESTAMPDIFF", "EXTRACT", "NOW", "CURRENT_WATERMARK",
)  # fmt: skip

_ENCOUNTERED = re.compile(r'Encountered "(?:AS )?(\w+)[" ]', re.IGNORECASE)
_COLUMN = re.compile(r"Column '(?:\w+\.)?(\w+)' not found|Unknown identifier '(\w+)'")
_OBJECT = re.compile(r"Object '(\w+)' not found")
_FUNCTION = re.compile(r"No match found for function signature (\w+)")
_PLACE = re.compile(r"\bline (\d+), column (\d+)")
_OF_ALL = re.compile(r"\b(\w+)\s*\(\s*\*\s*\)")


def advice(why: str, sql: str) -> str | None:
    """What to do when Flink refuses a statement; None when nothing is known to help.

    Args:
        why: What Flink says, one line.
        sql: The statement.
    """
    if found := _COLUMN.search(why):
        return _near(found[1] or found[2], COLUMNS) or "the columns: DESCRIBE events"
    if found := _OBJECT.search(why):
        return _near(found[1], TABLES) or f"the tables are {' and '.join(TABLES)}: SHOW TABLES"
    if found := _FUNCTION.search(why):
        return _near(found[1], FUNCTIONS) or "the functions: SHOW FUNCTIONS"
    if "Unknown identifier '*'" in why:
        name = next((each for each in _OF_ALL.findall(sql) if each.upper() != "COUNT"), "")
        return _near(name, FUNCTIONS) or "only COUNT takes all: COUNT(*)"
    if "Sort on a non-time-attribute" in why:
        return f"what goes on for ever has no last row to sort: ORDER BY {TIME} first, or the first n of each moment: LIMIT n"
    if "timecol" in why:
        return f"windows go by the time attribute, of events and events_raw: DESCRIPTOR({TIME})"
    if "rowtime or proctime for order by" in why:
        return f"patterns go by the time attribute: ORDER BY {TIME} right after PARTITION BY"
    if "Greedy quantifiers are not allowed as the last element" in why:
        return "it would wait for ever for one more: make it reluctant (B+? instead of B+), or say which step ends it"
    return _reserved_word(why, sql) or _mistyped_word(why, sql)


_STRICT = re.compile(r"\bPATTERN\s*\(\s*\w+(\s|\{\s*[2-9]|[+*])", re.IGNORECASE)


def strict(sql: str) -> bool:
    """Whether a statement wants rows right after each other: MATCH_RECOGNIZE over more than one row (SQL:2016, 7.6)."""
    return "MATCH_RECOGNIZE" in sql.upper() and bool(_STRICT.search(sql))


CONTIGUITY = (
    "MATCH_RECOGNIZE is strict: between the rows of a match no other row of its partition may lie, of whatever kind",
    "leave only the rows that count: FROM (SELECT * FROM events WHERE …) MATCH_RECOGNIZE …; or say it with builders: .followed_by",
)
"""Why a pattern in SQL often matches nothing, and what to do."""


def _near(word: str, names: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(word.lower(), [name.lower() for name in names], 1, 0.6)
    return None if not near else f"did you mean {next(name for name in names if name.lower() == near[0])}?"


def _reserved_word(why: str, sql: str) -> str | None:
    """When Flink's parser stumbles over a name that is a word of SQL."""
    word = _ENCOUNTERED.search(why)
    if word is None or not re.search(rf"(\bAS|[.,(])\s*{word[1]}\b", sql, re.IGNORECASE):
        return None
    return f"if {word[1]} is meant as a name: it is a word of SQL, too, and stands in backticks: `{word[1]}`"


WORDS = ("SELECT", "FROM", "WHERE", "GROUP", "BY", "HAVING", "ORDER", "LIMIT", "WITH", "AS", "JOIN", "LEFT", "ON", "UNION", "ALL", "DISTINCT", "CASE", "WHEN", "THEN", "ELSE", "END", "AND", "OR", "NOT", "NULL", "IS", "IN", "BETWEEN", "LIKE", "COUNT", "SUM", "MIN", "MAX", "AVG", "CAST", "INTERVAL", "TUMBLE", "HOP", "CUMULATE", "SESSION", "TABLE", "DESCRIPTOR", "OVER", "PARTITION", "MATCH_RECOGNIZE", "MEASURES", "PATTERN", "DEFINE", "AFTER", "MATCH", "SKIP", "SHOW", "TABLES", "VIEWS", "FUNCTIONS", "DESCRIBE", "EXPLAIN")  # fmt: skip
"""Words of the language that are typed often."""


def _mistyped_word(why: str, sql: str) -> str | None:
    """When the word that the parser stumbles over, or the one before it, is nearly one of the language."""
    word = _ENCOUNTERED.search(why)
    if word is None:
        return None
    place, lines = _PLACE.search(why), sql.splitlines()
    before = lines[int(place[1]) - 1][: int(place[2]) - 1] if place and int(place[1]) <= len(lines) else ""
    for each in (word[1], *re.findall(r"\w+", before)[-1:]):
        if each.upper() not in WORDS and each.lower() not in COLUMNS and (near := _near(each, WORDS)):
            return near
    return None
