"""A dashboard that stays open: ten minutes of faults, then the whole stack down and up again. What the page holds is what the store
holds, and its memory does not grow."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from rtap_lab.lab import Lab
from rtap_lab.queries.query import Query
from rtap_lab.queries.standard import standard_queries
from rtap_lab.settings import JobParameters
from rtap_lab.stack.supervisor import find_services
from rtap_lab.waiting import until
from tests.pages import rows_received, shot

pytestmark = [pytest.mark.long, pytest.mark.timeout(2_400)]
MINUTES = 10
FAULTS = ("hub", "writer", "taskmanager", "kafka", "jobmanager", "hub", "auditor", "taskmanager", "registry", "hub")
"""What is killed, one after the other, a minute apart."""
LEAST_GROWTH_MB = 8.0
"""What the heap's size varies by anyway."""
Held = dict[str, list[dict[str, Any]]]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab.up(tmp_path / "state", gap="5s", within="8s")
    yield lab
    lab.down()


@pytest.fixture
def shop(lab: Lab) -> Iterator[subprocess.Popen[bytes]]:
    """Visitors, from a process of their own that waits where the broker is away."""
    command = [sys.executable, "-m", "rtap_lab.cli", "simulate", "--rate", "100", "--seconds", "3600"]
    environment = {**os.environ, "RTAP_STATE": str(lab.state.folder)}
    shop = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield shop
    shop.send_signal(signal.SIGINT)
    shop.wait(60)


def heap_mb(page: Page) -> float:
    """What the page's scripts hold, once what nobody holds is gone; megabytes."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return float(used) / 1e6


def held(page: Page) -> Held:
    """The rows that the page holds of each query of the live source."""
    script = """() => JSON.stringify(Object.fromEntries([...globalThis.__rtapRows.values()]
      .filter(each => each.asked.source === 'live').map(each => [each.asked.channel, each.everything()])))"""
    found: Held = json.loads(page.evaluate(script))
    return found


def compared(lab: Lab, page: Page, queries: dict[str, Query]) -> tuple[int, dict[str, set[str]]]:
    """What the page holds against the store: how many rows were compared, and which differ, by query."""
    number, differing = 0, dict[str, set[str]]()
    store = lab._context.open_store()
    try:
        for name, rows in held(page).items():
            query = queries.get(name)
            if query is None or not rows:
                continue
            shown = [query.schema.normal(row) for row in rows]
            since = min(query.schema.point_time_ms(row) for row in shown)
            ours = sorted(map(_known, shown))
            theirs = sorted(map(_known, store.rows(query, "live", between=(since, 2**52))))
            number += len(ours)
            if ours != theirs:
                differing[name] = set(ours) ^ set(theirs) or {"a row twice"}
    finally:
        store.close()
    return number, differing


def _known(row: dict[str, Any]) -> str:
    return json.dumps({key: round(v, 5) if isinstance(v, float) else v for key, v in row.items()}, sort_keys=True)


def agree(lab: Lab, page: Page, queries: dict[str, Query]) -> None:
    """They become the same, once what the last events let come has come."""
    number, differing = 0, dict[str, set[str]]()

    def same() -> bool:
        nonlocal number, differing
        page.wait_for_timeout(1_000)
        number, differing = compared(lab, page, queries)
        return not differing

    until(same, 60, lambda: AssertionError(str(differing)))
    print(f"{number:,} rows of the page are the store's")
    assert number > 500


def moves(page: Page) -> None:
    before = rows_received(page)
    until(
        lambda: page.wait_for_timeout(250) or rows_received(page) > before + 3,
        120,
        lambda: AssertionError("it stands still"),
    )


def test_ten_minutes_of_faults_and_a_restart(
    lab: Lab, shop: subprocess.Popen[bytes], page: Page, foreign: list[str]
) -> None:
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    queries = {query.name: query for query in standard_queries(JobParameters(gap_ms=5_000, within_ms=8_000))}
    page.goto(f"{lab.dashboard}#range=300000")
    page.wait_for_selector(".rtap-state[data-state=live]", timeout=120_000)
    moves(page)
    heaps: list[tuple[float, float]] = []
    began = time.monotonic()
    for name in itertools.islice(itertools.cycle(FAULTS), MINUTES):
        moves(page)
        assert find_services(lab.state.folder)[name].signal(signal.SIGKILL)
        until(
            lambda: page.wait_for_timeout(500) or lab.status()["ok"],
            120,
            lambda: AssertionError(str(lab.status()["problems"])),
        )
        moves(page)
        heaps.append((time.monotonic() - began, heap_mb(page)))
        page.wait_for_timeout(max(0.0, 60_000 * len(heaps) - 1000 * (time.monotonic() - began)))
    print("heap, MB by second:", ", ".join(f"{mb:.1f} at {at:.0f}" for at, mb in heaps))
    shop.send_signal(signal.SIGINT)
    assert shop.wait(60) in (0, 130)
    report = lab.verify()
    assert report.exact, str(report)
    agree(lab, page, queries)

    assert lab.down()
    page.wait_for_selector(".rtap-state[data-state=away]", timeout=60_000)
    Lab.up(lab.state.folder)
    page.wait_for_selector(".rtap-state[data-state=live]", timeout=120_000)
    before = rows_received(page)
    lab.simulate(rate=100, seconds=20, seed=7)
    until(
        lambda: page.wait_for_timeout(250) or rows_received(page) > before,
        60,
        lambda: AssertionError("it stands still"),
    )
    report = lab.verify()
    assert report.exact, str(report)
    agree(lab, page, queries)
    shot(page, "endurance", settled_ms=1_500)
    at, mb = np.array(heaps[len(heaps) // 3 :]).T  # before, the range of the page fills up
    growth = float(np.polyfit(at, mb, 1)[0]) * float(at[-1] - at[0])
    assert growth < max(LEAST_GROWTH_MB, 0.1 * float(mb.mean())), f"{growth:.1f} MB in {at[-1] - at[0]:.0f} s: {heaps}"
    assert wrong == []
    assert foreign == []
