"""The columnar lane: a source of batches gives the rows of the same events one by one, through faults, too."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from rtap_lab.errors import SettingsError, SourceError
from rtap_lab.events.batches import unpack
from rtap_lab.events.codec import encode
from rtap_lab.flink.compile import windowed
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.jobs.model import Run
from rtap_lab.kafka.clients import read_range
from rtap_lab.kafka.names import events_topic
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.lab.scenarios import load_scenario
from rtap_lab.lab.simulator import write_file
from rtap_lab.queries.builders import count, distinct, session, tumble
from rtap_lab.queries.standard import standard_queries
from rtap_lab.stack.supervisor import find_services
from rtap_lab.testing import cases
from rtap_lab.waiting import until

HELD = 400_000
"""Events of a source that a job reads for seconds."""


def _batches(lab: Lab, source: str) -> list[int]:
    """How many events each record of a source holds."""
    topics = Topics(lab.endpoints.kafka)
    topic = [events_topic(source)]
    records = read_range(lab.endpoints.kafka, topics.starts(topic), topics.ends(topic, committed=True))
    return [len(unpack(record.value())) for record in records]


def _rows(lab: Lab, query: str, source: str) -> list[dict[str, Any]]:
    return sorted(lab.rows(query, source), key=str)


@pytest.mark.access_log
def test_the_access_log_gives_the_rows_of_the_row_lane(stack: Lab, access_log: Path) -> None:
    by_row = stack.import_access_log(access_log, source="rowwise")
    by_column = stack.import_access_log(access_log, source="columnar", columnar=True)
    assert (by_column.read, by_column.imported, by_column.rejected) == (by_row.read, by_row.imported, by_row.rejected)
    assert by_row.bound_ms <= by_column.bound_ms <= by_row.bound_ms + 60_000, (
        "a batch has arrived when its last event has"
    )
    batches = _batches(stack, "columnar")
    assert sum(batches) == 9_999
    assert max(batches) > 10, "many events a record"
    stack.run_standard("rowwise", state_backend="rocksdb")
    stack.run_standard("columnar")
    for source in ("rowwise", "columnar"):
        report = stack.verify(source)
        assert report.exact, str(report)
        assert report.ledger["counted"] == 9_999
        assert report.ledger["late"] == 0
    for query in standard_queries():
        rows = _rows(stack, query.name, "columnar")
        assert rows == _rows(stack, query.name, "rowwise"), query.name
    assert sum(len(stack.rows(query.name, "columnar")) for query in standard_queries()) > 5_000


def _file(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(encode(event) + b"\n" for event in events))
    return path


def test_random_questions_copies_and_a_second_file(stack: Lab, tmp_path: Path) -> None:
    drawn = cases.stream(3)
    first = _file(tmp_path / "first.jsonl", drawn.events)
    # copies of what the first file has, in another batch and with another time, and something new
    copies = [event | {"event_time": event["event_time"] + 1} for event in drawn.events[:40]]
    more = [event | {"event_id": f"more-{event['event_id']}"} for event in drawn.events[-20:]]
    second = _file(tmp_path / "second.jsonl", [*copies, *more])
    stack.import_jsonl(first, source="drawn", columnar=True)
    stack.import_jsonl(second, source="drawn")
    assert stack.sources()["drawn"].columnar
    queries = {f"drawn_{seed}": cases.query(seed) for seed in range(20, 32)}
    assert 3 < sum(map(windowed, queries.values())) < len(queries), "some by columns, some by events"
    stack.run_together("drawn_job", queries, "drawn")
    report = stack.verify("drawn")
    assert report.exact, str(report)
    assert report.ledger["duplicate"] >= 40
    assert report.ledger["counted"] > 250
    stack.remove_job("drawn_job")
    stack.remove_source("drawn")


@pytest.fixture(scope="module")
def held(stack: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A columnar source that a job reads for some seconds."""
    path = tmp_path_factory.mktemp("held") / "held.jsonl"
    with path.open("wb") as file:
        write_file(path, file, load_scenario("brisk"), 5, seconds=None, events=HELD, progress=lambda done: None)
    stack.import_jsonl(path, source="held", columnar=True)
    yield "held"
    stack.remove_source("held")


def _taskmanager(lab: Lab) -> None:
    assert find_services(lab.state.folder)["taskmanager"].signal(signal.SIGKILL)


def _python_worker(lab: Lab) -> None:
    taskmanager = psutil.Process(find_services(lab.state.folder)["taskmanager"].pid)
    workers = [each for each in taskmanager.children(recursive=True) if "pyflink" in " ".join(each.cmdline())]
    assert workers
    workers[-1].kill()


@pytest.mark.long
@pytest.mark.parametrize("kill", [_python_worker, _taskmanager])
def test_what_is_killed_while_it_reads_loses_and_doubles_nothing(
    stack: Lab, held: str, kill: Callable[[Lab], None]
) -> None:
    queries = {
        "held_views": tumble("1s").by("page").agg(n=count(), visitors=distinct("visitor_id")),
        "held_visits": session("20s").by("visitor_id").agg(n=count()),
    }

    def kill_once_it_has_a_checkpoint() -> None:
        flink = FlinkRest(stack.endpoints.flink)
        run = until(lambda: _running(stack, f"held_job/{held}"), 120, every=0.05)
        assert run is not None
        job_id = str(run.job_id)

        def has_one() -> bool:
            flink.checkpoint(job_id)
            return bool(flink.checkpoints(job_id)["counts"]["completed"])

        assert until(has_one, 60, every=0.1)
        assert flink.job(job_id)["state"] == "RUNNING", "it was over before it could be killed: hold more events"
        kill(stack)

    with ThreadPoolExecutor(1) as beside:
        killed = beside.submit(kill_once_it_has_a_checkpoint)
        stack.run_together("held_job", queries, held)
        killed.result()
    report = stack.verify(held)
    assert report.exact, str(report)
    assert report.rows > 1_000
    stack.remove_job("held_job")


def _running(stack: Lab, key: str) -> Run | None:
    run = stack.runs().get(key)
    return run if run is not None and run.job_id and run.state == "running" else None


def test_what_reads_one_event_a_record_says_so(stack: Lab, tmp_path: Path) -> None:
    path = _file(tmp_path / "few.jsonl", cases.stream(4, 30).events)
    stack.import_jsonl(path, source="few", columnar=True)
    # a file of the day before, the newest first: its events are late by hours, and still go many to a record
    day_ms = 86_400_000
    older = [
        e | {"event_id": f"old-{n}", "event_time": e["event_time"] - day_ms - n * 1_000}
        for n, e in enumerate(cases.stream(6, 400).events)
    ]
    before = len(_batches(stack, "few"))
    stack.import_jsonl(_file(tmp_path / "older.jsonl", older), source="few")
    assert len(_batches(stack, "few")) - before < 5
    with pytest.raises(SettingsError, match="columnar"):
        stack.sql("SELECT COUNT(*) FROM events", source="few")
    with pytest.raises(SettingsError, match="columnar"):
        stack.record("few")
    with pytest.raises(SettingsError, match="live"):
        stack.import_jsonl(path, source="few", speed="live", columnar=True)
    plain = _file(tmp_path / "plain.jsonl", cases.stream(5, 30).events)
    stack.import_jsonl(plain, source="plain")
    with pytest.raises(SourceError, match="one event a record"):
        stack.import_jsonl(path, source="plain", columnar=True)
    assert stack.sources()["few"].as_json()["columnar"] is True
    for name in ("few", "plain"):
        stack.remove_source(name)
