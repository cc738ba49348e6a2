"""Flink SQL text read as a definition, so that what a person wrote in SQL can be recomputed by the reference engine.

What is read is the windowed subset of the builders: SELECT of keys, window edges and aggregates FROM one window function over
`events`, WHERE, GROUP BY; and the same without a window. Of anything else it says why it has no definition. The parser is
sqlglot's, with what Flink adds: `TABLE events` as an argument, and named arguments
(https://nightlies.apache.org/flink/flink-docs-stable/docs/dev/table/sql/queries/window-tvf/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp, parser, tokens
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import TokenType

from rtap_lab.errors import SettingsError
from rtap_lab.queries.aggregates import Aggregate, count, distinct, greatest, mean, smallest, total
from rtap_lab.queries.conditions import (
    FIELDS,
    Both,
    Compared,
    Condition,
    Contains,
    Either,
    Missing,
    Not,
    Operand,
    Operator,
    properties,
)
from rtap_lab.queries.query import WindowQuery
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow, Window

EDGES = ("window_start", "window_end")
ALL_TIME = TumbleWindow(10**15)
"""One window for all events since the epoch: of an aggregate that has none."""

MOST_VALUES = 200
"""Of an IN."""

MOST_PARTS = 2000
"""Of a text."""

_UNITS = {"MILLISECOND": 1, "SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
_ARGUMENTS = {
    "TUMBLE": ("DATA", "TIMECOL", "SIZE"),
    "HOP": ("DATA", "TIMECOL", "SLIDE", "SIZE"),
    "CUMULATE": ("DATA", "TIMECOL", "STEP", "SIZE"),
    "SESSION": ("DATA", "TIMECOL", "GAP"),
}
_COMPARISONS: dict[type[exp.Expr], tuple[Operator, Operator]] = {
    exp.EQ: ("=", "="),
    exp.NEQ: ("<>", "<>"),
    exp.LT: ("<", ">"),
    exp.LTE: ("<=", ">="),
    exp.GT: (">", "<"),
    exp.GTE: (">=", "<="),
}
"""Each with what it is when its sides change places."""


class NoDefinitionError(SettingsError):
    """A SQL text that has no definition: it can be answered by Flink alone."""


@dataclass(frozen=True)
class Reading:
    """A SQL text as a definition."""

    definition: WindowQuery
    edges: Mapping[str, str]
    """The window's edges that the text selects, by the column's name in its result: `{"begin": "window_start"}`."""
    windowed: bool
    """Whether it has windows. One without gives one row a key, over all that was read, and cannot be kept running."""


def read_sql(text: str) -> Reading:
    """Read a SQL text. Pure.

    Args:
        text: One SELECT, without a semicolon.

    Raises:
        NoDefinitionError: With the part that has no counterpart among the builders.
    """
    if "/*+" in text:
        raise NoDefinitionError("a hint changes how Flink answers: there are none here")
    try:
        select = sqlglot.parse_one(text, dialect=_Flink)
    except SqlglotError as error:
        where = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
        near = f" near {where['highlight']!r}" if where.get("highlight") else ""
        raise NoDefinitionError(f"the SQL is not read here{near}") from error
    except RecursionError as error:
        raise NoDefinitionError("the SQL is nested too deeply to be read here") from error
    try:
        return _read(select)
    except NoDefinitionError:
        raise
    except RecursionError as error:
        raise NoDefinitionError("the SQL is nested too deeply to be read here") from error
    except SettingsError as error:  # what the builders do not allow either
        raise NoDefinitionError(str(error)) from error


class _Flink(Dialect):
    """As much of Flink's SQL as is read here."""

    class Tokenizer(tokens.Tokenizer):
        IDENTIFIERS: ClassVar = ["`"]
        QUOTES: ClassVar = ["'"]
        KEYWORDS: ClassVar = {word: token for word, token in tokens.Tokenizer.KEYWORDS.items() if word != "SESSION"}

    class Parser(parser.Parser):
        def _parse_lambda(self, alias: bool = False) -> exp.Expr | None:
            """An argument of a function: Flink's may be named, or a table."""
            if self._next and self._next.token_type == TokenType.FARROW and self._curr:
                name = exp.to_identifier(self._curr.text.upper())
                self._advance(2)
                return self.expression(exp.Kwarg(this=name, expression=self._parse_lambda(alias)))
            if not self._match(TokenType.TABLE):
                return super()._parse_lambda(alias)
            table = self._parse_table_parts()
            if self._match(TokenType.PARTITION_BY):
                bracketed = self._match(TokenType.L_PAREN)
                keys = self._parse_csv(self._parse_bitwise) if bracketed else [self._parse_bitwise()]
                if bracketed:
                    self._match_r_paren()
                return exp.Tuple(expressions=[table, *keys])
            return table


