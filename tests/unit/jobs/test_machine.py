"""Any order of requests, stops, drains, removals, losses and upgrades, each killed at any step: the rows stay exact.

The ports are fakes that keep what the real ones keep: a JobManager with its jobs, a topic with rows, checkpoints as files. A
job reads events 1, 2, 3, … and writes one row for each; a checkpoint commits the rows so far.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rtap_lab.endpoints import Endpoint, Endpoints
from rtap_lab.errors import JobError
from rtap_lab.flink.properties import FIXED_JOB_ID, TERMINAL
from rtap_lab.jobs import lifecycle as module
from rtap_lab.jobs.lifecycle import Lifecycle
from rtap_lab.jobs.model import Run
from rtap_lab.queries.aggregates import count
from rtap_lab.queries.query import WindowQuery, query
from rtap_lab.queries.windows import TumbleWindow
from rtap_lab.stack.state import State

NOWHERE = Endpoint("http://127.0.0.1:1")
MINE = query("mine", WindowQuery(TumbleWindow(1000), {"n": count()}))
TOPIC = "results.mine"


class KilledError(BaseException):
    """The process that was at work is gone."""


class Fate:
    """Counts the steps of who is at work, and kills it before or after one of them."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.after = False
        self.while_submitting = False

    def step(self, act: Callable[[], Any]) -> Any:
        if self.left is None:
            return act()
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KilledError
        done = act()
        if self.left == 0:
            raise KilledError
        return done


class Steps:
    """A port each of whose calls is a step."""

    def __init__(self, port: Any, fate: Fate) -> None:
        self._port, self._fate = port, fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found
        return lambda *given, **named: self._fate.step(lambda: found(*given, **named))


class Topics:
    """The result topic: its rows, and the offset of the first that is left."""

    def __init__(self) -> None:
        self.kafka = NOWHERE
        self.rows: list[tuple[str, int]] = []
        self.start = 0
        self.there = False
        self.written_ms = -1
        self.pending: tuple[str, list[tuple[str, int]]] | None = None
        """Rows of a transaction that a checkpoint has promised to commit, and which."""

    def last_written_ms(self, topics: Iterable[str]) -> int:
        return self.written_ms

    def ensure(self, topics: Iterable[Any]) -> None:
        self.there = True

    def delete(self, names: Iterable[str]) -> None:
        if TOPIC in list(names):
            self.rows, self.start, self.there = [], 0, False

    def names(self) -> set[str]:
        return {TOPIC} if self.there else set()

    def ends(self, topics: Iterable[str], *, committed: bool = False) -> dict[tuple[str, int], int]:
        return {(topic, 0): self.start + len(self.rows) for topic in topics}

    def partitions(self, topic: str) -> list[int]:
        return [0]

    def trim(self, begins: dict[str, int]) -> None:
        for begin in begins.values():
            if begin > self.start:
                self.rows = self.rows[begin - self.start :]
                self.start = begin

    def abort(self, belongs: object) -> list[object]:
        self.pending = None
        return []

    def hold_back(self, checkpoint: str, run: str, position: int) -> None:
        """The newest rows were written and not yet committed."""
        held = [row for row in self.rows if row[0] == run and row[1] > position]
        self.rows = [row for row in self.rows if row not in held]
        self.pending = (checkpoint, held)


