"""Who may see the dashboard: Bokeh's authentication module (`panel serve --auth-module`), and Flink's UI behind it.

Loopback is no wall: another user of the machine reaches the port, and a page can be made to reach it under a name of its
own (DNS rebinding). So each request needs the lab's token, which `rtap dash` puts into the address that it prints and
which then stays in a cookie, and a Host that is this machine's. Without a token in the environment (`panel serve` by hand)
only the Host is checked.
"""

from __future__ import annotations

import hmac
import os
from typing import Any
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from rtap_lab.settings import LOCAL

login_url = "/login"


def token() -> str:
    """What a visitor must know; empty: nothing."""
    return os.environ.get("RTAP_DASHBOARD_TOKEN", "")


def is_local(request: HTTPServerRequest) -> bool:
    """Whether it was this machine's name that a request was sent to."""
    return urlsplit(f"//{request.headers.get('Host', '')}").hostname in LOCAL


def _cookie(request: HTTPServerRequest) -> str:
    """Cookies are shared by all ports of a host, so each port has one of its own."""
    return f"rtap-{urlsplit(f'//{request.host}').port}"


def _right(given: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token().encode())


def get_user(handler: Any) -> str | None:
    """Bokeh asks this for every page and socket; None sends to `login_url`."""
    if not is_local(handler.request):
        return None
    return "owner" if not token() or _right(handler.get_cookie(_cookie(handler.request), "")) else None


class LoginHandler(RequestHandler):
    """Takes the token from the address, keeps it in a cookie, and shows the page that was asked for."""

    def get(self) -> None:
        if not is_local(self.request):
            self.set_status(403)
            self.finish("This is reached as 127.0.0.1 or localhost only.\n")
        elif token() and not _right(self.get_query_argument("token", "")):
            self.set_status(403)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish("This page belongs to a lab. Its address, with the token that opens it: rtap dash\n")
        else:
            self.set_cookie(_cookie(self.request), token(), httponly=True, samesite="Lax")
            page = self.get_query_argument("next", "/app")
            plain = page.startswith("/") and not page.startswith("//") and "\\" not in page
            self.redirect(page if plain else "/app")