def _no(what: str) -> NoDefinitionError:
    return NoDefinitionError(f"{what} has no counterpart among the builders")


def _sql(part: Any) -> str:
    text = part.sql() if isinstance(part, exp.Expr) else str(part)
    return text if len(text) <= 60 else text[:57] + "…"


_READ: dict[type[exp.Expr], set[str]] = {
    exp.Select: {"expressions", "from_", "where", "group"},
    exp.From: {"this"},
    exp.Where: {"this"},
    exp.Group: {"expressions"},
    exp.Table: {"this", "alias"},
    exp.TableAlias: {"this"},
    exp.Anonymous: {"this", "expressions"},
    exp.Kwarg: {"this", "expression"},
    exp.Tuple: {"expressions"},
    exp.Interval: {"this", "unit"},
    exp.Var: {"this"},
    exp.Identifier: {"this", "quoted"},
    exp.Alias: {"this", "alias"},
    exp.Column: {"this", "table"},
    exp.Bracket: {"this", "expressions"},
    exp.Star: set(),
    exp.Literal: {"this", "is_string"},
    exp.Null: set(),
    exp.Neg: {"this"},
    exp.Paren: {"this"},
    exp.Filter: {"this", "expression"},
    exp.Count: {"this", "big_int"},
    exp.Distinct: {"expressions"},
    exp.Sum: {"this"},
    exp.Avg: {"this"},
    exp.Min: {"this"},
    exp.Max: {"this"},
    exp.Coalesce: {"this", "expressions"},
    exp.Case: {"ifs"},
    exp.If: {"this", "true"},
    exp.And: {"this", "expression"},
    exp.Or: {"this", "expression"},
    exp.Not: {"this"},
    exp.Is: {"this", "expression", "negate"},
    exp.In: {"this", "expressions", "negate"},
    exp.Between: {"this", "low", "high", "negate"},
    exp.Like: {"this", "expression", "negate"},
    **{each: {"this", "expression"} for each in _COMPARISONS},
}
"""What is read of each part. Anything else would be passed over in silence, and the reading be of another text."""


def _check_read(select: exp.Expr) -> None:
    for number, node in enumerate(select.walk()):
        if number > MOST_PARTS:
            raise NoDefinitionError("the SQL is too long to be read here")
        read = _READ.get(type(node))
        if read is None:
            raise _no(_sql(node))
        if further := [part for part, value in node.args.items() if value and part not in read]:
            raise _no(f"{further[0].strip('_').upper()} in {_sql(node)}")


def _read(select: exp.Expr) -> Reading:
    if not isinstance(select, exp.Select):
        raise _no(type(select).__name__.upper())
    _check_read(select)
    source = select.args.get("from_")
    if source is None:
        raise _no("a SELECT without FROM")
    window, partition = _window_of(source.this)
    group = select.args.get("group")
    grouped = list(group.expressions) if group is not None else []
    edges_grouped = {each.name for each in grouped if _is_edge(each)}
    keys = [_operand(each).name for each in grouped if not _is_edge(each)]
    if edges_grouped != (set() if window is None else set(EDGES)):
        raise NoDefinitionError("a window's rows are grouped by window_start and window_end, both")
    if isinstance(window, SessionWindow) and sorted(keys) != sorted(partition):
        raise NoDefinitionError(f"sessions of {partition} are grouped by the same, not by {keys}")
    where = select.args.get("where")
    if isinstance(window, SessionWindow) and where is not None:
        raise NoDefinitionError(
            "WHERE behind SESSION drops events of sessions that were made of all; the builders filter before",
            hint='session("30 min").by("visitor_id").where(…).agg(…)',
        )
    columns, measures, edges = _columns(select.expressions, set(keys))
    if missing := [each for each in keys if each not in columns.values()]:
        raise NoDefinitionError(f"select what it is grouped by, too: {', '.join(missing)}")
    definition = WindowQuery(window or ALL_TIME, measures, columns, None if where is None else _condition(where.this))
    return Reading(definition, edges, window is not None)


