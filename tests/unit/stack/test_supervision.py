"""One service under the supervisor, as a real process; components that are hashed once."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import psutil
import pytest

from rtap_lab.stack import components, process, supervisor
from rtap_lab.stack.process import Identity
from rtap_lab.stack.service import Retrying, Service
from rtap_lab.stack.state import Document, State
from rtap_lab.stack.supervisor import Supervisor, _Runner
from rtap_lab.waiting import until


def runner_of(state: State, service: Service) -> _Runner:
    return _Runner(Supervisor(state, [service]), service, None)


def test_what_ends_for_good_is_failed_with_its_reason_and_not_started_again(tmp_path: Path) -> None:
    state = State(tmp_path / "lab")
    state.create()
    starts = []

    def command() -> list[str]:
        starts.append(1)
        return [sys.executable, "-c", "import sys; sys.exit(1)"]

    service = Service("mine", command, lambda pid: None, failure=lambda pid: "TypeError: a bug")
    runner = runner_of(state, service)
    runner.start()
    runner.join(20)
    assert not runner.is_alive()
    assert (runner.status.state, runner.status.detail) == ("failed", "TypeError: a bug")
    assert len(starts) == 1


def test_what_ends_without_a_reason_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "backoff", lambda failures: 0.01)
    state = State(tmp_path / "lab")
    state.create()
    starts: list[int] = []

    def command() -> list[str]:
        starts.append(1)
        return [sys.executable, "-c", "import time; time.sleep(0.2)"]

    runner = runner_of(state, Service("mine", command, lambda pid: None))
    runner.start()
    until(lambda: len(starts) >= 3, 30, lambda: AssertionError(f"started {len(starts)} times"))
    runner.supervisor.stopping.set()
    if runner.identity:
        runner.identity.stop(1)
    runner.join(20)


SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_what_runs_and_does_not_answer_is_ended_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "backoff", lambda failures: 0.01)
    monkeypatch.setattr(supervisor, "PROBE_S", 0.05)
    state = State(tmp_path / "lab")
    state.create()
    asked: dict[int, int] = {}
    seen: list[str] = []

    def probe(pid: int) -> str | None:
        asked[pid] = asked.get(pid, 0) + 1
        return None if asked[pid] == 1 or len(asked) > 1 else "hangs"

    runner = runner_of(state, Service("mine", lambda: SLEEPER, probe))
    monkeypatch.setattr(runner.supervisor, "publish", lambda: seen.append(runner.status.state))
    runner.start()
    until(lambda: len(asked) == 2 and asked[max(asked)] > 5, 20, lambda: AssertionError(f"asked {asked}"))
    runner.supervisor.stopping.set()
    assert runner.identity
    runner.identity.stop(1)
    runner.join(20)
    assert seen == ["starting", "ready", "stuck", "restarting", "starting", "ready"]
    assert asked[min(asked)] == 4, "the first answer, and three that were none"
    assert runner.status.restarts == 1


def test_trouble_and_dependencies_are_no_reason_to_end_a_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "PROBE_S", 0.01)
    state = State(tmp_path / "lab")
    state.create()
    trouble = Retrying("the disk is full")
    answers = iter([trouble, None, *[trouble] * 9, None, *["no answer"] * 9, None])
    seen: list[tuple[str, str]] = []
    runner = runner_of(state, Service("mine", lambda: SLEEPER, lambda pid: next(answers, None), depends=("kafka",)))

    def publish() -> None:
        runner.supervisor.statuses.write({"mine": runner.status})  # it can be written down, whatever a probe answered
        seen.append((runner.status.state, runner.status.detail))

    monkeypatch.setattr(runner.supervisor, "publish", publish)
    times = iter([[], *[[]] * 10])
    monkeypatch.setattr(runner.supervisor, "not_ready", lambda names: next(times, ["kafka"]))
    runner.start()
    until(lambda: len(seen) >= 7, 20, lambda: AssertionError(str(seen)))
    runner.supervisor.stopping.set()
    assert runner.identity
    runner.identity.stop(1)
    runner.join(20)
    assert seen[1:] == [
        ("starting", "the disk is full"),
        ("ready", ""),
        ("retrying", "the disk is full"),
        ("ready", ""),
        ("waiting", "waits for kafka"),
        ("ready", ""),
    ]


def test_a_services_own_children_are_not_taken_for_it(tmp_path: Path) -> None:
    """A TaskManager's Python workers inherit its mark, and outlive it."""
    program = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)']); time.sleep(60)"
    service = process.spawn(
        [sys.executable, "-c", program],
        log=tmp_path / "log",
        cwd=tmp_path,
        environment=supervisor.mark(tmp_path, "taskmanager"),
    )
    child = until(lambda: psutil.Process(service.pid).children(), 10)[0]
    try:
        assert child.environ()["RTAP_SERVICE_OF"] == f"{tmp_path}:taskmanager"
        assert supervisor.find_services(tmp_path) == {"taskmanager": service}
        service.stop(0)
        assert child.is_running()
        assert supervisor.find_services(tmp_path) == {}
        supervisor.end_children(tmp_path, "writer", service)
        assert child.is_running()
        supervisor.end_children(tmp_path, "taskmanager", service)
        child.wait(5)
    finally:
        if child.is_running():
            child.kill()
        service.stop(0)


def test_a_jar_is_hashed_once_and_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTAP_CACHE", str(tmp_path))
    read: list[Path] = []
    hashed = components.digest
    monkeypatch.setattr(components, "digest", lambda path: (read.append(path), hashed(path))[1])
    jar = tmp_path / "a.jar"
    jar.write_bytes(b"one")
    first = components.known_digest(jar)
    assert components.known_digest(jar) == first
    components._digests.keep()
    fresh = components._Digests()  # as another process would
    assert fresh.of(jar) == first
    assert len(read) == 1
    jar.write_bytes(b"two")
    assert fresh.of(jar) != first
    assert len(read) == 2
    os.utime(jar, ns=(1, 1))
    fresh.of(jar)
    assert len(read) == 3
    (tmp_path / "digests.json").write_text("{garbage")
    assert components._Digests().of(jar) == fresh.of(jar), "a spoilt memory costs time only"


def test_two_writers_of_one_document_lose_nothing(tmp_path: Path) -> None:
    state = State(tmp_path / "lab")
    state.create()

    def add(name: str) -> None:
        for n in range(20):
            document: Document[dict[str, int]] = Document(state, "shared", dict[str, int], dict)
            document.change(lambda found, n=n: found | {f"{name}{n}": n})  # type: ignore[misc]

    threads = [threading.Thread(target=add, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    final: Document[dict[str, int]] = Document(state, "shared", dict[str, int], dict)
    assert len(final.read()) == 60


def test_an_identity_can_be_written_down(tmp_path: Path) -> None:
    state = State(tmp_path / "lab")
    state.create()
    me = Identity.of(os.getpid())
    document = supervisor.supervisor_document(state)
    assert document.read() is None
    document.write(me)
    assert document.read() == me
