"""How many points a second each store keeps, durably: as the writer writes them, and as influxdb-client's own objects would."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import influxdb_client
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import StoreError
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.standard import PAGE_VIEWS
from rtap_lab.services.store import command
from rtap_lab.settings import LIVE
from rtap_lab.stack.influxd import find_influxd
from rtap_lab.stack.process import free_port, spawn
from rtap_lab.store.embedded import EmbeddedStore
from rtap_lab.store.influx import ORG, InfluxStore
from rtap_lab.store.points import Point, point
from rtap_lab.store.port import Store
from rtap_lab.waiting import until

PAGES = 50
"""Rows of a window."""

_QUERY = packaged()[PAGE_VIEWS]
_TOPIC = "results.page_views_1m"
_MINUTE = 60_000

_READ = 200
"""Windows that are read back at once."""


def points_of(minutes: int, *, first: int = 0) -> list[Point]:
    """Points of so many windows of the last hours, the newest ones at the end.

    Args:
        minutes: Windows.
        first: Which window is the first.
    """
    begin = time.time_ns() // 1_000_000 // 86_400_000 * 86_400_000 - 3 * 86_400_000
    return [
        point(
            _QUERY,
            LIVE,
            {
                "window_start": begin + minute * _MINUTE,
                "window_end": begin + (minute + 1) * _MINUTE,
                "page": f"/product/{page}",
                "views": minute + page,
                "visitors": minute,
            },
        )
        for minute in range(first, first + minutes)
        for page in range(PAGES)
    ]


@dataclass
class Kept:
    """What one store did."""

    points: int
    seconds: float
    read_s: float
    """Until all of them were read back."""
    missing: int
    """Points that were not there, or were others."""

    @property
    def per_s(self) -> float:
        return self.points / self.seconds


def keep(store: Store, minutes: int, batch: int, *, write: Callable[[list[Point]], None] | None = None) -> Kept:
    """Write points in batches, as the writer does after it has read a batch of rows, and read them back.

    Args:
        store: An empty one.
        minutes: Windows.
        batch: Points that are acknowledged together.
        write: Another way to write them; the store's own when left out.
    """
    made = points_of(minutes)
    began = time.perf_counter()
    for at in range(0, len(made), batch):
        some = made[at : at + batch]
        if write is not None:
            write(some)
        else:
            store.write(some, {_TOPIC: at + len(some)})
    took = time.perf_counter() - began
    began = time.perf_counter()
    found = []
    for first in range(0, minutes, _READ):  # as a page reads: a range at a time
        begin = int(made[0].row["window_end"]) + first * _MINUTE
        found += store.rows(_QUERY, LIVE, between=(begin, begin + _READ * _MINUTE))
    read = time.perf_counter() - began
    key = _QUERY.schema.identity
    there = {tuple(row[name] for name in key): row for row in found}
    missing = sum(there.get(tuple(each.row[name] for name in key)) != each.row for each in made)
    return Kept(len(made), took, read, missing + max(0, len(found) - len(made)))


@contextmanager
def sqlite() -> Iterator[EmbeddedStore]:
    """A new embedded store."""
    with _folder() as folder:
        store = EmbeddedStore(folder / "points.sqlite")
        store.prepare()
        yield store
        store.close()


@contextmanager
def influxdb() -> Iterator[tuple[InfluxStore, Callable[[list[Point]], None]]]:
    """A new InfluxDB as the lab starts one: its store, and a way to write points as the client library's own objects.

    Raises:
        StoreError: When there is no influxd, or it does not start.
    """
    if find_influxd() is None:
        raise StoreError("there is no influxd to measure", hint="`rtap fetch influxdb` builds one")
    with _folder() as folder:
        port, token = free_port(), secrets.token_hex(32)
        endpoint = Endpoint(f"http://127.0.0.1:{port}")
        server = spawn(command(folder, port), log=folder / "log", cwd=folder)
        try:
            client = influxdb_client.InfluxDBClient(url=endpoint.address, token=token, org=ORG, timeout=30_000)
            until(client.ping, 60, lambda: StoreError("influxd did not start within 60 s"))
            store = InfluxStore(endpoint, token)
            store.prepare()
            api = client.write_api(write_options=SYNCHRONOUS)

            def write(some: list[Point]) -> None:
                try:
                    api.write(LIVE, ORG, [_as_object(each) for each in some])
                except (ApiException, HTTPError) as error:
                    raise StoreError(f"influxd does not take the client library's points: {error}") from error

            yield store, write
            client.close()
            store.close()
        finally:
            server.stop(10)


def _as_object(each: Point) -> influxdb_client.Point:
    found = influxdb_client.Point(each.query.name).tag("source", each.source).time(each.time_ms, "ms")
    for name in each.query.schema.identity:
        found.tag(name, str(each.row[name]))
    for name in each.query.schema.measures:
        if name not in each.query.schema.identity:
            found.field(name, each.row[name])
    return found


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="rtap-store-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
