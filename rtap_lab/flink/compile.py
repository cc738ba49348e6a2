"""Pure: any query as Flink SQL, over the catalog's `events`.

The reference engine runs the same values (`rtap_lab.reference`); a campaign of random queries holds the
two against each other (`rtap_lab.bench.agreement`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from rtap_lab.errors import SettingsError
from rtap_lab.flink.text import interval, like, literal
from rtap_lab.queries.aggregates import Aggregate
from rtap_lab.queries.conditions import (
    FIELDS,
    Both,
    Compared,
    Condition,
    Contains,
    Either,
    Literal_,
    Missing,
    Not,
    Operand,
    known_field,
    property_key,
)
from rtap_lab.queries.patterns import Measure, Step
from rtap_lab.queries.query import Definition, PatternQuery, WindowQuery
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow

_AT_MS = (
    # BIGINT first: as INT, milliseconds wrap round
    "CAST(TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', CAST(rowtime AS TIMESTAMP(3))) AS BIGINT) * 1000"
    " + EXTRACT(MILLISECOND FROM CAST(rowtime AS TIMESTAMP(3)))"
)
_TIME_TEXT = "DATE_FORMAT({rowtime}, 'yyyy-MM-dd HH:mm:ss.SSS')"


@dataclass(frozen=True)
class Compiled:
    """A query as SQL."""

    views: list[str]
    """`CREATE TEMPORARY VIEW` statements that come before."""
    select: str


def compile_query(name: str, definition: Definition) -> Compiled:
    """A query as SQL.

    Args:
        name: Goes into the names of its views.
        definition: The query.

    Raises:
        SettingsError: When Flink SQL cannot say it.
    """
    if isinstance(definition, WindowQuery):
        return _windowed(name, definition)
    return _matched(name, definition)


def _quoted(column: str) -> str:
    return f"`{column}`"


def _field(name: str) -> str:
    """A field's column in a query's input."""
    key = property_key(name)
    if key is None:
        return _quoted(name)
    if re.fullmatch(r"[a-z0-9_]{1,40}", key):
        return f"`property_{key}`"
    return f"`property_x{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}`"


def _input(definition: Definition, *more: str) -> str:
    """The view that a query reads: all fields, the properties that it asks for, and further expressions."""
    keys = {name: key for name in _names(definition) if (key := property_key(name)) is not None}
    taken = [f"properties['{literal(key)}'] AS {_field(name)}" for name, key in keys.items()]
    table = f"(SELECT *, {', '.join(taken)} FROM events)" if taken else "events"
    columns = ", ".join([*map(_quoted, FIELDS), *map(_field, keys), *more, "rowtime"])
    return f"SELECT {columns} FROM {table}{_where(definition.where)}"


def _names(definition: Definition) -> dict[str, None]:
    """Every field that a query looks at."""
    conditions = [definition.where]
    names = [*definition.keys.values(), *(each.field for each in definition.measures.values() if each.field)]
    if isinstance(definition, WindowQuery):
        conditions += [each.where for each in definition.measures.values()]
    else:
        pattern = definition.pattern
        conditions += [each for step in pattern.steps for each in (step.condition, step.unless)]
        conditions += [pattern.absence.condition] if pattern.absence else []
    return dict.fromkeys([*names, *(o.name for each in conditions if each is not None for o in each.operands())])


def _where(condition: Condition | None) -> str:
    return f" WHERE {_condition(condition)}" if condition is not None else ""


# --- conditions -------------------------------------------------------------------------------------


def _condition(condition: Condition, row: str = "", own: str | None = None) -> str:
    """A condition as SQL.

    Args:
        condition: The condition.
        row: The pattern variable whose row is asked; "" outside of patterns.
        own: The step whose condition it is, where its loop's rows are taken by `row` itself.
    """
    match condition:
        case Compared(operator=sign, left=left, right=right):
            other = _operand(right, row, own) if isinstance(right, Operand) else _literal(left, right)
            return f"{_operand(left, row, own)} {sign} {other}"
        case Contains(place=place, operand=operand, text=text):
            before, after = "%" * (place != "begin"), "%" * (place != "end")
            return f"{_operand(operand, row, own)} LIKE {like(text, before, after)}"
        case Missing(operand=operand):
            return f"{_operand(operand, row, own)} IS NULL"
        case Both(left=a, right=b):
            return f"({_condition(a, row, own)} AND {_condition(b, row, own)})"
        case Either(left=a, right=b):
            return f"({_condition(a, row, own)} OR {_condition(b, row, own)})"
        case Not(condition=inner):
            return f"(NOT ({_condition(inner, row, own)}))"
    raise TypeError(type(condition))  # pragma: no cover


def _operand(operand: Operand, row: str, own: str | None) -> str:
    name = _field(operand.name)
    if operand.step is None:
        return f"{row}.{name}" if row else name
    if operand.step == own:  # the row before in the same loop
        return f"LAST({_variable(operand.step)}.{name}, 1)"
    return f"LAST({_variable(operand.step)}.{name})"


def _variable(step: str) -> str:
    """A step's pattern variable: no word of SQL."""
    return f"s_{step}"


