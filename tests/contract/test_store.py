"""One contract for every store: SQLite, and a real influxd."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import StoreError
from rtap_lab.queries.aggregates import Aggregate, count, last
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.conditions import field
from rtap_lab.queries.patterns import Measure, Pattern
from rtap_lab.queries.query import PatternQuery, Query, WindowQuery, query
from rtap_lab.queries.windows import TumbleWindow
from rtap_lab.services.store import command
from rtap_lab.settings import JobParameters
from rtap_lab.stack.process import free_port, spawn
from rtap_lab.store.embedded import EmbeddedStore
from rtap_lab.store.influx import InfluxStore
from rtap_lab.store.points import Point, point
from rtap_lab.store.port import RETENTION_MS, ROLLUP_MS, Store

QUERIES = packaged(JobParameters(within_ms=30_000))
VIEWS = QUERIES["page_views_1m"]
NOW = time.time_ns() // 1_000_000
HOUR = NOW // ROLLUP_MS * ROLLUP_MS - ROLLUP_MS


@pytest.fixture(scope="module")
def influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("influxd")
    port = free_port()
    server = spawn(command(folder, port), log=folder / "log", cwd=folder)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", timeout=1).json()["status"] == "pass":
                break
        except httpx.HTTPError:
            time.sleep(0.1)
    yield url
    server.stop(5)


@pytest.fixture(params=["sqlite", pytest.param("influxdb", marks=pytest.mark.influxd)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    if request.param == "sqlite":
        made = EmbeddedStore(tmp_path / "points.sqlite")
    else:
        made = InfluxStore(Endpoint(request.getfixturevalue("influxd")), "t" * 64)
    made.prepare()
    made.prepare()  # twice is once
    for source in ("live", "weblog"):
        made.remove(f"standard/{source}", source, list(QUERIES), [f"results.{source}.{q}" for q in QUERIES.names])
    yield made
    made.close()


def views(minute: int, page: str | None, n: int, source: str = "live") -> Point:
    start = HOUR + minute * 60_000 if source == "live" else 1_431_857_100_000 + minute * 60_000
    row = {"window_start": start, "window_end": start + 60_000, "page": page, "views": n, "visitors": 1}
    return point(VIEWS, source, row)


PAGES = [
    None,
    "",
    "/",
    "/a b",
    "/a,b=c",
    "/back\\",
    "/q\"uote'",
    "/new\nline",
    "/ünï/☃",
    "\u241b",
    " ",
    "/\ttab",
    "/x" * 300,
]


def test_points_come_back_as_they_were_whatever_the_key(store: Store) -> None:
    points = [views(n, page, n) for n, page in enumerate(PAGES)]
    store.write(points, {"results.page_views_1m": 5})
    found = sorted(store.rows(VIEWS, "live"), key=lambda row: row["window_start"])
    assert found == [p.row for p in points]
    assert store.offsets()["results.page_views_1m"] == 5


def test_a_time_range_is_read_alone_and_its_newest_rows_if_there_are_many(store: Store) -> None:
    store.write([views(minute, "/a", minute) for minute in range(20)], {"t": 1})
    ends = (HOUR + 6 * 60_000, HOUR + 10 * 60_000)  # points lie at the ends of windows; the last is not in it
    found = sorted(row["views"] for row in store.rows(VIEWS, "live", between=ends))
    assert found == [5, 6, 7, 8]
    assert sorted(row["views"] for row in store.rows(VIEWS, "live", between=ends, most=2)) == [7, 8]
    assert store.rows(VIEWS, "live", between=(0, 1)) == []


def test_writing_again_changes_nothing_and_another_value_replaces(store: Store) -> None:
    store.write([views(1, "/a", 1)], {"t": 1})
    store.write([views(1, "/a", 1)], {"t": 1})
    store.write([views(1, "/a", 7)], {"t": 2})
    (row,) = store.rows(VIEWS, "live")
    assert row["views"] == 7
    assert store.offsets()["t"] == 2


def test_every_query_keeps_its_rows(store: Store) -> None:
    at = HOUR
    rows = {
        "traffic_hop": [
            {"window_start": at + i, "window_end": at + i + 60_000, "views": 3, "visitors": 2} for i in (0, 10_000)
        ],
        "traffic_cumulate": [
            {"window_start": at, "window_end": at + m * 60_000, "views": m, "visitors": 1} for m in (1, 2)
        ],
        "sessions": [
            {
                "window_start": at,
                "window_end": at + 60_000,
                "visitor_id": "v",
                "events": 2,
                "page_views": 1,
                "entry_page": "",
                "exit_page": "/x\\",
                "bounced": True,
            },
            {
                "window_start": at,
                "window_end": at + 60_000,
                "visitor_id": "w",
                "events": 1,
                "page_views": 0,
                "entry_page": None,
                "exit_page": None,
                "bounced": False,
            },
        ],
        "conversions_1m": [
            {"window_start": at, "window_end": at + 60_000, "goal": "purchase", "conversions": 2, "value": 12.345678}
        ],
        "cart_to_purchase": [
            {"visitor_id": "v", "cart_time": at, "purchase_time": at + 1500, "seconds": 1.5},
            {"visitor_id": "v", "cart_time": at + 1, "purchase_time": at + 1500, "seconds": 1.499},
        ],
        "checkout_abandoned": [
            {"visitor_id": "v", "cart_time": at, "cart_event_id": "e1"},
            {"visitor_id": "v", "cart_time": at, "cart_event_id": "e2"},
        ],
    }
    points = [point(QUERIES[name], "live", row) for name, found in rows.items() for row in found]
    store.write(points, {})
    for name, expected in rows.items():
        found = store.rows(QUERIES[name], "live")
        assert sorted(found, key=str) == sorted(expected, key=str), name


def test_a_new_run_empties_its_source_only(store: Store) -> None:
    store.write([views(1, "/a", 1), views(1, "/a", 2, "weblog")], {})
    store.begin("standard/weblog", "run-2", "weblog", list(QUERIES), {"results.weblog.page_views_1m": 4})
    assert store.offsets()["results.weblog.page_views_1m"] == 4
    assert store.rows(VIEWS, "weblog") == []
    assert len(store.rows(VIEWS, "live")) == 1
    assert store.runs()["standard/weblog"] == "run-2"
    store.write([views(1, "/b", 3, "weblog")], {"results.weblog.page_views_1m": 9})
    assert len(store.rows(VIEWS, "weblog")) == 1
    store.remove("standard/weblog", "weblog", list(QUERIES), ["results.weblog.page_views_1m"])
    assert store.rows(VIEWS, "weblog") == []
    assert "standard/weblog" not in store.runs()
    assert "results.weblog.page_views_1m" not in store.offsets()


def test_the_rollup_sums_by_the_hour_and_again_is_the_same(store: Store) -> None:
    store.write([views(0, "/r", 2), views(59, "/r", 3), views(1, None, 4), views(1, "/r", 50, "weblog")], {})
    for _ in range(2):
        store.maintain([VIEWS], NOW)
        found = {row["page"]: row for row in store.rollup(VIEWS) if row["page"] in ("/r", None)}
        assert found["/r"]["views"] == 5
        assert found["/r"]["window_start"] == HOUR
        assert found["/r"]["window_end"] == HOUR + ROLLUP_MS
        assert found[None]["views"] == 4


def test_recorded_points_never_expire(store: Store) -> None:
    store.write([views(1, "/old", 1, "weblog")], {})
    store.maintain([VIEWS], NOW)
    assert len(store.rows(VIEWS, "weblog")) == 1


def test_live_points_expire(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "x.sqlite")  # InfluxDB's buckets expire by themselves
    store.prepare()
    store.write([views(1, "/a", 1)], {})
    store.maintain([VIEWS], NOW + RETENTION_MS + 3 * ROLLUP_MS)
    assert store.rows(VIEWS, "live") == []
    store.close()


@pytest.mark.influxd
def test_the_live_bucket_has_the_retention(influxd: str) -> None:
    store = InfluxStore(Endpoint(influxd), "t" * 64)
    store.prepare()
    bucket = store._client.buckets_api().find_bucket_by_name("live")
    assert bucket.retention_rules[0].every_seconds == RETENTION_MS // 1000
    recorded = store._client.buckets_api().find_bucket_by_name("recorded")
    assert recorded.retention_rules[0].every_seconds == 0, "kept for ever"
    store.close()


def test_a_store_that_is_not_there_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        EmbeddedStore(tmp_path / "file" / "x.sqlite").prepare()
    with pytest.raises(StoreError, match="InfluxDB"):
        InfluxStore(Endpoint(f"http://127.0.0.1:{free_port()}"), "t").offsets()


OWN = query(
    "own_matches",
    PatternQuery(
        Pattern.begin("a", field("name") == "a", times=(1, 3)).next("b", field("name") == "b").within("10s"),
        {"n": Measure("count", "a"), "worth": Measure("last", "b", "value"), "at": Measure("last", "b")},
    ),
)
"""Numbers, some of them missing, are part of a match's identity."""


