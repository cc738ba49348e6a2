"""The hub and its clients: what they hold is decided by the topic alone, whatever happens to the wire and to hubs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from rtap_lab.errors import LiveError
from rtap_lab.live import hub as hubs
from rtap_lab.live import views
from rtap_lab.live.checksum import checksum, row_hash
from rtap_lab.live.hub import IDLE_S, SUBSCRIPTIONS, Hub
from rtap_lab.live.protocol import (
    HISTORY,
    Encoding,
    Message,
    Ping,
    Position,
    Subscribe,
    Unsubscribe,
    Update,
    Verdict,
    authorize,
    encode,
    frame,
    messages_of,
    parse_authorize,
    parse_request,
)
from rtap_lab.live.replica import Replica
from rtap_lab.queries.schema import Schema

Row = dict[str, Any]
A = Schema(keys={"page": "text"}, measures={"n": "integer"})
LEAN = Schema(keys={}, measures={"n": "integer"}, windowed=False, time_column="n")


def row(n: int, page: str = "/") -> Row:
    return {"window_start": f"{n}", "window_end": f"{n + 1}", "page": page, "n": n}


def hub(*, epoch: str = "run 1", begins: int = 0, rows: int = 0) -> Hub:
    it = Hub("a hub", {"a": A, "b": LEAN})
    it.begin("a", "live", epoch, begins)
    publish(it, *range(1, rows + 1))
    it.loaded("a", "live")
    return it


def publish(it: Hub, *places: int, pages: int = 3) -> None:
    rows = [(n, row(n, f"/{n % pages}")) for n in places]
    it.publish("a", "live", rows, appended_ms=1, received_ms=2)


def taken(it: Hub, client: str = "c", now_s: float = 0.0) -> list[Row]:
    return [message.body for message in it.take(client, now_s)]


def of(kind: str, messages: list[Row]) -> list[Row]:
    return [message for message in messages if message["type"] == kind]


def test_a_client_gets_greeting_snapshot_and_updates_without_gaps() -> None:
    it = hub(rows=2)
    it.connect("c")
    it.request("c", Subscribe("a"))
    greeting, answer, snapshot = taken(it)
    assert greeting["heads"] == {"a/live": {"epoch": "run 1", "head": 2}}
    assert (answer["view"], answer["recovered"], answer["columns"]) == ("a/live", False, list(A.columns))
    assert (snapshot["seqs"], snapshot["seq"]) == ([1, 2], 2)
    publish(it, 4, 5)  # 3 is a transaction's marker
    (update,) = taken(it)
    assert (update["prev_seq"], update["seq"], update["seqs"]) == (2, 5, [4, 5])
    assert update["checksum"] == checksum([*snapshot["rows"], *update["rows"]], answer["columns"])
    assert taken(it) == []
    (idle,) = taken(it, now_s=IDLE_S + 1)
    assert (idle["rows"], idle["prev_seq"], idle["seq"]) == ([], 5, 5)


def test_a_message_is_encoded_once_for_all_clients() -> None:
    it = hub(rows=3)
    for name in ("c", "d"):
        it.connect(name)
        it.request(name, Subscribe("a"))
    first, second = it.take("c", 0)[-1], it.take("d", 0)[-1]
    assert first is second
    publish(it, 4)
    first, second = it.take("c", 0)[-1], it.take("d", 0)[-1]
    assert first is second
    assert first.encoded("json") is second.encoded("json")


def test_a_client_goes_on_from_where_it_was_also_at_another_hub() -> None:
    other = hub(rows=9)
    other.connect("c")
    other.request("c", Subscribe("a", resume=Position("run 1", 4)))
    _, answer, update = taken(other)
    assert answer["recovered"] is True
    assert (update["prev_seq"], update["seqs"]) == (4, [5, 6, 7, 8, 9])
    other.request("c", Subscribe("a", resume=Position("run 0", 4)))
    answer, snapshot = taken(other)
    assert (answer["recovered"], snapshot["reason"]) == (False, "another run answers now")
    publish(other, *range(10, 2 * HISTORY))
    other.request("c", Subscribe("a", resume=Position("run 1", 4)))
    answer, snapshot = taken(other)
    assert (answer["recovered"], snapshot["reason"]) == (False, "more rows came than are kept")
    assert len(snapshot["rows"]) == HISTORY


def test_a_client_that_reads_nothing_costs_nothing_and_is_never_shown_old_news() -> None:
    """20,000 subscribes took 321 MB: each queued a snapshot of its own."""
    it = hub(rows=HISTORY)
    it.connect("c")
    for n in range(2_000):
        it.request("c", Subscribe("a"))
        it.request("c", Ping())
        publish(it, HISTORY + 1 + n)
    messages = taken(it)
    assert [len(of(kind, messages)) for kind in ("hello", "subscribed", "snapshot", "update")] == [1, 1, 1, 0]
    assert len(messages) <= SUBSCRIPTIONS + 3
    assert messages[-1]["seq"] == HISTORY + 2_000
    for n in range(SUBSCRIPTIONS - 1):
        it.request("c", Subscribe("a", f"source{n}"))
    with pytest.raises(LiveError, match="may follow"):
        it.request("c", Subscribe("a", "one-more"))


def test_a_filter_a_choice_of_columns_the_newest_by_key_and_a_rate() -> None:
    it = hub(rows=6)
    it.connect("c")
    it.request("c", Subscribe("a", ref="one page", where={"page": "/1"}, columns=["n"]))
    it.request("c", Subscribe("a", ref="newest", latest_by=["page"], rate=2))
    messages = taken(it)
    (one, newest) = of("snapshot", messages)
    assert [each["rows"] for each in (one,)] == [[{"n": 1}, {"n": 4}]]
    assert [each["n"] for each in newest["rows"]] == [4, 5, 6]
    assert len({each["view"] for each in of("subscribed", messages)}) == 2
    publish(it, 7, 8, 9, 10)
    (update,) = taken(it)
    assert update["rows"] == [{"n": 7}, {"n": 10}], "the other waits for its half second"
    assert it.due_s("c") == 0.5
    publish(it, 11)
    (update,) = taken(it, now_s=0.6)
    assert [each["n"] for each in update["rows"]] == [9, 10, 11], "of each page the newest alone"
    assert (update["prev_seq"], update["seq"]) == (6, 11), "and the range is said"


def test_equal_values_of_other_kinds_are_other_questions_and_a_view_has_one_name() -> None:
    it = hub(rows=3)
    names = []
    for client, value in (("c", 1), ("d", 1.0), ("e", True)):
        it.connect(client)
        it.request(client, Subscribe("a", ref="mine", where={"n": value}))
        messages = [message.body for message in it.take(client, 0)]
        (view,) = of("subscribed", messages)
        (shown,) = of("snapshot", messages)
        names.append((view["view"], [row["n"] for row in shown["rows"]]))
    assert [rows for _, rows in names] == [[1], [1], []]
    assert names[0] == names[1]


def test_rows_that_were_let_go_are_told_from_those_of_an_earlier_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page asks the store for the first, and there are none of the second: its oldest window would seem cut."""
    monkeypatch.setattr(views, "HISTORY", 3)
    it = hub()
    it.begin("a", "live", "run 2", 500)  # the topic holds an earlier run's rows before
    it.loaded("a", "live")
    it.connect("c")
    it.request("c", Subscribe("a"))
    publish(it, 501, 502)
    assert [(each["forgotten"], each["begins"]) for each in of("snapshot", taken(it))] == [(500, 500)]
    publish(it, 503, 504)
    assert [(each["forgotten"], each["begins"]) for each in of("update", taken(it))] == [(501, 500)]
    it.begin("a", "live", "run 2", 700, begins=500)  # a hub that came later reads no more than it keeps
    it.loaded("a", "live")
    publish(it, 701)
    assert [(each["forgotten"], each["begins"]) for each in of("snapshot", taken(it))] == [(700, 500)]


