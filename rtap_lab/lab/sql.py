"""Queries of one's own through the gateway: bounded in time and rows, always ended."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtap_lab.errors import SettingsError, StatementError
from rtap_lab.events.times import instant_text
from rtap_lab.flink.gateway import Session
from rtap_lab.flink.properties import TERMINAL, look_properties
from rtap_lab.flink.statements import catalog
from rtap_lab.kafka.names import events_topic
from rtap_lab.lab.context import Context
from rtap_lab.settings import LIVE
from rtap_lab.stack.components import jars

if TYPE_CHECKING:
    import pandas as pd


def statements(context: Context, source: str) -> list[str]:
    """The catalog of a source, as statements."""
    context.check_source(source)
    topic = events_topic(source)
    ends, recorded = None, context.sources.read().get(source)
    if source != LIVE:
        ends = {partition: end for (_, partition), end in context.topics.ends([topic], committed=True).items()}
    return catalog(
        topic=topic,
        kafka=context.endpoints.kafka,
        group=f"rtap-query-{source}",
        bound_ms=context.lateness_bound_ms(source),
        ends=ends,
        steady=recorded is not None and recorded.steady,
    )


def table_environment(context: Context, source: str) -> Any:
    """A PyFlink `TableEnvironment` on the lab's cluster; see `Lab.table_environment`."""
    from rtap_lab.flink.session import table_environment as make  # it imports pyflink

    connector: list[Path] = [path for path in jars("flink") if "connector" in path.name]
    return make(
        context.endpoints.flink,
        statements(context, source),
        java=context.site.java,
        jars=connector,
        python=sys.executable,
    )


def look(
    context: Context, statement: str, *, source: str, seconds: float, rows: int
) -> tuple[list[str], list[dict[str, Any]], str]:
    """See `Lab.sql`."""
    statement = statement.strip().rstrip(";").strip()
    if not statement:
        raise SettingsError("the statement is empty", hint='for example: rtap sql "SELECT * FROM events"')
    properties = look_properties() | {
        "pipeline.auto-watermark-interval": "50 ms",
        "pipeline.name": "query",
        "sql-client.execution.result-mode": "changelog",
    }
    found: list[dict[str, Any]] = []
    columns: list[str] = []
    why, job_id = "complete", None
    with Session(context.endpoints.gateway, properties) as session:
        for each in statements(context, source):
            session.configure(each)
        operation = session.start(statement)
        deadline = time.monotonic() + seconds
        started = False
        ended = False
        try:
            for page in session.pages(operation, statement):
                if page is None:
                    # planning and submission do not count: the seconds are for rows
                    if not started:
                        deadline = max(deadline, time.monotonic() + min(seconds, 1.0))
                        if time.monotonic() > deadline + 60:
                            raise StatementError("flink: the statement did not start", sql=statement)
                    time.sleep(0.05)
                else:
                    if not started:
                        started, deadline = True, time.monotonic() + seconds
                    columns, job_id = page.columns, page.job_id or job_id
                    for kind, values in zip(page.kinds, page.rows, strict=True):
                        row = {c: _value(v) for c, v in zip(columns, values, strict=True)}
                        _apply(found, kind, row)
                    if not page.rows:
                        time.sleep(0.02)
                if len(found) >= rows:
                    why = "rows"
                    break
                if time.monotonic() > deadline:
                    why = "seconds"
                    break
            else:
                ended = True
        finally:
            if not ended:
                session.end(operation)
                if job_id and context.site.flink.job(job_id)["state"] not in TERMINAL:
                    context.site.flink.cancel(job_id)
    return columns, found[:rows], why


def look_frame(
    context: Context, statement: str, *, source: str = LIVE, seconds: float = 10, rows: int = 100
) -> pd.DataFrame:
    """The same as a DataFrame."""
    import pandas as pd

    columns, found, why = look(context, statement, source=source, seconds=seconds, rows=rows)
    frame = pd.DataFrame(found, columns=columns)
    frame.attrs["ended_by"] = why
    return frame


def _apply(rows: list[dict[str, Any]], kind: str, row: dict[str, Any]) -> None:
    """Keep the rows as the changelog leaves them."""
    if kind in ("INSERT", "UPDATE_AFTER"):
        rows.append(row)
    elif row in rows:
        rows.remove(row)


def _value(value: Any) -> Any:
    if isinstance(value, dict) and "epochSecond" in value:
        return instant_text(int(value["epochSecond"]) * 1000 + int(value.get("nano", 0)) // 1_000_000)
    return value
