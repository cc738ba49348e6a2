"""Flink's SQL Gateway: takes statements over REST, so that no JVM is needed in a notebook's kernel."""

from __future__ import annotations

from rtap_lab.services import http
from rtap_lab.services.flink_cluster import cluster_of
from rtap_lab.services.jvm import jvm_service
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.java import Jvm
from rtap_lab.stack.service import Service


def ports(settings: Settings) -> list[str]:
    return ["gateway"]


def declare(site: Site) -> list[Service]:
    cluster = cluster_of(site)

    def build() -> Jvm:
        main = [
            "org.apache.flink.table.gateway.SqlGateway",
            "-Dsql-gateway.endpoint.rest.address=127.0.0.1",
            "-Dsql-gateway.endpoint.rest.bind-address=127.0.0.1",
            f"-Dsql-gateway.endpoint.rest.port={site.ports['gateway']}",
        ]
        return cluster.jvm("gateway", main, ["-Xms96m", "-Xmx448m", "-XX:TieredStopAtLevel=1"], gateway=True)

    def probe() -> str | None:
        version = http.get(site.endpoints.gateway, "/v3/info").json().get("version")
        return None if version else "no version yet"

    return [jvm_service("gateway", build, probe, port=site.ports["gateway"], environment=cluster.environment())]
