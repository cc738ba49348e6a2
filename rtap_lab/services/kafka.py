"""Kafka: brokers in KRaft mode, one or three."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rtap_lab.errors import ServiceError
from rtap_lab.kafka.topics import Cluster
from rtap_lab.services.jvm import jvm_service
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.components import jars
from rtap_lab.stack.java import Jvm, jvm
from rtap_lab.stack.process import run_command
from rtap_lab.stack.service import Service
from rtap_lab.stack.state import Document, State

_HEAP = ["-Xms96m", "-Xmx320m", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"]

_COMPACTED_BYTES = 4_194_304
"""Of a segment of the broker's own topics: only what is closed is compacted, and each checkpoint writes to them."""

_FIRST_CHECK_MS = 180_000
"""After so long a broker that has started looks for the first time for what is past its age; Kafka's own 30 s are less than an
`up` may take."""

_LOG4J = """status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m (%c{1})%n%ex{short.message}
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""


def ports(settings: Settings) -> list[str]:
    suffixes = ["", "-2", "-3"] if settings.profile == "full" else [""]
    return [f"{what}{suffix}" for what in ("kafka", "controller") for suffix in suffixes]


def declare(site: Site) -> list[Service]:
    suffixes = ["", "-2", "-3"][: len(site.kafka_names)]
    nodes = [Node(n, site.ports[f"kafka{s}"], site.ports[f"controller{s}"]) for n, s in enumerate(suffixes, 1)]
    cluster = cluster_id(site.state)

    def all_there(asked: Cluster) -> str | None:
        found, brokers = asked.brokers()
        if found != cluster:
            return f"another Kafka answers (cluster {found})"
        return None if len(brokers) >= len(nodes) else f"{len(brokers)} of {len(nodes)} brokers"

    def lives(asked: Cluster, node: Node) -> str | None:
        _, brokers = asked.brokers()
        return None if node.id in brokers else "the cluster has lost it"

    def service(name: str, node: Node) -> Service:
        asked = Cluster(site.endpoints.kafka)  # of this service's runner alone
        return jvm_service(
            name,
            broker(site.java, site.folder, nodes, node, cluster, site.settings),
            partial(all_there, asked),
            partial(lives, asked, node),
            port=node.port,
        )

    return [service(name, node) for name, node in zip(site.kafka_names, nodes, strict=True)]


def cluster_id(state: State) -> str:
    """The Kafka cluster's id: made once per lab, 22 URL-safe characters."""
    document: Document[str] = Document(state, "cluster", str, str)

    def chosen(known: str) -> str:
        while not known or known.startswith("-"):
            known = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        return known

    return document.read() or document.change(chosen)


@dataclass(frozen=True)
class Node:
    """One broker that is a controller too."""

    id: int
    port: int
    controller_port: int


def properties(nodes: Sequence[Node], node: Node, data: Path, settings: Settings) -> str:
    """The `server.properties` of a node (pure).

    With three nodes everything is replicated three times and two replicas must have a record before
    it counts; with one, once. A transaction may stay open for a day, so that one that was prepared
    before a laptop slept is still there to be committed when it wakes.
    """
    copies = 3 if len(nodes) >= 3 else 1
    values = {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": ",".join(f"{n.id}@127.0.0.1:{n.controller_port}" for n in nodes),
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": 2 if copies == 3 else 1,
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": 3,
        "offsets.topic.segment.bytes": _COMPACTED_BYTES,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": 2 if copies == 3 else 1,
        "transaction.state.log.num.partitions": 3,
        "transaction.state.log.segment.bytes": _COMPACTED_BYTES,
        "transaction.max.timeout.ms": settings.transaction_ms,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": 2 if copies == 3 else 1,
        "group.initial.rebalance.delay.ms": 0,
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "controlled.shutdown.max.retries": 1,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16_777_216,
        "log.segment.bytes": 67_108_864,
        "log.retention.check.interval.ms": min(60_000, settings.segment_ms),
        # after a night, jobs read first what they had left
        "log.initial.task.delay.ms": min(_FIRST_CHECK_MS, settings.retention_ms),
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def broker(
    java: Path, folder: Path, nodes: Sequence[Node], node: Node, cluster_id: str, settings: Settings
) -> Callable[[], Jvm]:
    """Return what prepares one node: it writes the configuration, formats once, gives the command."""

    def prepare() -> Jvm:
        home = folder / f"kafka-{node.id}"
        data = home / "data"
        home.mkdir(parents=True, exist_ok=True)
        (home / "server.properties").write_text(properties(nodes, node, data, settings))
        (home / "log4j2.properties").write_text(_LOG4J)
        path = jars("kafka")
        log4j = f"-Dlog4j2.configurationFile=file:{home / 'log4j2.properties'}"
        if not (data / "meta.properties").exists():
            command = [
                str(java),
                "-Xlog:disable",
                *_HEAP,
                log4j,
                "-cp",
                ":".join(map(str, path)),
                "kafka.tools.StorageTool",
                "format",
                "-t",
                cluster_id,
                "-c",
                str(home / "server.properties"),
                "--ignore-formatted",
            ]
            code, printed = run_command(command, timeout=60)
            if code:
                raise ServiceError(
                    f"kafka: the log folder {data} could not be formatted",
                    service="kafka",
                    log_tail=printed.splitlines()[-5:],
                )
        return jvm(
            java,
            "kafka",
            path,
            ["kafka.Kafka", str(home / "server.properties")],
            options=[*_HEAP, log4j, f"-Dkafka.logs.dir={home}"],
            scratch=home,
        )

    return prepare
