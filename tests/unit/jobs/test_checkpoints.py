"""Checkpoints as files: by number whatever the clock did, what cannot be read passed over, a drain never gone on from."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from msgspec import structs

from rtap_lab.flink.savepoints import checkpoint_number
from rtap_lab.jobs.checkpoints import CheckpointFolder
from rtap_lab.jobs.model import Run
from rtap_lab.queries.standard import standard_queries
from rtap_lab.settings import JobParameters


def run(name: str = "r1") -> Run:
    return Run(
        job="standard", source="live", run=name, parameters=JobParameters(), queries=standard_queries(), results_from={},
        started=0.0,
    )  # fmt: skip


def keep(folder: Path, place: str, number: int | None, age_s: float) -> Path:
    path = folder / "standard" / "live" / place
    path.mkdir(parents=True)
    content = b"cut" if number is None else struct.pack(">iiqq", 0x4960672D, 6, number, 0)
    (path / "_metadata").write_bytes(content)
    os.utime(path / "_metadata", (1e9 - age_s, 1e9 - age_s))
    return path


def test_the_newest_is_the_one_with_the_greatest_number(tmp_path: Path) -> None:
    storage = CheckpointFolder(tmp_path)
    assert storage.candidates(run()) == []
    assert not storage.any(run())
    older = keep(tmp_path, "r1/job1/chk-9", 9, age_s=0)
    newer = keep(tmp_path, "r1/job2/chk-11", 11, age_s=600)  # written after the clock was set back
    saved = keep(tmp_path, "r1/savepoints/savepoint-a", 10, age_s=300)
    keep(tmp_path, "r1/job2/chk-12", None, age_s=0)
    keep(tmp_path, "r1/drained/savepoint-b", 13, age_s=0)
    keep(tmp_path, "r0/job0/chk-99", 99, age_s=0)
    assert storage.candidates(run()) == [newer.as_uri(), saved.as_uri(), older.as_uri()]
    assert storage.any(run())
    assert (storage.drained(run()) or "").endswith("/drained/savepoint-b")
    storage.tidy(run())
    assert storage.candidates(run()) == [newer.as_uri(), saved.as_uri()], "two places to go on from are left"
    assert storage.drained(run())
    storage.keep_only(run())
    assert not (tmp_path / "standard/live/r0").exists()
    assert len(storage.candidates(run())) == 2
    storage.remove(run())
    assert not storage.any(run())


def test_what_was_never_readable_was_there_all_the_same(tmp_path: Path) -> None:
    storage = CheckpointFolder(tmp_path)
    keep(tmp_path, "r1/job1/chk-1", None, age_s=0)
    assert storage.any(run())
    assert storage.candidates(run()) == []


def test_what_came_later_is_told_by_numbers_too(tmp_path: Path) -> None:
    """A clock that was set back made a later checkpoint look older, whose rows would then have come twice."""
    storage = CheckpointFolder(tmp_path)
    usable = keep(tmp_path, "r1/job1/chk-9", 9, age_s=0)
    keep(tmp_path, "r1/savepoints/savepoint-a", 8, age_s=-600)
    assert not storage.has_later(run(), usable.as_uri()), "its time is greater, its number is not"
    keep(tmp_path, "r1/job1/chk-10", None, age_s=600)
    assert storage.has_later(run(), usable.as_uri()), "it cannot be read, and its name tells"


def test_only_a_checkpoint_has_a_number() -> None:
    whole = struct.pack(">iiqq", 0x4960672D, 6, 7, 0)
    assert checkpoint_number(whole) == 7
    for spoilt in (b"", whole[:20], b"\0" * 24, struct.pack(">iiqq", 0x4960672D, 6, -1, 0)):
        assert checkpoint_number(spoilt) is None


def test_savepoints_taken_by_hand_go_with_their_job_on_its_source(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "runs")
    mine, other = (structs.replace(run(), source=source) for source in ("weblog", "live"))
    places = [Path(folder.kept(run).removeprefix("file://")) for run in (mine, other)]
    for place in places:
        (place / "savepoint-1").mkdir(parents=True)
    folder.remove(mine)
    assert [place.exists() for place in places] == [False, True]
