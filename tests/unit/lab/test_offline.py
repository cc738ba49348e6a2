"""The offline lab: the notebook's API on the reference engine, in one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtap_lab import Lab
from rtap_lab.errors import JobError, SettingsError, SourceError
from rtap_lab.queries.aggregates import count, distinct
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.conditions import field
from rtap_lab.queries.query import WindowQuery
from rtap_lab.queries.watchlist import watchlist_queries
from rtap_lab.queries.windows import TumbleWindow

LINES = b"""{"event_id":"a","event_type":"page_view","event_time":"2026-01-01T10:00:00.000Z","visitor_id":"v","page":"/"}
{"event_id":"b","event_type":"page_view","event_time":"2026-01-01T10:00:05.000Z","visitor_id":"w","page":"/"}
not json
{"event_id":"a","event_type":"page_view","event_time":"2026-01-01T10:00:00.000Z","visitor_id":"v","page":"/"}
{"event_id":"c","event_type":"conversion","event_time":"2026-01-01T10:00:01.000Z","visitor_id":"v","name":"purchase","value":2.5}
{"event_id":"d","event_type":"nothing","event_time":"2026-01-01T10:00:01.000Z","visitor_id":"v"}
"""


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    (tmp_path / "shop.jsonl").write_bytes(LINES)
    return tmp_path / "shop.jsonl"


def test_a_file_becomes_answers(lines: Path) -> None:
    lab = Lab.offline()
    done = lab.import_jsonl(lines)
    assert (done.source, done.read, done.imported, done.rejected, done.disorder_ms) == ("shop", 6, 4, 2, 5000)
    assert lab.refused("shop")["reason"].tolist() == ["parse", "event_type"]
    assert lab.ledger("shop") == {
        "read": 4,
        "counted": 3,
        "duplicate": 1,
        "late": 0,
        "rejected": 0,
        "ticks": 0,
        "refused_lines": 2,
    }
    (row,) = lab.results("page_views_1m", "shop").to_dict("records")
    assert (row["page"], row["views"], row["visitors"]) == ("/", 2, 2)
    assert lab.results("conversions_1m", "shop")["value"].tolist() == [2.5]
    assert lab.import_jsonl(lines).already == [str(lines)]
    lab.run_standard("shop", bound="1s")
    assert lab.ledger("shop")["late"] == 1
    lab.remove_source("shop")
    assert lab.sources() == {}


def test_a_query_of_ones_own(lines: Path) -> None:
    lab = Lab.offline()
    lab.import_jsonl(lines, source="s")
    own = WindowQuery(TumbleWindow(2000), {"n": count(), "who": distinct("visitor_id")}, where=field("page") == "/")
    frame = lab.preview(own, "s")
    assert frame[["n", "who"]].values.tolist() == [[1, 1], [1, 1]]
    assert "not by Flink" in frame.attrs["engine"]
    assert len(lab.events("s")) == 3


def test_a_simulated_site_and_what_a_live_chart_would_get() -> None:
    lab = Lab.offline()
    assert lab.simulate("brisk", seconds=120).sent > 10_000
    assert lab.simulate("brisk", events=5).sent == 5
    messages = list(lab.watch("traffic_hop", "sessions"))
    updates = [m for m in messages if m["type"] == "update" and m["channel"] == "traffic_hop"]
    assert [m["prev_seq"] + 1 for m in updates] == [m["seq"] for m in updates] == list(range(1, len(updates) + 1))
    rows = [row for m in updates for row in m["rows"]]
    assert rows == lab.rows("traffic_hop")
    for query in packaged():
        if query not in watchlist_queries():
            assert len(lab.results(query.name)) > 0, query


def test_the_watchlist_sees_the_bots_of_a_story_and_nobody_else() -> None:
    lab = Lab.offline()
    lab.simulate("bot_attack", seconds=330)  # they come after five minutes
    for query in watchlist_queries():
        rows = lab.rows(query.name)
        assert rows, query
        bots = {row["visitor_id"] for row in rows if row["began"] >= "2026-01-01T10:05"}
        assert bots
        assert all(visitor.startswith("v9") for visitor in bots), query  # the story's bots
        assert len([row for row in rows if row["began"] < "2026-01-01T10:05"]) < 5, query


def test_it_says_what_it_is_not(lines: Path) -> None:
    lab = Lab.offline()
    assert "not by Flink" in repr(lab)
    assert "not by Flink" in lab._repr_html_()
    with pytest.raises(JobError, match="cannot verify"):
        lab.verify()
    with pytest.raises(JobError, match="no SQL"):
        lab.sql("SELECT 1")
    with pytest.raises(SourceError, match="no source 'x'"):
        lab.results("sessions", "x")
    with pytest.raises(SettingsError, match="speed"):
        next(lab.watch("sessions", speed=0))
    with pytest.raises(SettingsError, match="is not known"):
        lab.results("nothing")


def test_it_loads_no_flink_and_starts_nothing() -> None:
    code = (
        "import sys, psutil; from rtap_lab import Lab; lab = Lab.offline(); lab.simulate(events=2000); "
        "lab.results('traffic_hop'); assert not [m for m in sys.modules if m.split('.')[0] in ('pyflink', 'panel')]; "
        "assert not psutil.Process().children()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_slice_is_a_source_here_too(tmp_path: Path) -> None:
    from rtap_lab.recordings.slices import About, Recorded, digest_of, write

    live = Lab.offline()
    live.simulate("late_mobile", events=3000)
    records = [
        Recorded("events", 0, n, place.arrival_ms, None, value, ())
        for n, (value, place) in enumerate(live._sources["live"].records)
    ]
    facts = About("night", "events", 3000, digest_of(records), 2000, 12, 0, 0, "", {})
    write(tmp_path / "night.parquet", facts, records)
    lab = Lab.offline()
    assert lab.import_slice(tmp_path / "night.parquet") == 3000
    assert lab.ledger("night") == live.ledger()
    assert lab.rows("traffic_hop", "night") == live.rows("traffic_hop")
    with pytest.raises(SourceError, match="already"):
        lab.import_slice(tmp_path / "night.parquet")
