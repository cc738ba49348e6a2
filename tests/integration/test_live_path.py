"""The live path on the stack: the past from the store, and a client through a hub's death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import LiveError
from rtap_lab.events.model import TICK
from rtap_lab.events.times import instant_text
from rtap_lab.kafka.clients import producer
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.live.access import issue
from rtap_lab.live.client import ask, snapshots
from rtap_lab.live.protocol import Events, History, Latest, Subscribe, authorize, encode, messages_of
from rtap_lab.queries.standard import standard_queries
from rtap_lab.stack.supervisor import find_services
from rtap_lab.waiting import until


def test_the_past_is_the_stores_rows_of_a_range_and_joins_the_live_ones(stack: Lab) -> None:
    stack.simulate(rate=40, seconds=15, seed=41)
    for name in ("page_views_1m", "cart_to_purchase", "checkout_abandoned"):
        run = stack.runs()["standard/live"]
        schema = next(query for query in run.queries if query.name == name).schema
        rows = [schema.normal(row) for row in stack.rows(name)]
        times = sorted({schema.point_time_ms(row) for row in rows})
        assert times, name
        begin, end = times[0], times[-1] + 1
        found = ask(stack.endpoints.hub, History(name, begin, end))
        past = [schema.normal(row) for row in found["rows"]]
        assert [row for row in rows if row not in past] == [], name
        later = [row for row in past if row not in rows]
        assert all(schema.point_time_ms(row) == times[-1] for row in later), (
            "but for one of the same moment that just came"
        )
        assert not found["more"]
        assert found["upto"] >= sum(Topics(stack.endpoints.kafka).starts([run.topics[name]]).values())
        newest = ask(stack.endpoints.hub, History(name, begin, end, limit=1))
        assert newest["more"] is (len(rows) > 1)
        assert schema.point_time_ms(schema.normal(newest["rows"][0])) == times[-1]
        shown = [schema.normal(row) for row in snapshots(stack.endpoints.hub, [name], "live")[name]]
        assert rows[-1] in shown, "what the store has, clients were shown"


def test_a_client_goes_on_where_it_was_after_the_hub_was_killed(stack: Lab) -> None:
    names, stop = [query.name for query in standard_queries()], threading.Event()
    shop = threading.Thread(target=stack.simulate, kwargs={"rate": 40, "seconds": 45, "seed": 42, "stop": stop})
    collected: list[dict[str, Any]] = []

    def collect() -> None:
        for message in stack.watch(*names, stop=stop):
            collected.append(message)

    reader = threading.Thread(target=collect)
    reader.start()
    shop.start()
    try:
        until(lambda: len(collected) > len(names) + 2, 60, lambda: AssertionError("nothing came"))
        before = len(collected)
        assert find_services(stack.state.folder)["hub"].signal(signal.SIGKILL)
        until(lambda: stack.status()["ok"], 60, lambda: AssertionError(str(stack.status()["problems"])))
        until(lambda: len(collected) > before + 3, 60, lambda: AssertionError("nothing came any more"))
    finally:
        stop.set()
        shop.join()
        reader.join()
    snaps = [message for message in collected if message["type"] == "snapshot"]
    assert len(snaps) == len(names), "it went on from where it was: no second snapshot"
    for name in names:
        places = [seq for message in collected if message["channel"] == name for seq in message["seqs"]]
        assert places == sorted(set(places)), f"{name}: a step back, or a row twice"
    verified = stack.verify(full=True)
    assert verified.exact, str(verified)


def test_the_command_line_follows_a_query_and_ends_with_ctrl_c(stack: Lab) -> None:
    command = [sys.executable, "-m", "rtap_lab.cli", "watch", "traffic_hop", "--json"]
    environment = {**os.environ, "RTAP_STATE": str(stack.state.folder)}
    stack.simulate(rate=40, seconds=12, seed=45)
    until(lambda: stack.rows("traffic_hop"), 60, lambda: AssertionError("no row"))
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert (first["type"], first["channel"]) == ("snapshot", "traffic_hop")
        stack.simulate(rate=40, seconds=12, seed=46)
        news = json.loads(watching.stdout.readline())
        assert (news["type"], news["prev_seq"]) == ("update", first["seq"])
        assert news["rows"]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0
    unknown = subprocess.run([*command[:4], "no_such"], env=environment, capture_output=True, text=True, timeout=60)
    assert unknown.returncode != 0
    assert "no_such" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def told(hub: Endpoint, channel: str, kind: str, patience_s: float = 60.0) -> dict[str, Any]:
    """The first notice of a kind that a new client of a hub is told."""
    deadline = time.monotonic() + patience_s
    with connect(hub.address, proxy=None) as socket:
        socket.send(authorize(issue(hub.secret or "", time.time())))
        socket.send(encode(Subscribe(channel)))
        while True:
            for message in messages_of(socket.recv(timeout=max(0.1, deadline - time.monotonic()))):
                if message["type"] == kind:
                    return message


def test_a_verdict_is_told_and_the_events_behind_a_row_are_those_it_counts(stack: Lab) -> None:
    stack.simulate(rate=40, seconds=15, seed=43)
    until(lambda: stack.rows("page_views_1m"), 120, lambda: AssertionError("no row"))
    report = stack.verify(full=True)
    assert report.exact, str(report)
    rows = next(c.rows for c in report.compared if (c.name, c.where) == ("page_views_1m", "topic"))

    def is_told() -> bool:  # not the verdict before: the hub looks once a second
        verdict = told(stack.endpoints.hub, "page_views_1m", "verdict")
        return bool(verdict["exact"]) and verdict["rows"] == rows

    until(is_told, 20, lambda: AssertionError("the verdict was not told"))
    for name, measure in (("page_views_1m", "views"), ("sessions", "events"), ("traffic_hop", "views")):
        for row in snapshots(stack.endpoints.hub, [name], "live")[name][-3:]:
            found = ask(stack.endpoints.hub, Events(name, row, limit=1000))
            assert (found["found"], found["complete"]) == (row[measure], True), (name, row)
            assert len(found["events"]) == min(1000, row[measure])


def test_the_newest_events_are_those_of_the_log_whatever_becomes_of_them(stack: Lab) -> None:
    stack.simulate(rate=100, seconds=3, seed=46)
    out = producer(stack.endpoints.kafka)
    for number in range(3):
        out.produce(LIVE_EVENTS, b'{"event_id": "feed %d"}' % number, b"k")
    assert out.flush(10) == 0

    def newest() -> list[dict[str, Any]] | None:
        """The newest, once those three are among them."""
        found: list[dict[str, Any]] = ask(stack.endpoints.hub, Latest(limit=100))["events"]
        return found if sum(each.get("event_id", "").startswith("feed ") for each in found) == 3 else None

    found = until(newest, 10)
    assert found
    assert len(found) == 100
    assert len({each["place"] for each in found}) == 100
    arrivals = [each["arrival"] for each in found]
    assert arrivals == sorted(arrivals, reverse=True)
    assert all(each.get("event_type") != TICK for each in found)
    for refused, words in (
        (Latest(limit=0), "1 to 100"),
        (Latest(limit=101), "1 to 100"),
        (Latest("nowhere"), "no run reads"),
    ):
        with pytest.raises(LiveError, match=words):
            ask(stack.endpoints.hub, refused)


def test_two_hubs_show_the_same_through_a_death_and_provisional_rows_become_final(tmp_path: Path) -> None:
    lab = Lab.up(tmp_path / "state", gap="5s", within="10s", delivery="low_latency", hubs=2)
    try:
        hubs = lab.endpoints.hub.each
        assert len(hubs) == 2
        assert {"hub", "hub-2"} <= {each["name"] for each in lab.status()["services"]}
        stop, seen = threading.Event(), list[dict[str, Any]]()

        def collect() -> None:
            seen.extend(lab.watch("sessions", stop=stop))

        reader = threading.Thread(target=collect)
        reader.start()
        shop = threading.Thread(target=lab.simulate, kwargs={"rate": 60, "seconds": 25, "seed": 44})
        shop.start()
        until(lambda: lab.rows("sessions"), 90, lambda: AssertionError("no visit ended"))
        final = told(hubs[0], "sessions", "final")
        assert final["seq"] > 0
        for name in ("hub", "hub-2"):  # whichever it follows
            assert find_services(lab.state.folder)[name].signal(signal.SIGKILL)
            until(lambda: lab.status()["ok"], 60, lambda: AssertionError(str(lab.status()["problems"])))
        shop.join()
        report = lab.verify(full=True)
        assert report.exact, str(report)
        stop.set()
        reader.join()

        def shows_the_same() -> bool:  # a row may come between the two questions
            first, second = (snapshots(hub, ["sessions"], "live") for hub in hubs)
            return len(first["sessions"]) > 100 and first == second

        until(shows_the_same, 30, lambda: AssertionError("the hubs show different rows"), every=1)
        places = [seq for message in seen for seq in message["seqs"]]
        assert places == sorted(set(places)), "a step back, or a row twice"
        assert [message["type"] for message in seen].count("snapshot") == 1
    finally:
        lab.down()


def test_a_watermark_moves_without_an_event_and_no_row_comes_behind_it(stack: Lab) -> None:
    run = stack.runs()["standard/live"]
    schemas = {query.name: query.schema for query in run.queries}
    upto_ms: dict[str, list[int]] = {name: [] for name in schemas}
    rows = 0
    shop = threading.Thread(target=stack.simulate, kwargs={"rate": 60, "seconds": 12, "seed": 47})
    shop.start()
    deadline, quiet_since = time.monotonic() + 60, 0.0
    with connect(stack.endpoints.hub.address, proxy=None) as socket:
        socket.send(authorize(issue(stack.endpoints.hub.secret or "", time.time())))
        for name in schemas:
            socket.send(encode(Subscribe(name)))
        while time.monotonic() < deadline and not (quiet_since and time.monotonic() - quiet_since > 13):
            for message in messages_of(socket.recv(timeout=30)):
                channel = message.get("channel", "")
                if message["type"] == "watermark":
                    assert message["epoch"] == run.run
                    upto_ms[channel].append(message["upto_ms"])
                elif message["type"] == "update":
                    for row in message["rows"]:
                        at = schemas[channel].row_time_ms(schemas[channel].normal(row))
                        behind = max(upto_ms[channel], default=0)
                        assert at > behind, f"{channel}: told final to {instant_text(behind)}, then came {row}"
                        rows += 1
            if not quiet_since and not shop.is_alive():
                quiet_since = time.monotonic()
                moved = {name: len(each) for name, each in upto_ms.items()}
    shop.join()
    assert rows > 50
    for name, told_ms in upto_ms.items():
        assert told_ms == sorted(told_ms), name
        assert len(told_ms) > moved[name] + 2, f"{name}: nothing was told while nobody came"
        assert time.time() * 1000 - told_ms[-1] < run.parameters.bound_ms + 15_000
