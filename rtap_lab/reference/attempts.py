"""What became of a pattern's attempts: how many reached each step, where the others ended and why, and the story of one key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rtap_lab.events.times import instant_text
from rtap_lab.queries.expression import condition_text
from rtap_lab.queries.patterns import Step
from rtap_lab.queries.query import PatternQuery
from rtap_lab.reference.conditions import predicate
from rtap_lab.reference.matching import Matching, Traced
from rtap_lab.reference.windowing import END


@dataclass
class Attempts:
    """Counts of a pattern's attempts: those that took a row. Give its `note` to `Matching` as `on_end`."""

    query: PatternQuery
    reached: Counter[str] = field(default_factory=Counter)
    """Attempts that took a row for a step, by step."""
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Attempts by how they ended ("failed", "timed_out") and the last step they took a row for."""
    matched: int = 0
    nearest: Traced | None = None
    """Of those without a match the one that came furthest; of equal ones the latest."""

    def note(self, traced: Traced) -> None:
        """Count an attempt that has ended."""
        for name in traced.attempt.rows:
            self.reached[name] += 1
        if traced.ended == "matched":
            self.matched += 1
            return
        self.ended[traced.ended, last_step(self.query, traced).name] += 1
        if self.nearest is None or _progress(traced) >= _progress(self.nearest):
            self.nearest = traced


def last_step(query: PatternQuery, traced: Traced) -> Step:
    """The last step that an attempt took a row for."""
    return next(step for step in reversed(query.pattern.steps) if traced.attempt.rows.get(step.name))


def _progress(traced: Traced) -> tuple[int, int]:
    return traced.attempt.step, traced.attempt.taken


def story(query: PatternQuery, events: Iterable[Any], key: tuple[Any, ...], *, watermark: int = END) -> list[str]:
    """What became of one key's attempts, step by step, a sentence a line.

    Args:
        query: The pattern query.
        events: Counted events, all that there are; those of other keys are passed over.
        key: The values of its keys.
        watermark: How far time has come, milliseconds since the epoch: what may still go on then is open.
    """
    found: list[Traced] = []
    runs = Matching(query, on_end=found.append)
    where = predicate(query.where) if query.where is not None else None
    mine = [event for event in events if runs.key_of(event) == key and (where is None or where(event, {}))]
    runs.add(mine)
    runs.advance(watermark)
    found += runs.partial()
    shown = ", ".join(f"{name} {value!r}" for name, value in zip(query.keys, key, strict=True))
    if not mine:
        return [f"{shown}: no event of that key is in this piece"]
    if not found:
        first = query.pattern.steps[0]
        return [f"{shown}: none of {len(mine)} events fits step {first.name!r}: {condition_text(first.condition)}"]
    best = max(reversed(found), key=lambda each: (each.ended == "matched", _progress(each)))
    lines = [f"{shown}: {len(mine)} events, {len(found)} attempts; the one that came furthest:"]
    for step in query.pattern.steps:
        lines += [f"  {step.name}: {_told(event)}" for event in best.attempt.rows.get(step.name, [])]
    return [*lines, f"  {why(query, best, mine, watermark=watermark)}"]


def told_attempt(query: PatternQuery, traced: Traced, events: Iterable[Any] = (), *, watermark: int = END) -> list[str]:
    """One attempt, step by step, a sentence a line; see `why`."""
    shown = ", ".join(f"{name} {value!r}" for name, value in zip(query.keys, traced.key, strict=True))
    lines = [f"{shown}:"]
    for step in query.pattern.steps:
        lines += [f"  {step.name}: {_told(event)}" for event in traced.attempt.rows.get(step.name, [])]
    return [*lines, f"  {why(query, traced, events, watermark=watermark)}"]


def why(query: PatternQuery, traced: Traced, events: Iterable[Any] = (), *, watermark: int = END) -> str:
    """Why an attempt ended as it did, in one sentence.

    Args:
        query: The pattern query.
        traced: The attempt.
        events: The key's events, to find what followed a match that must not be followed.
        watermark: How far time has come, milliseconds since the epoch.
    """
    pattern, attempt = query.pattern, traced.attempt
    if traced.ended == "matched":
        absence = pattern.absence
        if absence is None:
            return "a match"
        last = attempt.rows[pattern.steps[-1].name][-1]
        unwanted = predicate(absence.condition)
        for event in sorted(events, key=lambda each: (each.event_time, each.event_id)):
            behind = (event.event_time, event.event_id) > (last.event_time, last.event_id)
            if behind and event.event_time < last.event_time + absence.within_ms and unwanted(event, {}):
                after = (event.event_time - last.event_time) / 1000
                return f"no match: after {after:g} s followed what must not: {_told(event)}"
        until = last.event_time + absence.within_ms
        if until > watermark:
            return f"complete, and may still be followed by what must not, until {instant_text(until)}"
        return f"a match: nothing that must not followed within {absence.within_ms / 1000:g} s"
    reached = last_step(query, traced)
    lacking = reached.least - len(attempt.rows[reached.name])
    waited = next((step for step in pattern.steps[pattern.steps.index(reached) + 1 :] if step.least), pattern.steps[-1])
    if lacking > 0:
        waited, what = reached, f"{lacking} more for step {reached.name!r}"
    else:
        what = f"step {waited.name!r}"
    wanted = f"{what} ({condition_text(waited.condition)})"
    if traced.ended == "timed_out":
        return f"timed out: {wanted} did not come within {(pattern.within_ms or 0) / 1000:g} s"
    if traced.ended == "open" or traced.at is None:
        return f"open: it waits for {wanted}"
    if lacking <= 0 and waited.unless is not None and predicate(waited.unless)(traced.at, attempt.rows):
        return f"failed: before {wanted} came what must not lie between: {_told(traced.at)}"
    if reached.is_run and predicate(reached.condition, own=reached.name)(traced.at, attempt.rows):
        return f"failed: step {reached.name!r} takes {reached.most} at most, and one more came: {_told(traced.at)}"
    return f"failed: right after it {wanted} must come, and this came: {_told(traced.at)}"


def _told(event: Any) -> str:
    parts = [instant_text(event.event_time), event.event_type, event.name, event.page]
    if event.value is not None:
        parts.append(f"value {event.value:g}")
    # what events say goes to terminals, too
    return " ".join(_printable(str(each)) for each in parts if each)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
