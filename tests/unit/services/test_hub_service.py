"""What the hub's follower publishes: topics, runs and schemas as they come and go, and a reader that fails."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from rtap_lab.endpoints import Endpoint
from rtap_lab.kafka.reader import Arrived
from rtap_lab.live.hub import Hub
from rtap_lab.live.protocol import HISTORY, Subscribe
from rtap_lab.live.server import LiveServer
from rtap_lab.queries.aggregates import count
from rtap_lab.queries.query import Query, WindowQuery
from rtap_lab.queries.windows import TumbleWindow
from rtap_lab.services import hub as service
from rtap_lab.store.writer import Feed

PAGES = Query("pages", WindowQuery(TumbleWindow(60_000), {"n": count()}, {"page": "page"}))


def value(n: int) -> bytes:
    row = {"window_start": "2026-11-27T18:00:00Z", "window_end": "2026-11-27T18:01:00Z", "page": f"/{n}", "n": n}
    return json.dumps(row).encode()


@dataclass
class Topic:
    """A reader of one topic, which may fail after it has read."""

    values: list[bytes]
    position: int = 0
    fails: bool = False
    followed: list[dict[str, int]] = field(default_factory=list)

    def follow(self, topics: dict[str, int]) -> None:
        self.followed.append(dict(topics))
        self.position = topics.get("results.pages", 0)

    def poll(self, timeout: float) -> Arrived:
        found = [("results.pages", n, self.values[n], 5) for n in range(self.position, len(self.values))]
        self.position = len(self.values)
        if self.fails:
            self.fails = False
            raise ConnectionError("the broker is away")
        return Arrived(found, {"results.pages": self.position})


class Lab:
    """The follower of a lab with one run, without its processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
        self.topic = Topic([value(n) for n in range(rows)])
        self.feeds = [Feed("results.pages", PAGES, "live", "standard/live", "run 1", 0)]
        self.server = LiveServer(Hub("a hub"), "secret")
        monkeypatch.setattr(service, "TopicReader", lambda *_: self.topic)
        monkeypatch.setattr(service, "jobs_document", lambda _: SimpleNamespace(read=dict))
        monkeypatch.setattr(service, "verdicts_document", lambda _: SimpleNamespace(read=dict))
        monkeypatch.setattr(service, "catalog", lambda _: [PAGES])
        ends: Any = lambda topics, committed: {(name, 0): len(self.topic.values) for name in topics}  # noqa: E731
        endpoints = SimpleNamespace(kafka=None, flink=Endpoint("http://127.0.0.1:1"))
        site = SimpleNamespace(endpoints=endpoints, topics=SimpleNamespace(ends=ends))
        process: Any = SimpleNamespace(name="hub", site=site, state=None, feeds=lambda: list(self.feeds), runs=dict)
        loop: Any = SimpleNamespace(call_soon_threadsafe=lambda act, *arguments: act(*arguments))
        monkeypatch.setattr(LiveServer, "_wake_up", lambda *_: None)  # nobody is connected
        self.follower = service._Follower(process, self.server, loop, SimpleNamespace(upto_ms={}))  # type: ignore[arg-type]

    def shown(self) -> dict[str, Any]:
        hub = self.server.hub
        hub.connect("c")
        hub.request("c", Subscribe("pages"))
        found = [message.body for message in hub.take("c", 0) if message.body["type"] == "snapshot"]
        hub.disconnect("c")
        return found[0] if found else {}


def test_provisional_rows_are_final_once_a_checkpoint_that_began_after_them_is_complete() -> None:
    final = service.Finality()
    for seq, appended_ms in ((1, 100), (2, 100), (4, 120), (5, 90)):
        final.appended("results.pages", seq, appended_ms)
    assert final.seq("results.pages") is None
    final.begun("results.pages", 100)
    assert final.seq("results.pages") is None, "appended in the same millisecond: perhaps after it began"
    final.begun("results.pages", 101)
    assert final.seq("results.pages") == 2
    final.begun("results.pages", 121)
    assert final.seq("results.pages") == 5
    final.forget("results.pages")
    assert final.seq("results.pages") is None


def test_what_was_there_is_read_before_it_is_shown_and_a_failed_poll_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = Lab(monkeypatch, rows=5)
    lab.topic.fails = True
    with pytest.raises(ConnectionError):
        lab.follower.step()
    assert lab.shown() == {}, "nothing yet"
    lab.follower.step()
    assert lab.shown()["seqs"] == [1, 2, 3, 4, 5]
    lab.topic.values += [value(5), b"no row", value(7)]
    lab.topic.fails = True
    with pytest.raises(ConnectionError):
        lab.follower.step()
    lab.follower.step()
    assert lab.shown()["seqs"] == [1, 2, 3, 4, 5, 6, 8], "the foreign row is set aside"
    assert lab.topic.followed[-1] == {"results.pages": 5}


def test_a_long_topic_is_read_from_where_it_matters_and_another_run_is_another_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = Lab(monkeypatch, rows=3 * HISTORY)
    lab.follower.step()
    assert lab.topic.followed == [{"results.pages": HISTORY}]
    shown = lab.shown()
    assert (len(shown["rows"]), shown["seq"], shown["epoch"]) == (HISTORY, 3 * HISTORY, "run 1")
    lab.feeds = [Feed("results.pages", PAGES, "live", "standard/live", "run 2", 3 * HISTORY)]
    lab.topic.values.append(value(1))
    lab.follower.step()
    assert (lab.shown()["epoch"], lab.shown()["seqs"]) == ("run 2", [3 * HISTORY + 1])
    lab.feeds = []
    lab.follower.step()
    assert (lab.shown()["epoch"], lab.shown()["rows"]) == ("", [])
