"""The live dashboard: `panel serve`."""

from __future__ import annotations

import sys

from rtap_lab.services import http
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.service import Service

APP = "rtap_lab.dashboards.app"
"""The module that `panel serve` runs; it is found by name, so that the supervisor does not import panel."""


def ports(settings: Settings) -> list[str]:
    return ["dashboard"]


def declare(site: Site) -> list[Service]:
    port = site.ports["dashboard"]
    endpoint = site.endpoints.dashboard

    def command() -> list[str]:
        from importlib.util import find_spec

        spec = find_spec(APP)
        assert spec is not None
        return [
            sys.executable,
            "-m",
            "panel",
            "serve",
            str(spec.origin),
            "--address",
            "127.0.0.1",
            "--port",
            str(port),
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
            site.endpoints.hub.address,
        ]

    def probe(pid: int) -> str | None:
        http.get(f"{endpoint}/liveness")
        return None

    return [Service("dashboard", command, probe, port=port, link=f"{endpoint}/app")]
