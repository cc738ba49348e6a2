"""A query: a window query or a pattern query, and its name; and the catalog of those that a lab knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Literal

import msgspec

from rtap_lab.errors import SettingsError
from rtap_lab.queries.aggregates import Aggregate
from rtap_lab.queries.conditions import Condition, known_field
from rtap_lab.queries.patterns import Measure, Pattern
from rtap_lab.queries.schema import Schema
from rtap_lab.queries.windows import SessionWindow, TumbleWindow, Window

HOUR_MS = 3_600_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_RESERVED = {"window_start", "window_end", "source", "point_time", "measurement", "result", "table", "time"}
"""Columns that windows, stores or the SQL of a compiled query add themselves."""


def _check_columns(keys: Iterable[str], measures: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in (*keys, *measures):
        if name.lower() in seen:
            raise SettingsError(f"column {name!r} is there twice")
        if not _COLUMN.fullmatch(name):
            raise SettingsError(f"column {name!r}: a column's name is a letter, then up to 59 letters, digits and _")
        if name.lower() in _RESERVED:
            raise SettingsError(
                f"column {name!r}: the name is taken", hint="choose another name for this key or measure"
            )
        seen.add(name.lower())


class Top(msgspec.Struct, frozen=True):
    """The rows of each window with the greatest values of a measure.

    A missing value is below all others; of equal values, the least key comes first. Numbers are compared rounded to 6
    decimals: the last digits of a sum hang on the order in which it was added up.

    Args:
        rows: How many of each window.
        measure: The column.
    """

    rows: int
    measure: str


MOST_TOP = 1_000


class WindowQuery(msgspec.Struct, frozen=True, eq=False, tag_field="kind", tag="window", omit_defaults=True):
    """A window query: which events, over which windows, by which keys, measured how.

    Args:
        window: The windows.
        measures: Aggregates by column.
        keys: Event fields by column.
        where: Only events for which this holds.
        ranked: Only these rows of each window.

    Raises:
        SettingsError: When they do not fit together.
    """

    window: Window
    measures: dict[str, Aggregate]
    keys: dict[str, str] = {}
    where: Condition | None = None
    ranked: Top | None = None

    def __post_init__(self) -> None:
        if not self.measures:
            raise SettingsError("a window query needs a measure, such as count()")
        for name in self.keys.values():
            known_field(name)
        _check_columns(self.keys, self.measures)
        if isinstance(self.window, SessionWindow):
            if not self.keys:
                raise SettingsError("session windows need a key: whose sessions are they?")
            if any(each.function == "rate" for each in self.measures.values()):
                raise SettingsError("rate over session windows: their length differs; use count()")
        if self.where is not None and any(o.step for o in self.where.operands()):
            raise SettingsError("where: a window has no steps to look back at")
        if self.ranked is not None:
            self._check_top(self.ranked)

    def _check_top(self, top: Top) -> None:
        if isinstance(top.rows, bool) or not isinstance(top.rows, int) or not 1 <= top.rows <= MOST_TOP:
            raise SettingsError(f"top: {top.rows!r} must be a whole number from 1 to {MOST_TOP:,}")
        if top.measure not in self.measures:
            raise SettingsError(f"top: there is no measure {top.measure!r}", hint=f"one of {', '.join(self.measures)}")
        if self.measures[top.measure].kind == "boolean":
            raise SettingsError(f"top: {top.measure!r} is yes or no; rank by a count")
        if not self.keys:
            raise SettingsError("top: each window has one row; the top of what? Give it keys")
        if isinstance(self.window, SessionWindow):
            raise SettingsError("top: each session is a window of its own; use tumble, hop or cumulate windows")

    def top(self, rows: int, measure: str) -> WindowQuery:
        """The same query, of each window only the rows with the greatest values of a measure; see `Top`.

        Raises:
            SettingsError: When there is nothing to rank so.
        """
        return msgspec.structs.replace(self, ranked=Top(rows, measure))

    @property
    def schema(self) -> Schema:
        """The columns of its rows."""
        additive: tuple[str, ...] = ()
        if self.ranked is None and isinstance(self.window, TumbleWindow) and HOUR_MS % self.window.size_ms == 0:
            additive = tuple(n for n, a in self.measures.items() if a.function in ("count", "sum") and a.equals is None)
        return Schema(
            {column: known_field(name) for column, name in self.keys.items()},
            {column: each.kind for column, each in self.measures.items()},
            span_ms=self.window.gap_ms if isinstance(self.window, SessionWindow) else 0,
            additive=additive,
        )


class PatternQuery(msgspec.Struct, frozen=True, eq=False, tag_field="kind", tag="pattern", omit_defaults=True):
    """A pattern query: which events, by which key, which pattern, and what of a match is told.

    Args:
        pattern: The pattern, in the order of (event_time, event_id).
        measures: Columns of a match.
        keys: Event fields by column; rows of other keys are other streams.
        where: Only events for which this holds are there at all.

    Raises:
        SettingsError: When they do not fit together.
    """

    pattern: Pattern
    measures: dict[str, Measure]
    keys: dict[str, str] = msgspec.field(default_factory=lambda: {"visitor_id": "visitor_id"})
    where: Condition | None = None

    def __post_init__(self) -> None:
        self.pattern.checked()
        if not self.measures or not self.keys:
            raise SettingsError("a pattern query needs a key and a measure")
        steps = {each.name: each for each in self.pattern.steps}
        for name, measure in self.measures.items():
            known_field(measure.field)
            for step in (measure.step, measure.until):
                if step is not None and step not in steps:
                    raise SettingsError(
                        f"measure {name!r}: there is no step {step!r}", hint=f"one of {', '.join(steps)}"
                    )
            if (measure.until is None) == (measure.function == "elapsed"):
                raise SettingsError(f"measure {name!r}: only elapsed seconds run until another step")
        _check_columns(self.keys, self.measures)
        for each in self.keys.values():
            known_field(each)
        if self.where is not None and any(o.step for o in self.where.operands()):
            raise SettingsError("where: it is asked before any step")

    @property
    def _last_time(self) -> str | None:
        """The column that tells when a match's last event happened."""
        return next((c for c, m in self.measures.items() if self._of_row(m, -1, "event_time")), None)

    def _of_row(self, measure: Measure, which: Literal[0, -1], name: str) -> bool:
        """Whether a measure is a field of a match's first (0) or last (-1) row."""
        step = self.pattern.steps[which]
        if (measure.step, measure.field) != (step.name, name):
            return False
        return measure.function == ("first" if which == 0 else "last") or (
            measure.function in ("first", "last") and (step.least, step.most) == (1, 1)
        )

    def telling(self, **measures: Measure) -> PatternQuery:
        """The same query, with these columns of a match: `page=Measure("last", "view", "page")`.

        Raises:
            SettingsError: When they do not fit together.
        """
        return msgspec.structs.replace(self, measures=dict(measures))

    def identified(self) -> PatternQuery:
        """The same query whose rows tell apart any two matches, and when each happened.

        Where no measure does, `match_time` (the last event's time) and `match_id` (the first event's id: from each event
        one match at most begins) are added.
        """
        more: dict[str, Measure] = {}
        if self._last_time is None:
            more["match_time"] = Measure("last", self.pattern.steps[-1].name)
        if not any(self._of_row(m, 0, "event_id") for m in self.measures.values()):
            more["match_id"] = Measure("first", self.pattern.steps[0].name, "event_id")
        return msgspec.structs.replace(self, measures=self.measures | more) if more else self

    @property
    def schema(self) -> Schema:
        """The columns of its rows.

        Raises:
            SettingsError: When no column tells when a match happened (`identified` adds one).
        """
        if self._last_time is None:
            last = self.pattern.steps[-1].name
            raise SettingsError(
                "a pattern query needs a measure that tells when a match happened",
                hint=f'add one: match_time=Measure("last", "{last}")',
            )
        absence = self.pattern.absence
        return Schema(
            {column: known_field(name) for column, name in self.keys.items()},
            {column: each.kind for column, each in self.measures.items()},
            windowed=False,
            time_column=self._last_time,
            absent_ms=absence.within_ms if absence else 0,
            span_ms=self.pattern.within_ms or 0,
        )