def test_a_client_follows_a_view_under_one_name() -> None:
    """What is sent names the view: two names of it, with two rates, would make each of them miss what the other got."""
    it = hub(rows=3)
    it.connect("c")
    it.request("c", Subscribe("a", ref="fast", where={"n": 1}))
    with pytest.raises(LiveError, match="followed already, as 'fast'"):
        it.request("c", Subscribe("a", ref="slow", where={"n": 1.0}, rate=1))
    it.request("c", Subscribe("a", ref="fast", where={"n": 1}, rate=1))
    it.request("c", Unsubscribe("fast"))
    it.request("c", Subscribe("a", ref="slow", where={"n": 1}))


def test_runs_of_one_query_may_differ_by_source() -> None:
    """With other parameters a query has another schema: that of a source came, and the rows of all others went."""
    it = hub(rows=2)
    it.connect("c")
    it.request("c", Subscribe("a"))
    taken(it)
    other = Schema(keys={"page": "text"}, measures={"n": "integer"}, span_ms=5)
    it.set_channels({"a": other, "b": LEAN})
    it.begin("a", "weblog", "run 9", 0, schema=other)
    it.loaded("a", "weblog")
    publish(it, 3)
    (update,) = taken(it)
    assert (update["type"], update["seqs"]) == ("update", [3])


