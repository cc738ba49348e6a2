"""State, processes, components and input files, on real files and processes."""

from __future__ import annotations

import gzip
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from rtap_lab.errors import ComponentError, ServiceError, SettingsError, SourceError
from rtap_lab.kafka import files
from rtap_lab.kafka.rejects import KEPT_BYTES, key_of, reject_row
from rtap_lab.kafka.topics import Topics
from rtap_lab.stack import components, process
from rtap_lab.stack.flink_cluster import FlinkPorts, config
from rtap_lab.stack.java import find_java, java_version
from rtap_lab.stack.process import Identity
from rtap_lab.stack.services import Service
from rtap_lab.stack.state import State
from rtap_lab.stack.supervisor import mark, marked


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
    state.write("a", {"n": 1})
    state.write("a", {"n": 2})
    assert state.read("a") == {"n": 2}
    assert state.read("b", 7) == 7
    (state.folder / "c.json").write_text("{")
    with pytest.raises(SettingsError, match="damaged"):
        state.read("c")
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
    impostor = Identity(child.pid, child.created - 100)
    assert not impostor.alive()
    assert not impostor.signal(signal.SIGKILL), "a reused pid is never signalled"
    assert child.alive()
    began = time.monotonic()
    child.stop(5)
    assert time.monotonic() - began < 4
    assert not child.alive()


def test_a_marked_process_is_found_by_its_lab_only(tmp_path: Path) -> None:
    child = process.spawn(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        log=tmp_path / "log",
        cwd=tmp_path,
        environment=mark(tmp_path, "writer"),
    )
    try:
        assert marked(tmp_path) == {"writer": child}
        assert marked(tmp_path / "other") == {}
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


def test_inputs_are_read_plain_and_packed_with_one_digest(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x\ny\n")
    with gzip.open(tmp_path / "a.log.gz", "wb") as out:
        out.write(b"x\ny\n")
    plain, digest = files.open_input(str(tmp_path / "a.log"))
    packed, same = files.open_input(str(tmp_path / "a.log.gz"))
    assert digest == same
    assert (
        [line.text for line in files.lines_of(plain)] == [line.text for line in files.lines_of(packed)] == [b"x", b"y"]
    )
    plain.close()
    packed.close()
    (tmp_path / "bad.gz").write_bytes(b"no gzip")
    for path in ("none.log", "bad.gz"):
        with pytest.raises(SourceError, match=path):
            files.open_input(str(tmp_path / path))


def test_a_common_log_gets_one_message() -> None:
    line = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1\n'
    with pytest.raises(SourceError, match="Referer and User-Agent"):
        files.check_format(io.BytesIO(line * 3), "x.log")
    files.check_format(io.BytesIO(b"garbage\n"), "x.log")


def test_a_line_of_any_length_is_one_line() -> None:
    long = b"a" * (files.LINE_LIMIT * 5)
    found = list(files.lines_of(io.BytesIO(b"x\n" + long + b"\ny\r\n")))
    assert [line.number for line in found] == [1, 2, 3]
    assert found[2].text == b"y"
    assert files.read_line(found[1], "jsonl", "d", b"", 0) == "size"


def test_what_is_kept_of_a_refused_record_is_bounded() -> None:
    row = reject_row(source="s", reason="parse", record=b"\xff" * 100_000, line=3, file="f")
    assert row["size"] == 100_000
    assert len(row["record"]) <= KEPT_BYTES
    assert key_of(row) == b"s/f/3"


def test_a_service_whose_process_is_gone_is_not_shown_as_ready() -> None:
    from rtap_lab.lab.status import _service

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    shown = _service("kafka", {"state": "ready", "pid": gone.pid})
    assert shown["state"] == "dead"
    assert shown["rss_mb"] is None


def test_a_taskmanager_never_comes_back_at_its_predecessors_address(tmp_path: Path) -> None:
    """The JobManager's remoting can shut out one that does, for minutes: it happened."""
    values = config(tmp_path, FlinkPorts(1, 2, 3, 4, 5))
    assert values["taskmanager.rpc.port"] == "0"
    assert values["taskmanager.registration.timeout"] == "30 s"


def test_what_passes_by_itself_at_the_broker_is_asked_again() -> None:
    topics = Topics("127.0.0.1:1")
    loading = KafkaException(KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS))
    answers: list[KafkaException | int] = [loading, loading, 7]

    def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, KafkaException):
            raise answer
        return answer

    assert topics._patiently(ask) == 7
    answers = [KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)), 7]
    with pytest.raises(ServiceError, match="offsets are not to be had"):
        topics._patiently(ask)
