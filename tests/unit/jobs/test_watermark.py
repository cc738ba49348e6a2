"""How far live answers are final: the least over partitions of (arrival - bound) at a checkpoint's offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from rtap_lab.jobs import watermark as module
from rtap_lab.jobs.model import Run
from rtap_lab.jobs.watermark import Watermarks
from rtap_lab.services import hub as service
from rtap_lab.settings import JobParameters

Places = Mapping[tuple[str, int], int]


class Log:
    """A topic's arrivals, by partition; what is read of it is counted."""

    def __init__(self, *partitions: list[int]) -> None:
        self.partitions, self.read_of = list(partitions), 0
        self.done: dict[int, int] = {}
        self.kafka, self.patience = None, 1.0

    def starts(self, topics: list[str]) -> dict[tuple[str, int], int]:
        return {(topics[0], p): 0 for p in range(len(self.partitions))}

    def committed(self, group: str, topic: str) -> dict[int, int]:
        return dict(self.done)

    def read(self, starts: Places, ends: Places) -> Iterator[Any]:
        for (topic, p), end in ends.items():
            for offset in range(starts[topic, p], end):
                self.read_of += 1
                stamp = (1, self.partitions[p][offset])
                yield SimpleNamespace(partition=lambda p=p: p, timestamp=lambda stamp=stamp: stamp)

    def close(self) -> None:
        pass


def run(name: str = "r1", **facts: Any) -> Run:
    about = {"parameters": JobParameters(bound_ms=10), "queries": (), "results_from": {}, "started": 0.0}
    return Run(job="standard", source="live", run=name, **(about | facts))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log([100, 120, 90, 130], [50, 200])
    monkeypatch.setattr(module, "RangeReader", lambda *_, **__: made)
    return made


def test_it_is_the_least_of_the_greatest_arrivals(log: Log) -> None:
    watermarks = Watermarks(log)  # type: ignore[arg-type]
    assert watermarks.upto_ms(run(), {0: 2}) is None, "nothing was heard of a partition"
    assert watermarks.upto_ms(run(), {0: 3, 1: 1}) == 40
    assert watermarks.upto_ms(run(), {0: 3, 1: 2}) == 110, "a clock that was set back does not count"
    before = log.read_of
    assert watermarks.upto_ms(run(), {0: 3, 1: 2}) == 110
    assert log.read_of == before, "only what is new is read"


def test_it_is_told_once_a_later_checkpoint_is_complete(log: Log) -> None:
    """Rows of a checkpoint are committed after it is complete: a TaskManager may die between."""
    runs = {"standard/live": run(state="running", checkpointed=True)}
    process: Any = SimpleNamespace(runs=lambda: runs, site=SimpleNamespace(topics_at_a_glance=log))
    progress = service._Progress(process)
    log.done = {0: 1, 1: 1}
    for _ in range(3):
        progress.step()
        assert progress.upto_ms == {}
    log.done = {0: 3, 1: 2}
    progress.step()
    assert progress.upto_ms == {"r1": 40}
    log.done = {0: 4, 1: 2}
    progress.step()
    assert progress.upto_ms == {"r1": 110}
    runs["standard/live"] = run("r2", state="running")
    progress.step()
    assert progress.upto_ms == {}, "a run without a checkpoint: what the group says is of the one before"
    runs["standard/live"] = run("r2", state="drained")
    progress.step()
    assert progress.upto_ms == {"r2": None}
