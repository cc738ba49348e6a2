"""What services are declared with: one lab's folder, settings, ports and endpoints."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from rtap_lab.endpoints import Endpoint, Endpoints
from rtap_lab.errors import NotRunningError
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.jobs.lifecycle import Lifecycle
from rtap_lab.kafka.topics import Topics
from rtap_lab.settings import Settings
from rtap_lab.stack.certificate import certificate_of
from rtap_lab.stack.java import find_java
from rtap_lab.stack.ports import Ports, ports_document
from rtap_lab.stack.state import Document, State
from rtap_lab.store.port import Store


def settings_document(state: State) -> Document[Settings]:
    """What the last `rtap up` chose; written by it alone."""
    return Document(state, "settings", Settings, Settings)


def schema_document(state: State) -> Document[int | None]:
    """The registered schema's id: topics and schema are there. Removed before each start."""
    return Document(state, "schema", int | None, lambda: None)  # type: ignore[arg-type]


def embedded_file(state: State) -> Path:
    """Where the embedded store is."""
    return state.folder / "store" / "points.sqlite"


class Site:
    """One lab, as its services see it.

    Args:
        state: The lab's state folder.

    Raises:
        NotRunningError: When it never was up.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.settings = settings_document(state).read()
        self.ports: Ports = ports_document(state).read()
        if not self.ports:
            raise NotRunningError(f"no stack is up in {state.folder}", hint="start it: rtap up")

    @property
    def folder(self) -> Path:
        return self.state.folder

    @property
    def kafka_names(self) -> list[str]:
        """The brokers' service names."""
        return ["kafka-1", "kafka-2", "kafka-3"] if self.settings.profile == "full" else ["kafka"]

    @cached_property
    def java(self) -> Path:
        return find_java(Path(self.settings.java) if self.settings.java else None)

    @cached_property
    def endpoints(self) -> Endpoints:
        tls = certificate_of(self.state)

        def http(name: str) -> Endpoint:
            return Endpoint(f"http://127.0.0.1:{self.ports[name]}")

        def https(name: str) -> Endpoint:
            return Endpoint(f"https://127.0.0.1:{self.ports[name]}", tls)

        def seen(address: str, name: str) -> str:
            return self.settings.for_browsers(address, self.ports[name]) if self.settings.proxy else ""

        hubs = {name: f"ws://127.0.0.1:{self.ports[name]}" for name in self.settings.hub_names}
        page = http("dashboard").address
        brokers = ["kafka", "kafka-2", "kafka-3"][: len(self.kafka_names)]
        embedded = self.settings.store == "sqlite"
        return Endpoints(
            kafka=Endpoint(",".join(f"127.0.0.1:{self.ports[name]}" for name in brokers)),
            registry=https("registry"),
            flink=https("flink"),
            gateway=https("gateway"),
            hub=Endpoint(
                ",".join(hubs.values()),
                secret=self.state.secret("hub.secret"),
                proxied=",".join(seen(address, name) for name, address in hubs.items()),
            ),
            dashboard=Endpoint(page, secret=self.state.secret("dashboard.secret"), proxied=seen(page, "dashboard")),
            store=Endpoint(str(embedded_file(self.state))) if embedded else http("store"),
        )

    @cached_property
    def topics(self) -> Topics:
        return Topics(self.endpoints.kafka)

    @cached_property
    def topics_at_a_glance(self) -> Topics:
        """The topics, asked for three seconds at most: a Kafka that does not answer is what a status has to say."""
        return Topics(self.endpoints.kafka, patience=3.0)

    @cached_property
    def flink(self) -> FlinkRest:
        return FlinkRest(self.endpoints.flink)

    @cached_property
    def lifecycle(self) -> Lifecycle:
        return Lifecycle(self.state, self.endpoints, self.topics, self.flink, self.open_store, settings=self.settings)

    def open_store(self) -> Store:
        """The lab's store; close it after use."""
        if self.settings.store == "influxdb":
            from rtap_lab.store.influx import InfluxStore

            return InfluxStore(self.endpoints.store, self.state.secret("influxdb.token"))
        from rtap_lab.store.embedded import EmbeddedStore

        return EmbeddedStore(embedded_file(self.state))