def test_sources_that_nobody_has_leave_nothing() -> None:
    it = hub()
    it.connect("c")
    for n in range(50):
        it.request("c", Subscribe("a", f"nowhere{n}", ref="mine"))
    it.request("c", Unsubscribe("mine"))
    assert list(it._channels) == [("a", "live")]
    it.connect("d")
    assert list(taken(it, "d")[0]["heads"]) == ["a/live"]
    assert it.publish("zzz", "live", [(1, {})], appended_ms=0, received_ms=0) == set(), "its query went"
    assert it.loaded("zzz", "live") == set()


def test_a_client_that_hashes_otherwise_ends_aloud() -> None:
    client = Replica([Subscribe("a")])
    client.connected()
    client.receive({"type": "hello", "channels": ["a"]})

    def talk() -> None:
        for _ in range(9):
            it = hub(rows=2)
            it.connect("c")
            for request in client.asks():
                it.request("c", request)
            for message in it.take("c", 0):
                client.receive(message.body | {"checksum": 1})

    with pytest.raises(LiveError, match="out of step again and again"):
        talk()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Subscribe("zzz"), "'zzz' is not known: one of a, b"),
        (Subscribe("a", where={"pgae": 1}), "no column 'pgae'"),
        (Subscribe("a", columns=["x"]), "no column 'x'"),
        (Subscribe("a", rate=1e9), "up to 50 updates"),
        (Subscribe("a", source="s" * 41), "names"),
    ],
)
def test_what_cannot_be_followed_is_refused(request_: Subscribe, words: str) -> None:
    it = hub()
    it.connect("c")
    with pytest.raises(LiveError, match=words):
        it.request("c", request_)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"type": 1}',
        '{"type": "shout"}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "channel": "a", "source": 5}',
        '{"type": "subscribe", "channel": "a", "colour": "red"}',
        b"\xff",
        "[" * 100_000,
    ],
)
def test_bad_requests_are_refused(text: str | bytes) -> None:
    for encoding in ("json", "msgpack"):
        with pytest.raises(LiveError):
            parse_request(text, encoding)  # type: ignore[arg-type]
    with pytest.raises(LiveError):
        parse_authorize(text)


def test_a_client_is_told_what_comes_and_goes_and_when_the_first_row_is_due() -> None:
    it = hub()
    it.begin("b", "live", "run 1", 0, first_row="a session ends 30 min after its last event", first_row_ms=1_800_000)
    it.connect("c")
    it.request("c", Subscribe("b"))
    assert of("snapshot", taken(it)) == [], "what was there is still being read"
    it.loaded("b", "live")
    (snapshot,) = of("snapshot", taken(it))
    assert snapshot["first_row"].startswith("a session ends 30 min")
    assert snapshot["first_row_ms"] == 1_800_000
    assert it.set_channels({"a": A, "b": LEAN, "mine": A}) == {"c"}
    (greeting,) = taken(it)
    assert greeting["channels"] == ["a", "b", "mine"]
    it.begin("b", "live", "run 2", 7)
    it.loaded("b", "live")
    (snapshot,) = taken(it)
    assert (snapshot["epoch"], snapshot["reason"], snapshot["rows"]) == ("run 2", "another run answers now", [])
    it.end("b", "live")
    assert taken(it)[0]["epoch"] == ""


