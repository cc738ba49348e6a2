"""The standard job on real input, and a verification that can fail."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from msgspec import structs

from rtap_lab.errors import JobError, RtapLabError, ServiceError, SettingsError, SourceError, StatementError
from rtap_lab.events.codec import encode
from rtap_lab.events.model import schema
from rtap_lab.events.times import instant_ms, instant_text
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.jobs.documents import sources_document
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.names import REJECTED, events_topic, results_topic
from rtap_lab.kafka.schema_registry import RULE, Registry
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.queries.builders import field, greatest, mean, total, tumble
from rtap_lab.services.site import schema_document, settings_document
from rtap_lab.stack.ports import ports_document
from rtap_lab.waiting import until


def rtap(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "rtap_lab.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "RTAP_STATE": str(lab.state.folder)},
    )


@pytest.mark.access_log
def test_the_access_log_is_exact_and_is_not_imported_twice(stack: Lab, access_log: Path) -> None:
    done = stack.import_access_log(access_log, source="weblog")
    assert (done.read, done.imported, done.rejected) == (10_000, 9_999, 1)
    assert done.bound_ms == 59_001
    # a run that begins at once must find all of it: committed is not yet readable
    topics, weblog = Topics(stack.endpoints.kafka), [events_topic("weblog")]
    assert sum(topics.ends(weblog, committed=True).values()) >= 9_999
    stack.run_standard("weblog")
    report = stack.verify("weblog")
    assert report.exact, str(report)
    assert report.ledger["counted"] == 9_999
    assert report.ledger["late"] == 0
    assert report.rows > 10_000

    score = stack.score("weblog")
    assert score.exact, str(score)
    assert all(q.exact == q.true == q.found for q in score.queries)
    again = stack.import_access_log(access_log, source="weblog")
    assert again.already == [str(access_log)]
    assert again.imported == 0
    assert sum(Topics(stack.endpoints.kafka).ends([events_topic("weblog")]).values()) >= 9_999
    assert stack.verify("weblog").exact

    frame = stack.results("page_views_1m", "weblog")
    assert int(frame["views"].sum()) == 4_232
    lines = rtap(stack, "results", "sessions", "--source", "weblog", "--format", "csv").stdout.splitlines()
    assert lines[0] == "window_start,window_end,visitor_id,events,page_views,entry_page,exit_page,bounced"
    assert len(lines) == len(stack.results("sessions", "weblog")) + 1

    # a tighter bound begins a new run, and says what is late
    stack.run_standard("weblog", bound="10s")
    tight = stack.verify("weblog")
    assert tight.exact, str(tight)
    assert tight.ledger["late"] > 0


@pytest.mark.access_log
def test_no_address_of_the_log_is_anywhere_in_the_lab(stack: Lab, access_log: Path) -> None:
    stack.import_access_log(access_log, source="private")
    addresses = {line.split(" ", 1)[0].encode() for line in access_log.read_text(errors="replace").splitlines()}
    topics = Topics(stack.endpoints.kafka)
    names = [events_topic("private"), REJECTED]
    for record in read_range(stack.endpoints.kafka, topics.starts(names), topics.ends(names)):
        text = (record.value() or b"") + (record.key() or b"")
        assert not any(address in text for address in addresses if len(address) > 9)
    stack.remove_source("private")


def jsonl(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def view(n: int, at: str, **more: object) -> dict[str, object]:
    return {
        "event_id": f"j{n}",
        "event_type": "page_view",
        "event_time": at,
        "visitor_id": f"v{n % 3}",
        "page": "/a",
    } | more


def test_unsorted_and_bad_lines_of_a_jsonl(stack: Lab, tmp_path: Path) -> None:
    good = [view(n, instant_text(1_700_000_000_000 + (n * 7919 % 4000) * 1000), value=1.5) for n in range(3000)]
    bad: list[Any] = [
        "",
        "garbage",
        view(1, "2999-01-01T00:00:00.000Z"),
        view(1, "soon"),
        {"event_id": "x"},
        view(1, "2023-01-01T00:00:00.000Z", value="x"),
        view(1, "2023-01-01T00:00:00.000Z", event_type="y"),
        "[]",
    ]
    path = jsonl(tmp_path / "clicks.jsonl", [*good[:1500], *bad, *good[1500:]])
    done = stack.import_jsonl(path)
    assert done.source == "clicks"
    assert (done.read, done.imported, done.rejected) == (3008, 3000, 8)
    assert done.reasons == {"parse": 3, "future": 1, "time": 1, "missing": 1, "type": 1, "event_type": 1}
    assert done.disorder_ms < 4_000_000, "a refused line does not count for the disorder"
    stack.run_standard("clicks")
    report = stack.verify("clicks")
    assert report.exact, str(report)
    score = stack.score("clicks")
    assert score.exact, str(score)
    assert all(q.exact == q.true == q.found for q in score.queries), "all that was accepted is answered"
    rows = [
        json.loads(r.value() or b"{}")
        for r in read_range(
            stack.endpoints.kafka,
            Topics(stack.endpoints.kafka).starts([REJECTED]),
            Topics(stack.endpoints.kafka).ends([REJECTED]),
        )
    ]
    mine = sorted(r["line"] for r in rows if r["source"] == "clicks")
    assert mine == list(range(1501, 1509))


def test_a_line_that_an_import_lost_is_found(stack: Lab, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "lossy.jsonl", [*(view(n, "2023-01-01T00:00:00.000Z") for n in range(10)), "garbage"])
    stack.import_jsonl(path)
    stack.run_standard("lossy")
    report = stack.verify("lossy")
    assert report.exact, str(report)
    document = sources_document(stack.state)
    facts = document.read()["lossy"]
    ((digest, file),) = facts.files.items()
    for told, words in (
        (structs.replace(file, read=12), "12 lines were read, 10 imported, 1 refused"),
        (structs.replace(file, read=12, imported=11), "11 events were imported, events.lossy holds 10"),
    ):
        changed = structs.replace(facts, files={digest: told})
        document.change(lambda table, changed=changed: table | {"lossy": changed})  # type: ignore[misc]
        report = stack.verify("lossy")
        assert not report.exact
        assert f"lossy.jsonl: {words}" in str(report)
    stack.remove_source("lossy")


def test_the_simulators_file_is_a_source_too(stack: Lab, tmp_path: Path) -> None:
    out = tmp_path / "shop.jsonl"
    assert rtap(stack, "simulate", "--out", str(out), "--events", "4000", "--seed", "3").returncode == 0
    assert len(out.read_bytes().splitlines()) == 4000
    done = stack.import_jsonl(out, source="shop")
    # as a recorded source whose state outgrows the memory runs; all others keep theirs on the heap
    run = stack.run_standard("shop", gap="20s", within="30s", state_backend="rocksdb")
    assert run.parameters.state_backend == "rocksdb"
    report = stack.verify("shop")
    assert report.exact, str(report)
    score = stack.score("shop")
    assert score.exact, str(score)
    assert score.truth == "the simulator's truth"
    assert score.fates["malformed"] == {"sent": done.rejected, "arrived": done.rejected}
    assert rtap(stack, "score", "--source", "shop", "--json").returncode == 0
    assert report.ledger["duplicate"] > 0
    assert done.rejected == report.ledger["refused_lines"] > 0
    for name in ("sessions", "cart_to_purchase", "conversions_1m", "checkout_abandoned"):
        assert len(stack.results(name, "shop")) > 0, name


def test_sums_are_exact_whatever_somebody_sends(stack: Lab, tmp_path: Path) -> None:
    """Of doubles that are added in the order of arrival one great number spoils all small ones, and two make it infinite."""
    worths = [1e12, *[19.99] * 50, *[0.1] * 30, 1e22, 1.7e308, 1.7e308, -1.7e308, 9e18, -1e15, 4.5e-7, 5e-7, -5e-7]
    events = [
        {
            "event_id": f"e{n}",
            "event_type": "conversion",
            "event_time": 1_700_000_000_000 + n,
            "visitor_id": f"v{n % 3}",
            "name": "purchase",
            "page": f"/{n % 2}",
            "value": worth,
        }
        for n, worth in enumerate(worths)
    ]
    path = tmp_path / "sums.jsonl"
    path.write_bytes(b"".join(encode(event) + b"\n" for event in events))
    stack.import_jsonl(path, source="sums")
    stack.run_standard("sums")
    (row,) = stack.rows("conversions_1m", "sums")
    assert row["value"] == -998_999_999_998_997.5  # 1e12 - 1e15 + 50 * 19.99 + 30 * 0.1
    value = field("value")
    pages = tumble("1m").by("page").agg(worth=total(value), usual=mean(value), most=greatest(value))
    stack.run_together("sums_job", {"sums_by_page": pages, "sums_top": pages.top(1, "worth")}, "sums")
    report = stack.verify("sums")
    assert report.exact, str(report)
    assert len(stack.rows("sums_by_page", "sums")) == 2
    stack.remove_job("sums_job")
    stack.remove_source("sums")


def test_an_import_that_fails_leaves_nothing(stack: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(tmp_path / "broken.jsonl", [view(n, "2023-01-01T00:00:00.000Z") for n in range(10)])

    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("the plug was pulled")

    with monkeypatch.context() as patch:
        patch.setattr("rtap_lab.kafka.sender.Sender.send", explode)
        with pytest.raises(ServiceError, match="nothing of it was imported"):
            stack.import_jsonl(path, source="broken")
    assert "broken" not in stack.sources()
    assert stack.import_jsonl(path, source="broken").imported == 10


def test_two_imports_at_once_lose_nothing(stack: Lab, tmp_path: Path) -> None:
    import threading

    paths = {
        name: jsonl(tmp_path / f"{name}.jsonl", [view(n, "2023-01-01T00:00:00.000Z", name=name) for n in range(3000)])
        for name in ("left", "right")
    }
    errors: list[Exception] = []

    def work(name: str) -> None:
        try:
            Lab(stack.state.folder).import_jsonl(paths[name], source=name)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {name: stack.sources()[name].events for name in paths} == {"left": 3000, "right": 3000}


def test_bad_files_get_one_message(stack: Lab, tmp_path: Path) -> None:
    common = tmp_path / "c.log"
    common.write_text('1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1\n' * 5)
    with pytest.raises(SourceError, match="Referer and User-Agent"):
        stack.import_access_log(common, source="common")
    with pytest.raises(SourceError, match="cannot be read"):
        stack.import_access_log(tmp_path / "none.log", source="none")
    with pytest.raises(SettingsError):
        stack.import_jsonl(common, source="sessions")
    assert not {"common", "none"} & set(stack.sources())
    done = rtap(stack, "import", "access-log", str(common), "--source", "common")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 2


@pytest.mark.long  # test_mutations seeds 74 kinds of wrong answers
def test_verification_can_fail(stack: Lab, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "f.jsonl", [view(n, f"2023-01-01T00:0{n % 10}:00.000Z") for n in range(50)])
    stack.import_jsonl(path, source="falsified")
    stack.run_standard("falsified", bound="1s")
    report = stack.verify("falsified")
    assert report.exact, str(report)
    assert report.ledger["late"] > 0

    if settings_document(stack.state).read().store == "sqlite":
        with sqlite3.connect(stack.state.folder / "store" / "points.sqlite") as db:
            db.execute(
                "UPDATE traffic_hop SET views = views + 1 WHERE source = 'falsified' AND window_end = "
                "(SELECT max(window_end) FROM traffic_hop WHERE source = 'falsified')"
            )
        wrong = stack.verify("falsified")
        assert not wrong.exact
        assert [c.wrong for c in wrong.compared if c.name == "traffic_hop" and c.where == "store"] == [1]
        assert rtap(stack, "verify", "--source", "falsified").returncode == 1
    stack.run_standard("falsified", bound="1s")
    assert stack.verify("falsified").exact, "a new run replaces all rows"

    more = jsonl(tmp_path / "more.jsonl", [view(9000, "2023-01-01T01:00:00.000Z")])
    stack.import_jsonl(more, source="falsified")
    grown = stack.verify("falsified")
    assert not grown.exact
    assert "after this run" in str(grown)
    stack.run_standard("falsified", bound="1s")
    assert stack.verify("falsified").exact

    out = Producer({"bootstrap.servers": stack.endpoints.kafka.address})
    row = stack.rows("traffic_hop", "falsified")[0] | {"views": 999}
    out.produce(results_topic("traffic_hop", "falsified"), json.dumps(row).encode())
    out.flush(10)
    wrong = stack.verify("falsified")
    assert not wrong.exact
    assert sum(c.wrong for c in wrong.compared if c.name == "traffic_hop") >= 1

    stack.run_standard("falsified", bound="1s")
    run = stack.runs()["standard/falsified"].run
    assert stack.verify("falsified").exact
    for partition in range(12):  # some have records
        row = {
            "source": "falsified",
            "run": run,
            "partition": partition,
            "offset": 0,
            "event_id": "j999",
            "reason": "late",
        }
        out.produce("events.late", json.dumps(row).encode())
    out.produce("events.late", b"garbage")
    out.flush(10)
    wrong = stack.verify("falsified")
    assert sum(c.extra for c in wrong.compared if c.name == "late") > 0, "late records that were none"


def test_verification_goes_on_where_the_one_before_ended(stack: Lab) -> None:
    stack.simulate(rate=150, seconds=4)
    first = stack.verify(full=True)
    assert first.exact, str(first)
    stack.simulate(rate=150, seconds=4)
    second = stack.verify()
    assert second.exact, str(second)
    assert second.runs[0].before == first.runs[0].upto
    assert second.ledger["read"] >= first.ledger["read"] + 500
    whole = stack.verify(full=True)
    assert whole.exact, str(whole)
    assert whole.runs[0].before is None
    for one, other in zip(second.runs, whole.runs, strict=True):
        assert one.ledger | {"ticks": 0} == other.ledger | {"ticks": 0}
        rows = {(each.name, each.where): each.rows for each in other.compared if each.where != "hub"}
        for each in one.compared:
            if each.where != "hub":
                assert 0 <= rows[each.name, each.where] - each.rows < 60, "all but what became due meanwhile"
    done = rtap(stack, "verify", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["before"] == whole.runs[0].upto, "another process goes on, too"

    if settings_document(stack.state).read().store != "sqlite":
        return
    upto_ms = instant_ms(str(stack.verify().upto)) or 0
    stack.simulate(rate=150, seconds=2)

    def newest() -> int:
        return max(instant_ms(row["window_end"]) or 0 for row in stack.rows("traffic_hop"))

    end_ms = until(lambda: newest() > upto_ms + 1 and newest(), 40, lambda: AssertionError("no new row"))

    def falsify(views: int, window_end: int) -> None:
        with sqlite3.connect(stack.state.folder / "store" / "points.sqlite") as db:
            changed = db.execute(
                "UPDATE traffic_hop SET views = views + ? WHERE source = 'live' AND window_end = ?", (views, window_end)
            )
            assert changed.rowcount == 1

    falsify(1, end_ms)
    wrong = stack.verify()
    assert wrong.runs[0].before is None, "what differs is looked at from the beginning"
    assert [c.wrong for c in wrong.compared if c.name == "traffic_hop" and c.where == "store"] == [1]
    falsify(-1, end_ms)
    assert stack.verify().exact
    falsify(1, end_ms)
    assert stack.verify().exact, "it was compared before"
    assert not stack.verify(full=True).exact
    falsify(-1, end_ms)
    assert stack.verify().exact


def test_nothing_to_compare_is_no_success(stack: Lab) -> None:
    with pytest.raises(SourceError, match="no recorded source"):
        stack.verify("nowhere")
    done = rtap(stack, "verify", "--source", "nowhere")
    assert done.returncode == 1
    assert rtap(stack, "verify", "--nonsense").returncode == 2


def test_a_stopped_job_has_no_watermark_and_goes_on_where_it_was(stack: Lab) -> None:
    stack.simulate(rate=100, seconds=2)
    run = stack.runs()["standard/live"].run
    assert rtap(stack, "jobs", "stop", "standard").returncode == 0
    with pytest.raises(JobError, match="stopped"):
        stack.verify()
    assert rtap(stack, "status").returncode == 1
    stack.simulate(rate=100, seconds=2)
    assert rtap(stack, "jobs", "run", "standard").returncode == 0
    assert stack.runs()["standard/live"].run == run
    report = stack.verify()
    assert report.exact, str(report)


def test_a_drained_run_is_compared_whole_while_events_still_come(stack: Lab) -> None:
    import threading

    stop = threading.Event()
    shop = threading.Thread(target=stack.simulate, kwargs={"rate": 150, "seconds": 60, "stop": stop})
    shop.start()
    try:
        time.sleep(3)  # some traffic before, and some after
        stack.stop_job(drain=True)
        report = stack.verify()
    finally:
        stop.set()
        shop.join()
    assert report.upto is None
    assert report.exact, str(report)
    assert sum(c.open for c in report.compared) == 0
    before = stack.runs()["standard/live"].run
    stack.run_standard(gap="20s", within="30s")
    assert stack.runs()["standard/live"].run != before, "after a drain a new run begins"
    assert stack.verify().exact


def test_sql_of_ones_own_is_bounded_and_leaves_no_job(stack: Lab) -> None:
    stack.simulate(rate=100, seconds=2)
    found = stack.sql("SELECT event_type, visitor_id FROM events", rows=5)
    assert (found.columns, len(found.answer), found.ended_by) == (["event_type", "visitor_id"], 5, "rows")
    found = stack.sql("SELECT * FROM events WHERE page = '/nowhere'", seconds=60)
    assert (found.answer, found.ended_by) == ([], "complete"), "it ends where the topic ends now"
    deadline = time.monotonic() + 20
    while any(
        j["state"] in ("RUNNING", "CANCELLING")
        for j in FlinkRest(stack.endpoints.flink).jobs()
        if not j["name"].startswith("standard")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with pytest.raises(StatementError, match="pgae") as caught:
        stack.sql("SELECT pgae FROM events")
    assert len(str(caught.value).splitlines()) < 6
    assert "\tat " not in str(caught.value)


def test_the_registry_keeps_its_rule(stack: Lab) -> None:
    registry = Registry(stack.endpoints.registry)
    subject = f"try-{time.time_ns()}"
    base = schema()
    first = registry.register(base, subject)
    assert registry.schema(first)["additionalProperties"] is False

    def changed(**properties: Any) -> dict[str, Any]:
        return base | {"properties": {k: v for k, v in (base["properties"] | properties).items() if v is not None}}

    refused = {
        "removed": changed(country=None),
        "retyped": changed(value={"type": "string"}),
        "newly required": base | {"required": [*base["required"], "page"]},
        "new and required": changed(extra={"type": "string"}) | {"required": [*base["required"], "extra"]},
        "enum narrowed": changed(event_type={"type": "string", "enum": ["page_view"]}),
        "id as number": changed(event_id={"type": "integer"}),
    }
    for what, each in refused.items():
        with pytest.raises(ServiceError, match=RULE):
            registry.register(each, subject)
        print(f"refused: {what}")
    assert registry.register(changed(language={"type": "string"}), subject) != first
    stored = schema_document(stack.state).read()
    assert stored is not None
    assert registry.schema(stored)["title"] == "Event"


@pytest.mark.access_log
def test_a_log_played_live_says_what_is_late(stack: Lab, access_log: Path, tmp_path: Path) -> None:
    head = tmp_path / "head.log"
    head.write_text("".join(access_log.read_text(errors="replace").splitlines(keepends=True)[:400]))
    done = stack.import_access_log(head, speed="600")
    assert done.imported == 400
    assert "head" not in stack.sources()
    report = stack.verify()
    assert report.exact, str(report)


def test_the_command_line_keeps_its_promises(stack: Lab) -> None:
    facts = json.loads(rtap(stack, "status", "--json").stdout)
    names = {s["name"] for s in facts["services"]}
    assert {
        "kafka",
        "registry",
        "jobmanager",
        "taskmanager",
        "gateway",
        "store",
        "writer",
        "hub",
        "dashboard",
        "ticker",
        "auditor",
    } <= names
    assert {"name", "state", "pid", "rss_mb", "uptime_s", "links"} <= set(facts["services"][0])
    assert facts["supervisor"]["pid"]
    assert set(facts["addresses"]) >= {"kafka", "registry", "flink", "gateway", "hub", "dashboard", "store"}
    again = rtap(stack, "up")
    assert again.returncode == 0
    assert "kafka" in again.stdout
    assert rtap(stack, "results", "nothing").returncode == 2
    assert rtap(stack, "results", "traffic_hop", "--format", "xml").returncode == 2
    assert rtap(stack, "nonsense").returncode == 2
    assert rtap(stack, "logs", "nobody").returncode == 2
    assert rtap(stack, "doctor").returncode == 0
    for command in (
        "up",
        "down",
        "status",
        "reset",
        "logs",
        "doctor",
        "fetch",
        "simulate",
        "import",
        "sources",
        "jobs",
        "results",
        "sql",
        "verify",
        "score",
        "slices",
        "watch",
        "dash",
        "lab",
        "bench",
    ):
        assert rtap(stack, command, "--help").returncode == 0, command
    for arguments in (["dash"], ["dash", "--flink"]):
        done = rtap(stack, *arguments)
        assert done.returncode == 0, done.stderr  # a line on stdout is not all that it has to do
        assert done.stdout.startswith("http://127.0.0.1:")


def test_status_says_when_the_disk_is_full(stack: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    from rtap_lab.stack import disk

    assert stack.status()["problems"] == []
    full = namedtuple("full", "free")(3_000_000)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: full)
    facts = stack.status()
    assert not facts["ok"]
    assert "the disk is full: 3 MB are free" in facts["problems"][0]


def test_everything_listens_on_this_machine_only(stack: Lab) -> None:
    import psutil

    from rtap_lab.stack.supervisor import find_services

    pids = {identity.pid for identity in find_services(stack.state.folder).values()}
    listening = [c for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN and c.pid in pids]
    assert len(listening) >= 8
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_a_second_lab_does_not_disturb_the_first(stack: Lab, tmp_path: Path) -> None:
    other = Lab.up(tmp_path / "other", job=False)
    try:
        mine = {s["port"] for s in stack.status()["services"]} - {None}
        assert mine.isdisjoint(ports_document(other.state).read().values())
        assert stack.status()["ok"]
    finally:
        other.down()
    assert stack.status()["ok"]
    stack.simulate(rate=100, seconds=2)
    assert stack.verify().exact


def test_a_taken_port_gets_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    import socket

    from rtap_lab.stack.supervisor import find_services

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RtapLabError, match="is taken by"):
            Lab.up(tmp_path / "lab", ports={"hub": taken.getsockname()[1]})
    assert find_services(tmp_path / "lab") == {}