def _columns(
    expressions: list[exp.Expr], keys: set[str]
) -> tuple[dict[str, str], dict[str, Aggregate], dict[str, str]]:
    columns, measures, edges = dict[str, str](), dict[str, Aggregate](), dict[str, str]()
    for each in expressions:
        of, name = (each.this, each.alias) if isinstance(each, exp.Alias) else (each, each.name)
        if name and name in (*columns, *measures, *edges):
            raise NoDefinitionError(f"two columns are called {name}")
        if name in EDGES and not (_is_edge(of) and of.name == name):
            raise NoDefinitionError(f"{name} is the name of the window's edge")
        if _is_edge(of):
            edges[name] = of.name
        elif isinstance(of, exp.Column | exp.Bracket):
            operand = _operand(of)
            if operand.name not in keys:
                raise NoDefinitionError(f"{_sql(of)} is neither grouped by nor an aggregate")
            if not isinstance(each, exp.Alias) and not isinstance(of, exp.Column):
                raise NoDefinitionError(f"{_sql(of)} needs a name: AS …")
            columns[name] = operand.name
        else:
            if not isinstance(each, exp.Alias):
                raise NoDefinitionError(f"{_sql(of)} needs a name: AS …")
            measures[name] = _aggregate(of)
    return columns, measures, edges


def _is_edge(of: exp.Expr) -> bool:
    return isinstance(of, exp.Column) and of.name in EDGES


# --- windows ----------------------------------------------------------------------------------------


def _window_of(table: exp.Expr) -> tuple[Window | None, list[str]]:
    """The window of a FROM, and what its sessions are partitioned by."""
    of = table.this if isinstance(table, exp.Table) else table
    if isinstance(of, exp.Anonymous) and of.name.upper() == "TABLE" and len(of.expressions) == 1:
        of = of.expressions[0]
    if isinstance(of, exp.Identifier):
        _check_events(table)
        return None, []
    if not isinstance(of, exp.Anonymous) or of.name.upper() not in _ARGUMENTS:
        raise _no(f"FROM {_sql(table)}")
    kind = of.name.upper()
    names = _ARGUMENTS[kind]
    given: dict[str, exp.Expr] = {}
    for n, each in enumerate(of.expressions):
        name, value = (each.this.name, each.expression) if isinstance(each, exp.Kwarg) else (None, each)
        name = name or (names[n] if n < len(names) else "a further argument")
        if name not in names or name in given:
            raise _no(f"{kind} with {name}")
        given[name] = value
    if missing := [name for name in names if name not in given]:
        raise NoDefinitionError(f"{kind} lacks {', '.join(missing)}")
    data, partition = given["DATA"], list[str]()
    if isinstance(data, exp.Tuple):
        partition = [_operand(each).name for each in data.expressions[1:]]
        data = data.expressions[0]
    _check_events(data)
    column = given["TIMECOL"]
    if not (
        isinstance(column, exp.Anonymous)
        and column.name.upper() == "DESCRIPTOR"
        and [each.name for each in column.expressions] == ["rowtime"]
    ):
        raise NoDefinitionError(f"windows are over DESCRIPTOR(rowtime), not {_sql(column)}")
    if partition and kind != "SESSION":
        raise _no(f"{kind} with PARTITION BY")
    sizes = {name.lower(): _milliseconds(given[name]) for name in names[2:]}
    match kind:
        case "TUMBLE":
            return TumbleWindow(sizes["size"]), []
        case "HOP":
            return HopWindow(sizes["size"], sizes["slide"]), []
        case "CUMULATE":
            return CumulateWindow(sizes["size"], sizes["step"]), []
    return SessionWindow(sizes["gap"]), partition


def _check_events(table: exp.Expr) -> None:
    if not isinstance(table, exp.Table) or table.name != "events" or table.args.get("db"):
        raise NoDefinitionError(f"only events are recomputed, not {_sql(table)}")


def _milliseconds(of: exp.Expr) -> int:
    if isinstance(of, exp.Interval) and isinstance(of.this, exp.Literal) and isinstance(of.args.get("unit"), exp.Var):
        unit = of.args["unit"].name.upper().removesuffix("S")
        if unit in _UNITS and of.this.name.strip().isdigit():
            return int(of.this.name) * _UNITS[unit]
    raise _no(f"the interval {_sql(of)}")


# --- aggregates and conditions ----------------------------------------------------------------------


