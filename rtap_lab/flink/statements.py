"""Pure: jobs and the catalog as SQL statements: the files in `sql/`, and what `compile` makes of queries."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping, Sequence
from string import Template

from rtap_lab.endpoints import Endpoint
from rtap_lab.events.limits import MAX_PROPERTIES, MAX_RECORD, MAX_TEXT
from rtap_lab.events.model import MAX_ROW_BYTES
from rtap_lab.flink.compile import Compiled, compile_query
from rtap_lab.flink.text import interval, literal
from rtap_lab.queries.query import Definition, Query, WindowQuery
from rtap_lab.queries.schema import Kind
from rtap_lab.queries.windows import SessionWindow
from rtap_lab.settings import TRANSACTION_MS, JobParameters

SQL_TYPES: dict[Kind, str] = {
    "text": "STRING",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMP_LTZ(3)",
}

_RECORD = {
    "source": "STRING",
    "run": "STRING",
    "partition": "INT",
    "offset": "BIGINT",
    "event_id": "STRING",
    "reason": "STRING",
}
_SHARED = {
    "rejected": _RECORD | {"arrival": "TIMESTAMP_LTZ(3)"},
    "late": _RECORD | {"event_time": "TIMESTAMP_LTZ(3)", "arrival": "TIMESTAMP_LTZ(3)"},
}


_GREATEST = """MAX(arrival) OVER (
  PARTITION BY source_partition ORDER BY proctime ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"""
"""Arrival falls when the machine's clock is set back; this does not."""


def _file(name: str) -> str:
    return importlib.resources.files(__package__).joinpath("sql", name).read_text()


def split_statements(text: str, values: Mapping[str, str]) -> list[str]:
    """The statements of a file, filled in; a semicolon at the end of a line ends one."""
    text = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [each.strip() for each in re.split(r";\s*\n", Template(text).substitute(values)) if each.strip()]


def catalog(
    *,
    topic: str,
    kafka: Endpoint,
    group: str,
    bound_ms: int,
    ends: Mapping[int, int] | None,
    starts: Mapping[int, int] | None = None,
    steady: bool = False,
    resumed_by: str | None = None,
) -> list[str]:
    """The statements that make `events_raw` and `events` of one source.

    Args:
        topic: The source's topic.
        kafka: Where Kafka is.
        group: The consumer group in which checkpoints show their offsets.
        bound_ms: The lateness bound.
        ends: The offset at which reading ends, by partition; None: it goes on.
        starts: The offset at which it begins, by partition; None: at the earliest.
        steady: Whether no arrival lies before an earlier one of its partition, by who wrote the topic: then a record's own
            is the greatest so far, and no state is kept for it.
        resumed_by: An empty topic beside it, for a bounded job that goes on from a checkpoint. A restored
            bounded source ends only when it finds a partition that it did not know (FLINK-31006); the
            others keep the ends that they were given at first.
    """
    offsets, begins = _offsets(ends or {}), "earliest-offset"
    if starts is not None:
        begins = f"specific-offsets',\n  'scan.startup.specific-offsets' = '{_offsets(starts)}"
    if ends is None:
        bounded = ""
    elif resumed_by:
        bounded = "\n  'scan.bounded.mode' = 'latest-offset',"
    else:
        bounded = f"\n  'scan.bounded.mode' = 'specific-offsets',\n  'scan.bounded.specific-offsets' = '{offsets}',"
    return split_statements(
        _file("catalog.sql"),
        {
            "topic": f"{topic};{resumed_by}" if resumed_by else topic,
            "bootstrap": kafka.address,
            "group": group,
            "bound": interval(bound_ms),
            "latest": "arrival" if steady else _GREATEST,
            "most_text": str(MAX_TEXT),
            "beyond_text": str(MAX_TEXT + 1),
            "most_properties": str(MAX_PROPERTIES),
            "most_record": str(MAX_RECORD),
            "startup": begins,
            "bounded": bounded,
        },
    )


def _offsets(by_partition: Mapping[int, int]) -> str:
    return ";".join(f"partition:{p},offset:{offset}" for p, offset in sorted(by_partition.items()))


def _sink(
    name: str,
    columns: dict[str, str],
    keys: list[str],
    topic: str,
    kafka: Endpoint,
    prefix: str,
    parameters: JobParameters,
    transaction_ms: int,
) -> str:
    options = {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": kafka.address,
        "properties.linger.ms": "0",
        "properties.max.request.size": str(MAX_ROW_BYTES),
        "format": "json",
        "json.timestamp-format.standard": "ISO-8601",
    }
    if keys:
        options |= {
            "key.format": "json",
            "key.fields": ";".join(keys),
            "key.json.timestamp-format.standard": "ISO-8601",
        }
        options["value.format"] = options.pop("format")
        options["value.json.timestamp-format.standard"] = options.pop("json.timestamp-format.standard")
    if parameters.delivery == "exactly_once":
        options |= {
            "sink.delivery-guarantee": "exactly-once",
            "sink.transactional-id-prefix": prefix,
            # pooled names, because each new name costs the broker memory for a week
            "sink.transaction-naming-strategy": "POOLING",
            # outlives a laptop's sleep
            "properties.transaction.timeout.ms": str(transaction_ms),
        }
    else:
        options["sink.delivery-guarantee"] = "at-least-once"
    body = ", ".join(f"`{column}` {kind}" for column, kind in columns.items())
    given = ", ".join(f"'{key}' = '{literal(value)}'" for key, value in options.items())
    return f"CREATE TABLE {name} ({body}) WITH ({given})"


def _packaged(query: Query) -> str | None:
    """The SQL that was written by hand for a packaged query; None for any other."""
    file = importlib.resources.files(__package__).joinpath("sql", "standard", f"{query.name}.sql")
    return file.read_text() if file.is_file() else None


def _durations(definition: Definition) -> dict[str, str]:
    """What the hand-written SQL takes from a definition."""
    if isinstance(definition, WindowQuery):
        window = definition.window
        return {"gap": interval(window.gap_ms)} if isinstance(window, SessionWindow) else {}
    pattern = definition.pattern
    found = {"within": interval(pattern.within_ms)} if pattern.within_ms else {}
    return found | ({"less_than_within": interval(pattern.absence.within_ms - 1)} if pattern.absence else {})


def query_sql(query: Query) -> Compiled:
    """A query as SQL: the packaged ones in words of their own, any other compiled."""
    text = _packaged(query)
    if text is None:
        return compile_query(query.name, query.definition)
    *views, select = split_statements(text, _durations(query.definition))
    return Compiled(views, select)


def job_statements(
    *,
    transactions: str,
    source: str,
    run: str,
    kafka: Endpoint,
    queries: Sequence[Query],
    topics: Mapping[str, str],
    parameters: JobParameters,
    transaction_ms: int = TRANSACTION_MS,
) -> list[str]:
    """The sinks, views and the statement set of a job; the last statement submits it.

    Args:
        transactions: What its transactional ids begin with, in every run of it on this source.
        source: The source's name.
        run: The run's id, written into late and rejected rows.
        kafka: Where Kafka is.
        queries: What it asks.
        topics: The topic of each query, and of "late" and "rejected".
        parameters: What the run varies.
        transaction_ms: How long one of its transactions may stay open.
    """

    def sink(name: str, columns: dict[str, str], keys: list[str]) -> str:
        # one for a job's query, run after run: what a dead run left open is aborted by the next one
        prefix = f"{transactions}{name}."
        return _sink(f"sink_{name}", columns, keys, topics[name], kafka, prefix, parameters, transaction_ms)

    sinks = [sink(name, columns, []) for name, columns in _SHARED.items()]
    place = {"source": literal(source), "run": literal(run), "most_text": str(MAX_TEXT)}
    inserts = [f"INSERT INTO sink_{name}\n{split_statements(_file(f'{name}.sql'), place)[0]};" for name in _SHARED]
    views: dict[str, None] = {}  # a view that two packaged queries share is made once
    for query in queries:
        schema = query.schema
        columns = {name: SQL_TYPES[kind] for name, kind in schema.columns.items()}
        sinks.append(sink(query.name, columns, schema.identity))
        compiled = query_sql(query)
        views |= dict.fromkeys(compiled.views)
        inserts.append(f"INSERT INTO sink_{query.name}\n{compiled.select};")
    return [*sinks, *views, "EXECUTE STATEMENT SET BEGIN\n" + "\n".join(inserts) + "\nEND"]
