"""Where RocksDB keeps its working files: in memory while they are few, else in the lab's folder.

A checkpoint flushes each state to a file, and the operator waits until the disk has it; in memory it does not. Nothing is lost
with these files: what a job needs to go on is in its checkpoints, on the disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")  # noqa: S108  (a folder of our own in it, 0700)
"""Linux's file system in memory, for all users."""

FEW_BYTES = 256_000_000
"""A lab whose checkpoints and savepoints are larger keeps its working files on the disk."""

MOST_BYTES = 1_000_000_000
"""Working files in memory that have become larger move to the disk."""

FREE_BYTES = 2_500_000_000
"""Memory must have so much room when files begin to be kept in it."""

LEFT_BYTES = 300_000_000
"""And so much while they are."""

_MOVED = "working-files-on-disk"
"""In Flink's folder: they were moved once, and do not come back."""


def folder_of(flink: Path) -> Path:
    """A lab's folder in memory.

    Args:
        flink: Flink's part of the state folder.
    """
    name = hashlib.sha256(str(flink.absolute()).encode()).hexdigest()[:16]
    return MEMORY / f"rtap-{os.getuid()}-{name}"


def choose(flink: Path, name: str) -> Path | None:
    """A new folder in memory for a TaskManager, or None: its working files belong on the disk.

    Args:
        flink: Flink's part of the state folder.
        name: The TaskManager's.
    """
    if not MEMORY.is_dir() or (flink / _MOVED).exists() or _room() < FREE_BYTES or _size(flink / "runs") > FEW_BYTES:
        return None
    base = folder_of(flink)
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        mine = base.lstat()
        if base.is_symlink() or mine.st_uid != os.getuid() or mine.st_mode & 0o077:
            return None  # somebody else's
        (base / name).mkdir(mode=0o700)
    except OSError:
        return None
    return base / name


def clear(flink: Path, *, living: Iterable[str] = ()) -> None:
    """Remove what TaskManagers that are gone have left in memory.

    Args:
        flink: Flink's part of the state folder.
        living: Command lines of the processes that run.
    """
    base, commands = folder_of(flink), list(living)
    if base.is_symlink() or not base.is_dir() or base.stat().st_uid != os.getuid():
        return
    for each in base.iterdir():
        if not any(str(each) in command for command in commands):
            shutil.rmtree(each, ignore_errors=True)
    if not any(base.iterdir()):
        base.rmdir()


def outgrown(flink: Path, files: Path) -> str | None:
    """Why working files can no longer stay in memory, and remember it: the next TaskManager has them on the disk. None: they can.

    Args:
        flink: Flink's part of the state folder.
        files: The TaskManager's folder in memory.
    """
    size, room = _size(files), _room()
    if size <= MOST_BYTES and room >= LEFT_BYTES:
        return None
    (flink / _MOVED).touch()
    return f"its working files move from memory to the disk: they have {size / 1e6:.0f} MB, and {room / 1e6:.0f} MB are free"


def _room() -> int:
    """Bytes that may be written: the file system's, and the machine's."""
    return min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)


def _size(folder: Path) -> int:
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:  # a checkpoint that was superseded meanwhile
                continue
