"""Queries as text: what builders are called with, read without executing anything, and written back.

    tumble("1m").by("page").where(field("event_type") == "page_view").agg(views=count())

The same words in a notebook, a YAML file and on the command line. Of Python's syntax only calls of the builders' names and
their methods, literals, comparisons, `& | ~` and `properties["…"]` are read; all else is refused with its place.
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable
from typing import Any

from rtap_lab.errors import SettingsError
from rtap_lab.queries import builders
from rtap_lab.queries.aggregates import Aggregate
from rtap_lab.queries.builders import PatternBuilder, WindowBuilder
from rtap_lab.queries.conditions import Both, Compared, Condition, Contains, Either, Missing, Not, Operand, property_key
from rtap_lab.queries.patterns import Measure, Pattern, Step
from rtap_lab.queries.query import Definition, PatternQuery, WindowQuery
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow

_NAMES: dict[str, Any] = {name: getattr(builders, name) for name in builders.__all__}
_METHODS: list[tuple[Any, tuple[str, ...]]] = [
    (WindowBuilder, ("by", "where", "agg")),
    (WindowQuery, ("top",)),
    (
        PatternBuilder,
        ("next", "followed_by", "then_not", "within", "skip_past_last_row", "skip_to_next_row", "skip_to_first",
         "skip_to_last", "where", "by"),
    ),
    (PatternQuery, ("telling",)),
    (Operand, ("is_in", "starts_with", "ends_with", "contains", "is_missing", "is_present")),
    (Aggregate, ("equal_to",)),
]  # fmt: skip
_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "__eq__", ast.NotEq: "__ne__", ast.Lt: "__lt__", ast.LtE: "__le__", ast.Gt: "__gt__", ast.GtE: "__ge__",
}  # fmt: skip


def parse(text: str) -> Definition:
    """The query that a text says.

    Raises:
        SettingsError: When it is no query; it says where and why.
    """
    text = text.strip()
    try:
        # in brackets, so that a line may begin with a dot
        tree = ast.parse(f"({text}\n)" if text else "", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise SettingsError(
            f"the query cannot be read{place}: {getattr(error, 'msg', None) or 'it is too deep'}",
            hint='such as tumble("1m").by("page").agg(views=count())',
        ) from error
    try:
        found = _Reader(text).read(tree)
    except RecursionError as error:
        raise SettingsError("the query cannot be read: it is too deep") from error
    if isinstance(found, WindowBuilder):
        raise SettingsError("the query has no measures yet", hint="end with .agg(views=count())")
    if isinstance(found, PatternBuilder):
        raise SettingsError("the pattern has no key yet", hint='end with .by("visitor_id")')
    if not isinstance(found, WindowQuery | PatternQuery):
        raise SettingsError(
            "that is no query: it must begin with tumble, hop, cumulate, session or begin",
            hint='such as tumble("1m").by("page").agg(views=count())',
        )
    return found


class _Reader:
    """Reads one text's tree."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def read(self, node: ast.expr) -> Any:
        """What a piece of the tree says."""
        match node:
            case ast.Constant(value=str() | int() | float() | None as value):
                return value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple(self.read(each) for each in parts)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.Name(id=name):
                if name not in _NAMES:
                    raise self._refused(node, f"{name} is not known", _near(name, _NAMES))
                return _NAMES[name]
            case ast.Subscript(value=ast.Name(id="properties"), slice=key):
                return self._checked(node, lambda: builders.properties[self.read(key)])
            case ast.Call():
                return self._call(node)
            case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _OPERATORS:
                return self._compared(node, _OPERATORS[type(operator)], self.read(left), self.read(right))
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as sign, right=right):
                a, b = self._condition(left), self._condition(right)
                return a & b if isinstance(sign, ast.BitAnd) else a | b
            case ast.UnaryOp(op=ast.Invert(), operand=inner):
                return ~self._condition(inner)
            case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                raise self._refused(node, "`and`, `or` and `not` join no conditions", "use & | ~, each in brackets")
        raise self._refused(node, "this does not belong into a query", "calls of builders, texts and numbers do")

    def _call(self, node: ast.Call) -> Any:
        match node.func:
            case ast.Name(id=name) if callable(_NAMES.get(name)):
                function = _NAMES[name]
            case ast.Attribute(value=inner, attr=name):
                of = self.read(inner)
                allowed = next((names for kind, names in _METHODS if type(of) is kind), ())
                if name not in allowed:
                    words = f"{name}() does not fit here"
                    raise self._refused(node.func, words, _near(name, allowed) or "nothing can follow")
                function = getattr(of, name)
            case _:
                function = self.read(node.func)
                raise self._refused(node, f"{function!r} cannot be called", "")
        if any(isinstance(each, ast.Starred) for each in node.args) or any(k.arg is None for k in node.keywords):
            raise self._refused(node, "* and ** cannot be read", "write the arguments out")
        args = [self.read(each) for each in node.args]
        named = {str(each.arg): self.read(each.value) for each in node.keywords}
        hint = f"it takes {_parameters(function)}"
        if "within" in named:  # as then_not has it
            hint += '; the time of a whole pattern is said once: .within("20s")'
        return self._checked(node, lambda: function(*args, **named), hint)

    def _compared(self, node: ast.expr, method: str, left: Any, right: Any) -> Condition:
        if not isinstance(left, Operand):
            raise self._refused(node, "on the left of a comparison there is a field", 'such as field("page") == "/"')
        found: Condition = self._checked(node, lambda: getattr(left, method)(right))
        return found

    def _condition(self, node: ast.expr) -> Condition:
        found = self.read(node)
        if not isinstance(found, Condition):
            raise self._refused(node, "this is no condition", 'such as (field("page") == "/")')
        return found

    def _checked(self, node: ast.expr, make: Callable[[], Any], hint: str = "") -> Any:
        try:
            return make()
        except SettingsError as error:
            if "\n" in error.message:  # the place is told already
                raise
            raise self._refused(node, error.message, error.hint or "") from error
        except (TypeError, ValueError, AttributeError) as error:
            words = str(error).replace("WindowBuilder.", "").replace("PatternBuilder.", "").replace("Pattern.", "")
            raise self._refused(node, words, hint) from error

    def _refused(self, node: ast.expr, words: str, hint: str) -> SettingsError:
        """An error with the line and a caret."""
        place = node.func if isinstance(node, ast.Call) else node
        line, column = place.lineno, place.col_offset
        if isinstance(place, ast.Attribute):  # the method's name, not what it is called on
            line, column = place.end_lineno or line, (place.end_col_offset or 0) - len(place.attr)
        shown = self._lines[line - 1] if line <= len(self._lines) else ""
        if line == 1:
            column -= 1  # the bracket
        # the tree counts bytes
        column = len(shown.encode()[:column].decode(errors="ignore"))
        begin = max(0, column - 60)
        excerpt = shown[begin : begin + 100]
        return SettingsError(f"{words}\n  {excerpt}\n  {' ' * (column - begin)}^", hint=hint or None)


