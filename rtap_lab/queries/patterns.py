"""Event patterns as values: steps in order, how close, how often, within what time, and what then follows.

    Pattern.begin("cart", field("name") == "add_to_cart")
        .followed_by("pay", field("name") == "purchase", unless=field("name") == "remove")
        .within("30 min")

A pattern means the same in the engine and in Flink, so it leaves out what is ambiguous there:
a step with an open number of rows takes the whole run of rows that fit it, one after the other, and gives
none back; a run longer than its most is no match; the last step has a fixed number of rows. The words are those of MATCH_RECOGNIZE
(SQL:2016, ISO/IEC 19075-5) and FlinkCEP ("next": strict, "followed by": relaxed contiguity).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal, Self

import msgspec

from rtap_lab.errors import SettingsError
from rtap_lab.queries.conditions import Condition, known_field
from rtap_lab.queries.schema import Kind
from rtap_lab.settings import duration_ms

Skip = Literal["past_last_row", "to_next_row", "to_first", "to_last"]
MOST_ROWS = 1000
"""Rows that one step may take at most."""


class Step(msgspec.Struct, frozen=True, eq=False, omit_defaults=True):
    """One step of a pattern."""

    name: str
    condition: Condition
    least: int = 1
    most: int | None = 1
    """None: as many as come."""
    relaxed: bool = False
    """Other rows may lie between this step and the one before."""
    unless: Condition | None = None
    """No such row may lie between; only of relaxed steps."""

    @property
    def is_run(self) -> bool:
        """Whether its number of rows is open; then it takes the whole run of rows that fit it."""
        return self.most != self.least and self.most != 1


class Absence(msgspec.Struct, frozen=True, eq=False, omit_defaults=True):
    """What must not follow the last row."""

    condition: Condition
    within_ms: int


class Pattern(msgspec.Struct, frozen=True, eq=False, omit_defaults=True):
    """A pattern of events; build it with `begin`, then `next`, `followed_by`, `then_not`, `within`.

    Raises:
        SettingsError: When it is impossible, naming the step.
    """

    steps: tuple[Step, ...]
    within_ms: int | None = None
    """From the first row to the last: less than this."""
    skip: Skip = "past_last_row"
    skip_to: str | None = None
    absence: Absence | None = None

    @classmethod
    def begin(cls, name: str, condition: Condition, *, times: int | tuple[int, int | None] = 1) -> Self:
        """The first step.

        Args:
            name: What the step is called.
            condition: What a row must be.
            times: How many rows, one after the other: a number, or least and most (None: no limit).
        """
        return cls(())._with(name, condition, times, False, None)

    def next(self, name: str, condition: Condition, *, times: int | tuple[int, int | None] = 1) -> Self:
        """A step that comes right after the one before; `times=(0, 1)` makes it optional."""
        return self._with(name, condition, times, False, None)

    def followed_by(
        self,
        name: str,
        condition: Condition,
        *,
        unless: Condition | None = None,
        times: int | tuple[int, int | None] = 1,
    ) -> Self:
        """A step that comes some time after the one before, with no row in between that is `unless`."""
        return self._with(name, condition, times, True, unless)

    def then_not(self, condition: Condition, within: str | float | timedelta) -> Self:
        """A match counts only when no row for which `condition` holds follows its last row within so long.

        A row exactly `within` later does not spoil it.
        """
        if self.absence:
            raise SettingsError("pattern: then_not() is there twice; join the conditions with |")
        if any(operand.step for operand in condition.operands()):
            raise SettingsError("pattern: then_not() cannot look back at a step")
        return msgspec.structs.replace(self, absence=Absence(condition, duration_ms(within, name="then_not within")))

    def within(self, duration: str | float | timedelta) -> Self:
        """A match's last row must come less than `duration` after its first."""
        return msgspec.structs.replace(self, within_ms=duration_ms(duration, name="within"))

    def skip_past_last_row(self) -> Self:
        """After a match, go on behind its last row (the default)."""
        return msgspec.structs.replace(self, skip="past_last_row", skip_to=None)

    def skip_to_next_row(self) -> Self:
        """After a match, go on at the row after its first."""
        return msgspec.structs.replace(self, skip="to_next_row", skip_to=None)

    def skip_to_first(self, step: str) -> Self:
        """After a match, go on at the first row of a step."""
        return msgspec.structs.replace(self, skip="to_first", skip_to=step)

    def skip_to_last(self, step: str) -> Self:
        """After a match, go on at the last row of a step."""
        return msgspec.structs.replace(self, skip="to_last", skip_to=step)

    def _with(
        self,
        name: str,
        condition: Condition,
        times: int | tuple[int, int | None],
        relaxed: bool,
        unless: Condition | None,
    ) -> Self:
        least, most = (times, times) if isinstance(times, int) else times
        step = Step(name, condition, least, most, relaxed, unless)
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,29}", name):
            raise SettingsError(f"step {name!r}: a name is a-z, 0-9 and _, begins with a letter, 30 at most")
        if any(each.name == name for each in self.steps):
            raise SettingsError(f"step {name!r} is there twice")
        if least < 0 or (most is not None and not max(1, least) <= most <= MOST_ROWS) or least > MOST_ROWS:
            raise SettingsError(f"step {name!r}: it cannot be there {least} to {most} times (1,000 at most)")
        if not self.steps and not least:
            raise SettingsError(f"step {name!r}: the first step cannot be optional")
        if relaxed and not least:
            raise SettingsError(
                f"step {name!r}: an optional step must be next() to the one before",
                hint="what comes some time later or never: leave it out, or ask for it in a pattern of its own",
            )
        before = self.steps[-1] if self.steps else None
        if before is not None and before.is_run and (relaxed or not least):
            what = "a followed_by() step" if relaxed else "an optional step"
            raise SettingsError(
                f"step {name!r}: {what} cannot come after {before.name!r}, whose number of rows is open (Flink has no such pattern)",
                hint=f"give {before.name!r} times={max(1, before.least)}, or put a next() step between",
            )
        self._check_steps(name, condition, own=name)
        if unless is not None:
            self._check_steps(name, unless)
        return msgspec.structs.replace(self, steps=(*self.steps, step))

    def _check_steps(self, place: str, condition: Condition, own: str | None = None) -> None:
        known = {each.name for each in self.steps} | ({own} if own else set())
        for operand in condition.operands():
            if operand.step is not None and operand.step not in known:
                raise SettingsError(
                    f"step {place!r} looks back at {operand.step!r}, which is not before it",
                    hint=f"known here: {', '.join(sorted(known)) or 'none'}",
                )

    def checked(self) -> Self:
        """The whole pattern, checked.

        Raises:
            SettingsError: When it is impossible.
        """
        if not self.steps:
            raise SettingsError("pattern: it has no step")
        last = self.steps[-1]
        if last.most != last.least:
            raise SettingsError(
                f"step {last.name!r}: the last step needs a fixed number of rows, else its end is not known",
                hint="give it times=N, or let another step follow",
            )
        if (len(self.steps) > 1 or last.least > 1) and self.within_ms is None:
            raise SettingsError('pattern: how long may it take? Add .within("30 min")')
        if self.skip_to is not None:
            target = next((s for s in self.steps if s.name == self.skip_to), None)
            if target is None or target is self.steps[0] or not target.least:
                raise SettingsError(
                    f"pattern: it cannot skip to {self.skip_to!r}",
                    hint="name a step behind the first that is not optional",
                )
        return self


class Measure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of a match.

    Args:
        function: "first" or "last" row's field, "count" of a step's rows, or "elapsed" seconds.
        step: Of which step.
        field: Which field ("first", "last").
        until: Of "elapsed": from the last row of `step` to the last row of this one.
    """

    function: Literal["first", "last", "count", "elapsed"]
    step: str
    field: str = "event_time"
    until: str | None = None

    @property
    def kind(self) -> Kind:
        """The kind of its column."""
        if self.function == "count":
            return "integer"
        return "number" if self.function == "elapsed" else known_field(self.field)
