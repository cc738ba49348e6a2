"""Pure: values as SQL text."""

from __future__ import annotations


def interval(milliseconds: int) -> str:
    """A SQL interval literal of any length."""
    seconds, milli = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    digits = max(2, len(str(days)))
    return f"INTERVAL '{days} {hour:02}:{minute:02}:{second:02}.{milli:03}' DAY({digits}) TO SECOND(3)"


def literal(text: str) -> str:
    """A SQL string literal's content."""
    return text.replace("'", "''")


def like(text: str, before: str, after: str) -> str:
    """A pattern of LIKE, quoted: a text that stands for itself, between wildcards of ours."""
    escaped = "".join(f"!{each}" if each in "!%_" else each for each in text)
    # without ESCAPE a backslash would be nothing special either (SQL:2016, 8.5)
    return f"'{before}{literal(escaped)}{after}'" + (" ESCAPE '!'" if escaped != text else "")
