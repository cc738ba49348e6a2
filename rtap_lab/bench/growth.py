"""Growth: what a lab holds while time passes under steady traffic: memory, handles, disk, open transactions.

What must not grow is told from what is kept for its time: the log of events, checkpoints, working files and logs level off
within the retention; result rows and points are kept for a week, and grow with what is answered.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil

from rtap_lab.errors import ServiceError
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.services.working_files import folder_of
from rtap_lab.stack.supervisor import find_services

Sample = dict[str, float]
"""One look: `seconds` since the first, and by series "memory SERVICE" (MB), "handles SERVICE", "disk PART" (MB), "state files" (files
of RocksDB that are open, no handles), "transactions"."""

KEPT = ("disk results", "disk store")
"""Series that grow by design, until their retention."""

GROWS = 0.05
"""A series grows when an hour adds more than this share of its mean (and more than a step of its own resolution)."""

_RESOLUTION = {"memory": 2.0, "handles": 2.0, "state": 10.0, "disk": 2.0, "transactions": 1.0}
"""What one look differs from the next by at least, by the first word of a series."""


def look(lab: Lab, began: float) -> Sample:
    """What the lab holds now.

    Args:
        lab: A lab that is up.
        began: `time.monotonic()` of the first look.
    """
    sample: Sample = {"seconds": time.monotonic() - began}
    for name, each in find_services(lab.state.folder).items():
        try:
            process = psutil.Process(each.pid)
            sample[f"memory {name}"] = process.memory_info().rss / 1e6
            of_state = sum(each.path.endswith(".sst") for each in process.open_files())
            sample[f"handles {name}"] = process.num_fds() - of_state
            if name == "taskmanager":
                sample["state files"] = of_state
        except psutil.NoSuchProcess:  # it is being replaced
            continue
    for path, size in _files(lab.state.folder):
        part = f"disk {_part(path.relative_to(lab.state.folder))}"
        sample[part] = sample.get(part, 0.0) + size
    sample["disk working files"] = sum(size for _, size in _files(folder_of(lab.state.folder / "flink")))
    with contextlib.suppress(ServiceError):  # a look without an answer is one that is missing
        sample["transactions"] = len(Topics(lab.endpoints.kafka).open_transactions())
    return sample


def _files(folder: Path) -> Iterator[tuple[Path, float]]:
    """The files below a folder, and what each takes, MB."""
    for at, _, names in os.walk(folder):  # passes over folders that go meanwhile
        for name in names:
            path = Path(at, name)
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                yield path, path.lstat().st_blocks * 512 / 1e6


def _part(path: Path) -> str:
    first = path.parts[0]
    if not first.startswith("kafka-") or len(path.parts) < 3:
        return first
    topic = path.parts[2].rpartition("-")[0]
    return "results" if topic.startswith("results") else topic if topic.startswith("events") else "kafka"


def watch(
    lab: Lab, every: float, stop: threading.Event, keep: Callable[[Sample], None] = lambda sample: None
) -> list[Sample]:
    """Look every so many seconds, until the stop."""
    began, samples = time.monotonic(), list[Sample]()
    while not stop.wait(every):
        samples.append(look(lab, began))
        keep(samples[-1])
    return samples


def slopes(samples: Sequence[Sample], *, after: float) -> dict[str, dict[str, float | bool]]:
    """Of each series its mean, and what an hour adds by least squares. Pure.

    Args:
        samples: All looks.
        after: Seconds at the beginning that do not count: what fills up, fills up.

    Returns:
        By series: `mean`, `per_hour`, `grows` (never of what is kept for its time).
    """
    steady = [sample for sample in samples if sample["seconds"] >= after]
    found: dict[str, dict[str, float | bool]] = {}
    for name in sorted({name for sample in steady for name in sample} - {"seconds"}):
        points = [(sample["seconds"], sample[name]) for sample in steady if name in sample]
        if len(points) < 3:
            continue
        at, values = np.array(points).T
        per_hour = float(np.polyfit(at, values, 1)[0]) * 3600
        mean = float(values.mean())
        over = per_hour * (at[-1] - at[0]) / 3600  # what it added while it was looked at
        grows = per_hour > GROWS * mean and over > _RESOLUTION[name.partition(" ")[0]] and name not in KEPT
        found[name] = {"mean": round(mean, 2), "per_hour": round(per_hour, 2), "grows": bool(grows)}
    return found
