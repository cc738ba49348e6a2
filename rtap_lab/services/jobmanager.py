"""Flink's JobManager."""

from __future__ import annotations

from rtap_lab.services.flink_cluster import cluster_of
from rtap_lab.services.jvm import jvm_service
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.java import Jvm
from rtap_lab.stack.service import Service


def ports(settings: Settings) -> list[str]:
    return ["flink", "flink-rpc", "flink-blob"]


def declare(site: Site) -> list[Service]:
    cluster = cluster_of(site)

    def build() -> Jvm:
        main = [
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            "--configDir",
            str(cluster.conf),
            "--executionMode",
            "cluster",
        ]
        return cluster.jvm("jobmanager", main, ["-Xms96m", "-Xmx384m", "-XX:TieredStopAtLevel=1"])

    def probe() -> str | None:
        site.flink.slots(patience=2)
        return None

    return [
        jvm_service(
            "jobmanager",
            build,
            probe,
            port=site.ports["flink"],
            environment=cluster.environment(),
            link=f"{site.endpoints.dashboard.for_browsers}/flink/",
        )
    ]
