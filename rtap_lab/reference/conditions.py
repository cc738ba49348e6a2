"""Evaluating conditions, in SQL's three-valued logic: true, false, or None where a field is missing."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from rtap_lab.queries.conditions import Both, Compared, Condition, Contains, Either, Missing, Not, Operand, property_key
from rtap_lab.reference.fields import reader

Bound = Mapping[str, Sequence[Any]]
"""In a pattern: the rows that each step has taken so far."""
Test = Callable[[Any, Bound], bool | None]
"""A compiled condition: takes an event, and the rows of earlier steps."""

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def predicate(condition: Condition, *, own: str | None = None) -> Test:
    """A condition as a function.

    Args:
        condition: The condition.
        own: The pattern's step whose condition this is.
    """
    match condition:
        case Compared():
            return _compared(condition, own)
        case Contains():
            return _contains(condition, own)
        case Missing(operand=operand):
            get = _getter(operand, own)
            return lambda event, bound: get(event, bound) is None
        case Both(left=left, right=right):
            return _both(predicate(left, own=own), predicate(right, own=own))
        case Either(left=left, right=right):
            return _either(predicate(left, own=own), predicate(right, own=own))
        case Not(condition=inner):
            return _opposite(predicate(inner, own=own))


def _compared(condition: Compared, own: str | None) -> Test:
    compare, left = _OPERATORS[condition.operator], _getter(condition.left, own)
    if isinstance(condition.right, Operand):
        right = _getter(condition.right, own)

        def of_fields(event: Any, bound: Bound) -> bool | None:
            a, b = left(event, bound), right(event, bound)
            return None if a is None or b is None else compare(a, b)

        return of_fields
    value, name = condition.right, condition.left.name
    if condition.left.step is None and property_key(name) is None:  # most conditions are of this kind
        get = attrgetter(name)
        if condition.operator == "=":

            def equal(event: Any, bound: Bound) -> bool | None:
                a = get(event)
                return None if a is None else a == value

            return equal

        def of_value(event: Any, bound: Bound) -> bool | None:
            a = get(event)
            return None if a is None else compare(a, value)

        return of_value

    def of_step(event: Any, bound: Bound) -> bool | None:
        a = left(event, bound)
        return None if a is None else compare(a, value)

    return of_step


def _contains(condition: Contains, own: str | None) -> Test:
    get, text = _getter(condition.operand, own), condition.text
    found: Callable[[str], bool] = {
        "begin": lambda whole: whole.startswith(text),
        "end": lambda whole: whole.endswith(text),
        "anywhere": lambda whole: text in whole,
    }[condition.place]

    def contains(event: Any, bound: Bound) -> bool | None:
        whole = get(event, bound)
        return None if whole is None else found(whole)

    return contains


def _both(left: Test, right: Test) -> Test:
    def both(event: Any, bound: Bound) -> bool | None:
        a = left(event, bound)
        if a is False:
            return False
        b = right(event, bound)
        return False if b is False else (None if a is None else b)

    return both


def _either(left: Test, right: Test) -> Test:
    def either(event: Any, bound: Bound) -> bool | None:
        a = left(event, bound)
        if a:
            return True
        b = right(event, bound)
        return True if b else (None if a is None else b)

    return either


def _opposite(inner: Test) -> Test:
    def opposite(event: Any, bound: Bound) -> bool | None:
        a = inner(event, bound)
        return None if a is None else not a

    return opposite


def _getter(operand: Operand, own: str | None) -> Callable[[Any, Bound], Any]:
    read, step = reader(operand.name), operand.step
    if step is None:
        return lambda event, bound: read(event)

    def of_step(event: Any, bound: Bound) -> Any:
        rows = bound.get(step)
        return read(rows[-1]) if rows else None

    return of_step
