"""RocksDB's working files: in memory while they are few, removed with their TaskManager, on the disk once they have grown."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtap_lab.services import working_files


@pytest.fixture
def flink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    memory, flink = tmp_path / "memory", tmp_path / "flink"
    memory.mkdir()
    (flink / "runs").mkdir(parents=True)
    monkeypatch.setattr(working_files, "MEMORY", memory)
    monkeypatch.setattr(working_files, "_room", lambda: 10**10)
    return flink


def test_each_taskmanager_has_a_folder_of_its_own_until_it_is_gone(flink: Path) -> None:
    first, second = working_files.choose(flink, "a"), working_files.choose(flink, "b")
    assert first is not None
    assert second is not None
    assert working_files.folder_of(flink).stat().st_mode & 0o777 == 0o700
    (first / "000012.sst").write_bytes(b"x" * 10)
    working_files.clear(flink, living=[f"java -D state.backend.rocksdb.localdir={second}"])
    assert not first.exists()
    assert second.exists()
    working_files.clear(flink)
    assert not working_files.folder_of(flink).exists()
    working_files.clear(flink)  # there is nothing any more


def test_where_there_is_no_room_or_much_state_they_are_on_the_disk(
    flink: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as tight:
        tight.setattr(working_files, "_room", lambda: working_files.FREE_BYTES - 1)
        assert working_files.choose(flink, "a") is None
    with monkeypatch.context() as small:
        small.setattr(working_files, "FEW_BYTES", 99)
        (flink / "runs" / "chk").write_bytes(b"x" * 100)
        assert working_files.choose(flink, "a") is None
    with monkeypatch.context() as mac:
        mac.setattr(working_files, "MEMORY", flink / "none")
        assert working_files.choose(flink, "a") is None
    assert working_files.choose(flink, "a") is not None


def test_a_folder_that_others_may_enter_is_not_ours(flink: Path, tmp_path: Path) -> None:
    base = working_files.folder_of(flink)
    base.mkdir(mode=0o755)
    assert working_files.choose(flink, "a") is None
    base.rmdir()
    base.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "elsewhere" / "theirs").touch()
    assert working_files.choose(flink, "a") is None
    working_files.clear(flink)
    assert (tmp_path / "elsewhere" / "theirs").exists()


def test_what_has_grown_moves_to_the_disk_and_stays_there(flink: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = working_files.choose(flink, "a")
    assert files is not None
    assert working_files.outgrown(flink, files) is None
    monkeypatch.setattr(working_files, "MOST_BYTES", 99)
    (files / "000012.sst").write_bytes(b"x" * 100)
    assert "move from memory to the disk" in str(working_files.outgrown(flink, files))
    working_files.clear(flink)
    assert working_files.choose(flink, "b") is None
