"""Which services a lab is made of, wired: commands from `stack`, proofs of readiness from their owners."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from rtap_lab.flink.gateway import ready as gateway_ready
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab.addresses import Addresses
from rtap_lab.settings import Settings
from rtap_lab.stack import influxdb
from rtap_lab.stack.broker import Node, broker
from rtap_lab.stack.flink_cluster import SLOTS, FlinkCluster, FlinkPorts
from rtap_lab.stack.java import Jvm, find_java
from rtap_lab.stack.registry import registry
from rtap_lab.stack.services import Service
from rtap_lab.stack.state import State


def declare(state: State, settings: Settings, addresses: Addresses) -> list[Service]:
    """Declare every service of the lab's profile and store."""
    java = find_java(settings.java)
    folder = state.folder
    ports = addresses.ports
    services: list[Service] = []

    def java_service(name: str, build: Callable[[], Jvm], probe: Callable[[], str | None], **facts: object) -> None:
        last: list[Jvm] = []

        def prepare() -> list[str]:
            last[:] = [build()]
            return last[0].command

        def archive() -> None:
            if last:  # an adopted process belongs to an earlier supervisor: its archive is not kept
                last[0].archive()

        # writing a class-data archive at the end takes a JVM a few seconds, once per user
        services.append(Service(name, prepare, probe, grace=25, archive=archive, **facts))  # type: ignore[arg-type]

    def python_service(name: str, probe: Callable[[], str | None], depends: tuple[str, ...], **facts: object) -> None:
        command = [sys.executable, "-m", "rtap_lab.lab.processes", name, str(folder)]
        services.append(Service(name, lambda: command, probe, depends, **facts))  # type: ignore[arg-type]

    # Kafka ---------------------------------------------------------------------------------------
    names = ["kafka-1", "kafka-2", "kafka-3"] if settings.profile == "full" else ["kafka"]
    suffixes = ["", "-2", "-3"][: len(names)]
    nodes = [
        Node(number, ports[f"kafka{suffix}"], ports[f"controller{suffix}"]) for number, suffix in enumerate(suffixes, 1)
    ]
    cluster_id = cluster_of(state)

    topics = Topics(addresses.kafka)

    def kafka_probe() -> str | None:
        found, brokers = topics.cluster()
        if found != cluster_id:
            return f"another Kafka answers (cluster {found})"
        return None if brokers >= len(nodes) else f"{brokers} of {len(nodes)} brokers"

    for name, node in zip(names, nodes, strict=True):
        build = broker(java, folder, nodes, node, cluster_id)
        java_service(name, build, kafka_probe, port=node.port)

    # Flink ---------------------------------------------------------------------------------------
    cluster = FlinkCluster(
        java,
        folder / "flink",
        FlinkPorts(
            ports["flink"], ports["flink-rpc"], ports["flink-blob"], ports["taskmanager-data"], ports["gateway"]
        ),
    )
    rest = FlinkRest(addresses.url("flink"))
    environment = cluster.environment()

    def jobmanager_probe() -> str | None:
        rest.slots()
        return None

    def taskmanager_probe() -> str | None:
        slots = rest.slots()
        return None if slots >= SLOTS else f"{slots} of {SLOTS} slots"

    java_service(
        "jobmanager",
        cluster.jobmanager(),
        jobmanager_probe,
        port=ports["flink"],
        environment=environment,
        link=addresses.url("flink"),
    )
    java_service(
        "taskmanager", cluster.taskmanager(), taskmanager_probe, depends=("jobmanager",), environment=environment
    )
    java_service(
        "gateway",
        cluster.gateway(),
        lambda: gateway_ready(addresses.url("gateway")),
        port=ports["gateway"],
        environment=environment,
    )

    # Registry, store -----------------------------------------------------------------------------
    def registry_probe() -> str | None:
        from rtap_lab.kafka.schema_registry import Registry

        return Registry(addresses.url("registry")).ready()

    java_service(
        "registry",
        registry(java, folder / "registry", ports["registry"], ports["registry-management"]),
        registry_probe,
        port=ports["registry"],
        link=addresses.url("registry"),
    )
    if settings.store == "influxdb":

        def influx_probe() -> str | None:
            answer = httpx.get(f"{addresses.url('store')}/health", timeout=2, trust_env=False)
            return None if answer.json().get("status") == "pass" else "not healthy"

        services.append(
            Service(
                "store",
                lambda: influxdb.command(folder / "influxdb", ports["store"]),
                influx_probe,
                port=ports["store"],
                link=addresses.url("store"),
            )
        )

    # Our own -------------------------------------------------------------------------------------
    kafka = tuple(names)
    store = ("store",) if settings.store == "influxdb" else ()

    def beats(name: str) -> Callable[[], str | None]:
        """Ready when the service itself says that it works, in a file it rewrites."""

        def probe() -> str | None:
            from rtap_lab.stack.supervisor import marked

            beat = state.read(f"beats/{name}")
            mine = marked(folder).get(name)
            return None if beat and mine and beat["pid"] == mine.pid else "has not begun"

        return probe

    def hub_probe() -> str | None:
        from rtap_lab.live.client import ping

        return ping(addresses.hub)

    def dashboard_probe() -> str | None:
        answer = httpx.get(f"{addresses.url('dashboard')}/liveness", timeout=2, trust_env=False)
        return None if answer.status_code == 200 else f"HTTP {answer.status_code}"

    python_service("writer", beats("writer"), (*kafka, *store))
    python_service("ticker", beats("ticker"), kafka)
    python_service("auditor", beats("auditor"), kafka)
    python_service("hub", hub_probe, kafka, port=ports["hub"], link=addresses.hub)
    app = str(Path(__file__).parents[1] / "dashboards" / "app.py")
    port = str(ports["dashboard"])
    dashboard = [
        sys.executable,
        "-m",
        "panel",
        "serve",
        app,
        "--address",
        "127.0.0.1",
        "--port",
        port,
        "--allow-websocket-origin",
        f"127.0.0.1:{port}",
        "--allow-websocket-origin",
        f"localhost:{port}",
        "--index",
        "app",
        "--liveness",
        "--log-level",
        "warning",
        "--unused-session-lifetime",
        "5000",
        "--args",
        addresses.hub,
    ]
    services.append(
        Service(
            "dashboard",
            lambda: dashboard,
            dashboard_probe,
            port=ports["dashboard"],
            link=f"{addresses.url('dashboard')}/app",
        )
    )
    return services


def cluster_of(state: State) -> str:
    """The Kafka cluster's id: made once per lab, 22 URL-safe characters."""
    import base64
    import uuid

    known = state.read("cluster")
    while not known or known.startswith("-"):
        known = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        state.write("cluster", known)
    return str(known)
