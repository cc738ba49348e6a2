"""The real InfluxDB 2: points as line protocol, written synchronously so that an acknowledgement is one.

Live points go to a bucket with retention, recorded ones to a bucket without; what was read and which
run is held are points of their own. Key columns are tags (`rtap_lab.store.points.key_text`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import StoreError
from rtap_lab.queries.query import Query
from rtap_lab.queries.schema import Kind, Schema
from rtap_lab.settings import LIVE
from rtap_lab.store.points import Point, key_text, key_value
from rtap_lab.store.port import RETENTION_MS, ROLLUP_MS

ORG = "rtap"
_RECORDED, _ROLLUP, _META = "recorded", "rollup", "meta"
_ALWAYS = ("1677-09-21T00:12:44Z", "2262-04-11T23:47:16Z")
_FAILURES = (ApiException, HTTPError, OSError)


_TYPED: dict[Kind, Callable[[Any], Any]] = {
    "text": str,
    "integer": int,
    "number": float,
    "boolean": lambda value: value is True or value == "True",
    "time": int,
}
"""Identity columns are tags, and tags are texts: a value by the kind of its column."""


def _tag(text: str) -> str:
    return text.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def line(point: Point) -> str:
    """A point in line protocol, milliseconds."""
    query, schema = point.query, point.query.schema
    tags = [f"source={_tag(point.source)}"]
    for name in schema.identity:
        text = key_text(point.row[name])
        if text:
            tags.append(f"{name}={_tag(text)}")
    fields = [
        f"{name}={_field(key_text(point.row[name]) if kind == 'text' else point.row[name])}"
        for name, kind in schema.measures.items()
        if point.row[name] is not None and name not in schema.identity
    ]
    return f"{query.name},{','.join(tags)} {','.join(fields) or 'present=true'} {point.time_ms}"


class InfluxStore:
    """A store in an InfluxDB 2.

    Args:
        endpoint: Where it is.
        token: Its all-access token; set up with it when it is new.
    """

    def __init__(self, endpoint: Endpoint, token: str) -> None:
        self.url = url = endpoint.address
        self._token = token
        self._client = InfluxDBClient(url=url, token=token, org=ORG, timeout=30_000)
        self._write = self._client.write_api(write_options=SYNCHRONOUS)

    def _fail(self, error: Exception) -> StoreError:
        said = getattr(error, "message", None) or str(error).splitlines()[0]
        return StoreError(f"store: InfluxDB at {self.url}: {said}", hint="`rtap logs store` shows its log")

    def prepare(self) -> None:
        import httpx

        try:
            setup = httpx.get(f"{self.url}/api/v2/setup", timeout=10, trust_env=False).json()
            if setup["allowed"]:
                body = {
                    "username": "rtap",
                    "org": ORG,
                    "bucket": _META,
                    "token": self._token,
                    "password": self._token[:32],
                }
                httpx.post(f"{self.url}/api/v2/setup", json=body, timeout=30, trust_env=False).raise_for_status()
            buckets = self._client.buckets_api()
            for name, seconds in ((LIVE, RETENTION_MS // 1000), (_RECORDED, 0), (_ROLLUP, 0), (_META, 0)):
                if buckets.find_bucket_by_name(name) is None:
                    rules = BucketRetentionRules(type="expire", every_seconds=seconds)
                    buckets.create_bucket(bucket_name=name, retention_rules=rules if seconds else None, org=ORG)
        except (*_FAILURES, httpx.HTTPError) as error:
            raise self._fail(error) from error

    @staticmethod
    def _bucket(source: str) -> str:
        return LIVE if source == LIVE else _RECORDED

    def _put(self, bucket: str, lines: list[str]) -> None:
        for begin in range(0, len(lines), 5000):
            self._write.write(bucket, ORG, "\n".join(lines[begin : begin + 5000]), write_precision=WritePrecision.MS)

    def write(self, points: Iterable[Point], offsets: Mapping[str, int]) -> None:
        by_bucket: dict[str, list[str]] = {}
        for each in points:
            by_bucket.setdefault(self._bucket(each.source), []).append(line(each))
        try:
            for bucket, lines in by_bucket.items():
                self._put(bucket, lines)
            # after the acknowledgement of the points: what is lost in between is written again
            self._put(_META, [f"offsets,topic={_tag(t)} next={n}i 0" for t, n in offsets.items()])
        except _FAILURES as error:
            raise self._fail(error) from error

    def _query(self, flux: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        try:
            tables = self._client.query_api().query(flux, params=parameters or {})
        except _FAILURES as error:
            raise self._fail(error) from error
        return [record.values for table in tables for record in table.records]

    def _meta(self, measurement: str, tag: str) -> dict[str, Any]:
        flux = f'''from(bucket: "{_META}") |> range(start: {_ALWAYS[0]}, stop: {_ALWAYS[1]})
          |> filter(fn: (r) => r._measurement == "{measurement}")'''
        return {row[tag]: row["_value"] for row in self._query(flux)}

    def offsets(self) -> dict[str, int]:
        return self._meta("offsets", "topic")

    def runs(self) -> dict[str, str]:
        return self._meta("runs", "source")

    def _delete(self, bucket: str, predicate: str, stop: str = _ALWAYS[1]) -> None:
        try:
            self._client.delete_api().delete(_ALWAYS[0], stop, predicate, bucket=bucket, org=ORG)
        except _FAILURES as error:
            raise self._fail(error) from error

    def _delete_rows(self, source: str, queries: Sequence[Query]) -> None:
        for query in queries:
            self._delete(self._bucket(source), f'_measurement="{query.name}" AND source="{source}"')

    def begin(self, key: str, run: str, source: str, queries: Sequence[Query], offsets: Mapping[str, int]) -> None:
        self._delete_rows(source, queries)
        try:
            self._put(_META, [f"offsets,topic={_tag(t)} next={n}i 0" for t, n in offsets.items()])
            self._put(_META, [f'runs,source={_tag(key)} run="{run}" 0'])
        except _FAILURES as error:
            raise self._fail(error) from error

    def remove(self, key: str, source: str, queries: Sequence[Query], topics: Iterable[str]) -> None:
        self._delete_rows(source, queries)
        if source == LIVE:
            for query in queries:
                if query.schema.additive:
                    self._delete(_ROLLUP, f'_measurement="{query.name}"')
        self._delete(_META, f'_measurement="runs" AND source="{key}"')
        held = self.offsets()
        for topic in topics:
            if topic in held:
                self._delete(_META, f'_measurement="offsets" AND topic="{topic}"')

    def rows(
        self, query: Query, source: str, *, between: tuple[int, int] | None = None, most: int | None = None
    ) -> list[dict[str, Any]]:
        start, stop = _ALWAYS if between is None else (f"time(v: {each * 1_000_000})" for each in between)
        newest = f'|> sort(columns: ["_time"], desc: true) |> limit(n: {most})' if most is not None else ""
        flux = f'''from(bucket: "{self._bucket(source)}")
          |> range(start: {start}, stop: {stop})
          |> filter(fn: (r) => r._measurement == "{query.name}" and r.source == "{source}")
          |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value") |> group() {newest}'''
        return [self._row(query.schema, record) for record in self._query(flux)]

    @staticmethod
    def _row(schema: Schema, record: dict[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, kind in schema.columns.items():
            value = record.get(name)
            if kind == "text" and value is not None:
                value = key_value(value)
            elif value is not None:
                value = _TYPED[kind](value)
            row[name] = value
        return row

    @staticmethod
    def _keys(schema: Schema, record: dict[str, Any]) -> dict[str, Any]:
        """The key columns of a rollup's record, whose tags are texts."""
        found: dict[str, Any] = {}
        for name, kind in schema.keys.items():
            text = record.get(name) or ""
            found[name] = key_value(text) if kind == "text" else _TYPED[kind](text) if text else None
        return found

    def maintain(self, queries: Iterable[Query], now_ms: int) -> None:
        # retention is the bucket's own; only whole hours still held may be summed again
        for query in queries:
            if not query.schema.additive:
                continue
            since = (now_ms - RETENTION_MS) // ROLLUP_MS * ROLLUP_MS + ROLLUP_MS
            fields = " or ".join(f'r._field == "{name}"' for name in query.schema.additive)
            self._query(f'''from(bucket: "{LIVE}")
              |> range(start: time(v: {since * 1_000_000}), stop: time(v: {(now_ms + ROLLUP_MS) * 1_000_000}))
              |> filter(fn: (r) => r._measurement == "{query.name}" and ({fields}))
              |> timeShift(duration: -1ms)
              |> drop(columns: ["window_start", "window_end"])
              |> aggregateWindow(every: 1h, fn: sum, timeSrc: "_start", createEmpty: false)
              |> to(bucket: "{_ROLLUP}", org: "{ORG}")''')

    def rollup(self, query: Query) -> list[dict[str, Any]]:
        schema = query.schema
        flux = f'''from(bucket: "{_ROLLUP}") |> range(start: {_ALWAYS[0]}, stop: {_ALWAYS[1]})
          |> filter(fn: (r) => r._measurement == "{query.name}")
          |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value") |> group()'''
        rows = []
        for record in self._query(flux):
            start = int(record["_time"].timestamp() * 1000)
            row: dict[str, Any] = {"window_start": start, "window_end": start + ROLLUP_MS}
            row |= InfluxStore._keys(schema, record)
            rows.append(row | {name: record.get(name) for name in schema.additive})
        return rows

    def close(self) -> None:
        self._write.close()
        self._client.close()
