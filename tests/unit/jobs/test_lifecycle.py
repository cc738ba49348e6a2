"""Runs through their life, with fakes at the ports: no stack."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from rtap_lab.endpoints import Endpoint, Endpoints
from rtap_lab.errors import JobError, SettingsError, SourceError, StatementError
from rtap_lab.flink.properties import FIXED_JOB_ID
from rtap_lab.jobs import lifecycle as module
from rtap_lab.jobs.lifecycle import OUTSLEPT, Lifecycle
from rtap_lab.jobs.model import catalog
from rtap_lab.jobs.reconcile import TRIES
from rtap_lab.kafka.names import transactional_prefix
from rtap_lab.kafka.transactions import Transaction
from rtap_lab.queries.aggregates import count, distinct, last
from rtap_lab.queries.query import WindowQuery, query
from rtap_lab.queries.windows import TumbleWindow
from rtap_lab.recordings.sources import Source
from rtap_lab.stack.state import State

NOWHERE = Endpoint("http://127.0.0.1:1")


class FakeTopics:
    """Topics by name, with their ends."""

    def __init__(self) -> None:
        self.kafka = NOWHERE
        self.found: dict[str, int] = {"events": 0, "events.weblog": 7}
        self.trimmed: list[dict[str, int]] = []
        self.open: list[Transaction] = []
        self.number = 1

    def partitions(self, topic: str) -> list[int]:
        return list(range(self.number))

    def ensure(self, topics: Iterable[Any]) -> None:
        for topic in topics:
            self.found.setdefault(topic.name, 0)

    def delete(self, names: Iterable[str]) -> None:
        for name in list(names):
            self.found.pop(name, None)

    def names(self) -> set[str]:
        return set(self.found)

    def ends(self, topics: Iterable[str], *, committed: bool = False) -> dict[tuple[str, int], int]:
        return {(topic, n): self.found[topic] for topic in topics for n in range(self.number)}

    def last_written_ms(self, topics: Iterable[str]) -> int:
        return -1

    def abort(self, belongs: Callable[[Transaction], bool]) -> list[Transaction]:
        ended = [each for each in self.open if belongs(each)]
        self.open = [each for each in self.open if not belongs(each)]
        return ended

    def trim(self, begins: dict[str, int]) -> None:
        self.trimmed.append(dict(begins))


class FakeStore:
    """A store that holds nothing."""

    def remove(self, *of: object) -> None:
        pass

    def close(self) -> None:
        pass


class FakeFlink:
    """A JobManager that remembers its jobs."""

    def __init__(self) -> None:
        self.known: list[dict[str, Any]] = []

    def jobs(self) -> list[dict[str, Any]]:
        return self.known

    def job(self, job_id: str) -> dict[str, Any]:
        return next(job for job in self.known if job["jid"] == job_id)

    def active(self, name: str) -> list[str]:
        return [job["jid"] for job in self.known if job["name"] == name and job["state"] == "RUNNING"]

    def is_running(self, job_id: str) -> bool:
        return bool(self.job(job_id)["state"] == "RUNNING")

    def cancel(self, job_id: str) -> None:
        self.job(job_id)["state"] = "CANCELED"

    def stop(self, job_id: str, *, drain: bool, directory: str) -> str:
        self.job(job_id)["state"] = "FINISHED"
        return "request"

    def savepoint_status(self, job_id: str, request: str) -> str:
        return "file:/nowhere"

    def trace(self, job_id: str) -> str:
        return ""

    def root_exception(self, job_id: str) -> str:
        return "it was divided by zero"

    def submit(self, name: str, job_id: str) -> str:
        self.known.append(
            {
                "jid": job_id,
                "name": name,
                "state": "RUNNING",
                "start-time": time.time_ns() // 1_000_000 + len(self.known),
            }
        )
        return job_id

    def lose_everything(self) -> None:
        self.known = []


@pytest.fixture
def flink() -> FakeFlink:
    return FakeFlink()


@pytest.fixture
def life(tmp_path: Path, flink: FakeFlink, monkeypatch: pytest.MonkeyPatch) -> Lifecycle:
    class Session:
        def __init__(self, gateway: Endpoint, properties: dict[str, str]) -> None:
            self.name = properties["pipeline.name"]
            self.handle = self.job_id = properties[FIXED_JOB_ID]

        def __enter__(self) -> Session:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def configure(self, statement: str) -> None:
            pass

        def submit(self, statement: str) -> str:
            return flink.submit(self.name, self.job_id)

        @staticmethod
        def end_of(gateway: Endpoint, handle: str) -> None:
            pass

    monkeypatch.setattr(module, "Session", Session)
    state = State(tmp_path / "lab")
    state.create()
    endpoints = Endpoints(*[NOWHERE] * 7)
    made = Lifecycle(state, endpoints, FakeTopics(), flink, FakeStore)  # type: ignore[arg-type]
    made.sources.write({"weblog": Source("jsonl", disorder_ms=59_000)})
    return made


MINE = query("mine", WindowQuery(TumbleWindow(1000), {"n": count()}))


def test_a_run_is_asked_for_then_made_true_once(life: Lifecycle, flink: FakeFlink) -> None:
    asked = life.request("standard", "live")
    assert (asked.state, asked.job_id) == ("submitting", None)
    for _ in range(3):
        life.reconcile_all()
    assert len(flink.known) == 1
    assert life.runs.read()["standard/live"].state == "running"
    assert life.request("standard", "live").run == asked.run, "the same again goes on"
    assert life.request("standard", "live", {"gap_ms": 1}).run != asked.run, "other parameters begin a new run"


def test_a_jobmanager_that_forgot_all_gets_each_job_again_once(life: Lifecycle, flink: FakeFlink) -> None:
    life.define("mine", [MINE])
    for job in ("standard", "mine"):
        life.request(job, "live")
    life.reconcile_all()
    flink.lose_everything()
    for _ in range(3):
        life.reconcile_all()
    assert sorted(job["name"].split()[0] for job in flink.known) == ["mine", "standard"]


def test_a_recorded_source_has_its_own_bound_and_its_end(life: Lifecycle) -> None:
    run = life.request("standard", "weblog")
    assert run.parameters.bound_ms == 59_001
    assert run.ends == {"0": 7}
    assert run.topics["sessions"] == "results.weblog.sessions"
    with pytest.raises(SourceError, match="no recorded source"):
        life.request("standard", "nowhere")


def test_one_run_that_fails_does_not_keep_the_others_from_running(life: Lifecycle, flink: FakeFlink) -> None:
    life.define("mine", [MINE])
    for job in ("standard", "mine"):
        life.request(job, "live")
    life.reconcile_all()
    for _ in range(TRIES):
        first = next(job for job in reversed(flink.known) if job["name"].startswith("standard"))
        first["state"] = "FAILED"
        for _ in range(2):
            with contextlib.suppress(JobError):  # of the last one
                life.reconcile_all()
    run = life.runs.read()["standard/live"]
    assert run.state == "failed"
    assert run.error == "it was divided by zero"
    assert life.runs.read()["mine/live"].state == "running"
    count = len(flink.known)
    again = life.request("standard", "live")
    assert (again.run, again.failures, again.error) == (run.run, 0, ""), "a new request tries it again"
    life.reconcile_all()
    assert len(flink.known) == count + 1
    assert life.runs.read()["standard/live"].state == "running"


def test_a_stopped_job_stays_stopped_and_goes_on_when_asked(life: Lifecycle, flink: FakeFlink) -> None:
    before = life.request("standard", "live")
    life.reconcile_all()
    assert life.stop("standard", "live").state == "stopped"
    life.reconcile_all()
    assert len(flink.known) == 1
    assert life.request("standard", "live").run == before.run
    life.reconcile_all()
    assert len(flink.known) == 2
    with pytest.raises(JobError, match="has not run"):
        life.stop("standard", "weblog")


def test_what_a_run_left_open_ends_with_it_and_nothing_else_does(life: Lifecycle, flink: FakeFlink) -> None:
    """Open, it would hide what others write to the shared topics for a day."""
    topics: FakeTopics = life.topics  # type: ignore[assignment]

    def opened(job: str, source: str) -> Transaction:
        topics.open.append(Transaction(f"{transactional_prefix(job, source)}late.0", "Ongoing", 0, ("events.late",)))
        return topics.open[-1]

    life.define("mine", [MINE])
    for job in ("standard", "mine"):
        life.request(job, "live")
    life.request("standard", "weblog")
    life.reconcile_all()
    others = opened("mine", "live")
    given_up = opened("standard", "live")
    life.request("standard", "live", {"gap_ms": 5})  # another run
    assert given_up not in topics.open
    failed = opened("standard", "weblog")
    for _ in range(TRIES):
        next(job for job in reversed(flink.known) if "weblog" in job["name"])["state"] = "FAILED"
        for _ in range(2):
            with contextlib.suppress(JobError):  # of the last one
                life.reconcile_all()
    assert life.runs.read()["standard/weblog"].state == "failed"
    assert failed not in topics.open
    assert topics.open == [others]
    life.forget(life.runs.read()["mine/live"])
    assert topics.open == []


def test_a_stop_without_a_savepoint_ends_what_nothing_will_commit(life: Lifecycle, flink: FakeFlink) -> None:
    """Its newest checkpoint may have promised to commit what was begun before it was complete; that stays."""
    topics: FakeTopics = life.topics  # type: ignore[assignment]
    life.define("mine", [MINE])
    run = life.request("mine", "live")
    life.reconcile_all()
    checkpoint = life.state.folder / "flink" / "runs" / "mine" / "live" / run.run / "job" / "chk-1" / "_metadata"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"")
    prefix, complete_ms = transactional_prefix("mine", "live"), checkpoint.stat().st_mtime_ns // 1_000_000
    promised, begun = (
        Transaction(f"{prefix}late.{n}", "Ongoing", complete_ms + ms, ("events.late",)) for n, ms in enumerate((-5, 5))
    )
    topics.open += [promised, begun]
    flink.savepoint_status = lambda *_: (_ for _ in ()).throw(JobError("the TaskManager is away"))  # type: ignore[method-assign]
    flink.cancel = lambda job_id: flink.job(job_id).update(state="CANCELED")  # type: ignore[attr-defined]
    assert life.stop("mine", "live").state == "stopped"
    assert topics.open == [promised]


def test_a_query_of_ones_own_comes_and_goes(life: Lifecycle, flink: FakeFlink) -> None:
    life.define("mine", [MINE])
    assert "mine" in catalog(life.jobs.read())
    run = life.request("mine", "live")
    life.reconcile_all()
    assert run.topics == {"mine": "results.mine"}
    assert "results.mine" in life.topics.names()
    life.forget(life.runs.read()["mine/live"])
    life.undefine("mine")
    assert "mine/live" not in life.runs.read()
    assert "results.mine" not in life.topics.names()
    assert "mine" not in catalog(life.jobs.read())
    assert flink.active(run.name) == []


@pytest.mark.parametrize(
    "name", ["sessions", "standard", "late", "weblog", "offsets", "runs", "sqlite_x", "sessions_time", "a_rollup"]
)
def test_names_that_are_taken(life: Lifecycle, name: str) -> None:
    with pytest.raises(SettingsError, match=r"taken|has that name"):
        life.define(name, [query(name, MINE.definition)])


def test_a_query_belongs_to_one_job(life: Lifecycle) -> None:
    life.define("mine", [MINE])
    with pytest.raises(SettingsError, match="belongs to job 'mine'"):
        life.define("other", [MINE])
    with pytest.raises(SettingsError, match="is not known"):
        life.request("nobody", "live")


def test_what_flink_cannot_say_is_refused_before_it_is_written_down(life: Lifecycle) -> None:
    with pytest.raises(SettingsError, match="cannot order numbers by time"):
        life.define("mine", [query("mine", WindowQuery(TumbleWindow(1000), {"v": last("value")}))])
    assert life.jobs.read() == {}


def test_what_flink_refuses_has_failed_with_its_reason(
    life: Lifecycle, flink: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, job_id: str) -> str:
        raise StatementError("flink: no such function")

    life.define("mine", [MINE])
    life.request("mine", "live")
    life.request("standard", "live")
    with monkeypatch.context() as patch:
        patch.setattr(flink, "submit", refuse)
        with pytest.raises(StatementError):
            life.reconcile("mine", "live")
    assert (life.runs.read()["mine/live"].state, life.runs.read()["mine/live"].error) == (
        "failed",
        "flink: no such function",
    )
    life.reconcile_all()
    assert [job["name"].split()[0] for job in flink.known] == ["standard"], (
        "it is not tried for ever, and is nobody else's trouble"
    )


def test_columns_that_differ_on_another_source_are_refused(life: Lifecycle) -> None:
    life.define("mine", [MINE], "weblog")
    life.request("mine", "weblog")
    other = query("mine", WindowQuery(TumbleWindow(1000), {"n": count(), "who": distinct("visitor_id")}))
    with pytest.raises(SettingsError, match="other columns on weblog"):
        life.define("mine", [other], "live")
    life.define("mine", [other], "weblog")


def test_a_kill_before_the_new_run_is_written_lets_the_old_one_go_on(
    life: Lifecycle, flink: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = life.request("standard", "live")
    life.reconcile_all()
    removed: list[object] = []
    monkeypatch.setattr(life.checkpoints, "keep_only", removed.append)

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(life.runs, "change", kill)
        with pytest.raises(KeyboardInterrupt):
            life.request("standard", "live", {"gap_ms": 5})
    assert removed == [], "its checkpoints are there"
    assert life.runs.read()["standard/live"].run == before.run
    life.request("standard", "live", {"gap_ms": 5})
    assert len(removed) == 1
    life.reconcile_all()
    assert life.topics.trimmed[-1] == life.runs.read()["standard/live"].results_from  # type: ignore[attr-defined]


def test_a_partition_that_was_added_begins_a_new_run_which_says_so(life: Lifecycle, flink: FakeFlink) -> None:
    before = life.request("standard", "live")
    for _ in range(2):  # submitted, then looked at
        life.reconcile_all()
    life.topics.number = 2  # type: ignore[attr-defined]
    life.reconcile_all()
    assert life.runs.read()["standard/live"].run == before.run, "it is looked at every few seconds"
    life._looked.clear()
    life.reconcile_all()
    run = life.runs.read()["standard/live"]
    assert run.run != before.run
    assert (run.partitions, run.state) == (2, "running")
    assert "a partition was added" in run.note
    life._looked.clear()
    life.reconcile_all()
    assert life.runs.read()["standard/live"].run == run.run


def test_a_gap_between_checkpoints_that_outlives_transactions_begins_a_new_run(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long sleep Flink passes over prepared transactions that the broker aborted: rows would be missing for good."""
    before = life.request("standard", "live")
    newest = [-1]
    monkeypatch.setattr(life.checkpoints, "newest_ms", lambda run: newest[0])

    def look() -> str:
        life._looked.clear()
        life.reconcile_all()
        return life.runs.read()["standard/live"].run

    for newest[0] in (-1, -1, time.time_ns() // 1_000_000):
        assert look() == before.run, "the first one is no gap"
    newest[0] += life.settings.transaction_ms // 2
    assert look() == before.run, "half a day is no harm"
    newest[0] += life.settings.transaction_ms
    assert look() != before.run
    assert OUTSLEPT in life.runs.read()["standard/live"].note
    life.request("standard", "live", {"delivery": "low_latency"})
    run = look()
    newest[0] += 2 * life.settings.transaction_ms
    assert look() == run, "without transactions none is lost"


@pytest.mark.parametrize("stopped", [True, False])
def test_an_old_checkpoint_is_gone_on_from_only_after_a_stop(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """A stop has committed all; what died days ago has not, and the broker has aborted it since."""
    before = life.request("standard", "live")
    life.reconcile_all()
    place = life.checkpoints.savepoints(before) + "/savepoint-1"
    run = life._update("standard/live", stopped_at=place if stopped else "", plan=life._plan(before))
    old = time.time_ns() // 1_000_000 - 2 * life.settings.transaction_ms
    for name, value in (("candidates", [place]), ("newest_ms", old)):
        monkeypatch.setattr(life.checkpoints, name, lambda _, value=value: value)
    monkeypatch.setattr(life.checkpoints, "completed_ms", lambda place: old if place else -1)
    monkeypatch.setattr(life.checkpoints, "has_later", lambda *_: False)
    monkeypatch.setattr(life.checkpoints, "tidy", lambda _: None)
    after = life._submit(run)
    assert (after.run == before.run) is stopped
    assert (OUTSLEPT in after.note) is not stopped
    if stopped:
        for newest in (old, old, time.time_ns() // 1_000_000):
            monkeypatch.setattr(life.checkpoints, "newest_ms", lambda _, newest=newest: newest)
            life._looked.clear()
            life.reconcile_all()
            assert life.runs.read()["standard/live"].run == before.run, "nor is it given up a moment later"


def test_a_recorded_run_that_was_stopped_to_be_replaced_is_not_taken_for_finished(
    life: Lifecycle, flink: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = life.request("standard", "weblog")
    life.reconcile_all()

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(life.topics, "ends", kill)
        with pytest.raises(KeyboardInterrupt):
            life.request("standard", "weblog", anew=True)
    life.reconcile_all()
    run = life.runs.read()["standard/weblog"]
    assert (run.run, run.state) == (before.run, "running"), "its job had read a part; it goes on"
    assert len(flink.known) == 2
