"""Where a service is and how it is reached: the only such thing that is passed around.

An address alone today; what reaching a service asks for beyond it (TLS, credentials) belongs here too, so that no
caller has to change when it comes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """One service as its clients see it.

    Args:
        address: Of Kafka, host and port of each broker: "127.0.0.1:19092,127.0.0.1:19093"; of all else a base address,
            "http://127.0.0.1:8081" or "ws://127.0.0.1:8765", without a slash at its end.
    """

    address: str

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True)
class Endpoints:
    """The services of one lab."""

    kafka: Endpoint
    registry: Endpoint
    flink: Endpoint
    """The JobManager's REST API."""
    gateway: Endpoint
    """The SQL Gateway."""
    hub: Endpoint
    dashboard: Endpoint
    store: Endpoint
    """InfluxDB's address; of the embedded store its file."""