def _literal(operand: Operand, value: Literal_) -> str:
    if operand.kind == "time":
        assert isinstance(value, int)
        return f"TO_TIMESTAMP_LTZ({value}, 3)"
    if isinstance(value, str):
        return f"'{literal(value)}'"
    return f"CAST('{float(value)!r}' AS DOUBLE)"


# --- windows ----------------------------------------------------------------------------------------


def _windowed(name: str, query: WindowQuery) -> Compiled:
    view = f"{name}_input"
    views = [f"CREATE TEMPORARY VIEW {view} AS {_input(query)}"]
    table, rowtime = f"TABLE {view}", "DESCRIPTOR(rowtime)"
    keys = [_field(each) for each in query.keys.values()]
    length: int | None = None
    match query.window:
        case TumbleWindow(size_ms=size):
            windows, length = f"TUMBLE({table}, {rowtime}, {interval(size)})", size
        case HopWindow(size_ms=size, slide_ms=slide):
            windows = f"HOP({table}, {rowtime}, {interval(slide)}, {interval(size)})"
            length = size
        case CumulateWindow(size_ms=size, step_ms=step):
            windows = f"CUMULATE({table}, {rowtime}, {interval(step)}, {interval(size)})"
        case SessionWindow(gap_ms=gap):
            # sessions begin at any event: what is filtered must be filtered before, in the view
            windows = f"SESSION({table} PARTITION BY ({', '.join(keys)}), {rowtime}, {interval(gap)})"
            length = None
    edges = [f"CAST({each} AS TIMESTAMP_LTZ(3)) AS {each}" for each in ("window_start", "window_end")]
    measured = [
        *(f"{_field(f)} AS {_quoted(column)}" for column, f in query.keys.items()),
        *(f"{_aggregate(column, each, length)} AS {_quoted(column)}" for column, each in query.measures.items()),
    ]
    groups = ", ".join(dict.fromkeys([*keys, "window_start", "window_end"]))
    grouped = f"FROM TABLE({windows}) GROUP BY {groups}"
    if query.ranked is None:
        return Compiled(views, f"SELECT {', '.join([*edges, *measured])} {grouped}")
    # ranked by the windows' own edges: of what was cast Flink no longer knows that it is a window's
    measure = _quoted(query.ranked.measure)
    if query.measures[query.ranked.measure].kind == "number":
        measure = f"ROUND({measure}, 6)"
    order = ", ".join([f"{measure} DESC", *map(_quoted, query.keys)])
    listed = ", ".join([*edges, *map(_quoted, [*query.keys, *query.measures])])
    return Compiled(
        views,
        f"SELECT {listed} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY {order}) AS `_rank` "
        f"FROM (SELECT window_start, window_end, {', '.join(measured)} {grouped})) WHERE `_rank` <= {query.ranked.rows}",
    )


def _millionths(number: str) -> str:
    """A number in whole millionths: doubles do not add up exactly, and one that is great loses all small ones (decision 027)."""
    whole = f"CAST({number} AS BIGINT)"
    return (
        f"CASE WHEN ABS({number}) < 9E18 THEN CAST({whole} AS DECIMAL(19, 0)) * 1000000 "
        f"+ CAST(ROUND(({number} - {whole}) * 1E6) AS BIGINT) END"
    )