def test_a_client_of_a_query_that_went_is_told_and_follows_again_when_it_is_back() -> None:
    it = hub(rows=2)
    client = Replica([Subscribe("a")])

    def talk() -> None:
        for _ in range(3):
            for request in client.asks():
                it.request("c", request)
            for message in it.take("c", 0):
                client.receive(message.body)

    it.connect("c")
    client.connected()
    talk()
    held = client.held("a/live")
    assert held is not None
    assert len(held) == 2
    it.set_channels({"b": LEAN})
    talk()
    other = Schema(keys={}, measures={"n": "integer"})
    it.set_channels({"a": other, "b": LEAN})
    it.begin("a", "live", "run 2", 0, schema=other)
    it.publish("a", "live", [(7, {"window_start": "0", "window_end": "1", "n": 5})], appended_ms=1, received_ms=2)
    it.loaded("a", "live")
    talk()
    held = client.held("a/live")
    assert held is not None
    assert (held.places(), held.columns) == ([7], list(other.columns))
    it.set_channels({"a": A, "b": LEAN})
    it.publish("a", "live", [(8, {"window_start": "1", "window_end": "2", "n": 6})], appended_ms=1, received_ms=2)
    talk()
    held = client.held("a/live")
    assert held is not None
    assert held.places() == [7, 8], "what a run answers goes on, whatever its job asks by now"
    it.begin("a", "live", "run 3", 0, schema=A)
    it.loaded("a", "live")
    talk()
    assert client.position("a/live").epoch == "run 3", "also when its columns changed in one step"


def test_a_row_that_comes_again_is_shown_once_where_rows_may_come_again() -> None:
    it = Hub("a hub", {"a": A})
    it.begin("a", "live", "run 1", 0, provisional=True)
    it.loaded("a", "live")
    publish(it, 1, 2)
    it.publish("a", "live", [(3, row(1, "/1")), (4, row(2, "/2") | {"n": 9})], appended_ms=1, received_ms=2)
    it.connect("c")
    it.request("c", Subscribe("a"))
    snapshot = taken(it)[-1]
    assert (snapshot["provisional"], snapshot["seqs"], snapshot["seq"]) == (True, [1, 2, 4], 4)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text()
)


@given(st.lists(st.fixed_dictionaries({"n": VALUES, "page": VALUES}), max_size=5), st.sampled_from(["json", "msgpack"]))
def test_frames_carry_what_was_said(rows: list[Row], encoding: Encoding) -> None:
    about = {
        "view": "v",
        "channel": "a",
        "source": "live",
        "epoch": "run 1",
        "seq": 9,
        "forgotten": 0,
        "begins": 0,
        "provisional": False,
    }
    about |= {
        "first_row": "",
        "first_row_ms": 0,
        "due_ms": 0,
        "bound_ms": 0,
        "prev_seq": 1,
        "appended_ms": 1,
        "received_ms": 2,
    }
    said = Update(**about, rows=rows, seqs=list(range(len(rows))), checksum=checksum(rows, ["n", "page"]))
    messages = [Message(said)] * (len(rows) * 9 or 1)
    found = messages_of(frame(messages, encoding))
    assert [each["rows"] for each in found] == [rows] * len(messages)
    assert found[0]["type"] == "update"
    assert found[0]["checksum"] == checksum(found[0]["rows"], ["n", "page"])
    request = Subscribe("a", where={"n": 1}, resume=Position("run", 5))
    assert parse_request(encode(request, encoding), encoding) == request
    assert parse_authorize(authorize("token", encoding)).encoding == encoding


def test_the_checksum_is_the_documents() -> None:
    """The browser's is compared with these in tests/browser/test_live_client.py."""
    assert row_hash({"a": "é", "b": 1.5, "c": None, "d": True}, ["a", "b", "c", "d"]) == DOCUMENTED
    assert checksum([{"a": 1}, {"a": 2}], ["a"]) == checksum([{"a": 2}, {"a": 1}], ["a"])
    assert row_hash({"a": 1}, ["a"]) == row_hash({"a": 1.0}, ["a"]) != row_hash({"a": "1"}, ["a"])


DOCUMENTED = 2191978809
"""As docs/live-protocol.md says it."""


