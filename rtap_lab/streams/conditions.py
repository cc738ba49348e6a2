"""Conditions over an event's fields, as values: the engine evaluates them, `flink.compile` writes them as SQL.

They follow SQL's three-valued logic: a comparison with a missing field is neither true nor false (None),
and only what is true passes.

    field("page") == "/checkout"
    (field("value") > 100) & (field("country").is_in("DE", "FR"))
    field("value") > earlier("cart", "value")        # in a pattern: a step before, or the row before in a loop
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rtap_lab.errors import SettingsError

FieldKind = Literal["text", "number", "time"]

FIELDS: dict[str, FieldKind] = {
    "event_id": "text",
    "event_type": "text",
    "event_time": "time",
    "visitor_id": "text",
    "name": "text",
    "session_id": "text",
    "page": "text",
    "referrer": "text",
    "campaign": "text",
    "device": "text",
    "country": "text",
    "value": "number",
}
"""Fields of a counted event that queries may look at; times are milliseconds since the epoch."""

Bound = Mapping[str, Sequence[Any]]
"""In a pattern: the rows that each step has taken so far."""
Test = Callable[[Any, Bound], bool | None]
"""A compiled condition: an event, and the rows of earlier steps."""

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Literal_ = str | int | float


def known_field(name: str) -> FieldKind:
    """The kind of a field.

    Raises:
        SettingsError: When events have no such field.
    """
    if name not in FIELDS:
        raise SettingsError(f"field {name!r} is not known", hint=f"one of {', '.join(FIELDS)}")
    return FIELDS[name]


@dataclass(frozen=True, eq=False)
class Operand:
    """A field of this event, or of an event that a pattern's step took before.

    Args:
        name: The field.
        step: The step of the pattern; None: this event. In the condition of that step itself it is the
            row before in its loop, missing at the first.
    """

    name: str
    step: str | None = None

    def __post_init__(self) -> None:
        known_field(self.name)

    @property
    def kind(self) -> FieldKind:
        return FIELDS[self.name]

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return Compared("=", self, self._right(other))

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return Compared("<>", self, self._right(other))

    def __lt__(self, other: Literal_ | Operand) -> Condition:
        return Compared("<", self, self._right(other))

    def __le__(self, other: Literal_ | Operand) -> Condition:
        return Compared("<=", self, self._right(other))

    def __gt__(self, other: Literal_ | Operand) -> Condition:
        return Compared(">", self, self._right(other))

    def __ge__(self, other: Literal_ | Operand) -> Condition:
        return Compared(">=", self, self._right(other))

    __hash__ = object.__hash__

    def is_in(self, *values: Literal_) -> Condition:
        """One of these values."""
        if not values:
            raise SettingsError(f"{self.name} is_in(): no value is given")
        found: Condition = Compared("=", self, self._right(values[0]))
        for value in values[1:]:
            found = found | Compared("=", self, self._right(value))
        return found

    def is_missing(self) -> Condition:
        """The field is not there."""
        return Missing(self)

    def is_present(self) -> Condition:
        """The field is there."""
        return ~Missing(self)

    def _right(self, other: object) -> Operand | Literal_:
        fits = {"text": str, "number": (int, float), "time": int}[self.kind]
        if isinstance(other, Operand):
            if other.kind != self.kind:
                raise SettingsError(f"{self.name} ({self.kind}) cannot be compared with {other.name} ({other.kind})")
            return other
        if isinstance(other, bool) or not isinstance(other, fits):  # type: ignore[arg-type]
            hint = "compare a missing field with is_missing()" if other is None else None
            raise SettingsError(f"{self.name} is a {self.kind}: it cannot be compared with {other!r}", hint=hint)
        assert isinstance(other, (str, int, float))
        return other


def field(name: str) -> Operand:
    """A field of the event."""
    return Operand(name)


def earlier(step: str, name: str) -> Operand:
    """A field of the last row that a pattern's step took."""
    return Operand(name, step)


class Condition:
    """A condition; combine with `&`, `|` and `~`."""

    def __and__(self, other: Condition) -> Condition:
        return Both(self, other)

    def __or__(self, other: Condition) -> Condition:
        return Either(self, other)

    def __invert__(self) -> Condition:
        return Not(self)

    def operands(self) -> list[Operand]:
        """All fields it looks at."""
        raise NotImplementedError

    def test(self, *, own: str | None = None) -> Test:
        """The condition as a function.

        Args:
            own: The pattern's step whose condition this is.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Compared(Condition):
    """A field against a value or another field."""

    operator: str
    left: Operand
    right: Operand | Literal_

    def operands(self) -> list[Operand]:
        return [self.left, self.right] if isinstance(self.right, Operand) else [self.left]

    def test(self, *, own: str | None = None) -> Test:
        compare, left = _OPERATORS[self.operator], _getter(self.left, own)
        if isinstance(self.right, Operand):
            right = _getter(self.right, own)

            def of_fields(event: Any, bound: Bound) -> bool | None:
                a, b = left(event, bound), right(event, bound)
                return None if a is None or b is None else compare(a, b)

            return of_fields
        value, name = self.right, self.left.name
        if self.left.step is None:  # most conditions are of this kind

            def of_value(event: Any, bound: Bound) -> bool | None:
                a = getattr(event, name)
                return None if a is None else compare(a, value)

            return of_value

        def of_step(event: Any, bound: Bound) -> bool | None:
            a = left(event, bound)
            return None if a is None else compare(a, value)

        return of_step


@dataclass(frozen=True, eq=False)
class Missing(Condition):
    """A field that is not there."""

    operand: Operand

    def operands(self) -> list[Operand]:
        return [self.operand]

    def test(self, *, own: str | None = None) -> Test:
        get = _getter(self.operand, own)
        return lambda event, bound: get(event, bound) is None


@dataclass(frozen=True, eq=False)
class Both(Condition):
    """Both of two."""

    left: Condition
    right: Condition

    def operands(self) -> list[Operand]:
        return self.left.operands() + self.right.operands()

    def test(self, *, own: str | None = None) -> Test:
        left, right = self.left.test(own=own), self.right.test(own=own)

        def both(event: Any, bound: Bound) -> bool | None:
            a = left(event, bound)
            if a is False:
                return False
            b = right(event, bound)
            return False if b is False else (None if a is None else b)

        return both


@dataclass(frozen=True, eq=False)
class Either(Condition):
    """One of two, or both."""

    left: Condition
    right: Condition

    def operands(self) -> list[Operand]:
        return self.left.operands() + self.right.operands()

    def test(self, *, own: str | None = None) -> Test:
        left, right = self.left.test(own=own), self.right.test(own=own)

        def either(event: Any, bound: Bound) -> bool | None:
            a = left(event, bound)
            if a:
                return True
            b = right(event, bound)
            return True if b else (None if a is None else b)

        return either


@dataclass(frozen=True, eq=False)
class Not(Condition):
    """The opposite; of what is neither true nor false, the same."""

    condition: Condition

    def operands(self) -> list[Operand]:
        return self.condition.operands()

    def test(self, *, own: str | None = None) -> Test:
        inner = self.condition.test(own=own)

        def opposite(event: Any, bound: Bound) -> bool | None:
            a = inner(event, bound)
            return None if a is None else not a

        return opposite


def _getter(operand: Operand, own: str | None) -> Callable[[Any, Bound], Any]:
    name, step = operand.name, operand.step
    if step is None:
        return lambda event, bound: getattr(event, name)

    def of_step(event: Any, bound: Bound) -> Any:
        rows = bound.get(step)
        return getattr(rows[-1], name) if rows else None

    return of_step
