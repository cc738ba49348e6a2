"""RFC 3339 instants as whole milliseconds since the epoch, read exactly as Flink's decoder reads them.

The grammar is java.time's ISO_LOCAL_DATE 'T' ISO_LOCAL_TIME 'Z', smartly resolved: seconds and a
fraction of up to nine digits are optional, digits below a millisecond are cut, the 29th to 31st of a
shorter month is its last day, and 24:00 is the next midnight.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_INSTANT = re.compile(r"(-?\d{4}|[+-]\d{5,10})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{0,9}))?)?Z", re.ASCII)
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, days_from_civil)."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def instant_ms(text: str) -> int | None:
    """Milliseconds since the epoch, or None when Flink's decoder would not read the text."""
    # as we write them ourselves: most events share their minute with others
    if len(text) == 24 and text[16] == ":" and text[19] == "." and text[23] == "Z" and text.isascii():
        second, milli = text[17:19], text[20:23]
        if second.isdigit() and second < "60" and milli.isdigit():
            minute_ms = _minute_ms(text[:16])
            if minute_ms is not None:
                return minute_ms + int(second) * 1000 + int(milli)
    return _read(text)


@lru_cache(4096)
def _minute_ms(text: str) -> int | None:
    """The beginning of a minute, from "2026-11-23T10:00"; None where there is none, or where not all of its seconds are."""
    return None if text.endswith("T24:00") else _read(f"{text}:00.000Z")


def _read(text: str) -> int | None:
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute = (int(match[i]) for i in range(1, 6))
    second = int(match[6] or 0)
    if not (1 <= month <= 12 and 1 <= day <= 31 and minute < 60 and second < 60):
        return None
    milli = int(((match[7] or "") + "000")[:3])
    if hour > 23 and not (hour == 24 and minute == second == 0 and not (match[7] or "").strip("0")):
        return None
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    day = min(day, 29 if month == 2 and leap else _DAYS[month - 1])
    return (((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli


def instant_text(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, `2026-11-23T10:00:00.123Z`.

    Args:
        ms: Milliseconds since the epoch, between the years 1 and 9999.
    """
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z".rjust(24, "0")
