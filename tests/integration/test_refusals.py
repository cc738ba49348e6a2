"""What cannot run here is refused before anything starts, with one message that says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from rtap_lab.errors import ComponentError, ServiceError
from rtap_lab.lab import stack as control
from rtap_lab.settings import Settings
from rtap_lab.stack import components, disk, influxd

Memory = namedtuple("Memory", "available")
Disk = namedtuple("Disk", "free")


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control.psutil, "virtual_memory", lambda: Memory(500_000_000))
    with pytest.raises(ServiceError, match="too little memory") as caught:
        control.check_machine(Settings(profile="full"), tmp_path)
    assert "--profile core" in str(caught.value)


def test_too_little_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Disk(5_000_000))
    with pytest.raises(ServiceError, match="too little disk space"):
        control.check_machine(Settings(), tmp_path)


def test_influxd_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "find_influxd", lambda: None)
    with pytest.raises(ComponentError, match="rtap fetch influxdb"):
        control.check_machine(Settings(store="influxdb"), tmp_path)


def test_influxd_without_the_tools_to_build_it_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTAP_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ComponentError, match=r"Go .*cargo.*gcc.*pkg-config missing"):
        influxd.fetch_influxd()


def rtap(state: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rtap_lab.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "RTAP_STATE": str(state), **environment},
    )


def test_nothing_up(tmp_path: Path) -> None:
    assert rtap(tmp_path / "x", "down").returncode == 0
    assert rtap(tmp_path / "x", "status").returncode == 1
    for command in (["verify"], ["results", "sessions"], ["jobs", "list"], ["dash"], ["sql", "SELECT 1"]):
        done = rtap(tmp_path / "x", *command)
        assert done.returncode == 1
        assert "rtap up" in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "x").exists(), "asking makes no folder"


def test_reset_deletes_only_what_is_a_labs(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    done = rtap(tmp_path, "reset", "--yes")
    assert done.returncode == 2
    assert (tmp_path / "letters.txt").exists()
    assert rtap(tmp_path, "up").returncode == 2


def test_a_broken_download_refuses_to_start_and_names_the_file(tmp_path: Path) -> None:
    cache = components.cache_folder()
    if components.missing(components.locked()):
        pytest.fail("the components are not here: rtap fetch")
    mine = tmp_path / "cache"
    for each in components.locked():
        path = mine / "components" / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(cache / "components" / each.path, path) if _same_disk(cache, tmp_path) else shutil.copyfile(
            cache / "components" / each.path, path
        )
    victim = next(c for c in components.locked() if c.artifact == "kafka-clients")
    path = mine / "components" / victim.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    done = rtap(tmp_path / "lab", "up", RTAP_CACHE=str(mine))
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "SHA-256 differs" in done.stderr
    assert rtap(tmp_path / "lab", "status").returncode == 1


def _same_disk(a: Path, b: Path) -> bool:
    return a.stat().st_dev == b.stat().st_dev


def test_components_come_without_maven_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = min((c for c in components.locked() if c.type == "jar"), key=lambda c: c.size)
    monkeypatch.setenv("RTAP_CACHE", str(tmp_path))
    monkeypatch.setattr(components.shutil, "which", lambda tool: None)
    told: list[int] = []
    assert components.fetch([small], progress=lambda name, size: told.append(size)) == [small]
    assert components.fetch([small]) == []
    assert sum(told) == small.size


def test_a_service_that_cannot_start_is_named_with_its_log_and_nothing_is_left(tmp_path: Path) -> None:
    from rtap_lab.lab import Lab
    from rtap_lab.stack.supervisor import find_services, find_supervisor

    lab = Lab(tmp_path / "lab")
    data = lab.state.folder / "kafka-1" / "data"
    lab.state.create()
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\nnode.id=7\n")
    with pytest.raises(ServiceError, match="kafka") as caught:
        Lab.up(lab.state.folder, timeout=60)
    assert "  | " in str(caught.value), "the last lines of its log are shown"
    assert find_services(lab.state.folder) == {}
    assert find_supervisor(lab.state) is None
