"""A question while it is being authored: what stands in a form's fields, and the query that they say. Pure."""

from __future__ import annotations

import keyword
import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from rtap_lab.errors import SettingsError
from rtap_lab.queries import builders
from rtap_lab.queries.aggregates import Aggregate
from rtap_lab.queries.builders import PatternBuilder, WindowBuilder
from rtap_lab.queries.conditions import Condition, Operand, property_key
from rtap_lab.queries.expression import written
from rtap_lab.queries.query import Definition

Kind = Literal["tumble", "hop", "cumulate", "session", "pattern"]
Relation = Literal["begin", "next", "followed by"]

OPERATORS = ("is", "is not", "begins with", "ends with", "contains", "is there", "is missing", "<", "<=", ">", ">=")
MEASURES = ("count", "distinct", "total", "mean", "smallest", "greatest", "first", "last")


@dataclass(frozen=True)
class Comparison:
    """A comparison of one field; empty when it has no field."""

    field: str = ""
    operator: str = "is"
    value: str = ""

    def condition(self) -> Condition:
        """What it asks of an event.

        Raises:
            SettingsError: When the value does not fit the field.
        """
        operand = Operand(self.field)
        match self.operator:
            case "is there":
                return operand.is_present()
            case "is missing":
                return operand.is_missing()
            case "begins with":
                return operand.starts_with(self.value)
            case "ends with":
                return operand.ends_with(self.value)
            case "contains":
                return operand.contains(self.value)
        value = self._value(operand)
        match self.operator:
            case "is":
                return operand == value
            case "is not":
                return operand != value
            case "<":
                return operand < value
            case "<=":
                return operand <= value
            case ">":
                return operand > value
            case ">=":
                return operand >= value
        raise SettingsError(f"{self.field}: {self.operator!r} is no comparison", hint=f"one of {', '.join(OPERATORS)}")

    def _value(self, operand: Operand) -> str | float:
        if operand.kind != "number":
            return self.value
        try:
            return float(self.value)
        except ValueError as error:
            raise SettingsError(f"{self.field} is a number, and {self.value!r} is none") from error


@dataclass(frozen=True)
class Measured:
    """A measure of a window; empty when it has no name."""

    name: str = ""
    function: str = "count"
    field: str = ""

    def aggregate(self) -> Aggregate:
        """The aggregate.

        Raises:
            SettingsError: When the field does not fit the function.
        """
        if self.function not in MEASURES:
            raise SettingsError(f"measure {self.name!r}: there is no {self.function!r}", hint=", ".join(MEASURES))
        if self.function == "count":
            return builders.count()
        if not self.field:
            raise SettingsError(f"measure {self.name!r}: {self.function} of which field?")
        found: Aggregate = getattr(builders, self.function)(self.field)
        return found


@dataclass(frozen=True)
class Stepped:
    """A step of a pattern; empty when it has no name."""

    name: str = ""
    relation: Relation = "followed by"
    test: Comparison = Comparison()
    times: int = 1


@dataclass(frozen=True)
class Draft:
    """What stands in the form."""

    kind: Kind = "tumble"
    size: str = "10s"
    """Of windows: their size, of sessions the gap."""
    step: str = "5s"
    """Of hop and cumulate windows."""
    keys: tuple[str, ...] = ()
    where: tuple[Comparison, ...] = ()
    """All must hold."""
    measures: tuple[Measured, ...] = (Measured("events"),)
    steps: tuple[Stepped, ...] = ()
    within: str = "1m"
    """Of a pattern with several rows."""
    absent: Comparison = Comparison()
    """Of a pattern: what must not follow."""
    absent_within: str = "20s"

    def definition(self) -> Definition:
        """The query that the form says.

        Raises:
            SettingsError: When something is missing, or does not fit; it says what.
        """
        return self._pattern() if self.kind == "pattern" else self._windowed()

    def text(self) -> str:
        """The query in builders' words."""
        return written(self.definition())

    def code(self, name: str, source: str) -> str:
        """A cell that asks the same.

        Args:
            name: The query's name.
            source: "live" or a recorded source.
        """
        text = self.text()
        words = [word for word in builders.__all__ if re.search(rf"(?<![\w.]){word}\b[(\[]", text)]
        of = "" if source == "live" else f", source={source!r}"
        # a variable that is a keyword, the lab, or one of the words would break the cell
        variable = f"{name}_query" if keyword.iskeyword(name) or name in ("lab", *builders.__all__) else name
        return (
            f"from rtap_lab.queries.builders import {', '.join(words)}\n\n"
            f"{variable} = lab.query({name!r}, {text}{of})\n{variable}.preview()"
        )

    def _windowed(self) -> Definition:
        windows: WindowBuilder
        match self.kind:
            case "hop":
                windows = builders.hop(self.size, every=self.step)
            case "cumulate":
                windows = builders.cumulate(self.size, step=self.step)
            case "session":
                windows = builders.session(self.size)
            case _:
                windows = builders.tumble(self.size)
        if self.keys:
            windows = windows.by(**self._columns())
        for test in self.where:
            if test.field:
                windows = windows.where(test.condition())
        measures: dict[str, Aggregate] = {}
        for each in self.measures:
            if each.name:
                _check_new(each.name, measures)
                measures[each.name] = each.aggregate()
        return windows.agg(**measures)

    def _pattern(self) -> Definition:
        steps = [each for each in self.steps if each.name]
        if not steps:
            raise SettingsError("a pattern needs a first step")
        pattern: PatternBuilder | None = None
        for each in steps:
            if not each.test.field:
                raise SettingsError(f"step {each.name!r}: which events fit it? Choose a field")
            condition, times = each.test.condition(), each.times
            if pattern is None:
                pattern = builders.begin(each.name, condition, times=times)
            elif each.relation == "next":
                pattern = pattern.next(each.name, condition, times=times)
            else:
                pattern = pattern.followed_by(each.name, condition, times=times)
        assert pattern is not None
        if len(steps) > 1 or steps[0].times > 1:
            pattern = pattern.within(self.within)
        if self.absent.field:
            pattern = pattern.then_not(self.absent.condition(), within=self.absent_within)
        for test in self.where:
            if test.field:
                pattern = pattern.where(test.condition())
        return pattern.by(**(self._columns() or {"visitor_id": "visitor_id"}))

    def _columns(self) -> dict[str, str]:
        """The keys by the name of their column; a property's is its own name, as far as a column may have it."""
        columns: dict[str, str] = {}
        for each in self.keys:
            column = re.sub(r"\W", "_", property_key(each) or each)
            _check_new(column, columns)
            columns[column] = each
        return columns


def _check_new(column: str, known: Container[str]) -> None:
    if column in known:
        raise SettingsError(f"column {column!r} is there twice")
    if column == "self":  # Python's own, in the words that say the query
        raise SettingsError("column 'self': the name is taken")
