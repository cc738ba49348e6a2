"""Every cause of an empty answer that can be provoked is named, on the real stack."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rtap_lab.events.times import instant_text
from rtap_lab.kafka.clients import producer
from rtap_lab.lab import Lab
from rtap_lab.queries.builders import begin, count, field, session, tumble
from rtap_lab.queries.query import Definition
from rtap_lab.stack.supervisor import find_services
from rtap_lab.testing.cases import START_MS
from rtap_lab.waiting import until
from tests.integration.test_answers import rtap

SOURCE = "empty"
FAILED, OTHER = field("name") == "login_failed", field("name") == "other"


def event(number: int, at_s: float, **fields: Any) -> dict[str, Any]:
    moment = instant_text(START_MS + round(at_s * 1000))
    return {"event_id": f"e{number}", "event_type": "custom", "event_time": moment, "visitor_id": "a", **fields}


@pytest.fixture(scope="module")
def quiet(stack: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three failed logins of one visitor, another event between each two, 10 s apart."""
    lines = tmp_path_factory.mktemp("empty") / "few.jsonl"
    names = ["login_failed", "other", "login_failed", "other", "login_failed", "other"]
    lines.write_text("\n".join(json.dumps(event(n, n * 10, name=name)) for n, name in enumerate(names)) + "\n")
    stack.import_jsonl(lines, source=SOURCE)
    yield stack
    stack.remove_source(SOURCE)


@pytest.mark.parametrize(
    ("asked", "cause", "words"),
    [
        (tumble("1m").where(field("page") == "/nowhere").agg(n=count()), "filtered", 'field("page") == "/nowhere"'),
        (tumble("1m").where(FAILED & OTHER).agg(n=count()), "filtered", "all together for none"),
        (begin("a", FAILED).next("b", field("name") == "x").within("1m").by("visitor_id"), "step", "'b'"),
        (begin("a", FAILED, times=3).within("1m").by("visitor_id"), "contiguity", "followed_by()"),
        (begin("a", FAILED).next("b", FAILED).within("1m").by("visitor_id"), "contiguity", "lie between"),
        (begin("a", FAILED).followed_by("b", FAILED).within("5s").by("visitor_id"), "within", "longer than 5 s"),
        (begin("a", FAILED).then_not(OTHER, within="30s").by("visitor_id"), "followed", "3 matches"),
        (tumble("1m").agg(n=count()), "not_running", ".run()"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_match_is_named(quiet: Lab, asked: Definition, cause: str, words: str) -> None:
    found = quiet.query(asked, source=SOURCE).diagnose()
    assert (found.cause, words in str(found)) == (cause, True), str(found)
    assert len(str(found).splitlines()) <= 2
    assert words.split(" ")[0].strip('"') in found._repr_html_() or "&" in found._repr_html_()
    if cause != "not_running":
        assert quiet.query(asked, source=SOURCE).preview(seconds=60).rows == [], "and it is empty indeed"


THREE = """SELECT * FROM events MATCH_RECOGNIZE (PARTITION BY visitor_id ORDER BY rowtime MEASURES FIRST(A.rowtime) AS began
PATTERN (A{3}) WITHIN INTERVAL '1' MINUTE DEFINE A AS A.name = 'login_failed')"""


def test_a_pattern_in_sql_without_a_match_says_that_it_is_strict(quiet: Lab) -> None:
    asked = quiet.query(THREE, source=SOURCE)
    assert "no other row of its partition may lie" in asked.preview().words
    assert asked.diagnose().cause == "contiguity"
    relaxed = quiet.query(
        THREE.replace("FROM events", "FROM (SELECT * FROM events WHERE name = 'login_failed')"), source=SOURCE
    )
    assert len(relaxed.preview().answer) == 1, "what it advises helps"
    assert relaxed.diagnose().cause == "rows"
    assert quiet.query("SELECT page FROM events WHERE name = 'nobody'", source=SOURCE).diagnose().cause == "no_match"


def test_what_is_open_is_told_with_its_time(stack: Lab) -> None:
    stack.simulate(rate=50, seconds=3, seed=31)
    for asked in (tumble("1h").agg(n=count()), session("30m").by("visitor_id").agg(n=count())):
        found = stack.query(asked).diagnose(since="20s")
        assert found.cause == "open", str(found)
        assert "2026-" in found.sentence or "20" in found.figures["at"]


def test_no_records_old_ones_and_garbage(stack: Lab, tmp_path: Path) -> None:
    query = stack.query(tumble("1m").agg(n=count()))
    far = query.diagnose(since="1ms")
    assert far.cause == "no_records", str(far)
    assert "since='all'" in far.fix
    stack.simulate(rate=20, seconds=1, seed=32)
    assert query.diagnose(since="all").cause not in ("no_records", "down"), "what is advised finds the records"
    shown = json.loads(rtap(stack, "query", "diagnose", query.text(), "--json").stdout)
    assert shown["cause"] in ("open", "not_running", "no_records", "rejected")


def test_a_job_that_does_not_move_and_one_that_was_stopped(stack: Lab) -> None:
    query = stack.query("sessions")
    victim = find_services(stack.state.folder)["taskmanager"]
    assert victim.signal(signal.SIGKILL)
    found = until(lambda: d if (d := query.diagnose()).cause in ("failing", "standing") else None, 30, every=0.3)
    assert found is not None
    assert len(str(found).splitlines()) <= 2
    until(lambda: stack.status()["ok"], 90, lambda: AssertionError(str(stack.status()["problems"])))
    stack.stop_job("standard")
    assert query.diagnose().cause == "not_running"
    stack.run_job("standard")
    until(lambda: stack.status()["ok"], 90, lambda: AssertionError(str(stack.status()["problems"])))


def send(stack: Lab, values: list[bytes]) -> None:
    out = producer(stack.endpoints.kafka)
    for value in values:
        out.produce("events", value, key=b"late")
    assert out.flush(10) == 0


def sent_late(number: int, behind_s: float, name: str) -> bytes:
    at = instant_text(round((time.time() - behind_s) * 1000))
    record = event(0, 0, name=name) | {"event_id": f"{name}-{number}", "event_time": at, "visitor_id": "late"}
    return json.dumps(record).encode()


def test_late_and_rejected_records_are_named_and_what_bound_would_count_them(stack: Lab) -> None:
    query = stack.query(tumble("1s").where(field("visitor_id") == "late").agg(n=count()))
    begun = datetime.now(UTC)
    send(stack, [b'{"event_id": "x", "event_type": "custom"}'] * 3)
    rejected = query.diagnose(since=begun)
    assert (rejected.cause, "'missing'" in rejected.sentence) == ("rejected", True), str(rejected)

    begun = datetime.now(UTC)
    send(stack, [sent_late(n, 20 + n / 10, "all_late") for n in range(20)])
    late = query.diagnose(since=begun)
    assert (late.cause, late.figures["late"]) == ("late", 20), str(late)
    assert "a bound of 2" in late.fix
    assert "% of them" in late.fix

    send(stack, [sent_late(n, 0, "some_late") for n in range(20)])
    some = query.diagnose(since=begun)
    assert some.besides.startswith("50.0% of the events are late"), str(some)
    assert "besides: " in str(some)
