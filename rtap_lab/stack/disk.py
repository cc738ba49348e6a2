"""The disk's free space, and what a lab does as it goes: first it warns, then it takes nothing more in, then it is not ok."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from rtap_lab.errors import ServiceError

LOW_BYTES = 1_000_000_000
"""Below this a status warns; a lab that is down does not start."""

ROOM_BYTES = 300_000_000
"""Below this no simulator, import or replay adds to the log: what runs needs the rest for checkpoints, logs and points."""

FULL_BYTES = 100_000_000
"""Below this a broker or a checkpoint fails soon: a status is not ok."""


def free_bytes(folder: Path) -> int:
    """How much is free on the disk of a folder."""
    return shutil.disk_usage(folder).free


def need_room(folder: Path) -> None:
    """Refuse to add to the log of a lab whose disk is nearly full.

    Args:
        folder: The lab's.

    Raises:
        ServiceError: When there is less free than what runs may need.
    """
    free = free_bytes(folder)
    if free < ROOM_BYTES:
        raise ServiceError(
            f"the disk is nearly full: {free / 1e6:.0f} MB are free where {folder} is; "
            f"events are taken in while {ROOM_BYTES / 1e6:.0f} MB are",
            hint="free some, and do it again; what is there is not touched",
        )


def with_room(folder: Path, progress: Callable[[int], None]) -> Callable[[int], None]:
    """A progress that looks at the disk too, once a second, and ends the work by raising as `need_room` does."""
    looked = 0.0

    def told(number: int) -> None:
        nonlocal looked
        if time.monotonic() - looked > 1:
            looked = time.monotonic()
            need_room(folder)
        progress(number)

    return told
