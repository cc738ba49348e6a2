"""The agreement with Flink: random queries on random streams, on the real stack and in the reference engine.

Of each stream a batch of queries runs as one bounded job, at parallelism 2; every row must be equal. A
case is a pair of seeds, so a disagreement can be run again alone and made smaller.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from rtap_lab.errors import JobError, StatementError
from rtap_lab.events.codec import encode
from rtap_lab.flink.compile import compile_query
from rtap_lab.flink.gateway import Session
from rtap_lab.flink.properties import TERMINAL, job_properties
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.flink.statements import SQL_TYPES, catalog
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.names import events_topic
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.queries.aggregates import count
from rtap_lab.queries.query import Definition, PatternQuery, WindowQuery
from rtap_lab.queries.schema import Schema
from rtap_lab.queries.standard import standard_queries
from rtap_lab.queries.windows import TumbleWindow
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Judge, Place
from rtap_lab.settings import JobParameters
from rtap_lab.testing import cases
from rtap_lab.waiting import until

PER_STREAM = 12
"""Queries that share a stream, and a job: the windows of more would not fit into a slot's managed memory."""
_SHOWN = 3
AGAIN = 3
"""How often a stream may be played again because its job failed: a busy machine loses a TaskManager now and then."""
PATIENCE = 180
"""Seconds that a job may take."""


@dataclass
class Disagreement:
    """A case in which Flink and the reference differ."""

    stream: int
    query: int
    sql: str
    missing: list[dict[str, Any]]
    """Rows that only the reference has."""
    extra: list[dict[str, Any]]
    """Rows that only Flink has."""
    refused: str = ""
    """Flink's reason, where it did not run the query."""
    size: int = 0
    """Events of the stream."""

    def __str__(self) -> str:
        head = f"stream {self.stream}, query {self.query}, {self.size} events: "
        if self.refused:
            return f"{head}refused: {self.refused}\n  {self.sql}"
        lines = [f"{head}{len(self.missing)} rows missing in Flink, {len(self.extra)} extra", f"  {self.sql}"]
        lines += [f"  only the reference: {row}" for row in self.missing[:_SHOWN]]
        return "\n".join(lines + [f"  only Flink: {row}" for row in self.extra[:_SHOWN]])


@dataclass
class Campaign:
    """The outcome of many cases."""

    seed: int
    cases: int = 0
    rows: int = 0
    """Rows that were compared."""
    empty: int = 0
    """Cases in which both have no row."""
    patterns: int = 0
    late: int = 0
    duplicates: int = 0
    again: int = 0
    """Streams that were played again because the job failed."""
    seconds: float = 0.0
    disagreements: list[Disagreement] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return self.__dict__ | {"disagreements": [each.__dict__ for each in self.disagreements]}

    def __str__(self) -> str:
        head = (
            f"{self.cases} cases ({self.patterns} patterns, {self.empty} without a row), {self.rows} rows, "
            f"{self.late} late and {self.duplicates} duplicate events, seed {self.seed}, {self.seconds:.0f} s: "
            f"{len(self.disagreements)} disagreements"
        )
        return "\n".join([head, *map(str, self.disagreements)])


def campaign(
    lab: Lab, number: int, *, seed: int = 1, parallelism: int = 2, progress: Callable[[int], None] = lambda done: None
) -> Campaign:
    """Run random cases on a lab that is up.

    Args:
        lab: The lab.
        number: How many cases.
        seed: Of the first case; the others follow it.
        parallelism: Of Flink's jobs.
        progress: Told how many are done.

    Raises:
        JobError: When the stack fails.
    """
    began, result = time.monotonic(), Campaign(seed)
    failed = 0
    while result.cases < number:
        first = seed * 1_000_000 + result.cases
        batch = range(first, first + min(PER_STREAM, number - result.cases))
        try:
            _batch(lab, first, cases.stream(first), {n: cases.query(n) for n in batch}, parallelism, result)
        except JobError as error:  # the stack failed, not the answer: the same cases again
            result.again, failed = result.again + 1, failed + 1
            if isinstance(error, StatementError) or failed > AGAIN:
                raise
            until(lambda: all(each["state"] == "ready" for each in lab.status()["services"]), PATIENCE)
            continue
        failed = 0
        progress(result.cases)
    result.seconds = time.monotonic() - began
    return result


def again(lab: Lab, stream: int, query: int, *, parallelism: int = 2) -> Campaign:
    """Run one case again, alone.

    Args:
        lab: The lab.
        stream: The seed of its stream.
        query: The seed of its query.
        parallelism: Of Flink's job.

    Raises:
        JobError: When the stack fails.
    """
    began, result = time.monotonic(), Campaign(stream)
    _batch(lab, stream, cases.stream(stream), {query: cases.query(query)}, parallelism, result)
    result.seconds = time.monotonic() - began
    return result


def kept(lab: Lab, case: cases.Case, *, parallelism: int = 2) -> Campaign:
    """Run a case that was written down: seeds draw others once the generator changes.

    Raises:
        JobError: When the stack fails.
    """
    result = Campaign(0)
    _batch(lab, 0, case.stream, {0: case.query}, parallelism, result)
    return result


