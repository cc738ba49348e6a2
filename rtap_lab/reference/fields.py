"""Reading an event's field, or one of its properties."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from rtap_lab.queries.conditions import property_key

Read = Callable[[Any], Any]
"""Takes an event; None where it has no such field."""


def reader(name: str) -> Read:
    """What reads a field of an event."""
    key = property_key(name)
    if key is None:
        return attrgetter(name)
    return lambda event: event.properties.get(key) if event.properties else None
