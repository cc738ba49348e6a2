"""Aggregates as values: what a window measures. `reference.accumulators` computes them, `flink.compile` writes SQL."""

from __future__ import annotations

from typing import Literal

import msgspec

from rtap_lab.errors import SettingsError
from rtap_lab.queries.conditions import Condition, Operand, field_name, known_field
from rtap_lab.queries.schema import Kind

Function = Literal["count", "sum", "min", "max", "mean", "distinct", "first", "last", "percentile", "rate"]
_NUMBERS = ("sum", "mean", "percentile")


class Aggregate(msgspec.Struct, frozen=True, eq=False, omit_defaults=True):
    """One measure of a window.

    A missing field is passed over; of nothing, `count` and `distinct` are 0 and the others missing.

    Args:
        function: What is computed.
        field: Of which field; None for `count` and `rate`.
        where: Only of events for which this holds.
        default: What a missing value counts as (`sum` only).
        share: Of `percentile`: 0 to 1.
        per_ms: Of `rate`: events in so many milliseconds.
        equals: The measure is whether the count is this number.

    Raises:
        SettingsError: When they do not fit together.
    """

    function: Function
    field: str | None = None
    where: Condition | None = None
    default: float | None = None
    share: float = 0.5
    per_ms: int = 1000
    equals: int | None = None

    def __post_init__(self) -> None:
        if (self.field is None) != (self.function in ("count", "rate")):
            wanted = "takes no field" if self.field else "needs a field"
            raise SettingsError(f"{self.function} {wanted}")
        if self.field is not None:
            kind = known_field(self.field)
            if self.function in _NUMBERS and kind != "number":
                raise SettingsError(f"{self.function} of {self.field}: it is a {kind}, not a number")
        if not 0 <= self.share <= 1:
            raise SettingsError(f"percentile of {self.field}: {self.share} is not between 0 and 1")
        if self.equals is not None and self.function not in ("count", "distinct"):
            raise SettingsError(f"{self.function} cannot be compared with a number of events")
        if self.where is not None and any(o.step for o in self.where.operands()):
            raise SettingsError(f"{self.function}: a window has no steps to look back at")

    @property
    def kind(self) -> Kind:
        """The kind of its column."""
        if self.function in ("count", "distinct"):
            return "integer" if self.equals is None else "boolean"
        if self.function in ("sum", "mean", "percentile", "rate") or self.field is None:
            return "number"
        return known_field(self.field)

    def equal_to(self, number: int) -> Aggregate:
        """Whether the count is so many."""
        return Aggregate(self.function, self.field, self.where, equals=number)


Field = str | Operand
"""`"page"`, `field("page")` or `properties["plan"]`."""


def count(where: Condition | None = None) -> Aggregate:
    """How many events."""
    return Aggregate("count", where=where)


def distinct(field: Field, where: Condition | None = None) -> Aggregate:
    """How many different values."""
    return Aggregate("distinct", field_name(field), where)


def total(field: Field, *, default: float | None = None, where: Condition | None = None) -> Aggregate:
    """The sum, exact to a millionth whatever the order; numbers of 9e18 and more are no part of it (decision 027)."""
    return Aggregate("sum", field_name(field), where, default=None if default is None else float(default))


def smallest(field: Field, where: Condition | None = None) -> Aggregate:
    """The smallest value; of texts, by their UTF-8 bytes."""
    return Aggregate("min", field_name(field), where)


def greatest(field: Field, where: Condition | None = None) -> Aggregate:
    """The greatest value; of texts, by their UTF-8 bytes."""
    return Aggregate("max", field_name(field), where)


def mean(field: Field, where: Condition | None = None) -> Aggregate:
    """The arithmetic mean: a `total` by the number of its terms."""
    return Aggregate("mean", field_name(field), where)


def first(field: Field, where: Condition | None = None) -> Aggregate:
    """The value of the earliest event that has one; of equal times the smallest."""
    return Aggregate("first", field_name(field), where)


def last(field: Field, where: Condition | None = None) -> Aggregate:
    """The value of the latest event that has one; of equal times the greatest."""
    return Aggregate("last", field_name(field), where)


def percentile(field: Field, share: float, where: Condition | None = None) -> Aggregate:
    """The value below which a share of them lies, linear between neighbours (SQL's PERCENTILE_CONT)."""
    return Aggregate("percentile", field_name(field), where, share=share)


def rate(per_ms: int = 1000, where: Condition | None = None) -> Aggregate:
    """Events per so many milliseconds, over the window's length."""
    return Aggregate("rate", where=where, per_ms=per_ms)