def _near(name: str, names: Any) -> str:
    found = difflib.get_close_matches(name, names, 1, 0.5)
    return f"did you mean {found[0]}?" if found else f"one of {', '.join(names)}" if names else ""


# --- writing ----------------------------------------------------------------------------------------


def written(definition: Definition) -> str:
    """A query as the text that says it: `parse(written(d))` asks the same as `d`."""
    if isinstance(definition, WindowQuery):
        return _window_text(definition)
    return _pattern_text(definition)


def _window_text(query: WindowQuery) -> str:
    match query.window:
        case TumbleWindow(size_ms=size):
            text = f"tumble({_span(size)})"
        case HopWindow(size_ms=size, slide_ms=slide):
            text = f"hop({_span(size)}, every={_span(slide)})"
        case CumulateWindow(size_ms=size, step_ms=step):
            text = f"cumulate({_span(size)}, step={_span(step)})"
        case SessionWindow(gap_ms=gap):
            text = f"session({_span(gap)})"
    if query.keys:
        text += f".by({_keys(query.keys)})"
    if query.where is not None:
        text += f".where({condition_text(query.where)})"
    text += f".agg({', '.join(f'{column}={_aggregate(each)}' for column, each in query.measures.items())})"
    return text if query.ranked is None else f"{text}.top({query.ranked.rows}, {_quoted(query.ranked.measure)})"


