"""The Python client, against a server in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import LiveError
from rtap_lab.live.client import ask, ping, snapshots, watch
from rtap_lab.live.protocol import History, Row
from rtap_lab.queries.schema import Schema
from rtap_lab.stack.process import free_port
from tests.hubs import HubThread

SCHEMA = Schema(keys={}, measures={"n": "integer"})


def row(n: int) -> Row:
    return {"window_start": "s", "window_end": "e", "n": n}


@pytest.fixture
def served() -> Iterator[HubThread]:
    made = HubThread(SCHEMA, lambda asked: {"rows": [row(asked.begin_ms)], "more": False, "upto": 3})
    made.start()
    yield made
    made.stop()


def test_it_goes_on_from_where_it_was_when_the_hub_is_back(served: HubThread) -> None:
    served.publish((1, row(1)), (2, row(2)))
    seen: list[dict[str, Any]] = []
    stop = threading.Event()
    for message in watch(served.endpoint, ["a"], stop=stop):
        seen.append(message)
        if message["seq"] == 2:
            served.stop()
            served.topic.append((4, row(4)))
            served.start()
            served.publish((5, row(5)))
        if message["seq"] == 5:
            stop.set()
    assert [message["type"] for message in seen].count("snapshot") == 1
    assert [each["n"] for message in seen for each in message["rows"]] == [1, 2, 4, 5]
    assert all(message["ref"] == "a/live" and message["client_ms"] > 0 for message in seen)


def test_greeting_snapshots_and_the_past(served: HubThread) -> None:
    served.publish((1, row(1)))
    assert ping(served.endpoint) is None
    assert snapshots(served.endpoint, ["a"], "live") == {"a": [row(1)]}
    found = ask(served.endpoint, History("a", 7, 9))
    assert (found["rows"], found["more"], found["upto"]) == ([row(7)], False, 3)
    with pytest.raises(LiveError, match="'zzz' is not known"):
        snapshots(served.endpoint, ["zzz"], "live")
    with pytest.raises(LiveError, match="does not know this lab's token"):
        next(watch(Endpoint(served.endpoint.address, secret="guessed"), ["a"]))
    with pytest.raises(LiveError, match="does not answer"):
        next(watch(Endpoint(f"ws://127.0.0.1:{free_port()}", secret="secret"), ["a"], reconnect=False))
