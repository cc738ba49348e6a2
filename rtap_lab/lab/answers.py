"""Answers: rows from the store, and updates from the hub."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from rtap_lab.errors import SettingsError
from rtap_lab.jobs.model import run_of, runs_on
from rtap_lab.lab.context import Context
from rtap_lab.lab.rows import Row
from rtap_lab.lab.subjects import await_store
from rtap_lab.live.access import LIFE_S, issue
from rtap_lab.live.client import watch as watch_hub
from rtap_lab.live.protocol import MODULE, Subscribe
from rtap_lab.queries.waits import first_row


class Asking(TypedDict, total=False):
    """What a client of the hub asks for of a query (docs/live-protocol.md)."""

    where: Mapping[str, Any]
    """Only rows whose columns have these values."""
    columns: Sequence[str]
    """Only these columns."""
    latest_by: Sequence[str]
    """Only the newest row of each value of these columns."""
    rate: float
    """Updates a second at most; 0: each as it comes."""


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


MOST_SHOWN = 2_000
"""Rows of a live chart's first picture: as many as the hub shows a moment later."""


def newest_rows(context: Context, query: str, source: str, most: int = MOST_SHOWN) -> list[Row]:
    """The newest rows of a query as the store has them now, sorted by time: for a picture that the hub's rows replace."""
    asked = context.query(query, source)
    context.check_source(source)
    store = context.open_store()
    try:
        found = store.rows(asked, source, most=most)
    finally:
        store.close()
    return asked.schema.written(sorted(found, key=asked.schema.point_time_ms))


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


@dataclass(frozen=True)
class HubAccess:
    """What a client of the hub needs (docs/live-protocol.md)."""

    url: str
    """Of the WebSocket; of several hubs, with a comma between two."""
    module: str
    """Where a page of this machine imports the browser's client from."""
    token: str
    expires: float
    """Seconds since the epoch."""


def hub_access(context: Context) -> HubAccess:
    """Where the hub is, and a new token."""
    hub, now = context.endpoints.hub, time.time()
    first = hub.each[0].address.replace("ws://", "http://", 1)
    return HubAccess(hub.address, f"{first}{MODULE}", issue(hub.secret or "", now), int(now) + LIFE_S)


def watch(
    context: Context, queries: tuple[str, ...], source: str, stop: threading.Event | None, asked: Asking
) -> Iterator[dict[str, Any]]:
    """Yield snapshots and updates of queries from the hub, for ever or until `stop` is set."""
    for name in queries:
        schema = context.query(name, source).schema
        columns = [*asked.get("where", {}), *asked.get("columns", ()), *asked.get("latest_by", ())]
        if unknown := [column for column in columns if column not in schema.columns]:
            raise SettingsError(
                f"watch: {name} has no column {unknown[0]!r}", hint=f"it has {', '.join(schema.columns)}"
            )
    about: dict[str, Any] = {
        "where": dict(asked.get("where", {})),
        "columns": list(asked.get("columns", ())),
        "latest_by": list(asked.get("latest_by", ())),
        "rate": asked.get("rate", 0.0),
    }
    return watch_hub(
        context.endpoints.hub, [Subscribe(name, source=source, **about) for name in queries], source=source, stop=stop
    )
