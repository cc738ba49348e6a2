"""The machine's clock is set while the lab runs, for the JVMs and for us: by a preloaded library, `wallclock.c`."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rtap_lab.jobs.model import need_run
from rtap_lab.lab import Lab
from rtap_lab.lab.subjects import subject_of
from rtap_lab.settings import LIVE
from rtap_lab.stack.supervisor import find_services, find_supervisor
from rtap_lab.store.embedded import EmbeddedStore
from rtap_lab.verification.report import Upto
from rtap_lab.verification.verifier import Verifier
from tests.conftest import COMPILER
from tests.integration.test_faults import wait_for, wait_for_new_results

pytestmark = [pytest.mark.compiler, pytest.mark.long]


class Clock:
    """A lab whose processes all take the time from one file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.set(0)
        library = folder / "wallclock.so"
        source = Path(__file__).with_name("wallclock.c")
        subprocess.run([str(COMPILER), "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.lab = Lab(folder / "state")
        self.environment = {
            **os.environ,
            "RTAP_STATE": str(self.lab.state.folder),
            "LD_PRELOAD": str(library),
            "WALLCLOCK_FILE": str(self.file),
        }

    def set(self, seconds: int) -> None:
        """So many seconds ahead of the real time, from now on."""
        with self.file.open("r+b" if self.file.exists() else "w+b") as file:  # the same file: processes have it mapped
            file.write(struct.pack("<q", seconds * 10**9))

    def rtap(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rtap_lab.cli", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=380)

    def verify(self) -> dict[str, Any]:
        done = self.rtap("verify", "--json", "--full")
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["exact"], (report["problems"], [c for c in report["compared"] if c["differences"]])
        return report

    def ok(self) -> bool:
        return self.rtap("status").returncode == 0


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    clock = Clock(tmp_path)
    done = clock.rtap("up", "--gap", "10s", "--within", "15s", "--timeout", "350")
    assert done.returncode == 0, done.stderr
    yield clock
    clock.lab.down()


def judged(clock: Clock, change: str) -> set[tuple[str, str]]:
    """What a verification finds different where one sum of the rollup was changed, in a copy: the writer puts its own right."""
    context = clock.lab._context
    run = need_run(context.runs.read(), "standard", LIVE)
    ends = context.topics.ends([run.events])
    clock.verify()  # all that depends on these has been answered and is stored
    copy = clock.file.with_name("points.sqlite")
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(clock.lab.state.folder / "store" / "points.sqlite")) as db:
        db.execute("VACUUM INTO ?", (str(copy),))
    first = "SELECT window_start, page FROM page_views_1m_rollup WHERE page IS NOT NULL ORDER BY 1, 2 LIMIT 1"
    with closing(sqlite3.connect(copy)) as db, db:
        spoil = f"UPDATE page_views_1m_rollup SET views = views {change} WHERE (window_start, page) = ({first})"
        assert db.execute(spoil).rowcount == 1
    store = EmbeddedStore(copy)
    try:
        kept_ms = context.site.settings.deduplication_ms
        verifier = Verifier(context.topics, store, patience=1, ids_kept_ms=kept_ms)
        report, _ = verifier.verify(subject_of(context, run), Upto(ends, whole=False))
    finally:
        store.close()
    return {(each.name, each.where) for each in report.compared if each.differences}


def test_ten_minutes_forward_back_and_forward_again(clock: Clock) -> None:
    """Back is the hard one: what comes in the next ten minutes is late, and shown as such; nothing that was answered changes."""
    lab = clock.lab
    before = {**find_services(lab.state.folder), "supervisor": find_supervisor(lab.state)}
    run = lab.runs()["standard/live"].run
    command = [sys.executable, "-m", "rtap_lab.cli", "simulate", "--rate", "80", "--seconds", "900"]
    shop = subprocess.Popen(command, env=clock.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watching = threading.Event()
    try:
        wait_for_new_results(lab, 90)
        clock.set(600)
        wait_for_new_results(lab, 90)
        wait_for(clock.ok, 90, "an ok status after ten minutes forward")
        forward = clock.verify()
        clock.set(0)
        watching.wait(10)  # events under the earlier time
        back = clock.verify()
        assert back["ledger"]["late"] > forward["ledger"]["late"] + 200, "what comes under the earlier time is late"
        clock.set(600)
        wait_for_new_results(lab, 90)
        wait_for(clock.ok, 90, "an ok status after the clock was put right")
        clock.set(600 + 3600 - int(time.time() + 600) % 3600 + 150)  # an hour is over
        wait_for_new_results(lab, 90)
        wait_for(clock.ok, 90, "an ok status in another hour")
    finally:
        shop.terminate()
        shop.wait(60)
    again = clock.verify()
    assert again["ledger"]["counted"] > back["ledger"]["counted"]
    rolled_up = {each["name"]: each["rows"] for each in again["compared"] if each["where"] == "rollup"}
    assert rolled_up["page_views_1m"] > 0, "the hour that is over was compared with its rollup"
    assert judged(clock, "+ 0") == set()
    assert judged(clock, "+ 1") == {("page_views_1m", "rollup")}, "an hour's sum that is wrong is found, and named"
    after = {**find_services(lab.state.folder), "supervisor": find_supervisor(lab.state)}
    for each in (before, after):
        # Kafka's Java client counts its requests' time by the wall clock: a step forward makes those under way time out,
        # and a TaskManager may end by that
        each.pop("taskmanager")
    assert after == before, "no process was taken for dead, none was started anew"
    assert lab.runs()["standard/live"].run == run
