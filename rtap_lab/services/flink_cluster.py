"""What JobManager, TaskManager and SQL Gateway share: one configuration, started without scripts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtap_lab.endpoints import Tls
from rtap_lab.flink.properties import mutual_tls
from rtap_lab.services.site import Site
from rtap_lab.stack.certificate import certificate_of
from rtap_lab.stack.components import flink_home, jars
from rtap_lab.stack.java import Jvm, jvm

SLOTS = 8
"""So that a live job, a recorded one and a few queries fit."""


@dataclass(frozen=True)
class FlinkPorts:
    """Every port a Flink process listens on, but the TaskManager's RPC: it has a new one each time."""

    rest: int
    rpc: int
    blob: int
    taskmanager_data: int
    gateway: int


def config(folder: Path, ports: FlinkPorts, tls: Tls) -> dict[str, str | int]:
    """The values of `config.yaml` (pure).

    Detection of a dead TaskManager is fast (a refused connection, 0.5 s) while a pause of a few
    seconds is no death. A restart is tried for ever, after 0.2 to 10 s: what cannot run must not keep the machine
    busy. Forty failed checkpoints in a row restart the job. `rest.bind-port` must not be set: the gateway would bind it too. A TaskManager's RPC port
    is a new one at each start: one that comes back at its predecessor's address within moments can
    stay shut out, when the JobManager's remoting still holds the association of the dead one and
    discards every answer (seen: five minutes, until the registration timed out). One that cannot
    register for other reasons ends after half a minute, and the supervisor starts the next.
    """
    return {
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": ports.rpc,
        "jobmanager.bind-host": "127.0.0.1",
        "blob.server.port": ports.blob,
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": ports.rest,
        "web.submit.enable": "false",
        "taskmanager.host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.rpc.port": "0",
        "taskmanager.registration.timeout": "30 s",
        "taskmanager.data.port": ports.taskmanager_data,
        "taskmanager.numberOfTaskSlots": SLOTS,
        # metrics are collected when somebody asks; the default would show a watermark of ten seconds ago
        "metrics.fetcher.update-interval": 250,
        "io.tmp.dirs": str(folder / "tmp"),
        "execution.target": "remote",
        "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
        "execution.checkpointing.savepoint-dir": (folder / "savepoints").as_uri(),
        "execution.checkpointing.num-retained": 3,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.tolerable-failed-checkpoints": 40,
        "state.backend.type": "rocksdb",
        "execution.checkpointing.incremental": "true",
        # managed memory, when it is on, hides what is fixed: 5 MB of write buffers for all states, flushed all the time
        "state.backend.rocksdb.memory.managed": "false",
        "state.backend.rocksdb.memory.fixed-per-tm": "192mb",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "200 ms",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "restart-strategy.exponential-delay.backoff-multiplier": "2.0",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "30 s",
        "heartbeat.interval": 1000,
        "heartbeat.timeout": 6000,
        "heartbeat.rpc-failure-threshold": 2,
        "cluster.registration.initial-timeout": "100 ms",
        "cluster.registration.max-timeout": "1 s",
        "cluster.registration.error-delay": "500 ms",
        "cluster.registration.refused-registration-delay": "500 ms",
        "resourcemanager.taskmanager-registration.timeout": "1 h",
        "jobmanager.execution.failover-strategy": "region",
        "slot.request.timeout": 300_000,
        # each look is a job: the JobManager would remember an hour of them, and then do nothing but collect garbage
        "jobstore.max-capacity": 60,
        "jobstore.cache-size": 2_000_000,
        "table.local-time-zone": "UTC",
        # a look asks all the time; one whose process was killed ends with its session, job and all
        "sql-gateway.session.idle-timeout": "40 s",
        "sql-gateway.session.check-interval": "10 s",
        **mutual_tls(tls),
    }


_LOG4J = """status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m (%c{1})%n%throwable{12}
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
# a flood of name collisions in 2.3 (pendingCommittables)
logger.metrics.name=org.apache.flink.metrics
logger.metrics.level=error
logger.group.name=org.apache.flink.runtime.metrics
logger.group.level=error
logger.kafka.name=org.apache.flink.kafka.shaded
logger.kafka.level=error
"""


class FlinkCluster:
    """What Flink's processes have in common: configuration, class path, environment.

    Args:
        java: The runtime.
        folder: Flink's part of the state folder.
        ports: Where each process listens.
        tls: The lab's certificate.
    """

    def __init__(self, java: Path, folder: Path, ports: FlinkPorts, tls: Tls) -> None:
        self.java = java
        self.folder = folder
        self.ports = ports
        self.tls = tls

    @property
    def conf(self) -> Path:
        """The folder of `config.yaml`."""
        return self.folder / "conf"

    def jvm(self, name: str, main: list[str], options: list[str], *, gateway: bool = False) -> Jvm:
        home = flink_home()
        conf = self.conf
        conf.mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        values = config(self.folder, self.ports, self.tls)
        text = "".join(f"{key}: {value}\n" for key, value in values.items())
        (conf / "config.yaml").touch(mode=0o600)
        (conf / "config.yaml").chmod(0o600)  # it holds the certificate's password
        (conf / "config.yaml").write_text(text)
        (conf / "log4j2.properties").write_text(_LOG4J)
        opens = [
            line.strip()
            for line in (home / "conf" / "config.yaml").read_text().splitlines()
            if line.strip().startswith("all: --add-exports")
        ]
        connector, sql_gateway = jars("flink")
        path = [
            *sorted(p for p in (home / "lib").glob("*.jar") if "template-json" not in p.name),
            home / "opt" / "flink-python-2.3.0.jar",
            connector,
        ]
        if gateway:
            path += [sql_gateway, home / "opt" / "flink-sql-client-2.3.0.jar"]
        return jvm(
            self.java,
            name,
            path,
            main,
            options=[
                *opens[0].removeprefix("all: ").split(),
                *options,
                "-Djava.net.preferIPv4Stack=true",
                f"-Dlog4j2.configurationFile=file:{conf / 'log4j2.properties'}",
                f"-Dlog4j.configurationFile=file:{conf / 'log4j2.properties'}",
            ],
            scratch=self.folder / "class-data",
            # with one that was made after a query was planned, the planner's compiler (Janino) cannot
            # look up classes any more: "Cannot invoke Class.getName() because c is null" (Java 21)
            archived=not gateway,
        )

    def environment(self) -> dict[str, str]:
        return {
            "FLINK_CONF_DIR": str(self.conf),
            "FLINK_LIB_DIR": str(flink_home() / "lib"),
            "FLINK_PLUGINS_DIR": str(self.folder / "plugins"),
        }


def cluster_of(site: Site) -> FlinkCluster:
    """The cluster of a lab."""
    names = ("flink", "flink-rpc", "flink-blob", "taskmanager-data", "gateway")
    ports = FlinkPorts(*(site.ports[name] for name in names))
    return FlinkCluster(site.java, site.folder / "flink", ports, certificate_of(site.state))
