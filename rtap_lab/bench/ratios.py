"""Ratios that hold on any machine: what our own code takes, beside a plain yardstick of Python on the same events, in turn.

A CI's machine is another one each time, and shared: a time says nothing there, a ratio something. Processor time counts, and of
several rounds the least.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rtap_lab.bench.measurements import Measurements
from rtap_lab.bench.shop import counted, messages
from rtap_lab.queries.builders import begin, count, distinct, field, session, tumble
from rtap_lab.queries.query import Definition
from rtap_lab.reference.engine import rows_of
from rtap_lab.verification.verifier import without_cycles

GROUPS = 7
"""Samples of each ratio."""

ROUNDS = 8
"""Rounds of which the least counts, in each sample."""

EVENTS = 2500
"""Records of the shop that are played."""


@dataclass(frozen=True)
class Contest:
    """Our code, and what it is measured by."""

    name: str
    ours: Callable[[], object]
    yardstick: Callable[[], object]
    words: str


def contests(seed: int = 1) -> list[Contest]:
    """What is measured: the paths that every verification and every client depends on."""
    records = messages(EVENTS, seed=seed)
    events = [event for _, event in counted(records)]
    bought = (field("event_type") == "conversion") & (field("name") == "purchase")
    # each so often that it takes as long as the others: what is short is noise
    asked: dict[str, tuple[int, Definition]] = {
        "tumble": (15, tumble("1m").by("page").agg(n=count(), visitors=distinct("visitor_id"))),
        "session": (3, session("20s").by("visitor_id").agg(n=count())),
        "pattern": (3, begin("a", field("name") == "add_to_cart").followed_by("b", bought).within("30s").by("visitor_id")),
    }  # fmt: skip

    def loaded() -> None:
        for record in records:
            try:
                json.loads(record)
            except ValueError:
                continue

    found = [Contest("judge", lambda: list(counted(records)), loaded, "decode and judge a record, to json.loads of it")]
    for name, (times, definition) in asked.items():
        words = f"the reference engine, {times} times, to json.loads of the records once"
        found.append(Contest(name, partial(_often, times, partial(rows_of, definition, events)), loaded, words))
    return found


def _often(times: int, work: Callable[[], object]) -> object:
    for _ in range(times):
        result = work()
    return result


def measure(found: Measurements, played: Sequence[Contest]) -> None:
    """Play the contests, and keep their ratios as figures."""
    samples: dict[str, list[float]] = {contest.name: [] for contest in played}
    with without_cycles():  # a search for cycles takes the longer, the more the process holds besides
        for _ in range(GROUPS):  # all in turn: what else the machine does meets all of them
            for contest in played:
                samples[contest.name].append(_sample(contest))
    for contest in played:
        found.median(f"{contest.name}_ratio", samples[contest.name], "x", "lower", words=contest.words)


def _sample(contest: Contest) -> float:
    rounds = [(_cpu_s(contest.ours), _cpu_s(contest.yardstick)) for _ in range(ROUNDS)]
    return min(ours for ours, _ in rounds) / min(yardstick for _, yardstick in rounds)


def _cpu_s(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
