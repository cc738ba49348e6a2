"""State, processes, components and input files, on real files and processes."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from msgspec import structs

from rtap_lab.errors import ComponentError, ServiceError, SettingsError
from rtap_lab.stack import components, process
from rtap_lab.stack.java import find_java, java_version
from rtap_lab.stack.ports import choose_ports
from rtap_lab.stack.process import Identity, run_command
from rtap_lab.stack.service import Service
from rtap_lab.stack.state import Document, State
from rtap_lab.stack.supervisor import find_services, mark
from rtap_lab.waiting import until


def test_a_state_folder_is_made_checked_and_not_guessed_at(tmp_path: Path) -> None:
    state = State(tmp_path / "lab")
    state.create()
    state.create()
    (tmp_path / "lab" / "version").write_text('"0"')
    with pytest.raises(SettingsError, match="another version"):
        state.create()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(SettingsError, match="not a lab's"):
        State(tmp_path / "other").create()


def test_files_are_replaced_whole_and_secrets_are_the_owners(tmp_path: Path) -> None:
    state = State(tmp_path / "lab")
    state.create()
    document: Document[dict[str, int]] = Document(state, "a", dict[str, int], dict)
    assert document.read() == {}
    document.write({"n": 1})
    assert document.change(lambda found: found | {"m": 2}) == document.read() == {"n": 1, "m": 2}
    (state.folder / "a.json").write_text("{")
    with pytest.raises(SettingsError, match="damaged"):
        document.read()
    (state.folder / "a.json").write_text('{"n": "one"}')
    with pytest.raises(SettingsError, match="damaged"):
        document.read()
    secret = state.secret("key")
    assert secret == state.secret("key")
    assert stat.S_IMODE((state.folder / "secrets" / "key").stat().st_mode) == 0o600
    assert [p for p in state.folder.iterdir() if p.name.startswith(".a")] == []


def test_a_lock_refuses_the_second(tmp_path: Path) -> None:
    state = State(tmp_path)
    other = State(tmp_path)
    with state.lock("x"), pytest.raises(ServiceError, match="busy"), other.lock("x", timeout=0.1, busy="busy"):
        pass


def test_an_identity_is_no_other_process(tmp_path: Path) -> None:
    child = process.spawn([sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log", cwd=tmp_path)
    assert child.alive()
    impostor = structs.replace(child, birth=child.birth - 100)
    assert not impostor.alive()
    assert not impostor.signal(signal.SIGKILL), "a reused pid is never signalled"
    assert child.alive()
    began = time.monotonic()
    child.stop(5)
    assert time.monotonic() - began < 4
    assert not child.alive()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the kernel notes the start once")
def test_an_identity_does_not_move_with_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil's start time is the boot time plus ticks, and the boot time is the wall clock less the uptime."""
    child = process.spawn([sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log", cwd=tmp_path)
    try:
        created = psutil.Process(child.pid).create_time()
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: created + 600)
        monkeypatch.setattr(time, "time", lambda: created + 600)
        assert child.alive()
        assert child == Identity.of(child.pid)
        assert child.age_s < 60
        assert child.signal(signal.SIGCONT)
        another_boot = structs.replace(child, boot="another")
        assert not another_boot.alive()
        assert not another_boot.signal(signal.SIGKILL)
    finally:
        child.stop(2)


def test_a_log_is_rotated_while_it_is_written_to(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    program = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    with log.open("ab") as output:
        child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=output, text=True)
        assert child.stdin
        child.stdin.write("first\n" * 100)
        child.stdin.flush()
        until(lambda: log.stat().st_size == 600, 10)
        process.rotate(log, limit=1000)
        assert log.stat().st_size == 600, "it is not large"
        process.rotate(log, limit=100)
        assert log.stat().st_size == 0
        child.stdin.write("second\n")
        child.stdin.close()
        assert child.wait(10) == 0
    assert log.read_text() == "second\n"
    assert (tmp_path / "a.log.1").read_text() == "first\n" * 100


def test_a_marked_process_is_found_by_its_lab_only(tmp_path: Path) -> None:
    child = process.spawn(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        log=tmp_path / "log",
        cwd=tmp_path,
        environment=mark(tmp_path, "writer"),
    )
    try:
        assert find_services(tmp_path) == {"writer": child}
        assert find_services(tmp_path / "other") == {}
    finally:
        child.stop(2)


def test_ports_are_free_and_their_owner_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not process.is_free(port)
        assert str(os.getpid()) in process.port_owner(port)
    assert 20_000 <= process.free_port() < 32_000


def test_ports_of_last_time_stay_while_nobody_else_holds_them(tmp_path: Path) -> None:
    """What was killed holds its port for a moment longer (here: bound, and nobody listens); a program that runs keeps it."""
    state = State(tmp_path)
    state.create()
    first = choose_ports(state, ["kafka", "hub"], {})
    with socket.socket() as dying, socket.socket() as other:
        dying.bind(("127.0.0.1", first["kafka"]))
        other.bind(("127.0.0.1", first["hub"]))
        other.listen()
        release = threading.Timer(0.5, dying.close)
        release.start()
        again = choose_ports(state, ["kafka", "hub"], {})
        release.join()
    assert again["kafka"] == first["kafka"]
    assert again["hub"] != first["hub"]


def test_a_port_that_was_asked_for_is_waited_for_too_where_nobody_may_see_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(kind: str) -> None:
        raise psutil.AccessDenied  # macOS, to all but root

    monkeypatch.setattr(psutil, "net_connections", refused)
    state = State(tmp_path)
    state.create()
    port = process.free_port()
    assert process.port_owner(port) == "another program"
    with socket.socket() as dying:
        dying.bind(("127.0.0.1", port))
        release = threading.Timer(0.5, dying.close)
        release.start()
        assert choose_ports(state, ["kafka"], {"kafka": port}) == {"kafka": port}
        release.join()


def test_the_lock_names_versions_and_digests_and_no_address() -> None:
    text = (Path(components.__file__).parent / "components.lock.json").read_text()
    assert "://" not in text
    wanted = components.locked()
    assert {c.set for c in wanted} == {"kafka", "flink", "registry"}
    assert all(len(c.sha256) == 64 and c.size > 0 for c in wanted)
    names = [c.file for c in wanted]
    assert "kafka_2.13-4.2.2.jar" in names
    assert "kafka-server-4.2.2.jar" in names
    assert "flink-sql-connector-kafka-5.0.0-2.2.jar" in names
    assert "apicurio-registry-app-3.3.3-all.tar.gz" in names


def test_a_flipped_byte_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each = next(c for c in components.locked() if c.set == "kafka")
    monkeypatch.setenv("RTAP_CACHE", str(tmp_path))
    monkeypatch.setattr(components, "locked", lambda: [each])
    path = tmp_path / "components" / each.path
    with pytest.raises(ComponentError, match="is missing"):
        components.jars("kafka")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * each.size)
    with pytest.raises(ComponentError, match=each.file):
        components.jars("kafka")


def test_javas_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    assert "21.0.8" in java_version(find_java(None))
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    fake.chmod(0o755)
    with pytest.raises(ComponentError, match="not Java 17 to 21"):
        find_java(fake)
    with pytest.raises(ComponentError, match="does not run"):
        find_java(tmp_path / "none")


def test_services_have_defaults() -> None:
    service = Service("x", lambda: ["true"], lambda: None)
    assert service.depends == ()


def test_a_command_that_takes_too_long_ends_with_all_that_it_began(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    program = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(told)!r}, "w").write(str(child.pid))
time.sleep(60)
"""
    with pytest.raises(TimeoutError, match="took more than 2 s"):
        run_command([sys.executable, "-c", program], timeout=2)
    child = int(told.read_text())
    assert until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 5)


def test_a_folder_that_was_there_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    State(folder).create()
    assert folder.stat().st_mode & 0o777 == 0o700
    other = tmp_path / "somebody's"
    other.mkdir()
    other.chmod(0o755)
    (other / "page.html").write_text("hello")
    with pytest.raises(SettingsError, match="not a lab's state folder"):
        State(other).create()
    assert other.stat().st_mode & 0o777 == 0o755, "what is none of ours stays as it is"
