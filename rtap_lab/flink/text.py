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
