"""Three brokers and a real InfluxDB; changing the store refills the new one from the topics."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from rtap_lab.errors import SettingsError
from rtap_lab.kafka.names import LATE
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.stack.supervisor import find_services
from tests.integration.test_faults import healed, wait_for_new_results
from tests.integration.test_own_queries import DEVICES


@pytest.mark.long
@pytest.mark.influxd
def test_full_profile_on_influxdb_survives_a_broker_and_a_store_change(tmp_path: Path) -> None:
    lab = Lab.up(tmp_path / "lab", profile="full", store="influxdb", gap="10s", within="15s", timeout=500)
    try:
        names = {s["name"] for s in lab.status()["services"]}
        assert {"kafka-1", "kafka-2", "kafka-3", "store"} <= names
        lab.run("devices_5s", DEVICES)
        stop = threading.Event()
        shop = threading.Thread(target=lab.simulate, kwargs={"rate": 100, "seconds": 120, "stop": stop})
        shop.start()
        try:
            wait_for_new_results(lab, 60)
            assert find_services(lab.state.folder)["kafka-2"].signal(signal.SIGKILL)
            assert find_services(lab.state.folder)["store"].signal(signal.SIGKILL)
            wait_for_new_results(lab, 60)
            healed(lab, 180)  # three brokers and an InfluxDB on two cores
        finally:
            stop.set()
            shop.join()
        report = lab.verify(full=True)
        assert report.exact, str(report)
        assert {each.name for each in report.compared if each.rows} >= {"devices_5s", "sessions"}
        with pytest.raises(SettingsError, match="is up with profile full"):
            Lab.up(tmp_path / "lab", profile="core")
        rows = lab.rows("sessions")
        lab.down()
        lab = Lab.up(tmp_path / "lab", store="sqlite")
        report = lab.verify(full=True)
        assert report.exact, str(report)
        assert len(lab.rows("sessions")) >= len(rows) > 0
        # a late record that was lost turns verification red
        assert report.ledger["late"] > 0
        Topics(lab.endpoints.kafka).empty([LATE])
        red = lab.verify(full=True)
        assert not red.exact
        assert {c.missing > 0 for c in red.compared if c.name == "late"} == {True}
        lab.down()
        with pytest.raises(SettingsError, match="was written by profile full"):
            Lab.up(tmp_path / "lab", profile="core")
    finally:
        lab.down()
    assert find_services(lab.state.folder) == {}
