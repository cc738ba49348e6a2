"""What the dashboard shows of the lab itself, and what may be done from it: a plugin's handlers for `panel serve`.

`GET /control/module/NAME-VERSION.js` gives what the page's components run; `GET /control/facts` says how things are;
`POST /control/act` with `{"act": NAME, …}` as JSON does something, for who came by an address that `rtap dash` printed, not by
one of `rtap dash --view`. A POST of another page is refused by its Origin, and its content type, which no form can send.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

from tornado.web import HTTPError, RequestHandler

from rtap_lab.dashboards import access, components
from rtap_lab.errors import RtapLabError
from rtap_lab.queries.query import Query

FRESH_S = 2.0
"""Facts that are younger are told again: all who look share them."""


class Control(Protocol):
    """What is shown, and what can be done."""

    @property
    def acts(self) -> Mapping[str, Callable[..., Any]]:
        """By name; each takes what the request says beside it, and gives what is shown of it."""
        ...

    def facts(self) -> dict[str, Any]:
        """How things are now; it may take its time."""
        ...

    def queries(self) -> list[Query]:
        """The queries of one's own that run on the live source."""
        ...


def _no_queries() -> list[Query]:
    return []


own_queries: Callable[[], list[Query]] = _no_queries
"""The queries of one's own that run, for a page that is made; none where no plugin tells."""


class _Shared:
    """The newest facts, for everybody."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._facts: dict[str, Any] = {}
        self._at = 0.0
        self._asking = asyncio.Lock()

    async def facts(self) -> dict[str, Any]:
        async with self._asking:
            if time.monotonic() - self._at > FRESH_S:
                self._facts = await asyncio.to_thread(self.control.facts)
                self._at = time.monotonic()
            return self._facts

    def forget(self) -> None:
        self._at = 0.0


class _Handler(RequestHandler):
    def initialize(self, shared: _Shared) -> None:
        self.shared = shared

    def get_current_user(self) -> Any:
        return access.get_user(self)

    def write_error(self, status_code: int, **about: Any) -> None:
        """What was refused, as JSON."""
        error = about["exc_info"][1]
        words = (
            (error.log_message or "").replace("%%", "%")
            if isinstance(error, HTTPError)
            else f"a fault of ours: {type(error).__name__}"
        )
        self.finish({"error": words})


class FactsHandler(_Handler):
    """How things are, as JSON."""

    async def get(self) -> None:
        if self.current_user is None:
            raise _refused(403, "this page belongs to a lab: rtap dash")
        try:
            facts = await self.shared.facts()
        except (RtapLabError, OSError) as error:
            raise _refused(503, str(error).splitlines()[0]) from error
        self.set_header("Cache-Control", "no-store")
        self.finish(facts | {"may_act": self.current_user == access.OWNER})


class ActHandler(_Handler):
    """Does something."""

    def check_xsrf_cookie(self) -> None:
        """Origin and content type are looked at instead: there is no form."""

    async def post(self) -> None:
        act = self._asked()
        try:
            done = await asyncio.to_thread(act)
        except (TypeError, ValueError) as error:  # a text where a number is wanted
            raise _refused(400, str(error)) from error
        except (RtapLabError, OSError) as error:
            raise _refused(409, str(error).splitlines()[0]) from error
        finally:
            self.shared.forget()
        self.finish({"done": done})

    def _asked(self) -> Callable[[], Any]:
        """What is to be done.

        Raises:
            HTTPError: When this page or person may not ask, or it is nothing that can be done.
        """
        if self.current_user != access.OWNER:
            raise _refused(403, "this address only shows; `rtap dash` prints one that may do things")
        origin = self.request.headers.get("Origin")
        here = urlsplit(origin or "").netloc == self.request.host or access.is_proxy(origin)
        if origin is not None and not here:
            raise _refused(403, "only the dashboard's own page may do this")
        if self.request.headers.get("Content-Type", "").split(";")[0] != "application/json":
            raise _refused(415, "send JSON")
        acts = self.shared.control.acts
        try:
            asked = json.loads(self.request.body)
            act = acts[asked.pop("act")]
            inspect.signature(act).bind(**asked)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _refused(400, f'send {{"act": NAME, …}}, one of {", ".join(sorted(acts))}') from error
        return partial(act, **asked)


class ModuleHandler(RequestHandler):
    """A component's module: the package's own text, for whoever asks."""

    def get(self, name: str, version: str) -> None:
        if version != components.module_version(name):
            raise _refused(404, "this page is of another version: load it again")
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        self.finish(components.module(name))


def _refused(code: int, words: str) -> HTTPError:
    return HTTPError(code, words)


def routes(control: Control) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """As `panel serve --plugins` takes them."""
    global own_queries
    shared, own_queries = _Shared(control), control.queries
    components.served_below = "control/module"
    modules = rf"/control/module/({'|'.join(components.MODULES)})-([0-9a-f]+)\.js"
    return [
        (r"/control/facts", FactsHandler, {"shared": shared}),
        (r"/control/act", ActHandler, {"shared": shared}),
        (modules, ModuleHandler, {}),
    ]
