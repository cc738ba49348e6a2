"""Settings, plans, SQL text, points, simulator, protocol and hub."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.dashboards import viewmodel
from rtap_lab.errors import LiveError, RtapLabError, ServiceError, SettingsError
from rtap_lab.flink.rest import cause
from rtap_lab.flink.standard import catalog, interval, session_properties, standard
from rtap_lab.live.hub import HISTORY, QUEUE, Hub
from rtap_lab.live.protocol import Request, parse_request
from rtap_lab.settings import JobParameters, duration_ms, source_name
from rtap_lab.stack.broker import Node, properties
from rtap_lab.stack.plan import backoff, start_order, stop_order
from rtap_lab.store.points import key_text, key_value
from rtap_lab.streams.queries import STANDARD, query_named

# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("10s", 10_000),
        ("30 min", 1_800_000),
        ("1500ms", 1500),
        ("1h", 3_600_000),
        ("0.5s", 500),
        (2, 2000),
        (timedelta(minutes=1), 60_000),
    ],
)
def test_durations(value: object, ms: int) -> None:
    assert duration_ms(value) == ms  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["", "10", "ten s", "-1s", "0s", "10 parsecs", "0.0001ms", 0])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(SettingsError, match="gap"):
        duration_ms(value, name="gap")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["late", "rejected", "live", "sessions", "Web", "1a", "a b", "", "a" * 41, "a.b", "../x"]
)
def test_names_no_source_may_have(name: str) -> None:
    with pytest.raises(SettingsError):
        source_name(name, reserved=frozenset(STANDARD))


def test_errors_say_what_and_what_to_do() -> None:
    error = ServiceError("kafka does not start", service="kafka", log_tail=["boom"], hint="look")
    assert str(error).splitlines() == ["kafka does not start", "  last lines of kafka's log:", "  | boom", "  -> look"]
    assert issubclass(ServiceError, RtapLabError)
    with pytest.raises(SettingsError):
        JobParameters(delivery="twice")  # type: ignore[arg-type]
    with pytest.raises(SettingsError):
        query_named("nothing")


# --- plans ---------------------------------------------------------------------------------------


def test_services_start_after_what_they_depend_on_and_stop_before() -> None:
    depends = {"a": [], "b": ["a"], "c": ["a", "gone"], "d": ["b", "c"]}
    assert start_order(depends) == [["a"], ["b", "c"], ["d"]]
    assert stop_order(depends) == [["d"], ["b", "c"], ["a"]]
    with pytest.raises(SettingsError):
        start_order({"a": ["b"], "b": ["a"]})


def test_backoff_grows_to_a_limit() -> None:
    waits = [backoff(n) for n in range(1, 40)]
    assert waits[0] == 0.2
    assert waits == sorted(waits)
    assert waits[-1] == 10


def test_a_transaction_may_stay_open_for_a_day_at_broker_and_sinks() -> None:
    node = Node(1, 1, 2)
    from pathlib import Path

    assert "transaction.max.timeout.ms=86400000" in properties([node], node, Path("x"))
    assert "min.insync.replicas=2" in properties([node, Node(2, 3, 4), Node(3, 5, 6)], node, Path("x"))
    job = "\n".join(_standard(JobParameters()))
    assert job.count("'properties.transaction.timeout.ms' = '86400000'") == 9


# --- SQL -----------------------------------------------------------------------------------------


def _standard(parameters: JobParameters, source: str = "live") -> list[str]:
    topics = {name: f"results.{name}" for name in STANDARD} | {"late": "l", "rejected": "r"}
    return standard(source=source, run="r1", bootstrap="b", topics=topics, parameters=parameters)


def test_the_standard_job_is_one_statement_set_of_nine_inserts() -> None:
    *before, job = _standard(JobParameters())
    assert job.startswith("EXECUTE STATEMENT SET BEGIN")
    assert job.count("INSERT INTO") == 9
    assert all(each.startswith(("CREATE TABLE", "CREATE VIEW")) for each in before)
    assert "--" not in job
    assert "${" not in "".join([*before, job])


def test_low_latency_has_no_transactions() -> None:
    text = "\n".join(_standard(JobParameters(delivery="low_latency")))
    assert "transactional-id-prefix" not in text
    assert "at-least-once" in text


def test_idle_timeout_is_never_set_and_the_options_that_make_it_exact_are() -> None:
    for bounded in (True, False):
        found = session_properties(JobParameters(), name="n", bounded=bounded, checkpoints="c", restore=None)
        assert "table.exec.source.idle-timeout" not in found
        assert found["table.optimizer.reuse-optimize-block-with-digest-enabled"] == "true"
        assert found["state.backend.type"] == ("hashmap" if bounded else "rocksdb")
    text = "".join(catalog(topic="t", bootstrap="b", group="g", bound_ms=2000, ends={0: 7, 1: 0}))
    assert "'json.decode.json-parser.enabled' = 'false'" in text
    assert "'scan.bounded.specific-offsets' = 'partition:0,offset:7;partition:1,offset:0'" in text


def test_a_bounded_job_that_goes_on_reads_a_new_topic_beside_its_own() -> None:
    text = "".join(catalog(topic="t", bootstrap="b", group="g", bound_ms=1, ends={0: 7}, resumed_by="resume.t.1"))
    assert "'topic' = 't;resume.t.1'" in text
    assert "'scan.bounded.mode' = 'latest-offset'" in text


@given(st.integers(1, 10**11))
def test_interval_literals_say_the_same_duration(ms: int) -> None:
    words = interval(ms).split("'")[1]
    days, clock = words.split(" ")
    hours, minutes, seconds = clock.split(":")
    total = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1000)
    assert total == ms


def test_a_java_trace_becomes_its_last_cause() -> None:
    trace = "org.x.SqlException: outer\n\tat a.b(C.java:1)\nCaused by: org.y.ValidationException: Column 'pgae' not found\n\tat d.e(F.java:2)\n"
    assert cause(trace) == "Column 'pgae' not found"
    served = (
        '{"errors":["Internal server error.","<Exception on server side:\\norg.x.E: failed\\n\\tat a.b(C:1)\\n'
        "Caused by: org.c.CalciteContextException: From line 1, column 8 to line 1, column 11: Column 'nope' not found\\n\\tat d.e(F:2)\\n\\t... 15 more\\n"
        "Caused by: org.c.SqlValidatorException: Column 'nope' not found\\n\\tat g.h(I:3)\\n\\t... 36 more\\n\\nEnd of exception on server side>\"]}"
    )
    assert cause(served) == "From line 1, column 8 to line 1, column 11: Column 'nope' not found"


# --- points --------------------------------------------------------------------------------------


@given(st.none() | st.text())
def test_keys_survive_the_store(value: str | None) -> None:
    text = key_text(value)
    assert key_value(text) == value
    assert not text.endswith("\\")
    assert "\n" not in text


@given(st.text(), st.text())
def test_different_keys_stay_different(a: str, b: str) -> None:
    assert (key_text(a) == key_text(b)) == (a == b)


# --- live ----------------------------------------------------------------------------------------


def hub() -> Hub:
    return Hub(["a", "b"], "epoch")


def test_a_client_gets_greeting_snapshot_and_updates_without_gaps() -> None:
    it = hub()
    it.publish("a", "live", [{"n": 0}], appended_ms=1, received_ms=2)
    it.connect("c")
    it.request("c", Request("subscribe", "a"))
    it.publish("a", "live", [{"n": 1}], appended_ms=1, received_ms=2)
    it.publish("b", "live", [{"n": 9}], appended_ms=1, received_ms=2)
    greeting, snapshot, update = it.take("c")
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


@given(st.lists(st.sampled_from(["publish", "subscribe", "unsubscribe", "take", "reset"]), max_size=60))
def test_no_client_ever_sees_a_gap(actions: list[str]) -> None:
    it = hub()
    it.connect("c")
    have: int | None = None
    for action in [*actions, "take"]:
        if action == "publish":
            it.publish("a", "live", [{}], appended_ms=1, received_ms=2)
        elif action == "reset":
            it.reset("live")
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


# --- pictures ------------------------------------------------------------------------------------


def test_the_first_picture_of_a_chart() -> None:
    rows = [
        {"window_end": "2026-01-01T00:00:10Z", "views": 2, "page": "/a"},
        {"window_end": "2026-01-01T00:00:10Z", "views": 5, "page": "/b"},
        {"window_end": "2026-01-01T00:00:00Z", "views": 9, "page": "/c"},
    ]
    assert viewmodel.top(rows, key="page", value="views", keep=5)["key"] == ["/b", "/a"]
    assert viewmodel.count(rows, x="window_end", step=10_000, keep=5)["count"] == [1, 2]
    assert viewmodel.series(rows[1:], x="window_end", ys=["views"], keep=1)["views"] == [5]
    assert viewmodel.top([], key="page", value="views", keep=5)["key"] == []


# --- savepoints ----------------------------------------------------------------------------------


def test_offsets_are_found_in_a_savepoints_bytes() -> None:
    import struct

    from rtap_lab.flink.savepoints import read_offsets

    def split(topic: bytes, partition: int, offset: int, stop: int = -(2**63)) -> bytes:
        return struct.pack(">H", len(topic)) + topic + struct.pack(">iqq", partition, offset, stop)

    data = (
        b"noise\x00\x06events" + split(b"events", 3, 77) + b"x" + split(b"events", 11, 0) + split(b"events", 4, 9, 12)
    )
    assert read_offsets(data + split(b"other", 0, 5), "events") == {3: 77, 11: 0}
    assert read_offsets(b"", "events") == {}
