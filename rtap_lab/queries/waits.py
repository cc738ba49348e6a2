"""When the first row of a query can be there. Pure."""

from __future__ import annotations

from rtap_lab.queries.query import Definition, Query, WindowQuery
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow


def waits_ms(query: Query) -> int:
    """How long after its events a row comes at the earliest, milliseconds of event time."""
    definition = query.definition
    if isinstance(definition, WindowQuery):
        match definition.window:
            case SessionWindow(gap_ms=gap):
                return gap
            case TumbleWindow(size_ms=size):
                return size
            case HopWindow(slide_ms=step) | CumulateWindow(step_ms=step):
                return step
    return query.schema.absent_ms


def first_row(definition: Definition) -> str:
    """When the first row of a query can be there, in words."""
    if isinstance(definition, WindowQuery):
        match definition.window:
            case SessionWindow(gap_ms=gap):
                return f"a session ends {span_text(gap)} after its last event"
            case TumbleWindow(size_ms=size):
                return f"the first row comes when a window of {span_text(size)} is over"
            case HopWindow(slide_ms=step) | CumulateWindow(step_ms=step):
                return f"the first row comes within {span_text(step)}"
    if definition.pattern.absence:
        return f"a row is due {span_text(definition.pattern.absence.within_ms)} after its event, when nothing followed"
    return "no match has been seen"


def span_text(ms: int) -> str:
    """A duration for people: "30 s", "5 min"."""
    return f"{ms / 60_000:g} min" if ms % 60_000 == 0 else f"{ms / 1000:g} s"
