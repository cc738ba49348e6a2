"""Answers: rows from the store, and updates from the hub."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from rtap_lab.jobs.model import run_of, runs_on
from rtap_lab.lab.context import Context
from rtap_lab.lab.rows import Row
from rtap_lab.lab.subjects import await_store
from rtap_lab.live.client import watch as watch_hub
from rtap_lab.queries.waits import first_row


def rows(context: Context, query: str, source: str) -> list[Row]:
    """The rows of a query from the store, sorted by time, then keys; instants are RFC 3339 texts.

    Waits until the writer has caught up with the topic; while nothing is up, the embedded store answers as it is.
    """
    asked = context.query(query, source)
    context.check_source(source)
    store = context.open_store()
    try:
        run = run_of(context.runs.read(), query, source)
        if run is not None and context.is_up:
            await_store(context, store, run)
        return asked.schema.written(store.rows(asked, source))
    finally:
        store.close()


def why_empty(context: Context, query: str, source: str) -> str:
    """Why a query has no rows yet, in one sentence."""
    asked = context.query(query, source)
    run = run_of(context.runs.read(), query, source)
    if run is None:
        return f"no job answers {query} on {source}: `rtap jobs run`"
    if run.state in ("finished", "drained"):
        return f"no event of {source} gave a row"
    if not context.is_up:
        return "nothing is up, and none came before: `rtap up`"
    topics = context.topics
    starts, ends = topics.starts([run.events]), topics.ends([run.events])
    if sum(ends.values()) == sum(starts.values()):
        return f"{source} has no records yet: `rtap simulate` sends some"
    return f"{first_row(asked.definition)}; `rtap status` shows how far time has come"


def digest(context: Context, source: str) -> str:
    """SHA-256 of all rows of all queries that run on a source: equal for equal answers."""
    hashed = hashlib.sha256()
    for run in runs_on(context.runs.read(), source):
        for query in run.queries:
            hashed.update(f"{query.name} {json.dumps(rows(context, query.name, source))}".encode())
    return hashed.hexdigest()


def watch(
    context: Context, queries: tuple[str, ...], source: str, stop: threading.Event | None
) -> Iterator[dict[str, Any]]:
    """Yield snapshots and updates of queries from the hub, for ever or until `stop` is set."""
    for name in queries:
        context.query(name, source)
    return watch_hub(context.endpoints.hub, queries, source=source, stop=stop)
