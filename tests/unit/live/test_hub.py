"""The hub and its protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.errors import LiveError
from rtap_lab.live.hub import HISTORY, QUEUE, SUBSCRIPTIONS, Hub
from rtap_lab.live.protocol import Request, parse_request


def hub() -> Hub:
    return Hub(["a", "b"], "epoch")


def test_a_client_gets_greeting_snapshot_and_updates_without_gaps() -> None:
    it = hub()
    it.publish("a", "live", [{"n": 0}], appended_ms=1, received_ms=2)
    it.connect("c")
    it.request("c", Request("subscribe", "a"))
    greeting, snapshot = it.take("c")
    it.publish("a", "live", [{"n": 1}], appended_ms=1, received_ms=2)
    it.publish("b", "live", [{"n": 9}], appended_ms=1, received_ms=2)
    (update,) = it.take("c")
    assert greeting["type"] == "hello"
    assert (snapshot["rows"], snapshot["seq"]) == ([{"n": 0}], 1)
    assert (update["rows"], update["prev_seq"], update["seq"]) == ([{"n": 1}], 1, 2)
    assert it.take("c") == []


def test_a_slow_client_gets_a_snapshot_instead_of_what_it_missed() -> None:
    it = hub()
    it.connect("c")
    it.request("c", Request("subscribe", "a"))
    for n in range(QUEUE * 3):
        it.publish("a", "live", [{"n": n}], appended_ms=1, received_ms=2)
    messages = it.take("c")
    assert len(messages) <= QUEUE + 2
    assert messages[-1]["type"] == "snapshot"
    assert messages[-1]["seq"] == QUEUE * 3
    assert messages[-1]["rows"][-1] == {"n": QUEUE * 3 - 1}


def test_what_is_kept_for_a_client_that_reads_nothing_is_bounded() -> None:
    """20,000 subscribes took 321 MB: each queued a snapshot of its own."""
    it = hub()
    it.connect("c")
    it.publish("a", "live", [{"n": n} for n in range(HISTORY)], appended_ms=1, received_ms=2)
    for n in range(2_000):
        it.request("c", Request("subscribe", "a"))
        it.request("c", Request("ping"))
        it.publish("a", "live", [{"n": n}], appended_ms=1, received_ms=2)
        it.set_channels(["a"] if n % 2 else ["a", "b"])
    messages = it.take("c")
    assert [m["type"] for m in messages].count("snapshot") == 1
    assert [m["type"] for m in messages].count("hello") == 1
    assert len(messages) <= QUEUE + 2
    for n in range(SUBSCRIPTIONS - 1):
        it.request("c", Request("subscribe", "a", f"source{n}"))
    with pytest.raises(LiveError, match="may follow"):
        it.request("c", Request("subscribe", "a", "one-more"))
    it.request("c", Request("subscribe", "a"))


@given(
    st.lists(
        st.sampled_from(["publish", "subscribe", "unsubscribe", "take", "reset", "describe", "channels"]), max_size=60
    )
)
def test_no_client_ever_sees_a_gap(actions: list[str]) -> None:
    it = hub()
    it.connect("c")
    have: int | None = None
    for action in [*actions, "take"]:
        if action == "publish":
            it.publish("a", "live", [{}], appended_ms=1, received_ms=2)
        elif action == "reset":
            it.reset("a", "live")
        elif action == "describe":
            it.describe("a", "live", f"soon {have}")
        elif action == "channels":
            it.set_channels(["a"] if "b" in it.names else ["a", "b"])
        elif action in ("subscribe", "unsubscribe"):
            it.request("c", Request(action, "a"))
        else:
            for message in it.take("c"):
                if message["type"] == "snapshot":
                    have = message["seq"]
                elif message["type"] == "update":
                    assert message["prev_seq"] == have
                    have = message["seq"]


def test_history_is_bounded() -> None:
    it = hub()
    it.publish("a", "live", [{"n": n} for n in range(HISTORY * 2)], appended_ms=1, received_ms=2)
    it.connect("c")
    it.request("c", Request("subscribe", "a"))
    assert len(it.take("c")[-1]["rows"]) == HISTORY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"type": 1}',
        '{"type": "shout"}',
        '{"type": "subscribe", "channel": "zzz"}',
        '{"type": "subscribe", "channel": "a", "source": 5}',
        b"\xff",
    ],
)
def test_bad_requests_are_refused(text: str | bytes) -> None:
    with pytest.raises(LiveError):
        parse_request(text, frozenset(["a"]))


def test_a_client_is_told_what_comes_and_goes_and_when_the_first_row_is_due() -> None:
    it = hub()
    it.connect("c")
    it.take("c")
    it.describe("a", "live", "a session ends 30 min after its last event")
    it.request("c", Request("subscribe", "a"))
    (snapshot,) = it.take("c")
    assert snapshot["first_row"].startswith("a session ends 30 min")
    assert it.set_channels(["a", "b", "mine"]) == {"c"}
    (greeting,) = it.take("c")
    assert greeting["channels"] == ["a", "b", "mine"]
    it.publish("mine", "live", [{}], appended_ms=1, received_ms=2)
    it.set_channels(["a", "b"])
    it.set_channels(["a", "b", "mine"])
    it.request("c", Request("subscribe", "mine"))
    assert it.take("c")[-1]["rows"] == [], "what went is forgotten"
