"""Conditions over an event's fields, as values: `reference.conditions` evaluates them, `flink.compile` writes them as SQL.

They follow SQL's three-valued logic: a comparison with a missing field is neither true nor false (None),
and only what is true passes.

    field("page") == "/checkout"
    (field("value") > 100) & (field("country").is_in("DE", "FR"))
    field("page").starts_with("/product/")
    field("value") > earlier("cart", "value")        # in a pattern: a step before, or the row before in a loop
"""

from __future__ import annotations

import difflib
import json
import math
from typing import Literal, cast

import msgspec

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

Operator = Literal["=", "<>", "<", "<=", ">", ">="]
Literal_ = str | int | float


def property_key(name: str) -> str | None:
    """The key of a field that is a property, `properties["plan"]`; None of any other."""
    if not (name.startswith("properties[") and name.endswith("]")):
        return None
    try:
        key = json.loads(name[len("properties[") : -1])
    except ValueError:
        return None
    return key if isinstance(key, str) and name == _property(key) else None


def _property(key: str) -> str:
    return f"properties[{json.dumps(key, ensure_ascii=False)}]"


def known_field(name: str) -> FieldKind:
    """The kind of a field, or of a property: that is a text.

    Raises:
        SettingsError: When events have no such field.
    """
    if name in FIELDS:
        return FIELDS[name]
    if isinstance(name, str) and property_key(name) is not None:
        return "text"
    near = difflib.get_close_matches(str(name), FIELDS, 1, 0.6)
    there = f'one of {", ".join(FIELDS)}, or a property: properties["plan"]'
    raise SettingsError(f"field {name!r} is not known", hint=f"did you mean {near[0]}?" if near else there)


class Operand(msgspec.Struct, frozen=True, eq=False, omit_defaults=True):
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
        return known_field(self.name)

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

    def starts_with(self, text: str) -> Condition:
        """The field's text begins with this one, letter by letter: there are no wildcards."""
        return Contains("begin", self, text)

    def ends_with(self, text: str) -> Condition:
        """The field's text ends with this one."""
        return Contains("end", self, text)

    def contains(self, text: str) -> Condition:
        """This text is somewhere in the field's."""
        return Contains("anywhere", self, text)

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
        if isinstance(other, float) and not math.isfinite(other):
            raise SettingsError(f"{self.name} cannot be compared with {other}: no event has such a value")
        return other


def field(name: str) -> Operand:
    """A field of the event."""
    return Operand(name)


class Properties:
    """What a site tells of its events beside the contract's fields: `properties["plan"]` is a field, always text."""

    def __getitem__(self, key: str) -> Operand:
        """The property of this name; missing where an event has none."""
        if not isinstance(key, str):
            raise SettingsError(f"properties[{key!r}]: a property's name is a text")
        return Operand(_property(key))

    def __repr__(self) -> str:
        return "properties"


properties = Properties()


def earlier(step: str, name: str | Operand) -> Operand:
    """A field of the last row that a pattern's step took."""
    return Operand(field_name(name), step)


def field_name(field: str | Operand) -> str:
    """A field's name, of `"page"`, `field("page")` or `properties["plan"]`.

    Raises:
        SettingsError: When it is a field of a pattern's step.
    """
    if not isinstance(field, Operand):
        return field
    if field.step is not None:
        raise SettingsError(f"{field.name} of step {field.step!r}: a field of this event is wanted")
    return field.name


class _Combined(msgspec.Struct, frozen=True, eq=False, tag_field="is"):
    """What all conditions have: combine them with `&`, `|` and `~`."""

    def __and__(self, other: Condition) -> Condition:
        return Both(cast("Condition", self), other)

    def __or__(self, other: Condition) -> Condition:
        return Either(cast("Condition", self), other)

    def __invert__(self) -> Condition:
        return Not(cast("Condition", self))

    def __bool__(self) -> bool:
        # `a and b` would quietly be b
        raise SettingsError(
            "a condition is no truth value: it is asked of each event",
            hint="join conditions with & | ~, not with `and` `or` `not`, and put each in brackets",
        )

    def operands(self) -> list[Operand]:
        """All fields it looks at."""
        raise NotImplementedError


class Compared(_Combined, frozen=True, eq=False, tag="compared"):
    """A field against a value or another field."""

    operator: Operator
    left: Operand
    right: Operand | Literal_

    def operands(self) -> list[Operand]:
        return [self.left, self.right] if isinstance(self.right, Operand) else [self.left]


class Contains(_Combined, frozen=True, eq=False, tag="contains"):
    """A text in a field's text.

    Args:
        place: Where it must be.
        operand: The field.
        text: The text.

    Raises:
        SettingsError: When the field is no text, or the text is empty.
    """

    place: Literal["begin", "end", "anywhere"]
    operand: Operand
    text: str

    def __post_init__(self) -> None:
        name = {"begin": "starts_with", "end": "ends_with", "anywhere": "contains"}[self.place]
        if self.operand.kind != "text":
            raise SettingsError(f"{self.operand.name} is a {self.operand.kind}: {name}() is for texts")
        if not isinstance(self.text, str) or not self.text:
            raise SettingsError(
                f"{self.operand.name} {name}({self.text!r}): it must be a text, and not empty",
                hint="any text at all is is_present()",
            )

    def operands(self) -> list[Operand]:
        return [self.operand]


class Missing(_Combined, frozen=True, eq=False, tag="missing"):
    """A field that is not there."""

    operand: Operand

    def operands(self) -> list[Operand]:
        return [self.operand]


class Both(_Combined, frozen=True, eq=False, tag="both"):
    """Both of two."""

    left: Condition
    right: Condition

    def operands(self) -> list[Operand]:
        return self.left.operands() + self.right.operands()


class Either(_Combined, frozen=True, eq=False, tag="either"):
    """One of two, or both."""

    left: Condition
    right: Condition

    def operands(self) -> list[Operand]:
        return self.left.operands() + self.right.operands()


class Not(_Combined, frozen=True, eq=False, tag="not"):
    """The opposite; of what is neither true nor false, the same."""

    condition: Condition

    def operands(self) -> list[Operand]:
        return self.condition.operands()


Condition = Compared | Contains | Missing | Both | Either | Not
"""A condition; as JSON, `is` tells which."""
