"""The schema registry: Apicurio on file storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rtap_lab.endpoints import Tls
from rtap_lab.services import http
from rtap_lab.services.jvm import jvm_service
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.certificate import certificate_of
from rtap_lab.stack.components import unpacked
from rtap_lab.stack.java import Jvm, jvm
from rtap_lab.stack.service import Service


def ports(settings: Settings) -> list[str]:
    return ["registry", "registry-management"]


def declare(site: Site) -> list[Service]:
    endpoint = site.endpoints.registry
    ports = site.ports["registry"], site.ports["registry-management"]
    build = registry(site.java, site.folder / "registry", *ports, certificate_of(site.state))

    def probe() -> str | None:
        http.get(endpoint, "/apis/ccompat/v7/subjects")
        return None

    return [jvm_service("registry", build, probe, port=site.ports["registry"], link=endpoint.address)]


def registry(java: Path, folder: Path, port: int, management_port: int, tls: Tls) -> Callable[[], Jvm]:
    """Return what prepares the registry; its schemas live in an H2 file in `folder`.

    It shows the lab's certificate, which no browser trusts: a page of whatever origin, or of a name that was made to point
    here, gets no answer.
    """

    def prepare() -> Jvm:
        home = unpacked("registry")
        jar = next(iter(home.glob("quarkus-run.jar")), home / "quarkus-app" / "quarkus-run.jar")
        options = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.ssl-port": port,
            "quarkus.http.insecure-requests": "disabled",
            "quarkus.http.ssl.certificate.files": tls.certificate,
            "quarkus.http.ssl.certificate.key-files": tls.key,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": management_port,
            "quarkus.management.ssl.certificate.files": tls.certificate,
            "quarkus.management.ssl.certificate.key-files": tls.key,
            "quarkus.log.level": "WARN",
            "quarkus.log.console.color": "false",
            "quarkus.banner.enabled": "false",
            "java.util.logging.manager": "org.jboss.logmanager.LogManager",
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{folder / 'registry'}",
            "apicurio.datasource.jdbc.initial-size": 2,
            "apicurio.datasource.jdbc.min-size": 2,
            "java.net.preferIPv4Stack": "true",
        }
        return jvm(
            java,
            "registry",
            [jar],
            ["-jar", str(jar)],
            options=[
                "-Xms64m",
                "-Xmx256m",
                "-XX:TieredStopAtLevel=1",
                *(f"-D{key}={value}" for key, value in options.items()),
            ],
            scratch=folder,
        )

    return prepare
