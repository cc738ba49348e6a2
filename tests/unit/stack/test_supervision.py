"""One service under the supervisor, as a real process; components that are hashed once."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from rtap_lab.stack import components, supervisor
from rtap_lab.stack.process import Identity
from rtap_lab.stack.service import Service
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

    service = Service("mine", command, lambda: None, failure=lambda pid: "TypeError: a bug")
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

    runner = runner_of(state, Service("mine", command, lambda: None))
    runner.start()
    until(lambda: len(starts) >= 3, 30, lambda: AssertionError(f"started {len(starts)} times"))
    runner.supervisor.stopping.set()
    if runner.identity:
        runner.identity.stop(1)
    runner.join(20)


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
