"""Flink's web UI for people, read only: a plugin of `panel serve` (`--plugins`), behind the dashboard's token.

The JobManager asks for the lab's certificate, which no browser has. This passes on what only reads (GET); jobs are stopped
by `rtap jobs`, which knows their intent and their savepoints.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.web import RequestHandler

from rtap_lab.dashboards import access
from rtap_lab.endpoints import Tls

_PASSED = ("Content-Type", "ETag", "Last-Modified", "Cache-Control")
_TIMEOUT_S = 10.0
_ACTS = {"yarn-cancel", "yarn-stop"}
"""The two paths of Flink's that a GET acts by."""
_PATH = re.compile(r"[A-Za-z0-9._:/-]*")
"""Tornado has decoded it, and Flink decodes again: nothing is passed on that could become another path."""


def _context() -> ssl.SSLContext:
    return Tls(os.environ["RTAP_FLINK_CERTIFICATE"], os.environ["RTAP_FLINK_KEY"], "", "", "").context()


class FlinkUi(RequestHandler):
    """Answers with what the JobManager answers."""

    def get_current_user(self) -> Any:
        return access.get_user(self)

    async def get(self, path: str) -> None:
        if self.current_user is None:
            above = "../" * (self.request.path.count("/") - 1)  # a proxy may have another path before ours
            self.redirect(f"{above}{access.login_url.lstrip('/')}")  # which says how to get in
            return
        if not _PATH.fullmatch(path) or _ACTS & set(path.split("/")):
            self.set_status(405)
            self.finish("This page only shows; jobs are stopped by `rtap jobs stop NAME`.\n")
            return
        query = f"?{self.request.query}" if self.request.query else ""
        wanted = HTTPRequest(
            f"{os.environ['RTAP_FLINK']}/{path}{query}",
            ssl_options=_context(),
            request_timeout=_TIMEOUT_S,
            follow_redirects=False,
        )
        try:
            answer = await AsyncHTTPClient().fetch(wanted, raise_error=False)
        except (OSError, HTTPClientError) as error:
            self.set_status(502)
            self.finish(f"The JobManager does not answer ({type(error).__name__}): rtap status\n")
            return
        self.set_status(answer.code)
        for name in _PASSED:
            if name in answer.headers:
                self.set_header(name, answer.headers[name])
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "SAMEORIGIN")
        self.finish(answer.body or b"")


ROUTES: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [(r"/flink/(.*)", FlinkUi, {})]
"""As `panel serve --plugins` takes them."""
