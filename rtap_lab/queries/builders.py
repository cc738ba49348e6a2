"""Queries said as the question is asked. Everything needed to ask is here.

    tumble("1m").by("page").where(field("event_type") == "page_view").agg(views=count(), visitors=distinct("visitor_id"))
    begin("view", field("page").starts_with("/product/")).then_not(field("name") == "add_to_cart", within="20s").by("visitor_id")

They make `WindowQuery` and `PatternQuery` values and nothing else: `rtap_lab.queries.query` checks them.
"""

from __future__ import annotations

import difflib
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import msgspec

from rtap_lab.errors import SettingsError
from rtap_lab.queries.aggregates import (
    Aggregate,
    count,
    distinct,
    first,
    greatest,
    last,
    mean,
    percentile,
    rate,
    smallest,
    total,
)
from rtap_lab.queries.conditions import Condition, Operand, earlier, field, field_name, properties, property_key
from rtap_lab.queries.patterns import Measure, Pattern
from rtap_lab.queries.query import PatternQuery, WindowQuery
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow, Window
from rtap_lab.settings import duration_ms

__all__ = [
    "Measure",
    "begin",
    "count",
    "cumulate",
    "distinct",
    "earlier",
    "field",
    "first",
    "greatest",
    "hop",
    "last",
    "mean",
    "percentile",
    "properties",
    "rate",
    "session",
    "smallest",
    "total",
    "tumble",
]

Span = str | float | timedelta
"""A duration: "10s", "1 min", a `timedelta`, or a number of seconds."""


def tumble(size: Span) -> WindowBuilder:
    """Windows of one size, one after the other.

    Raises:
        SettingsError: When the size is no duration.
    """
    return WindowBuilder(TumbleWindow(duration_ms(size, name="tumble")))


def hop(size: Span, every: Span) -> WindowBuilder:
    """Windows of one size that begin every so often; they overlap (sliding windows).

    Raises:
        SettingsError: When these are no durations, or the size is no multiple of `every`.
    """
    return WindowBuilder(HopWindow(duration_ms(size, name="hop"), duration_ms(every, name="hop every")))


def cumulate(size: Span, step: Span) -> WindowBuilder:
    """Windows that begin together and grow by a step up to their size: the hour so far, by the minute.

    Raises:
        SettingsError: When these are no durations, or the size is no multiple of the step.
    """
    return WindowBuilder(CumulateWindow(duration_ms(size, name="cumulate"), duration_ms(step, name="cumulate step")))


def session(gap: Span) -> WindowBuilder:
    """A key's events, none more than `gap` after the one before; it needs a `by`.

    Raises:
        SettingsError: When the gap is no duration.
    """
    return WindowBuilder(SessionWindow(duration_ms(gap, name="session")))


_WINDOW_WORDS = {
    "aggregate": ".agg(…)",
    "filter": ".where(…)",
    "group_by": ".by(…)",
    "groupby": ".by(…)",
    "key_by": ".by(…)",
    "partition_by": ".by(…)",
    "select": ".agg(…)",
}
_PATTERN_WORDS = {
    "filter": ".where(…)",
    "group_by": ".by(…)",
    "key_by": ".by(…)",
    "not_followed_by": ".then_not(condition, within=…)",
    "not_next": ".then_not(condition, within=…)",
    "one_or_more": "the argument times=(1, None) of the step",
    "optional": "the argument times=(0, 1) of the step",
    "partition_by": ".by(…)",
    "select": ".by(…).telling(column=Measure(…))",
    "skip_to_next": ".skip_to_next_row()",
    "then": ".followed_by(…), or .next(…) for one right after the other",
    "times": "the argument times= of the step",
    "times_or_more": "the argument times=(least, None) of the step",
}
"""What pandas, SQL and FlinkCEP call it, and what it is here; of windows, of patterns."""


class UnknownMethodError(SettingsError, AttributeError):
    """A builder has no such method; `hasattr` says so too."""


def _unknown(builder: object, name: str, words: dict[str, str]) -> NoReturn:
    kind = type(builder).__name__
    if name.startswith("_"):  # asked for by displays and copies, not by a person
        raise AttributeError(f"{kind!r} object has no attribute {name!r}")
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    methods = [
        each for each in dir(type(builder)) if not each.startswith("_") and callable(getattr(type(builder), each))
    ]
    here = words.get(snake)
    if here is None and (near := difflib.get_close_matches(snake, methods, 1, 0.75)):
        here = f".{near[0]}(…)"
    hint = f"here it is {here}" if here else f"it has {', '.join(methods)}"
    raise UnknownMethodError(f"a {kind} has no {name}", hint=hint)