def _aggregate(of: exp.Expr, where: Condition | None = None) -> Aggregate:
    match of:
        case exp.Filter():
            return _aggregate(of.this, _condition(of.expression.this))
        case exp.Count(this=exp.Star()):
            return count(where)
        case exp.Count(this=exp.Distinct()) if len(of.this.expressions) == 1:
            return distinct(_operand(of.this.expressions[0]), where)
        case exp.Count(this=exp.Case()) if _counted_case(of.this):
            return count(_both(where, _condition(of.this.args["ifs"][0].this)))
        case exp.Count(this=exp.Column() | exp.Bracket()):
            return count(_both(where, _operand(of.this).is_present()))
        case exp.Sum(this=exp.Coalesce()) if len(of.this.expressions) == 1:
            return total(_operand(of.this.this), default=float(_number(of.this.expressions[0])), where=where)
        case exp.Sum():
            return total(_operand(of.this), where=where)
        case exp.Avg():
            return mean(_operand(of.this), where)
        case exp.Min():
            return smallest(_operand(of.this), where)
        case exp.Max():
            return greatest(_operand(of.this), where)
    raise _no(f"the measure {_sql(of)}")


def _counted_case(case: exp.Case) -> bool:
    """Whether it is CASE WHEN … THEN something END: counted where the condition holds."""
    ifs = case.args.get("ifs") or []
    plain = len(ifs) == 1 and not case.this and not case.args.get("default")
    return plain and isinstance(ifs[0].args.get("true"), exp.Literal)


def _both(a: Condition | None, b: Condition) -> Condition:
    return b if a is None else Both(a, b)


def _condition(of: exp.Expr) -> Condition:
    if of.args.get("negate"):  # NOT LIKE, NOT IN, NOT BETWEEN
        plain = of.copy()
        plain.set("negate", None)
        return Not(_condition(plain))
    match of:
        case exp.Paren():
            return _condition(of.this)
        case exp.And():
            return Both(_condition(of.left), _condition(of.right))
        case exp.Or():
            return Either(_condition(of.left), _condition(of.right))
        case exp.Not():
            return Not(_condition(of.this))
        case exp.Is(expression=exp.Null()):
            return Missing(_operand(of.this))
        case exp.In() if of.expressions:
            if len(of.expressions) > MOST_VALUES:
                raise _no(f"IN with more than {MOST_VALUES} values")
            return _compared(of.this).is_in(*(_literal(each) for each in of.expressions))
        case exp.Between():
            operand = _compared(of.this)
            low, high = (_side(of.args[each]) for each in ("low", "high"))
            return Both(operand >= low, operand <= high)
        case exp.Like(expression=exp.Literal()) if of.expression.is_string:
            return _like(_operand(of.this), of.expression.name)
    signs = _COMPARISONS.get(type(of))
    if signs is None:
        raise _no(f"the condition {_sql(of)}")
    left, right = of.this, of.expression
    sign = signs[0]
    if not isinstance(left, exp.Column | exp.Bracket):
        left, right, sign = right, left, signs[1]
    operand = _compared(left)
    return Compared(sign, operand, operand._right(_side(right)))


def _compared(of: exp.Expr) -> Operand:
    """A field that is compared with a value: of times, SQL's literals are not read."""
    operand = _operand(of)
    if operand.kind == "time":
        raise _no("a condition on event_time")
    return operand


def _like(operand: Operand, text: str) -> Condition:
    before, after = text.startswith("%"), text.endswith("%") and len(text) > 1
    inner = text[before : len(text) - after]
    if "%" in inner or "_" in inner or not inner:
        raise _no(f"LIKE '{text}'")
    if not before and not after:
        return operand == inner
    return Contains("anywhere" if before and after else "end" if before else "begin", operand, inner)


def _side(of: exp.Expr) -> Operand | str | int | float:
    return _operand(of) if isinstance(of, exp.Column | exp.Bracket) else _literal(of)


def _literal(of: exp.Expr) -> str | int | float:
    if isinstance(of, exp.Literal) and of.is_string:
        return str(of.name)
    return _number(of)


def _number(of: exp.Expr) -> int | float:
    negative = isinstance(of, exp.Neg)
    inner = of.this if negative else of
    if not isinstance(inner, exp.Literal) or inner.is_string:
        raise _no(f"the value {_sql(of)}")
    value = int(inner.name) if inner.name.isdigit() else float(inner.name)
    return -value if negative else value


def _operand(of: exp.Expr) -> Operand:
    if isinstance(of, exp.Bracket) and isinstance(of.this, exp.Column) and of.this.name == "properties":
        (key,) = of.expressions if len(of.expressions) == 1 else (None,)
        if isinstance(key, exp.Literal) and key.is_string:
            return properties[key.name]
    if not isinstance(of, exp.Column) or of.name not in FIELDS:
        raise _no(_sql(of))
    return Operand(of.name)
