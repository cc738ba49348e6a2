"""Where a service is and how it is reached: the only such thing that is passed around.

What reaching a service asks for beyond its address (TLS, credentials) belongs here too, so that no caller has to know.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from functools import lru_cache


@dataclass(frozen=True)
class Tls:
    """The lab's certificate, which is its own authority; its services and their clients show it to each other.

    Args:
        certificate: A PEM file.
        key: The certificate's private key, a PEM file that only its owner can read.
        store: Certificate and key for Java, PKCS 12.
        trust: The certificate alone for Java, PKCS 12: what is trusted.
        password: Of both.
    """

    certificate: str
    key: str
    store: str
    trust: str
    password: str = field(repr=False)

    def context(self) -> ssl.SSLContext:
        """For a client: trusts this certificate and no other, and shows it."""
        return _context(self)


@lru_cache(maxsize=8)
def _context(tls: Tls) -> ssl.SSLContext:
    # by all of it, the password too: a lab that was reset has another certificate at the same place
    context = ssl.create_default_context(cafile=tls.certificate)
    context.load_cert_chain(tls.certificate, tls.key)
    return context


@dataclass(frozen=True)
class Endpoint:
    """One service as its clients see it.

    Args:
        address: Of Kafka, host and port of each broker: "127.0.0.1:19092,127.0.0.1:19093"; of the hub, the base address of
            each: "ws://127.0.0.1:8765,ws://127.0.0.1:8766"; of all else one base address, "https://127.0.0.1:8081". Without a
            slash at its end.
        tls: What is shown and trusted; None where the service speaks no TLS.
        secret: What tokens for the service are made from (`live.access`); None where it asks for none.
        proxied: The address by which browsers reach it, where that is another (`rtap up --proxy`).
    """

    address: str
    tls: Tls | None = None
    secret: str | None = field(default=None, repr=False)
    proxied: str = ""

    @property
    def for_browsers(self) -> str:
        """The address by which browsers reach it."""
        return self.proxied or self.address

    @property
    def each(self) -> list[Endpoint]:
        """Where the service has several processes: each of them, by itself."""
        return [replace(self, address=address) for address in self.address.split(",")]

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