class Flink:
    """A JobManager and its jobs; a checkpoint is a file with its number and the events read."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.known: list[dict[str, Any]] = []
        self.clock = 0
        self.lost = 0

    def jobs(self) -> list[dict[str, Any]]:
        return [dict(job) for job in self.known]

    def job(self, job_id: str) -> dict[str, Any]:
        for job in self.known:
            if job["jid"] == job_id:
                return job
        raise JobError("flink: no such job")

    def active(self, name: str) -> list[str]:
        return [job["jid"] for job in self.known if job["name"] == name and job["state"] not in TERMINAL]

    def is_running(self, job_id: str) -> bool:
        return bool(self.job(job_id)["state"] == "RUNNING")

    def root_exception(self, job_id: str) -> str:
        return "divided by zero"

    def trace(self, job_id: str) -> str:
        return "at org.apache.flink…BackendRestorerProcedure.createAndRestore" if self.job(job_id)["broken"] else ""

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        return {"counts": {"completed": self.job(job_id)["completed"]}}

    def submit(self, name: str, place: str, restore: str | None, job_id: str) -> str:
        assert all(job["state"] in TERMINAL for job in self.known), "two jobs at a time would write the same rows"
        self.clock += 1
        if self.topics.pending:  # a job commits what its checkpoint promised, and ends all else under its prefix
            checkpoint, rows = self.topics.pending
            self.topics.rows += rows if checkpoint == restore else []
            self.topics.pending = None
        number = position = 0
        broken = False
        if restore is not None:
            assert "/drained/" not in restore, "a drained savepoint has its windows closed"
            content = (Path(restore.removeprefix("file:")) / "_metadata").read_bytes()
            broken = len(content) < 24 or content.endswith(b"spoilt")  # a late one may find it cut off
            if len(content) >= 24:
                _, _, number, position = struct.unpack_from(">iiqq", content)
        self.known.append(
            {
                "jid": job_id,
                "name": name,
                "state": "RESTARTING" if broken else "RUNNING",
                "start-time": self.clock,
                "number": number,
                "position": position,
                "completed": 0,
                "place": Path(place.removeprefix("file:")),
                "broken": broken,
            }
        )
        return job_id

    def cancel(self, job_id: str) -> None:
        self.job(job_id)["state"] = "CANCELED"

    def read(self, job: dict[str, Any], events: int) -> None:
        """Events come; a checkpoint commits their rows."""
        self._commit(job, events, job["place"] / job["jid"] / f"chk-{job['number'] + 1}")

    def _commit(self, job: dict[str, Any], events: int, folder: Path) -> None:
        run = job["name"].split()[-1]
        self.clock += 1
        if events:
            self.topics.written_ms = self.clock
        self.topics.rows += [(run, job["position"] + n + 1) for n in range(events)]
        job["before"] = job["position"]
        job["position"] += events
        job["number"] += 1
        job["completed"] += 1
        folder.mkdir(parents=True)
        split = struct.pack(">H", 6) + b"events" + struct.pack(">iqq", 0, job["position"], -(2**63))
        header = struct.pack(">iiqq", 0x4960672D, 6, job["number"], job["position"])
        (folder / "_metadata").write_bytes(header + split)
        job["checkpoint"] = folder.as_uri()
        self.clock += 1
        os.utime(folder / "_metadata", ns=(self.clock * 1_000_000, self.clock * 1_000_000))

    def stop(self, job_id: str, *, drain: bool, directory: str) -> str:
        self.clock += 1
        job = self.job(job_id)
        self._commit(job, 1, Path(directory.removeprefix("file:")) / f"savepoint-{self.clock}")
        job["state"] = "FINISHED"
        return "request"

    def savepoint_status(self, job_id: str, request: str) -> str:
        return "done"


class Store:
    def remove(self, *of: object) -> None:
        pass

    def close(self) -> None:
        pass


KILL = st.one_of(st.none(), st.tuples(st.integers(1, 40), st.booleans()))
"""At which step the process that is at work dies, and whether after it."""


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.fate, self.topics = Fate(), Topics()
        self.flink = Flink(self.topics)
        self.version, self.removed = "1", False
        flink, fate = self.flink, self.fate
        begun = self.begun = {}  # type: ignore[var-annotated]

        class Session:
            def __init__(self, gateway: Endpoint, properties: dict[str, str]) -> None:
                self.properties, self.handle = properties, properties[FIXED_JOB_ID]

            def __enter__(self) -> Session:
                return self

            def __exit__(self, *error: object) -> None:
                pass

            def configure(self, statement: str) -> None:
                pass

            def submit(self, statement: str) -> str:
                given = self.properties
                place, restore = given["execution.checkpointing.dir"], given.get("execution.state-recovery.path")
                begun[self.handle] = (given["pipeline.name"], place, restore, given[FIXED_JOB_ID])
                if fate.while_submitting:
                    raise KilledError
                return str(fate.step(lambda: flink.submit(*begun.pop(self.handle))))

            @staticmethod
            def end_of(gateway: Endpoint, handle: str) -> None:
                def end() -> None:
                    given = begun.pop(handle, None)
                    if given and int(handle, 16) % 2:  # it was on its way to the JobManager already
                        flink.submit(*given)

                fate.step(end)

        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "Session", Session)
        self.patch.setattr(module, "COMES_S", 0.0)
        # a file's time is the machine's step here, not a clock's: nothing slept
        self.patch.setattr(Lifecycle, "_outlives_ms", float("inf"))
        state = State(self.folder / "lab")
        state.create()
        endpoints = Endpoints(*[NOWHERE] * 7)
        self.life = Lifecycle(state, endpoints, Steps(self.topics, fate), Steps(flink, fate), Store)  # type: ignore[arg-type]
        self.life.define("mine", [MINE])
        self.life.runs = Steps(self.life.runs, fate)  # type: ignore[assignment]
        self.life.checkpoints = Steps(self.life.checkpoints, fate)  # type: ignore[assignment]
        plan = self.life._plan
        self.patch.setattr(self.life, "_plan", lambda run: f"{plan(run)} {self.version}")
        self.request(None)
        self.read([2, 1])

    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.settle()
            self.exact()
            self.patch.undo()
            shutil.rmtree(self.folder)

    def act(self, kill: tuple[int, bool] | None, what: Callable[[], object]) -> None:
        self.fate.left, self.fate.after = kill or (None, False)
        try:
            what()
        except (KilledError, JobError):
            pass
        finally:
            self.fate.left = None

    def run(self) -> Run | None:
        return self.life.runs.read().get("mine/live")

    def settle(self) -> None:
        for _ in range(12):
            with contextlib.suppress(JobError):
                self.life.reconcile_all()

    @rule(kill=KILL)
    def request(self, kill: tuple[int, bool] | None) -> None:
        self.removed = False
        self.act(kill, lambda: self.life.request("mine", "live"))

    @rule(kill=KILL, bound=st.integers(1, 3))
    def request_another(self, kill: tuple[int, bool] | None, bound: int) -> None:
        self.removed = False
        self.act(kill, lambda: self.life.request("mine", "live", {"bound_ms": bound * 1000}))

    @rule(kill=KILL)
    def reconcile(self, kill: tuple[int, bool] | None) -> None:
        self.act(kill, self.life.reconcile_all)

    @rule()
    def die_while_submitting(self) -> None:
        """Who asks for it dies while the gateway is at it."""
        self.fate.while_submitting = True
        try:
            self.act(None, self.life.reconcile_all)
        finally:
            self.fate.while_submitting = False

    @rule(kill=KILL, drain=st.booleans())
    def stop(self, kill: tuple[int, bool] | None, drain: bool) -> None:
        self.act(kill, lambda: self.life.stop("mine", "live", drain=drain))

    @rule(kill=KILL)
    def down(self, kill: tuple[int, bool] | None) -> None:
        self.act(kill, self.life.stop_all)
        self.flink.known.clear()
        self.begun.clear()

    @rule(kill=KILL)
    def remove(self, kill: tuple[int, bool] | None) -> None:
        run = self.run()
        if run:
            self.act(kill, lambda: self.life.forget(run))
            self.removed = True

    @rule(checkpoints=st.lists(st.integers(0, 2), min_size=1, max_size=4))
    def read(self, checkpoints: list[int]) -> None:
        """The supervisor looks, then events come, so many before each checkpoint."""
        self.settle()
        for job in self.flink.known:
            for events in checkpoints:
                if job["state"] == "RUNNING":
                    self.flink.read(job, events)

    @rule(harm=st.sampled_from(["", "", "cut", "spoil"]), uncommitted=st.booleans())
    def lose_the_jobmanager(self, harm: str, uncommitted: bool) -> None:
        for job in self.flink.known:
            if uncommitted and job["state"] == "RUNNING" and "checkpoint" in job:
                self.topics.hold_back(job["checkpoint"], job["name"].split()[-1], job["before"])
        if harm:
            self.harm_the_newest_checkpoint(harm)
        self.flink.known.clear()

    @rule()
    def the_gateway_goes_on(self) -> None:
        """What a dead command had begun reaches the JobManager, late."""
        for handle in list(self.begun):
            self.flink.submit(*self.begun.pop(handle))

    @rule()
    def upgrade(self) -> None:
        self.version += "1"

    def harm_the_newest_checkpoint(self, how: str) -> None:
        run = self.run()
        found = self.life.checkpoints.candidates(run) if run else []
        if found:
            path = Path(found[0].removeprefix("file:")) / "_metadata"
            written = path.stat()
            path.write_bytes(b"" if how == "cut" else path.read_bytes() + b"spoilt")
            os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))

    @invariant()
    def at_most_one_job_of_a_run(self) -> None:
        names = [job["name"] for job in getattr(self, "flink", Flink(Topics())).known if job["state"] not in TERMINAL]
        assert len(names) == len(set(names))

    def exact(self) -> None:
        run = self.run()
        active = [job for job in self.flink.known if job["state"] not in TERMINAL]
        if run is None:
            assert not active
            if self.removed:
                assert not self.topics.there, "what it is known by goes last"
                assert not list(self.folder.rglob("_metadata"))
            return
        assert (run.desired, run.state) in {
            ("running", "running"),
            ("running", "drained"),
            ("stopped", "stopped"),
            ("stopped", "drained"),
            ("drained", "drained"),
        }
        assert [job["name"] for job in active] == ([run.name] if run.state == "running" else [])
        begins = run.results_from[TOPIC]
        rows = self.topics.rows[max(0, begins - self.topics.start) :]
        assert {name for name, _ in rows} <= {run.run}, "an earlier run's rows are before its beginning"
        assert [event for _, event in rows] == list(range(1, len(rows) + 1)), "each row once, in order, none left out"
        if active:
            assert active[0]["position"] == len(rows), "it goes on where its rows end"


def test_the_rows_stay_exact_whatever_is_killed_when() -> None:
    run_state_machine_as_test(Machine, settings=settings(max_examples=150, stateful_step_count=30, deadline=None))
