"""Flink's configuration."""

from __future__ import annotations

from pathlib import Path

from rtap_lab.endpoints import Tls
from rtap_lab.services.flink_cluster import FlinkPorts, config


def test_a_taskmanager_never_comes_back_at_its_predecessors_address(tmp_path: Path) -> None:
    """The JobManager's remoting can shut out one that does, for minutes: it happened."""
    values = config(tmp_path, FlinkPorts(1, 2, 3, 4, 5), Tls("c.pem", "k.pem", "s.p12", "t.p12", "secret"))
    assert values["taskmanager.rpc.port"] == "0"
    assert values["taskmanager.registration.timeout"] == "30 s"
