"""Asleep, or dead, for longer than transactions live: what was prepared is aborted by the broker, and no row may be missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtap_lab.jobs.lifecycle import OUTSLEPT
from rtap_lab.lab import Lab
from rtap_lab.services.site import settings_document
from rtap_lab.settings import Settings
from rtap_lab.stack.state import State
from rtap_lab.stack.supervisor import find_services, find_supervisor
from tests.integration.test_faults import healed, wait_for, wait_for_new_results

TRANSACTION_MS = 15_000
"""A day, scaled."""
ASLEEP_S = 40


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_a_sleep_and_a_death_that_outlive_transactions(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.create()
    settings_document(state).write(Settings(transaction_ms=TRANSACTION_MS))
    lab = Lab.up(state.folder, gap="5s", within="8s")
    command = [sys.executable, "-m", "rtap_lab.cli", "simulate", "--rate", "100", "--seconds", "900"]
    environment = {**os.environ, "RTAP_STATE": str(state.folder)}

    def everything() -> dict[str, object]:
        supervisor = find_supervisor(lab.state)
        assert supervisor is not None
        return {"supervisor": supervisor, **find_services(lab.state.folder)}

    def begun_anew(before: str) -> bool:
        run = lab.runs()["standard/live"]
        return run.run != before and OUTSLEPT in run.note

    try:
        assert settings_document(lab.state).read().transaction_ms == TRANSACTION_MS
        shop = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_new_results(lab, 90)
            before = lab.runs()["standard/live"].run
            asleep = everything()
            for each in asleep.values():
                assert each.signal(signal.SIGSTOP)  # type: ignore[attr-defined]
            shop.send_signal(signal.SIGSTOP)
            time.sleep(ASLEEP_S)  # the fault itself
            shop.send_signal(signal.SIGCONT)
            for each in asleep.values():
                each.signal(signal.SIGCONT)  # type: ignore[attr-defined]
            wait_for(lambda: begun_anew(before), 90, "a new run after the sleep")
            wait_for_new_results(lab, 90)
            healed(lab, 120)
        finally:
            shop.terminate()
            shop.wait(60)
        report = lab.verify(full=True)
        assert report.exact, str(report)
        assert report.rows > 100

        before = lab.runs()["standard/live"].run
        for each in everything().values():
            assert each.signal(signal.SIGKILL)  # type: ignore[attr-defined]
        time.sleep(TRANSACTION_MS / 1000 + 5)  # the fault itself
        Lab.up(state.folder)
        wait_for(lambda: begun_anew(before), 90, "a new run after the death")
        lab.simulate(rate=100, seconds=8)
        report = lab.verify(full=True)
        assert report.exact, str(report)

        before = lab.runs()["standard/live"].run
        assert lab.down()
        time.sleep(TRANSACTION_MS / 1000 + 5)  # however long it is down
        Lab.up(state.folder)
        healed(lab, 90)
        assert lab.runs()["standard/live"].run == before, "a stop has committed all: it goes on"
        report = lab.verify(full=True)
        assert report.exact, str(report)
    finally:
        lab.down()
