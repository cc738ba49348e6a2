"""The brisk shop's messages as benchmarks take them, and what of them counts."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from rtap_lab.lab.scenarios import load_scenario
from rtap_lab.lab.simulator import write_file
from rtap_lab.reference.fates import Event, Judge, Place

_AFTER_ALL_MS = 2**51
"""An arrival after every event: none lies ahead of it, and by a bound that is wider still none is late."""


def messages(number: int, *, seed: int = 1) -> list[bytes]:
    """So many records, as they are sent."""
    file, story = io.BytesIO(), load_scenario("brisk")
    write_file(Path("-"), file, story, seed, seconds=None, events=number, progress=lambda done: None)
    return file.getvalue().splitlines()


def counted(records: Iterable[bytes]) -> Iterator[tuple[bytes, Event]]:
    """Each event that counts, with its record: the first copy of each id, late or not."""
    judge = Judge(2 * _AFTER_ALL_MS)
    for offset, record in enumerate(records):
        for each in judge.judge(record, Place(0, offset, _AFTER_ALL_MS)):
            if each.fate == "counted" and each.event:
                yield record, each.event