class InStep(RuleBasedStateMachine):
    """Two hubs over one topic and a client, on a wire that loses, repeats and swaps frames, and is cut at any moment."""

    keep = HISTORY
    """Rows that a view keeps."""
    most_markers = 3
    """Places between two rows at most that hold none."""
    provisional = False
    """Whether rows may come again after a failure."""

    @initialize()
    def begin(self) -> None:
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(views, "HISTORY", self.keep)
        self.topic: list[tuple[int, Row]] = []
        self.run, self.began = 1, 0
        self.hubs = [self.a_hub(), self.a_hub()]
        self.read = [0, 0]
        self.at: int | None = None
        self.client = Replica(
            [
                Subscribe("a"),
                Subscribe("a", ref="newest", latest_by=["page"]),
                Subscribe("a", ref="one", where={"page": "/1"}),
            ]
        )
        self.wire: list[list[str | bytes]] = []
        self.shown: dict[str, tuple[str, int]] = {}
        self.now = 0.0

    def a_hub(self) -> Hub:
        it = Hub("a hub", {"a": A, "b": LEAN})
        it.begin("a", "live", f"run {self.run}", self.began, provisional=self.provisional)
        it.loaded("a", "live")
        return it

    def next_place(self, markers: int) -> int:
        return (self.topic[-1][0] if self.topic else self.began) + 1 + min(markers, self.most_markers)

    @rule(rows=st.integers(1, 40), markers=st.integers(0, 3))
    def append(self, rows: int, markers: int) -> None:
        at = self.next_place(markers)
        self.topic += [(n, row(n, f"/{n % 3}")) for n in range(at, at + rows)]

    @precondition(lambda self: self.provisional and self.topic)
    @rule(rows=st.integers(1, 10))
    def the_newest_come_again(self, rows: int) -> None:
        """The job failed, and writes again what came after its newest checkpoint: not more than hubs allow for."""
        first = {each["n"]: place for place, each in reversed(self.topic)}
        again = [place for place, each in self.topic[-2 * self.keep :] if first[each["n"]] != place]
        if len(again) + rows > self.keep - 10:
            return
        at = self.next_place(0)
        self.topic += [(at + n, each) for n, (_, each) in enumerate(self.topic[-rows:])]

    @rule(which=st.integers(0, 1), rows=st.integers(1, 60))
    def hub_reads(self, which: int, rows: int) -> None:
        new = self.topic[self.read[which] : self.read[which] + rows]
        self.read[which] += len(new)
        if new:
            self.hubs[which].publish("a", "live", new, appended_ms=1, received_ms=2)

    @rule(which=st.integers(0, 1))
    def connect(self, which: int) -> None:
        if self.at is not None:
            self.hubs[self.at].disconnect("c")
        self.at, self.wire = which, []
        self.hubs[which].connect("c")
        self.client.connected()

    @rule(which=st.integers(0, 1))
    def hub_is_killed_and_reads_all_again(self, which: int) -> None:
        if self.at == which:
            self.at, self.wire = None, []
        end = self.topic[-1][0] if self.topic else self.began
        start = max(self.began, end - 2 * self.keep)  # as `services.hub` does
        it = self.hubs[which] = Hub("a hub", {"a": A, "b": LEAN})
        it.begin("a", "live", f"run {self.run}", start, provisional=self.provisional)
        there = [each for each in self.topic if each[0] > start]
        it.publish("a", "live", there, appended_ms=1, received_ms=2)
        it.loaded("a", "live")
        self.read[which] = len(self.topic)

    @rule()
    def another_run_begins(self) -> None:
        self.run += 1
        self.began = self.topic[-1][0] + 5 if self.topic else self.began + 5
        self.topic = []
        self.read = [0, 0]
        self.wire = []
        for each in self.hubs:
            each.begin("a", "live", f"run {self.run}", self.began, provisional=self.provisional)
            each.loaded("a", "live")

    @precondition(lambda self: self.at is not None)
    @rule(later=st.sampled_from([0.0, 1.0, IDLE_S + 1]))
    def talk(self, later: float) -> None:
        assert self.at is not None
        self.now += later
        for request in self.client.asks():
            self.hubs[self.at].request("c", request)
        messages = self.hubs[self.at].take("c", self.now)
        if messages:
            self.wire.append([frame(messages, "msgpack")])

    @precondition(lambda self: self.wire)
    @rule(trouble=st.sampled_from(["none", "none", "lost", "twice", "swapped"]))
    def arrive(self, trouble: str) -> None:
        if trouble == "swapped" and len(self.wire) > 1:
            self.wire[0], self.wire[1] = self.wire[1], self.wire[0]
        (data,) = self.wire.pop(0)
        for _ in range({"lost": 0, "twice": 2}.get(trouble, 1)):
            for message in messages_of(data):
                self.client.receive(message)

    @invariant()
    def what_is_held_is_what_the_topic_says(self) -> None:
        for ref in ("a/live", "newest", "one"):
            held = self.client.held(ref)
            if held is None:
                continue
            position = self.client.position(ref)
            before = self.shown.get(ref)
            if before and before[0] == position.epoch:
                assert position.seq >= before[1], "a step back"
            self.shown[ref] = (position.epoch, position.seq)
            if position.epoch != f"run {self.run}":
                continue
            first = {each["n"]: place for place, each in reversed(self.topic)}
            rows = [each for each in self.topic if each[0] <= position.seq and first[each[1]["n"]] == each[0]]
            rows = rows[-self.keep :]
            if ref == "newest":
                rows = sorted({each[1]["page"]: each for each in rows}.values(), key=lambda each: each[0])
            if ref == "one":
                rows = [each for each in rows if each[1]["page"] == "/1"]
            assert list(zip(held.places(), held.rows(), strict=True)) == rows

    def teardown(self) -> None:
        """When the wire is good again, the client gets there."""
        if not hasattr(self, "hubs"):
            return
        try:
            self.gets_there()
        finally:
            self.patched.undo()

    def gets_there(self) -> None:
        self.connect(0)
        for _ in range(6):
            self.hub_reads(0, 10_000)
            self.talk(IDLE_S + 1)
            while self.wire:
                self.arrive("none")
            self.what_is_held_is_what_the_topic_says()
        newest = self.topic[-1][0] if self.topic else self.began
        assert self.client.position("a/live") == Position(f"run {self.run}", newest)


