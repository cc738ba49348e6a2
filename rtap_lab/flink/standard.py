"""Pure: the standard job and the catalog as SQL statements, from the files in `sql/`."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from string import Template

from rtap_lab.settings import DEDUPLICATION_MS, JobParameters
from rtap_lab.streams.queries import STANDARD, Kind

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

CHECKPOINT_MS = {"exactly_once": 150, "low_latency": 1000}
"""How often a live job takes a checkpoint: in `exactly_once` results wait for it."""


def interval(milliseconds: int) -> str:
    """A SQL interval literal of any length."""
    seconds, milli = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    digits = max(2, len(str(days)))
    return f"INTERVAL '{days} {hour:02}:{minute:02}:{second:02}.{milli:03}' DAY({digits}) TO SECOND(3)"


def literal(text: str) -> str:
    """A SQL string literal's content."""
    return text.replace("'", "''")


def _statements(name: str, values: dict[str, str]) -> list[str]:
    text = importlib.resources.files(__package__).joinpath("sql", name).read_text()
    text = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    text = Template(text).substitute(values)
    head, begin, body = text.partition("EXECUTE STATEMENT SET BEGIN")
    found = [each.strip() for each in re.split(r";\s*\n", head) if each.strip()]
    return [*found, f"{begin}{body}".rstrip().removesuffix(";")] if begin else found


def catalog(
    *,
    topic: str,
    bootstrap: str,
    group: str,
    bound_ms: int,
    ends: Mapping[int, int] | None,
    resumed_by: str | None = None,
) -> list[str]:
    """The statements that make `events_raw` and `events` of one source.

    Args:
        topic: The source's topic.
        bootstrap: Kafka's address.
        group: The consumer group in which checkpoints show their offsets.
        bound_ms: The lateness bound.
        ends: The offset at which reading ends, by partition; None: it goes on.
        resumed_by: An empty topic beside it, for a bounded job that goes on from a checkpoint. A restored
            bounded source ends only when it finds a partition that it did not know (FLINK-31006); the
            others keep the ends that they were given at first.
    """
    offsets = ";".join(f"partition:{p},offset:{end}" for p, end in sorted((ends or {}).items()))
    if ends is None:
        bounded = ""
    elif resumed_by:
        bounded = "\n  'scan.bounded.mode' = 'latest-offset',"
    else:
        bounded = f"\n  'scan.bounded.mode' = 'specific-offsets',\n  'scan.bounded.specific-offsets' = '{offsets}',"
    return _statements(
        "catalog.sql",
        {
            "topic": f"{topic};{resumed_by}" if resumed_by else topic,
            "bootstrap": bootstrap,
            "group": group,
            "bound": interval(bound_ms),
            "startup": "earliest-offset",
            "bounded": bounded,
        },
    )


def _sink(
    name: str,
    columns: dict[str, str],
    keys: list[str],
    topic: str,
    bootstrap: str,
    prefix: str,
    parameters: JobParameters,
) -> str:
    options = {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": bootstrap,
        "properties.linger.ms": "0",
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
            # one prefix for a source's query, run after run: what a dead run left open is aborted by
            # the next one; pooled names, because each new name costs the broker memory for a week
            "sink.transactional-id-prefix": prefix,
            "sink.transaction-naming-strategy": "POOLING",
            # outlives a laptop's sleep
            "properties.transaction.timeout.ms": "86400000",
        }
    else:
        options["sink.delivery-guarantee"] = "at-least-once"
    body = ", ".join(f"`{column}` {kind}" for column, kind in columns.items())
    given = ", ".join(f"'{key}' = '{literal(value)}'" for key, value in options.items())
    return f"CREATE TABLE {name} ({body}) WITH ({given})"


def standard(*, source: str, run: str, bootstrap: str, topics: dict[str, str], parameters: JobParameters) -> list[str]:
    """The sinks and the statement set of the standard job; the last statement submits it.

    Args:
        source: The source's name, "live" for the live topic.
        run: The run's id, written into late and rejected rows.
        bootstrap: Kafka's address.
        topics: The topic of each query, and of "late" and "rejected".
        parameters: What the run varies.
    """
    sinks = []
    for name, shared in _SHARED.items():
        prefix = f"rtap-{source}-{name}"
        sinks.append(_sink(name, shared, [], topics[name], bootstrap, prefix, parameters))
    for query in STANDARD.values():
        columns = {name: SQL_TYPES[kind] for name, kind in query.columns.items()}
        prefix = f"rtap-{source}-{query.name}"
        sinks.append(_sink(query.name, columns, query.identity, topics[query.name], bootstrap, prefix, parameters))
    values = {
        "source": literal(source),
        "run": literal(run),
        "gap": interval(parameters.gap_ms),
        "within": interval(parameters.within_ms),
        "less_than_within": interval(parameters.within_ms - 1),
    }
    return sinks + _statements("standard.sql", values)


def session_properties(
    parameters: JobParameters,
    *,
    name: str,
    bounded: bool,
    checkpoints: str,
    restore: str | None,
    parallelism: int | None = None,
) -> dict[str, str]:
    """Flink's configuration of one run of the standard job.

    Args:
        parameters: What the run varies.
        name: The job's name.
        bounded: A recorded source: state on the heap (MATCH_RECOGNIZE catches up quadratically on
            RocksDB), no expiry.
        checkpoints: Where its checkpoints go (a URI).
        restore: The checkpoint or savepoint to continue from.
        parallelism: None: 2 for a recorded source, 1 live.
    """
    every = 2000 if bounded else CHECKPOINT_MS[parameters.delivery]
    properties = {
        "pipeline.name": name,
        "execution.runtime-mode": "streaming",
        "table.local-time-zone": "UTC",
        # one Deduplicate and one late split for all branches, so that they cannot disagree
        "table.optimizer.reuse-optimize-block-with-digest-enabled": "true",
        "table.exec.state.ttl": "0" if bounded else f"{DEDUPLICATION_MS} ms",
        "pipeline.object-reuse": "true",
        "parallelism.default": str(parallelism or (2 if bounded else 1)),
        "pipeline.auto-watermark-interval": "200 ms" if bounded else "50 ms",
        "execution.buffer-timeout.interval": "100 ms" if bounded else "1 ms",
        "execution.checkpointing.interval": f"{every} ms",
        "execution.checkpointing.min-pause": "10 ms",
        "execution.checkpointing.timeout": "2 min",
        "execution.checkpointing.dir": checkpoints,
        "state.backend.type": "hashmap" if bounded else "rocksdb",
    }
    if restore:
        properties["execution.state-recovery.path"] = restore
        properties["execution.state-recovery.claim-mode"] = "NO_CLAIM"
    return properties
