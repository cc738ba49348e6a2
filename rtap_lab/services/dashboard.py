"""The live dashboard: `panel serve`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from rtap_lab.endpoints import Endpoint
from rtap_lab.live.access import issue, viewing
from rtap_lab.services import http
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.service import Service

APP, ACCESS, FLINK_UI = (f"rtap_lab.dashboards.{name}" for name in ("app", "access", "flink_ui"))
CONTROL = "rtap_lab.lab.control"
"""What `panel serve` runs, who may see it, and what is beside it; found by name, so that the supervisor imports neither panel
nor tornado, and the dashboard can do what `Lab` does."""


WORKS_S = 0.1
"""Seconds of processor between two probes by which a process shows that it works."""
BUSY_S = 60.0
"""Seconds after which one that works and does not answer is no longer waited for."""


def _file(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def address(dashboard: Endpoint, page: str = "/app", *, view: bool = False) -> str:
    """The address that shows a page, with a token that opens it for some hours (`dashboards.access.LoginHandler`).

    Args:
        dashboard: Where the dashboard is, and its secret.
        page: The page.
        view: Whether who comes by it may only look.
    """
    assert dashboard.secret is not None
    secret = viewing(dashboard.secret) if view else dashboard.secret
    return f"{dashboard.for_browsers}/login?token={issue(secret, time.time())}&next={page}"


class Liveness:
    """Whether the dashboard lives: it answers, or it works. It makes a page at a time and answers nobody meanwhile; on a machine that is
    full that takes longer than a probe waits, and who waits for the page must not lose it.

    Args:
        answers: Raises when the dashboard does not answer in time.
        worked_s: Seconds of processor that a process has taken so far.
    """

    def __init__(self, answers: Callable[[], object], worked_s: Callable[[int], float] | None = None) -> None:
        self._answers = answers
        self._worked_s = worked_s or _worked_s
        self._before = 0.0
        self._silent_since: float | None = None

    def __call__(self, pid: int) -> None:
        """Nothing, where it lives.

        Raises:
            httpx.HTTPError: Where it does not answer and does not work, or has worked for too long.
        """
        before, self._before = self._before, self._worked_s(pid)
        try:
            self._answers()
        except httpx.TimeoutException:
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            if self._before - before < WORKS_S or now - self._silent_since > BUSY_S:
                raise
        else:
            self._silent_since = None


def _worked_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:  # it has ended: that it does not answer says the rest
        return 0.0
    return times.user + times.system


def ports(settings: Settings) -> list[str]:
    return ["dashboard"]


def declare(site: Site) -> list[Service]:
    port = site.ports["dashboard"]
    endpoint = site.endpoints.dashboard
    proxy = site.settings.proxy

    def command() -> list[str]:
        return [
            sys.executable,
            "-m",
            "panel",
            "serve",
            str(_file(APP)),
            "--address",
            "127.0.0.1",
            "--port",
            str(port),
            "--allow-websocket-origin",
            f"127.0.0.1:{port}",
            "--allow-websocket-origin",
            f"localhost:{port}",
            *(("--allow-websocket-origin", urlsplit(proxy).netloc) if proxy else ()),
            "--auth-module",
            str(_file(ACCESS)),
            "--plugins",
            FLINK_UI,
            "--plugins",
            CONTROL,
            "--index",
            "app",
            "--liveness",
            "--log-level",
            "warning",
            "--unused-session-lifetime",
            "5000",
            "--args",
            site.endpoints.hub.for_browsers,
        ]

    def probe(pid: int) -> str | None:
        http.get(endpoint, "/liveness")
        return None

    lives = Liveness(lambda: http.get(endpoint, "/liveness"))
    flink = site.endpoints.flink
    assert flink.tls is not None
    # secrets go by the environment: arguments can be read by other users
    environment = {
        "RTAP_DASHBOARD_SECRET": site.state.secret("dashboard.secret"),
        "RTAP_DASHBOARD_ADDRESS": endpoint.for_browsers,
        "RTAP_DASHBOARD_PORT": str(port),
        "RTAP_STATE": str(site.folder),
        "RTAP_HUB_SECRET": site.state.secret("hub.secret"),
        "RTAP_FLINK": flink.address,
        "RTAP_FLINK_CERTIFICATE": flink.tls.certificate,
        "RTAP_FLINK_KEY": flink.tls.key,
    }
    return [
        Service(
            "dashboard",
            command,
            probe,
            port=port,
            link=f"{endpoint.for_browsers}/app",
            environment=environment,
            lives=lives,
        )
    ]
