"""Lines of a web server's access log (combined format) as events. Pure; the raw address goes nowhere.

Format: Apache HTTP Server, mod_log_config, "combined":
`%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime
from typing import Any

_COMMON = r'(\S+) (\S+) (.+?) \[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)'
_QUOTED = r' "((?:[^"\\]|\\.)*)"'
_COMBINED_LINE = re.compile(_COMMON + _QUOTED + _QUOTED + r"\s*", re.ASCII)
_COMMON_LINE = re.compile(_COMMON + r"\s*", re.ASCII)
_ADDRESS = re.compile(
    r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])|(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"
)
_MONTHS = {
    m: i for i, m in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1)
}
_TIME = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII)

NOT_PAGES = (
    ".css",
    ".js",
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".ico",
    ".svg",
    ".webp",
    ".woff",
    ".woff2",
    ".ttf",
    ".eot",
    ".map",
)
"""Endings of a path that is no page."""


def is_common(line: str) -> bool:
    """Whether a line is in the common format: it lacks the referrer and the user agent."""
    return _COMMON_LINE.fullmatch(line) is not None


def is_combined(line: str) -> bool:
    """Whether a line is in the combined format."""
    return _COMBINED_LINE.fullmatch(line) is not None


def redact(line: str) -> str:
    """A line without its address: the first word, and whatever else looks like one."""
    _, separator, rest = line.partition(" ")
    return _ADDRESS.sub("-", f"-{separator}{rest}")


def visitor(key: bytes, address: str, agent: str) -> str:
    """A visitor's pseudonym: a keyed hash (HMAC-SHA-256, 128 bits) of address and user agent."""
    return hmac.new(key, f"{address}\0{agent}".encode(), hashlib.sha256).hexdigest()[:32]


def time_ms(text: str) -> int | None:
    """`17/May/2015:10:05:03 +0000` as milliseconds since the epoch; None when it is no such time."""
    match = _TIME.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(match[i]) for i in (1, 3, 4, 5, 6))
    try:
        local = datetime(year, _MONTHS[match[2]], day, hour, minute, min(second, 59))
    except ValueError:
        return None
    east = (int(match[8]) * 60 + int(match[9])) * (1 if match[7] == "+" else -1)
    since = local - datetime(1970, 1, 1)
    return ((since.days * 86_400 + since.seconds) - east * 60) * 1000


def path_of(target: str) -> str:
    """The path of a request target, as it is written, without query and fragment."""
    if "://" in target.split("/", 1)[0] + "//" and re.match(r"[A-Za-z][\w+.-]*://", target):
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    return re.split(r"[?#]", target, maxsplit=1)[0]


def event(line: str, *, event_id: str, key: bytes) -> dict[str, Any] | None:
    """The event of a line, `event_time` in milliseconds since the epoch; None when it does not parse.

    Args:
        line: One line, without its end.
        event_id: The id the event gets.
        key: The lab's key for visitors' pseudonyms.
    """
    match = _COMBINED_LINE.fullmatch(line)
    if match is None:
        return None
    address, _, _, stamp, request, status, _, referrer, agent = match.groups()
    moment = time_ms(stamp)
    if moment is None:
        return None
    method, _, rest = request.partition(" ")
    page = path_of(rest.partition(" ")[0] or request)
    is_page = method == "GET" and (status.startswith("2") or status == "304") and not page.lower().endswith(NOT_PAGES)
    found: dict[str, Any] = {
        "event_id": event_id,
        "event_type": "page_view" if is_page else "custom",
        "event_time": moment,
        "visitor_id": visitor(key, address, agent),
        "page": page,
    }
    if not is_page:
        found["name"] = "request"
    if referrer not in ("", "-"):
        found["referrer"] = re.split(r"[?#]", referrer, maxsplit=1)[0]
    found["properties"] = {"method": method, "status": status}
    return found