def _batch(
    lab: Lab, number: int, drawn: cases.Stream, queries: dict[int, Definition], parallelism: int, result: Campaign
) -> None:
    source = f"agreement-{number}"
    folder = Path(tempfile.mkdtemp(prefix="rtap-agreement-"))
    try:
        lines = folder / "events.jsonl"
        lines.write_bytes(b"".join(encode(event) + b"\n" for event in drawn.events))
        lab.import_jsonl(lines, source=source)
        topic = [events_topic(source)]
        kafka = lab.endpoints.kafka
        topics = Topics(kafka)
        starts, ends = topics.starts(topic), topics.ends(topic, committed=True)
        judge = Judge(drawn.bound_ms)
        judged = [
            each
            for r in read_range(kafka, starts, ends)
            for each in judge.judge(r.value(), Place(r.partition() or 0, r.offset() or 0, r.timestamp()[1]))
        ]
        fates = Counter(each.fate for each in judged)
        counted = [each.event for each in judged if each.fate == "counted" and each.event]
        found = _flink(lab, source, {p: e for (_, p), e in ends.items()}, drawn.bound_ms, queries, parallelism, folder)
        result.late += fates["late"]
        result.duplicates += fates["duplicate"]
        for query, definition in queries.items():
            result.cases += 1
            result.patterns += isinstance(definition, PatternQuery)
            sql = compile_query("q", definition)
            text = ";\n  ".join([*sql.views, sql.select])
            if isinstance(rows := found[query], str):
                result.disagreements.append(Disagreement(number, query, text, [], [], rows, len(drawn.events)))
                continue
            shape = definition.schema
            wanted = Counter(_comparable(shape, row) for row in rows_of(definition, counted))
            there = Counter(_comparable(shape, row) for row in rows)
            result.rows += wanted.total()
            result.empty += not wanted and not there
            if wanted != there:
                missing = [json.loads(row) for row in (wanted - there).elements()]
                extra = [json.loads(row) for row in (there - wanted).elements()]
                result.disagreements.append(Disagreement(number, query, text, missing, extra, "", len(drawn.events)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if source in lab.sources():
            lab.remove_source(source)


def _comparable(schema: Schema, row: dict[str, Any]) -> str:
    return orjson.dumps(schema.normal(row), option=orjson.OPT_SORT_KEYS).decode()


def _flink(
    lab: Lab,
    source: str,
    ends: dict[int, int],
    bound_ms: int,
    queries: dict[int, Definition],
    parallelism: int,
    folder: Path,
) -> dict[int, list[dict[str, Any]] | str]:
    """Each query's rows, or the reason why Flink refuses it."""
    endpoints = lab.endpoints
    properties = job_properties(
        JobParameters(bound_ms=bound_ms),
        name=f"agreement {source}",
        bounded=True,
        checkpoints=(folder / "checkpoints").as_uri(),
        restore=None,
        parallelism=parallelism,
    ) | {"restart-strategy.type": "none"}
    found: dict[int, list[dict[str, Any]] | str] = {}
    with Session(endpoints.gateway, properties) as session:
        for statement in catalog(
            topic=events_topic(source), kafka=endpoints.kafka, group=source, bound_ms=bound_ms, ends=ends, steady=True
        ):
            session.configure(statement)
        inserts = []
        for number, definition in queries.items():
            name, compiled = f"q{number}", compile_query(f"q{number}", definition)
            columns = ", ".join(f"`{c}` {SQL_TYPES[kind]}" for c, kind in definition.schema.columns.items())
            path = (folder / name).as_uri()
            try:
                for view in compiled.views:
                    session.configure(view)
                session.configure(
                    f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', "
                    "'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601')"
                )
                _plan(session, f"INSERT INTO {name} {compiled.select}")
            except StatementError as error:
                found[number] = str(error)
                continue
            inserts.append(f"INSERT INTO {name} {compiled.select};")
        if not inserts:
            return found
        job_id = session.submit("EXECUTE STATEMENT SET BEGIN\n" + "\n".join(inserts) + "\nEND")
    rest = FlinkRest(endpoints.flink)
    deadline = time.monotonic() + PATIENCE
    while (state := rest.job(job_id)["state"]) not in TERMINAL:
        if time.monotonic() > deadline:
            rest.cancel(job_id)
            raise JobError(f"flink: the job of {source} took more than {PATIENCE} s")
        time.sleep(0.1)
    if state != "FINISHED":
        raise JobError(f"flink: the job of {source} ended {state}: {rest.root_exception(job_id)}")
    for number in queries.keys() - found.keys():
        files = sorted((folder / f"q{number}").glob("**/part-*"))
        found[number] = [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
    return found


def _plan(session: Session, sql: str) -> None:
    """Let Flink plan a query, so that one that it refuses does not spoil the others."""
    statement = f"EXPLAIN {sql}"
    for page in session.pages(session.start(statement), statement):
        if page is None:
            time.sleep(0.02)


def engine_speed(size: int = 200_000) -> dict[str, float]:
    """Events per second of the reference engine, by query; one process, one core.

    Args:
        size: Events.
    """
    drawn = cases.stream(1, size)
    judge = Judge(drawn.bound_ms)
    latest, events = 0, []
    for offset, event in enumerate(drawn.events):
        latest = max(latest, event["event_time"])
        events += [
            each.event for each in judge.judge(encode(event), Place(0, offset, latest)) if each.fate == "counted"
        ]
    queries: dict[str, Definition] = {
        "tumbling count": WindowQuery(TumbleWindow(60_000), {"n": count()}),
        **{query.name: query.definition for query in standard_queries()},
    }
    speed = {}
    for name, definition in queries.items():
        began = time.perf_counter()
        rows_of(definition, events)
        speed[name] = len(events) / (time.perf_counter() - began)
    return speed
