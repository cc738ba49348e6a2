"""Queries of one's own through the gateway: bounded in time and rows, always ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rtap_lab.errors import SettingsError, StatementError
from rtap_lab.events.times import instant_text
from rtap_lab.flink.gateway import Session
from rtap_lab.flink.rest import TERMINAL
from rtap_lab.flink.standard import catalog
from rtap_lab.kafka.topics import Topics, events_topic
from rtap_lab.lab.runs import LIVE
from rtap_lab.settings import JobParameters

if TYPE_CHECKING:
    from rtap_lab.lab.core import Lab


def statements(lab: Lab, source: str) -> list[str]:
    """The catalog of a source, as statements."""
    addresses = lab.addresses
    if source != LIVE and source not in lab.sources():
        raise SettingsError(f"there is no recorded source {source!r}", hint="`rtap sources list`")
    run = lab.runs.all().get(source)
    bound = JobParameters.from_json(run["parameters"]).bound_ms if run else JobParameters().bound_ms
    if not run and source != LIVE:
        bound = lab.sources()[source]["disorder_ms"] + 1
    topic = events_topic(None if source == LIVE else source)
    ends = None
    if source != LIVE:
        found = Topics(addresses.kafka).ends([topic], committed=True)
        ends = {partition: end for (_, partition), end in found.items()}
    return catalog(topic=topic, bootstrap=addresses.kafka, group=f"rtap-query-{source}", bound_ms=bound, ends=ends)


def query(
    lab: Lab, statement: str, *, source: str, seconds: float, rows: int
) -> tuple[list[str], list[dict[str, Any]], str]:
    """See `Lab.sql`."""
    statement = statement.strip().rstrip(";").strip()
    if not statement:
        raise SettingsError("the statement is empty", hint='for example: rtap sql "SELECT * FROM events"')
    properties = {
        "execution.runtime-mode": "streaming",
        "table.local-time-zone": "UTC",
        "parallelism.default": "1",
        "state.backend.type": "hashmap",
        "pipeline.auto-watermark-interval": "50 ms",
        "pipeline.name": "query",
        "sql-client.execution.result-mode": "changelog",
    }
    found: list[dict[str, Any]] = []
    columns: list[str] = []
    why, job_id = "complete", None
    with Session(lab.addresses.url("gateway"), properties) as session:
        for each in statements(lab, source):
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
                if job_id and lab.runs.rest.job(job_id)["state"] not in TERMINAL:
                    lab.runs.rest.cancel(job_id)
    return columns, found[:rows], why


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
