"""Queries of one's own on the real stack: kept running beside the standard job, shown, survived, and proven."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from rtap_lab.errors import JobError, NotRunningError, SettingsError, SourceError
from rtap_lab.kafka.names import results_topic
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.queries.builders import Measure, begin, count, distinct, field, tumble
from rtap_lab.stack.supervisor import find_services
from rtap_lab.waiting import until
from tests.integration.test_answers import rtap

DEVICES = (
    tumble("5s")
    .by("device")
    .where(field("event_type") == "page_view")
    .agg(views=count(), visitors=distinct("visitor_id"))
)
BROWSED = (
    begin("product", field("page").starts_with("/product/"))
    .then_not(field("name") == "add_to_cart", within="5s")
    .by("visitor_id")
    .telling(page=Measure("last", "product", "page"))
)


def names_compared(lab: Lab) -> set[str]:
    report = lab.verify(full=True)
    assert report.exact, str(report)
    assert not report.not_compared
    return {each.name for each in report.compared if each.rows > 0}


@pytest.fixture(scope="module", autouse=True)
def _gone_at_the_end(stack: Lab) -> Iterator[None]:
    """Three jobs at once are much for two cores: the tests after these have one."""
    yield
    for name in {"devices_5s", "browsed_only"} & set(stack.catalog.names):
        stack.remove_job(name)


@pytest.fixture
def two_queries(stack: Lab) -> Lab:
    stack.run("devices_5s", DEVICES)
    stack.run("browsed_only", BROWSED, title="Looked at a product, put nothing into the cart")
    return stack


@pytest.mark.long  # test_asking runs queries of its own, too
def test_a_window_and_an_absence_run_beside_the_standard_job(two_queries: Lab) -> None:
    lab = two_queries
    received: list[str] = []
    stop = threading.Event()

    def follow() -> None:
        for message in lab.watch("devices_5s", "browsed_only", stop=stop):
            if message["type"] == "update":
                received.append(message["channel"])

    follower = threading.Thread(target=follow)
    follower.start()
    before = {run.run for run in lab.runs().values()}
    lab.simulate(seconds=15, seed=11)
    assert {lab.run("devices_5s", DEVICES).run} <= before, "the same again goes on"

    assert names_compared(lab) >= {"devices_5s", "browsed_only", "sessions"}
    frame = lab.results("devices_5s")
    assert list(frame.columns) == ["window_start", "window_end", "device", "views", "visitors"]
    assert set(frame["device"]) >= {"mobile", "desktop", "tablet"}
    browsed = lab.results("browsed_only")
    assert list(browsed.columns) == ["visitor_id", "page", "match_time", "match_id"]
    assert browsed["page"].str.startswith("/product/").all()
    until(lambda: {"devices_5s", "browsed_only"} <= set(received), 30, lambda: AssertionError(str(set(received))))
    stop.set()
    follower.join(10)

    listed = json.loads(rtap(lab, "jobs", "list", "--json").stdout)
    assert {"standard", "devices_5s", "browsed_only"} <= {each["name"] for each in listed}
    csv = rtap(lab, "results", "devices_5s", "--format", "csv").stdout.splitlines()
    assert csv[0] == "window_start,window_end,device,views,visitors"
    assert len(csv) == len(lab.rows("devices_5s")) + 1
    assert len(rtap(lab, "results", "devices_5s", "--format", "csv", "--tail", "2").stdout.splitlines()) == 3
    shown = json.loads(rtap(lab, "verify", "--json").stdout)
    assert shown["exact"]
    assert {run["job"] for run in shown["runs"]} >= {"standard", "devices_5s", "browsed_only"}


@pytest.mark.long
def test_they_survive_a_taskmanagers_death_and_down_and_up(two_queries: Lab) -> None:
    lab = two_queries
    runs = {key: run.run for key, run in lab.runs().items() if run.source == "live"}
    stop = threading.Event()
    shop = threading.Thread(target=lab.simulate, kwargs={"seconds": 90, "seed": 12, "stop": stop})
    shop.start()
    topics = [results_topic(name, "live") for name in ("devices_5s", "browsed_only")]

    def rows() -> list[int]:
        return [len(lab.rows(name)) for name in ("devices_5s", "browsed_only")]

    try:
        before = rows()
        assert find_services(lab.state.folder)["taskmanager"].signal(signal.SIGKILL)
        until(
            lambda: all(new > old for new, old in zip(rows(), before, strict=True)),
            120,  # three jobs come back on two cores
            lambda: AssertionError(str(rows())),
        )
        until(lambda: lab.status()["ok"], 60, lambda: AssertionError(str(lab.status()["jobs"])))
    finally:
        stop.set()
        shop.join(60)
    assert names_compared(lab) >= {"devices_5s", "browsed_only"}
    assert lab.down()
    assert len(lab.rows("devices_5s")) > 0, "the store answers while the stack is down"
    with pytest.raises(NotRunningError):
        _ = lab.endpoints
    Lab.up(lab.state.folder)
    until(lambda: lab.status()["ok"], 60, lambda: AssertionError(str(lab.status()["jobs"])))
    assert {key: run.run for key, run in lab.runs().items() if run.source == "live"} == runs, "the same runs go on"
    lab.simulate(seconds=8, seed=13)
    assert names_compared(lab) >= {"devices_5s", "browsed_only", "sessions"}
    assert all(sum(Topics(lab.endpoints.kafka).ends([topic]).values()) > 0 for topic in topics)


@pytest.mark.long  # lesson 06 stops and goes on
def test_they_stop_go_on_and_leave(two_queries: Lab) -> None:
    lab = two_queries
    lab.simulate(seconds=4, seed=14)
    assert rtap(lab, "jobs", "stop", "devices_5s").returncode == 0
    assert lab.runs()["devices_5s/live"].state == "stopped"
    report = lab.verify(full=True)
    assert report.exact, str(report)
    assert any("devices_5s" in words for words in report.not_compared), "said, not passed over"
    assert lab.status()["ok"], "what nobody wants to run is no fault"
    assert rtap(lab, "jobs", "run", "devices_5s").returncode == 0
    assert rtap(lab, "jobs", "remove", "browsed_only").returncode == 0
    assert "browsed_only" not in lab.catalog
    assert results_topic("browsed_only", "live") not in Topics(lab.endpoints.kafka).names()
    for refused, words in (("sessions", "taken"), ("standard", "taken"), ("late", "taken"), ("No", "name")):
        with pytest.raises(SettingsError, match=words):
            lab.run(refused, DEVICES)
    with pytest.raises(SourceError, match="no recorded source"):
        lab.run("nowhere", DEVICES, "nowhere")
    with pytest.raises(SettingsError, match="is not known"):
        lab.rows("browsed_only")
    with pytest.raises(JobError, match="has not run"):
        lab.stop_job("devices_5s", "weblog")
    assert rtap(lab, "jobs", "remove", "standard").returncode == 2
    assert rtap(lab, "jobs", "run", "nobody").returncode == 2
    lab.remove_job("devices_5s")
    assert set(lab.runs()) >= {"standard/live"}
    assert not {"devices_5s/live", "browsed_only/live"} & set(lab.runs())


def test_the_first_look_at_an_idle_lab_is_a_fresh_one(stack: Lab) -> None:
    until(lambda: stack.status()["jobs"][0]["lag"] == 0, 30, lambda: AssertionError(str(stack.status()["jobs"])))
    time.sleep(12)  # Flink's own cache of metrics is ten seconds old by then
    (job,) = [each for each in stack.status()["jobs"] if (each["name"], each["source"]) == ("standard", "live")]
    age = datetime.now(UTC).timestamp() - datetime.fromisoformat(job["watermark"]).timestamp()
    assert age < 2 + 5, "the bound, and a moment"
    assert job["lag"] == 0, "ticks are no lag"


@pytest.mark.long
def test_twenty_queries_share_a_job_and_are_exact(stack: Lab) -> None:
    """One slot, one reading of the source: what a class of learners needs on two cores."""
    jobs = stack.catalog.names
    names = [f"board_{n:02d}" for n in range(20)]
    asked = [
        tumble(f"{2 + n % 5}s").by(("page", "device", "country")[n % 3]).agg(n=count(), visitors=distinct("visitor_id"))
        for n in range(20)
    ]
    try:
        stack.run_together("board", [stack.query(name, each) for name, each in zip(names, asked, strict=True)])
        stack.simulate(seconds=12, seed=51)
        assert names_compared(stack) >= set(names)
        assert len(stack.rows("board_00")) > 0
        with pytest.raises(SettingsError, match="no more fit"):
            stack.run_together("board", {f"more_{n}": asked[0] for n in range(30)})
        assert "more_0" not in stack.catalog
    finally:
        stack.remove_job("board")
    assert stack.catalog.names == jobs