Definition = WindowQuery | PatternQuery


class Query(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A named continuous question.

    Two are equal when they ask the same under the same name, whatever their titles.

    Args:
        name: `[a-z][a-z0-9_]{0,39}`: names its topic, channel and table.
        definition: What is asked.
        title: For people; the name when it is empty.

    Raises:
        SettingsError: When the name cannot be one.
    """

    name: str
    definition: Definition
    title: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"query {self.name!r}: a query's name is a lower-case letter, then up to 39 of a-z 0-9 _"
            )

    @cached_property
    def schema(self) -> Schema:
        """The columns of its rows."""
        return self.definition.schema

    @cached_property
    def _text(self) -> bytes:
        return msgspec.json.encode((self.name, self.definition))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Query) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Query({self.name!r}: {', '.join(self.schema.columns)})"


def query(name: str, definition: Definition, title: str = "") -> Query:
    """A query of one's own; a pattern's rows are made to tell its matches apart.

    Raises:
        SettingsError: When the name cannot be one.
    """
    return Query(name, definition.identified() if isinstance(definition, PatternQuery) else definition, title)


class Catalog:
    """The queries that a lab knows, by name.

    Args:
        queries: The queries; of one name the last counts.
    """

    def __init__(self, queries: Iterable[Query]) -> None:
        self._queries = {each.name: each for each in queries}

    def __iter__(self) -> Iterator[Query]:
        return iter(self._queries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._queries

    def __len__(self) -> int:
        return len(self._queries)

    @property
    def names(self) -> list[str]:
        return list(self._queries)

    def __getitem__(self, name: str) -> Query:
        """A query.

        Raises:
            SettingsError: When there is none of that name.
        """
        if name not in self._queries:
            raise SettingsError(f"query {name!r} is not known", hint=f"one of {', '.join(self._queries) or 'none'}")
        return self._queries[name]

    def with_queries(self, queries: Iterable[Query]) -> Catalog:
        """This catalog and further queries."""
        return Catalog([*self, *queries])