def _pattern_text(query: PatternQuery) -> str:
    pattern = query.pattern
    text = ""
    for step in pattern.steps:
        name = "begin" if not text else ".followed_by" if step.relaxed else ".next"
        text += f"{name}({_step(step)})"
    if pattern.absence:
        text += f".then_not({condition_text(pattern.absence.condition)}, within={_span(pattern.absence.within_ms)})"
    if pattern.within_ms:
        text += f".within({_span(pattern.within_ms)})"
    if pattern.skip != "past_last_row":
        text += f".skip_{pattern.skip}({_quoted(pattern.skip_to) if pattern.skip_to else ''})"
    if query.where is not None:
        text += f".where({condition_text(query.where)})"
    text += f".by({_keys(query.keys)})"
    if builders.told(Pattern(pattern.steps)) == query.measures:
        return text
    return f"{text}.telling({', '.join(f'{column}={_measure(each)}' for column, each in query.measures.items())})"


def _step(step: Step) -> str:
    text = f"{_quoted(step.name)}, {condition_text(step.condition)}"
    if step.unless is not None:
        text += f", unless={condition_text(step.unless)}"
    if (step.least, step.most) != (1, 1):
        text += f", times={step.least if step.least == step.most else (step.least, step.most)}"
    return text


def _measure(measure: Measure) -> str:
    text = f"Measure({_quoted(measure.function)}, {_quoted(measure.step)}"
    if measure.function in ("first", "last") and measure.field != "event_time":
        text += f", {_quoted(measure.field)}"
    return text + (f", until={_quoted(measure.until)})" if measure.until else ")")


def _aggregate(aggregate: Aggregate) -> str:
    name = {"sum": "total", "min": "smallest", "max": "greatest"}.get(aggregate.function, aggregate.function)
    parts = []
    if aggregate.field is not None:
        parts.append(_name(aggregate.field))
    if aggregate.function == "percentile":
        parts.append(repr(aggregate.share))
    if aggregate.function == "rate":
        parts.append(str(aggregate.per_ms))
    if aggregate.default is not None:
        parts.append(f"default={aggregate.default!r}")
    if aggregate.where is not None:
        parts.append(f"where={condition_text(aggregate.where)}")
    text = f"{name}({', '.join(parts)})"
    return text if aggregate.equals is None else f"{text}.equal_to({aggregate.equals})"


def condition_text(condition: Condition) -> str:
    """A condition as the text that says it."""
    match condition:
        case Compared(operator=sign, left=left, right=right):
            shown = {"=": "==", "<>": "!="}.get(sign, sign)
            return f"{_operand(left)} {shown} {_operand(right) if isinstance(right, Operand) else _literal(right)}"
        case Contains(place=place, operand=operand, text=text):
            name = {"begin": "starts_with", "end": "ends_with", "anywhere": "contains"}[place]
            return f"{_operand(operand)}.{name}({_quoted(text)})"
        case Missing(operand=operand):
            return f"{_operand(operand)}.is_missing()"
        case Both(left=a, right=b):
            return f"{_part(a)} & {_part(b)}"
        case Either(left=a, right=b):
            return f"{_part(a)} | {_part(b)}"
        case Not(condition=Missing(operand=operand)):
            return f"{_operand(operand)}.is_present()"
        case Not(condition=inner):
            return f"~{_part(inner)}"
    raise TypeError(type(condition))  # pragma: no cover


def _parameters(function: Any) -> str:
    """What a builder takes, as a person would write it: without types."""
    found = inspect.signature(function).parameters.values()
    return ", ".join(each.name if each.default is each.empty else f"{each.name}={each.default!r}" for each in found)


def _part(condition: Condition) -> str:
    text = condition_text(condition)
    return text if isinstance(condition, Contains | Missing) else f"({text})"


def _operand(operand: Operand) -> str:
    if operand.step is not None:
        return f"earlier({_quoted(operand.step)}, {_name(operand.name)})"
    return operand.name if property_key(operand.name) is not None else f"field({_quoted(operand.name)})"


def _name(field: str) -> str:
    return field if property_key(field) is not None else _quoted(field)


def _keys(keys: dict[str, str]) -> str:
    plain = [_quoted(name) for column, name in keys.items() if column == name]
    named = [f"{column}={_name(name)}" for column, name in keys.items() if column != name]
    # columns keep their order: one that is named ends what may stand without a name
    if [c for c, n in keys.items() if c == n] == list(keys)[: len(plain)]:
        return ", ".join([*plain, *named])
    return ", ".join(f"{column}={_name(name)}" for column, name in keys.items())


def _literal(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """As a Python literal, in double quotes where that needs no more escapes."""
    shown = repr(text)
    return f'"{shown[1:-1]}"' if shown[0] == "'" and '"' not in shown else shown


def _span(ms: int) -> str:
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms % size == 0:
            return f'"{ms // size}{unit}"'
    return f'"{ms}ms"'