class InStepForgetting(InStep):
    """More rows come than are kept."""

    keep = 25
    most_markers = 1


class InStepProvisional(InStep):
    """Rows come again, and more than are kept."""

    keep = 25
    most_markers = 0
    provisional = True


TestInStep = InStep.TestCase
TestInStepForgetting = InStepForgetting.TestCase
TestInStepProvisional = InStepProvisional.TestCase
TestInStep.settings = TestInStepForgetting.settings = TestInStepProvisional.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None
)


def test_what_is_known_beside_rows_is_told_once_and_to_who_comes_later() -> None:
    hub = Hub("a hub", {"a": A})
    hub.begin("a", "live", "run 1", 0)
    hub.publish("a", "live", [(1, row(1))], appended_ms=1, received_ms=2)
    hub.loaded("a", "live")

    def told(client: str, now_s: float) -> list[tuple[str, Any]]:
        return [(each.body["type"], each.body.get("upto_ms")) for each in hub.take(client, now_s)]

    hub.connect("early")
    hub.request("early", Subscribe("a"))
    assert told("early", 0) == [("hello", None), ("subscribed", None), ("snapshot", None)]
    proven = Verdict("a", "live", "run 1", True, 5, 6, 1, 0)
    assert hub.notify(proven) == {"early"}
    assert told("early", 0) == [("verdict", 5)]
    assert hub.notify(structs.replace(proven)) == set(), "no news"
    assert hub.notify(structs.replace(proven, epoch="run 0", exact=False)) == set(), "of another run"
    hub.connect("late")
    hub.request("late", Subscribe("a"))
    assert told("late", 0)[-1] == ("verdict", 5)
    assert told("early", 0) == []
    hub.begin("a", "live", "run 2", 7)
    hub.loaded("a", "live")
    assert told("early", 0) == [("snapshot", None)], "another run was not verified yet"


def test_there_are_so_many_views_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "VIEWS", 3)
    it = hub(rows=3)
    it.connect("c")
    for n in range(3):
        it.request("c", Subscribe("a", ref=f"{n}", where={"n": n}))
    with pytest.raises(LiveError, match="there are 3 views already"):
        it.request("c", Subscribe("a", ref="one more", where={"n": 3}))
    it.connect("d")
    it.request("d", Subscribe("a", ref="the same", where={"n": 0}))
    it.request("c", Unsubscribe("1"))
    it.request("c", Subscribe("a", ref="one more", where={"n": 3}))
