"""A job on batches of events: the PyFlink program that submits it, and what its workers run.

What comes before SQL is a DataStream: it reads each batch once, tells copies of an id apart, and cuts parts for windows
(`columns`); for sessions and patterns it gives the events that they look at, one by one. From there on the SQL is that of any job.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyflink.common import Configuration, Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.state import ListStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, Table, TableFunction
from pyflink.table.udf import udtf

from rtap_lab.flink.columns import Parts, holds, joined, kinds_of, read_batch, rows_of
from rtap_lab.flink.compile import looked_at, windowed
from rtap_lab.flink.first_ids import FirstIds, block_of
from rtap_lab.flink.session import java_for_the_gateway
from rtap_lab.flink.statements import Program, column_of, rows_function, single_events, taken_apart
from rtap_lab.queries.conditions import known_field
from rtap_lab.queries.query import Query, WindowQuery
from rtap_lab.queries.windows import CumulateWindow, SessionWindow

_PART = Types.ROW_NAMED(["slice_ms", "part"], [Types.LONG(), Types.PRIMITIVE_ARRAY(Types.BYTE())])
_LATE = OutputTag(
    "late",
    Types.ROW_NAMED(
        ["source_partition", "source_offset", "event_id", "event_time_ms", "arrival_ms"],
        [Types.INT(), Types.LONG(), Types.STRING(), Types.LONG(), Types.LONG()],
    ),
)
_RESULTS = {
    "text": DataTypes.STRING(),
    "integer": DataTypes.BIGINT(),
    "number": DataTypes.DOUBLE(),
    "boolean": DataTypes.BOOLEAN(),
    "time": DataTypes.BIGINT(),
}


class Cut(KeyedProcessFunction):  # type: ignore[misc]
    """Gives each batch its fate, and cuts what counts.

    Its state are the ids that it has seen: one entry for each batch, read back when it begins again.

    Args:
        queries: What the job asks.
        bound_ms: The lateness bound.
    """

    def __init__(self, queries: tuple[Query, ...], bound_ms: int) -> None:
        self.bound_ms = bound_ms
        self.asked = msgspec.json.encode(queries)

    def open(self, runtime_context: RuntimeContext) -> None:
        queries = msgspec.json.decode(self.asked, type=tuple[Query, ...])
        self.parts = [
            (part_tag(q), Parts(q.definition))
            for q in queries
            if isinstance(q.definition, WindowQuery) and windowed(q.definition)
        ]
        singly = [q.definition for q in queries if not windowed(q.definition)]
        self.wheres = [each.where for each in singly]
        self.fields = event_fields(queries)
        self.seen: FirstIds | None = None
        self.ids = runtime_context.get_list_state(ListStateDescriptor("ids", Types.PRIMITIVE_ARRAY(Types.BYTE())))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        record, partition, offset = bytes(value[0] or b""), value[1], value[2]
        arrival_ms = ctx.timestamp()
        batch = read_batch(record, arrival_ms)
        if batch is None:  # as a JSON record that the decoder drops: `rtap verify` names it
            return
        batch = self._firsts(batch)
        late = np.asarray(batch.column("event_time")) <= arrival_ms - self.bound_ms
        if late.any():
            behind = batch.filter(pa.array(late))
            for event_id, moment in zip(
                behind.column("event_id").to_pylist(), behind.column("event_time").to_pylist(), strict=True
            ):
                yield _LATE, Row(partition, offset, event_id, moment, arrival_ms)
            batch = batch.filter(pa.array(~late))
        if not batch.num_rows:
            return
        for tag, parts in self.parts:
            for begin, part in parts.of(batch):
                yield tag, Row(begin, part)
        if self.wheres:
            events = self._looked_at(batch)
            if events.num_rows:
                yield Row(joined(events, self.fields))

    def _firsts(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The events whose id comes for the first time."""
        if self.seen is None:  # it begins, or begins again
            self.seen = FirstIds()
            for block in self.ids.get():
                self.seen.restore(bytes(block))
        new = self.seen.add(batch.column("event_id"))
        if not new.all():
            batch = batch.filter(pa.array(new))
        if batch.num_rows:
            self.ids.add(block_of(batch.column("event_id")))
        return batch

    def _looked_at(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The events that one of the other queries looks at."""
        if all(each is not None for each in self.wheres):
            wanted = [pc.fill_null(holds(batch, each), False) for each in self.wheres if each is not None]
            mask = wanted[0]
            for each in wanted[1:]:
                mask = pc.or_(mask, each)
            batch = batch.filter(mask)
        return batch


class WindowRows(TableFunction):  # type: ignore[misc]
    """The rows of a window, of the parts that were gathered for it."""

    def __init__(self, query: WindowQuery) -> None:
        self.asked = msgspec.json.encode(query)
        window = query.window
        # what hangs on the length is refused of windows that grow (`compile`)
        self.length_ms = 0 if isinstance(window, CumulateWindow | SessionWindow) else window.size_ms
        self.query: WindowQuery | None = None

    def eval(self, parts: list[bytes]) -> Iterator[tuple[Any, ...]]:
        if self.query is None:
            self.query = msgspec.json.decode(self.asked, type=WindowQuery)
        yield from rows_of(self.query, parts, self.length_ms)


def part_tag(query: Query) -> OutputTag:
    """Where a query's parts come out."""
    return OutputTag(f"parts {query.name}", _PART)


def event_fields(queries: tuple[Query, ...]) -> list[str]:
    """The fields that those queries look at which take event after event."""
    names = ["event_id", "event_time", "visitor_id"]
    return list(
        dict.fromkeys([*names, *(f for q in queries if not windowed(q.definition) for f in looked_at(q.definition))])
    )


_COLUMNS = {"text": DataTypes.STRING(), "number": DataTypes.DOUBLE(), "time": DataTypes.BIGINT()}


def _table(environment: StreamTableEnvironment, stream: Any, columns: dict[str, Any], rowtime: str | None) -> Table:
    """A stream as a table, its watermark as it comes."""
    schema = Schema.new_builder()
    for name, kind in columns.items():
        schema = schema.column(name, kind)
    if rowtime is not None:
        schema = schema.column_by_expression("rowtime", f"TO_TIMESTAMP_LTZ(`{rowtime}`, 3)")
        schema = schema.watermark("rowtime", "SOURCE_WATERMARK()")
    return environment.from_data_stream(stream, schema.build())


def build(environment: StreamTableEnvironment, program: Program) -> None:
    """Make the tables and functions that a program's statements take from."""
    environment.execute_sql(program.batches)
    batches = environment.to_data_stream(environment.from_path("batches"))
    fields = event_fields(program.queries)
    kinds = [known_field(name) for name in fields]
    # one key: an id is a copy whatever partition it is in
    cut = batches.key_by(lambda row: 0, key_type=Types.INT()).process(
        Cut(program.queries, program.bound_ms), Types.ROW_NAMED(["events"], [Types.STRING()])
    )
    cut.uid("cut").set_parallelism(1)
    for query in program.queries:
        if isinstance(query.definition, WindowQuery) and windowed(query.definition):
            parts = cut.get_side_output(part_tag(query))
            table = _table(environment, parts, {"slice_ms": DataTypes.BIGINT(), "part": DataTypes.BYTES()}, "slice_ms")
            environment.create_temporary_view(f"parts_{query.name}", table)
            cells = [_RESULTS[kind] for kind in kinds_of(query.definition)]
            function = udtf(WindowRows(query.definition), result_types=cells)
            environment.create_temporary_system_function(rows_function(query), function)
    late = {"source_partition": DataTypes.INT(), "source_offset": DataTypes.BIGINT(), "event_id": DataTypes.STRING()}
    late |= {"event_time_ms": DataTypes.BIGINT(), "arrival_ms": DataTypes.BIGINT()}
    environment.create_temporary_view("late_events", _table(environment, cut.get_side_output(_LATE), late, None))
    if any(not windowed(query.definition) for query in program.queries):
        environment.create_temporary_view(
            "joined_events", _table(environment, cut, {"events": DataTypes.STRING()}, None)
        )
        # taken apart by SQL, and given times of their own: both without Python
        apart = environment.to_data_stream(environment.sql_query(taken_apart(fields)))
        columns = {column_of(i): _COLUMNS[kind] for i, kind in enumerate(kinds)}
        singly = _table(environment, apart, columns, column_of(fields.index("event_time")))
        environment.create_temporary_view("single_events", singly)
        environment.execute_sql(single_events(fields))


def submit(program: Program, java: Path) -> None:
    """Hand a program to the cluster; its job has the id that its properties name."""
    with java_for_the_gateway(java):
        gateway = get_gateway()
        configuration = Configuration()
    for name, value in program.properties.items():
        configuration.set_string(name, value)
    # `get_execution_environment` begins a cluster in this process, whatever target it is given
    environments = gateway.jvm.org.apache.flink.streaming.api.environment
    stream = StreamExecutionEnvironment(environments.StreamExecutionEnvironment(configuration._j_configuration))
    environment = StreamTableEnvironment.create(stream)
    build(environment, program)
    for statement in program.statements[:-1]:
        environment.execute_sql(statement)
    environment.execute_sql(program.statements[-1])


def _end_with(parent: int) -> None:
    """End as soon as who started this is gone: a job that nobody knows of would run beside the one that takes its place."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os.killpg(os.getpid(), signal.SIGKILL)  # the JVM, too


def main() -> None:
    """Submit the program that comes on the standard input; the arguments are its Java, and the process that asks for it."""
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    submit(msgspec.json.decode(sys.stdin.buffer.read(), type=Program), Path(sys.argv[1]))