def _aggregate(column: str, aggregate: Aggregate, length_ms: int | None) -> str:
    kept = f" FILTER (WHERE {_condition(aggregate.where)})" if aggregate.where is not None else ""
    name = _field(aggregate.field or "")
    kind = known_field(aggregate.field) if aggregate.field else None
    match aggregate.function:
        case "count":
            text = f"COUNT(*){kept}"
        case "distinct":
            text = f"COUNT(DISTINCT {name}){kept}"
        case "rate":
            if length_ms is None:
                raise SettingsError(f"measure {column!r}: rate needs windows of one length (tumble, hop)")
            per = aggregate.per_ms / length_ms
            return f"CAST(COUNT(*){kept} AS DOUBLE) * CAST('{per!r}' AS DOUBLE)"
        case "sum":
            of = (
                name
                if aggregate.default is None
                else f"COALESCE({name}, CAST('{float(aggregate.default)!r}' AS DOUBLE))"
            )
            text = f"CAST(SUM({_millionths(of)}){kept} AS DOUBLE) / 1E6"
        case "mean":
            of = _millionths(name)
            text = f"CAST(SUM({of}){kept} AS DOUBLE) / 1E6 / COUNT({of}){kept}"
        case "percentile":
            text = f"PERCENTILE({name}, {aggregate.share!r}){kept}"
        case "min" | "max":
            text = f"{aggregate.function.upper()}({name}){kept}"
        case "first" | "last":
            least = "MIN" if aggregate.function == "first" else "MAX"
            if kind == "time":
                return f"{least}({name}){kept}"
            if kind == "number":
                raise SettingsError(
                    f"measure {column!r}: Flink SQL cannot order numbers by time; use a text field, min or max"
                )
            # by event time whatever the order of arrival; the time in front has 23 characters
            return f"SUBSTR({least}({_TIME_TEXT.format(rowtime='rowtime')} || {name}){kept}, 24)"
    return text if aggregate.equals is None else f"{text} = {aggregate.equals}"


# --- patterns ---------------------------------------------------------------------------------------


def _matched(name: str, query: PatternQuery) -> Compiled:
    view = f"{name}_input"
    views = [f"CREATE TEMPORARY VIEW {view} AS {_input(query, f'{_AT_MS} AS at_ms')}"]
    absence = query.pattern.absence
    keys = [_field(each) for each in query.keys.values()]
    last = _variable(query.pattern.steps[-1].name)
    extra = [
        ("`_last_id`", f"LAST({last}.event_id)"),
        ("`_last_ms`", f"LAST({last}.at_ms)"),
        ("`_last_rowtime`", "MATCH_ROWTIME(rowtime)"),
    ]
    measures = [(_quoted(c), _measure(m)) for c, m in query.measures.items()]
    found = ", ".join(f"{text} AS {column}" for column, text in measures + (extra if absence else []))
    pattern, defines = _steps(query.pattern.steps)
    within = query.pattern.within_ms
    skip = {"past_last_row": "PAST LAST ROW", "to_next_row": "TO NEXT ROW"}.get(query.pattern.skip)
    skip = skip or f"{query.pattern.skip.upper().replace('_', ' ')} {_variable(query.pattern.skip_to or '')}"
    matches = (
        f"SELECT * FROM {view} MATCH_RECOGNIZE (PARTITION BY {', '.join(keys)} ORDER BY rowtime ASC, event_id ASC "
        f"MEASURES {found} ONE ROW PER MATCH AFTER MATCH SKIP {skip} PATTERN ({pattern})"
        f"{f' WITHIN {interval(within)}' if within else ''} DEFINE {', '.join(defines)})"
    )
    chosen = [f"{_field(f)} AS {_quoted(column)}" for column, f in query.keys.items()]
    chosen += [_quoted(column) for column in query.measures]
    if absence is None:
        return Compiled(views, f"SELECT {', '.join(chosen)} FROM ({matches})")
    # "then not … within": what an event-time outer join leaves without a partner. MATCH_ROWTIME is the time
    # of the row that let the match out, which an earlier attempt may have held back up to `within` after its
    # last row. The join's time bounds hang on it, so they are that much wider; `at_ms` rules out the rest
    views += [
        f"CREATE TEMPORARY VIEW {name}_matches AS {matches}",
        f"CREATE TEMPORARY VIEW {name}_absent AS SELECT {', '.join(dict.fromkeys(keys))}, event_id, at_ms, rowtime FROM {view} "
        f"WHERE {_condition(absence.condition)}",
    ]
    same = " AND ".join(f"m.{key} IS NOT DISTINCT FROM a.{key}" for key in keys)
    listed = [f"m.{part}" for part in chosen]
    select = (
        f"SELECT {', '.join(listed)} FROM {name}_matches AS m LEFT JOIN {name}_absent AS a ON {same} "
        f"AND a.rowtime BETWEEN m.`_last_rowtime` - {interval(within or 1)} AND m.`_last_rowtime` + {interval(absence.within_ms - 1)} "
        # not `rowtime` again: a second bound on a time attribute makes it a join without time
        "AND (a.at_ms > m.`_last_ms` OR (a.at_ms = m.`_last_ms` AND a.event_id > m.`_last_id`)) "
        f"AND a.at_ms < m.`_last_ms` + {absence.within_ms} "
        "WHERE a.event_id IS NULL"
    )
    return Compiled(views, select)


