"""InfluxDB, where the lab's store is one. The embedded store needs no service."""

from __future__ import annotations

from pathlib import Path

from rtap_lab.errors import ComponentError
from rtap_lab.services import http
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.influxd import find_influxd
from rtap_lab.stack.service import Service


def ports(settings: Settings) -> list[str]:
    return ["store"]


def declare(site: Site) -> list[Service]:
    if site.settings.store != "influxdb":
        return []
    endpoint = site.endpoints.store

    def probe(pid: int) -> str | None:
        return None if http.get(endpoint, "/health").json().get("status") == "pass" else "not healthy"

    return [
        Service(
            "store",
            lambda: command(site.folder / "influxdb", site.ports["store"]),
            probe,
            port=site.ports["store"],
            link=endpoint.address,
        )
    ]


def command(folder: Path, port: int) -> list[str]:
    """The command of an influxd that keeps its data in `folder`.

    Raises:
        ComponentError: When there is no influxd.
    """
    binary = find_influxd()
    if binary is None:
        raise ComponentError("there is no influxd", hint="run `rtap fetch influxdb`")
    folder.mkdir(parents=True, exist_ok=True)
    return [
        str(binary),
        "--bolt-path",
        str(folder / "influxd.bolt"),
        "--sqlite-path",
        str(folder / "influxd.sqlite"),
        "--engine-path",
        str(folder / "engine"),
        "--http-bind-address",
        f"127.0.0.1:{port}",
        "--reporting-disabled",
        "--metrics-disabled",
        "--pprof-disabled",
        "--ui-disabled",
        "--log-level",
        "warn",
    ]
