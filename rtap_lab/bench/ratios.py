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

GROUPS = 5
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
    asked: dict[str, Definition] = {
        "tumble": tumble("1m").by("page").agg(n=count(), visitors=distinct("visitor_id")),
        "session": session("20s").by("visitor_id").agg(n=count()),
        "pattern": begin("a", field("name") == "add_to_cart").followed_by("b", bought).within("30s").by("visitor_id"),
    }

    def loaded() -> None:
        for record in records:
            try:
                json.loads(record)
            except ValueError:
                continue

    found = [Contest("judge", lambda: list(counted(records)), loaded, "decode and judge a record, to json.loads of it")]
    words = "the reference engine on events, to json.loads of their records"
    found += [Contest(name, partial(rows_of, definition, events), loaded, words) for name, definition in asked.items()]
    return found


def measure(found: Measurements, played: Sequence[Contest]) -> None:
    """Play the contests, and keep their ratios as figures."""
    for contest in played:
        with without_cycles():  # a search for cycles takes the longer, the more the process holds besides
            samples = [_sample(contest) for _ in range(GROUPS)]
        found.median(f"{contest.name}_ratio", samples, "x", "lower", words=contest.words)


def _sample(contest: Contest) -> float:
    rounds = [(_cpu_s(contest.ours), _cpu_s(contest.yardstick)) for _ in range(ROUNDS)]
    return min(ours for ours, _ in rounds) / min(yardstick for _, yardstick in rounds)


def _cpu_s(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