def _measure(measure: Measure) -> str:
    row = _variable(measure.step)
    match measure.function:
        case "count":
            return f"COUNT({row}.event_id)"
        case "elapsed":
            until = _variable(measure.until or "")
            return f"CAST(LAST({until}.at_ms) - LAST({row}.at_ms) AS DOUBLE) / 1000"
        case "first" | "last":
            return f"{measure.function.upper()}({row}.{_field(measure.field)})"


def _steps(steps: tuple[Step, ...]) -> tuple[str, list[str]]:
    """The PATTERN and DEFINE clauses, such that no row fits two ways on.

    Flink follows all ways at once where there are several, the engine one: where a step may be taken or
    left out, a row that fits it is for no other.
    """
    pattern, defines = [], []
    for at, step in enumerate(steps):
        row, between = _variable(step.name), f"x_{step.name}"
        if step.relaxed:
            passed = f"({_condition(step.condition, between)}) IS NOT TRUE"
            if step.unless is not None:
                passed += f" AND ({_condition(step.unless, between)}) IS NOT TRUE"
            passed += _not_for_optional(steps, at, between, f"LAST({between}.event_id, 1)")
            pattern.append(f"{between}*")
            defines.append(f"{between} AS {passed}")
        pattern.append(row + _times(step.least, step.most))
        own = f"LAST({between}.event_id)" if step.relaxed else None
        if step.most != 1:
            own = f"LAST({row}.event_id, 1)" if own is None else f"{own}, LAST({row}.event_id, 1)"
        fits = _condition(step.condition, row, step.name)
        defines.append(f"{row} AS {fits}{_not_for_optional(steps, at, row, own)}")
    return " ".join(pattern), defines


def _not_for_optional(steps: tuple[Step, ...], at: int, row: str, taken: str | None) -> str:
    """A row that a step left out just before would take is not for this one, unless it is past that.

    Args:
        steps: All steps.
        at: This step.
        row: The variable that would take the row.
        taken: Is not NULL once this step, or what it passes over, has taken a row.
    """
    text = ""
    later = [taken] if taken else []
    for before in reversed(steps[:at]):
        if before.least:
            break
        later.append(f"LAST({_variable(before.name)}.event_id)")
        if before.most == 1:  # a run shuts out the next step by itself (Flink's greedy quantifiers)
            fits = _condition(before.condition, row)
            text += f" AND (({fits}) IS NOT TRUE OR COALESCE({', '.join(later)}) IS NOT NULL)"
    return text


def _times(least: int, most: int | None) -> str:
    if (least, most) == (1, 1):
        return ""
    if (least, most) == (0, 1):
        return "?"
    if most is None:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    return f"{{{least}}}" if least == most else f"{{{least},{most}}}"