def test_a_query_of_ones_own_keeps_its_kinds_and_goes(store: Store) -> None:
    store.begin("own_matches/live", "r1", "live", [OWN], {"results.own_matches": 0})
    rows = [
        {"visitor_id": "v", "n": 3, "worth": None, "at": HOUR, "match_id": "e1"},
        {"visitor_id": "v", "n": 3, "worth": 2.5, "at": HOUR, "match_id": "e2"},
    ]
    for _ in range(2):  # again changes nothing
        store.write([point(OWN, "live", row) for row in rows], {})
    assert sorted(store.rows(OWN, "live"), key=str) == sorted(rows, key=str)
    store.remove("own_matches/live", "live", [OWN], ["results.own_matches"])
    assert store.rows(OWN, "live") == []
    assert "own_matches/live" not in store.runs()


def test_another_identity_under_the_same_columns_makes_the_table_anew(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "x.sqlite")
    store.prepare()

    def asked(keys: dict[str, str], measures: dict[str, Aggregate]) -> Query:
        return query("y", WindowQuery(TumbleWindow(60_000), measures, keys))

    one = asked({"page": "page"}, {"country": last("country")})
    two = asked({"page": "page", "country": "country"}, {"n": count()})
    three = asked({"page": "page", "country": "country"}, {"country2": last("country")})
    for number, each in enumerate((one, two, three, one)):
        store.begin("y/live", f"r{number}", "live", [each], {})
        row = dict.fromkeys(each.schema.columns, None) | {
            "window_start": HOUR,
            "window_end": HOUR + 60_000,
            "page": "/",
        }
        row |= {"n": 1} if "n" in each.schema.columns else {}
        store.write([point(each, "live", row)], {})
        assert store.rows(each, "live") == [row]
    store.close()