class WindowBuilder(msgspec.Struct, frozen=True, eq=False):
    """Windows, and which events fall into them by what; `agg` makes the query."""

    window: Window
    keys: dict[str, str] = {}
    condition: Condition | None = None

    def by(self, *fields: str | Operand, **columns: str | Operand) -> WindowBuilder:
        """Windows of each value of these fields.

        Args:
            fields: Fields whose columns have their names.
            columns: Fields by another name for their column: `by(goal="name", plan=properties["plan"])`.

        Raises:
            SettingsError: When one is there twice.
        """
        return msgspec.structs.replace(self, keys=_keys(self.keys, fields, columns))

    def where(self, condition: Condition) -> WindowBuilder:
        """Only events for which this holds; of several, all must."""
        return msgspec.structs.replace(self, condition=_all(self.condition, condition))

    def agg(self, **measures: Aggregate) -> WindowQuery:
        """The query: what is measured, by the name of its column.

        Raises:
            SettingsError: When it does not fit together; it says what.
        """
        for name, each in measures.items():
            if not isinstance(each, Aggregate):
                raise SettingsError(
                    f"measure {name!r}: {each!r} is no aggregate", hint="such as count() or distinct(field)"
                )
        return WindowQuery(self.window, dict(measures), dict(self.keys), self.condition)

    if not TYPE_CHECKING:  # a type checker shall go on finding these mistakes by itself

        def __getattr__(self, name: str) -> NoReturn:
            _unknown(self, name, _WINDOW_WORDS)


class PatternBuilder(Pattern, frozen=True, eq=False):
    """A pattern, and which events it looks at; `by` makes the query."""

    condition: Condition | None = None

    def where(self, condition: Condition) -> PatternBuilder:
        """Only events for which this holds are there at all, for `next` too; of several, all must."""
        return msgspec.structs.replace(self, condition=_all(self.condition, condition))

    def by(self, *fields: str | Operand, **columns: str | Operand) -> PatternQuery:
        """The query: events of other values of these fields are other streams.

        Of each step a match tells when its last row was (`<step>_time`) and that row's page (`<step>_page`), of a step that
        takes several rows how many (`<step>_count`); `PatternQuery.telling` chooses others.

        Args:
            fields: Fields whose columns have their names.
            columns: Fields by another name for their column.

        Raises:
            SettingsError: When it does not fit together; it says what.
        """
        pattern = Pattern(self.steps, self.within_ms, self.skip, self.skip_to, self.absence)
        return PatternQuery(pattern, told(pattern), _keys({}, fields, columns), self.condition)

    if not TYPE_CHECKING:  # a type checker shall go on finding these mistakes by itself

        def __getattr__(self, name: str) -> NoReturn:
            _unknown(self, name, _PATTERN_WORDS)


def told(pattern: Pattern) -> dict[str, Measure]:
    """What a match tells when nobody chooses: of each step when its last row was, its page, and how many there were."""
    measures: dict[str, Measure] = {}
    for step in pattern.steps:
        measures[f"{step.name}_time"] = Measure("last", step.name)
        measures[f"{step.name}_page"] = Measure("last", step.name, "page")
        if (step.least, step.most) != (1, 1):
            measures[f"{step.name}_count"] = Measure("count", step.name)
    return measures


def begin(name: str, condition: Condition, *, times: int | tuple[int, int | None] = 1) -> PatternBuilder:
    """A pattern's first step; go on with `next`, `followed_by`, `then_not`, `within`, and end with `by`.

    Args:
        name: What the step is called.
        condition: What an event must be.
        times: How many, one after the other: a number, or least and most (None: no limit).

    Raises:
        SettingsError: When the step is impossible.
    """
    return PatternBuilder.begin(name, condition, times=times)


def _keys(
    known: dict[str, str], fields: tuple[str | Operand, ...], columns: dict[str, str | Operand]
) -> dict[str, str]:
    found = dict(known)
    chosen = [*((field_name(each), each) for each in fields), *columns.items()]
    for column, name in ((column, field_name(each)) for column, each in chosen):
        if column == name and property_key(name) is not None:
            raise SettingsError(f"by: {name} needs a name for its column", hint=f"such as by(plan={name})")
        if column in found:
            raise SettingsError(f"by: column {column!r} is there twice")
        found[column] = name
    return found


def _all(known: Condition | None, more: Condition) -> Condition:
    if not isinstance(more, Condition):
        raise SettingsError(f"where: {more!r} is no condition", hint='such as field("page") == "/checkout"')
    return more if known is None else known & more
