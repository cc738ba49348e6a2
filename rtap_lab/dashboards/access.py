"""Who may see the dashboard: Bokeh's authentication module (`panel serve --auth-module`), and Flink's UI behind it.

Loopback is no wall: another user of the machine reaches the port, and a page can be made to reach it under a name of its
own (DNS rebinding). So each page and each socket needs a token that was made from the lab's secret not long ago
(`live.access`), which `rtap dash` puts into the address that it prints and which then stays in a cookie, and a Host that is
this machine's, or the proxy's before it (`rtap up --proxy`). Without a secret in the environment (`panel serve` by hand) only the Host is checked. What is the same for
everybody (`/static`, `/liveness`) is open.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from rtap_lab.live.access import holds, viewing
from rtap_lab.settings import LOCAL

OWNER, VIEWER = "owner", "viewer"
"""Who came by an address of `rtap dash`, and who by one of `rtap dash --view`, and may only look."""

login_url = "/login"
"""Where Panel sends who has no token, relative to the page: a proxy may have another path before ours."""
_PAGE = re.compile(r"/(?!/|.*\.\.)[A-Za-z0-9._/-]*")
"""A page of ours: nothing that a browser could take for another host, or for what lies above us."""


def secret() -> str | None:
    """What tokens are made from; None: none is asked for (`panel serve` by hand)."""
    return os.environ.get("RTAP_DASHBOARD_SECRET")


def _seen() -> SplitResult:
    """The address by which browsers reach the dashboard; empty for `panel serve` by hand."""
    return urlsplit(os.environ.get("RTAP_DASHBOARD_ADDRESS", ""))


def is_proxy(origin: str | None) -> bool:
    """Whether a page's origin is that of the proxy before us, which may give requests another Host."""
    seen = _seen()
    proxied = seen.hostname is not None and seen.hostname not in LOCAL
    return proxied and origin is not None and urlsplit(origin)[:2] == seen[:2]


def is_local(request: HTTPServerRequest) -> bool:
    """Whether it was this machine's name that a request was sent to, or that of the proxy before it."""
    host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    return host is not None and (host in LOCAL or host == _seen().hostname)


def _cookie(request: HTTPServerRequest) -> str:
    """Cookies are shared by all ports of a host, so each port has one of its own."""
    return f"rtap-{os.environ.get('RTAP_DASHBOARD_PORT') or urlsplit(f'//{request.host}').port}"


def _who(token: str) -> str | None:
    known = secret()
    if known is None or holds(known, token, time.time()):
        return OWNER
    return VIEWER if holds(viewing(known), token, time.time()) else None


def get_user(handler: Any) -> str | None:
    """Bokeh asks this for every page and socket; None sends to `login_url`."""
    if not is_local(handler.request):
        return None
    return _who(handler.get_cookie(_cookie(handler.request), ""))


class LoginHandler(RequestHandler):
    """Takes the token from the address, keeps it in a cookie, and shows the page that was asked for."""

    def get(self) -> None:
        token = self.get_query_argument("token", "", strip=False)
        if not is_local(self.request):
            self.set_status(403)
            self.finish("This is reached as 127.0.0.1 or localhost, or through the proxy of `rtap up --proxy`.\n")
        elif _who(token) is None:
            self.set_status(403)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish("This page belongs to a lab. Its address, with what opens it for some hours: rtap dash\n")
        else:
            # without a path it is sent below this address alone, whatever a proxy has before it
            secure = _seen().scheme == "https" and self.request.host == _seen().netloc
            self.set_cookie(_cookie(self.request), token, httponly=True, samesite="Lax", path="", secure=secure)
            page = self.get_query_argument("next", "/app", strip=False)
            self.redirect(f".{page if _PAGE.fullmatch(page) else '/app'}")
