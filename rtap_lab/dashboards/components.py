"""What the browser runs: Panel components over the modules in `browser/`, fed by the hub without Python."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
import time
from functools import cache
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from rtap_lab.dashboards.reductions import REDUCTIONS
from rtap_lab.endpoints import Endpoint
from rtap_lab.live.access import issue
from rtap_lab.queries.query import Query
from rtap_lab.settings import LIVE


@cache
def module(name: str) -> str:
    """One module of the hub's client, what a page shares, and a component: Panel takes one text, and no import leaves it."""
    live = importlib.resources.files("rtap_lab.live")
    browser = importlib.resources.files("rtap_lab.dashboards").joinpath("browser")
    parts = [live.joinpath("hub_client.js"), *(browser.joinpath(f"{each}.js") for each in ("reductions", "page"))]
    shared = "\n".join(part.read_text() for part in parts)
    return re.sub(r"^export ", "", shared, flags=re.MULTILINE) + browser.joinpath(f"{name}.js").read_text()


MODULES = ("chart", "cards")
"""The components' modules, by name."""

served_below = ""
"""Where the modules are had on the server of the page, below its address; empty: each component carries its module's text."""


def module_version(name: str) -> str:
    """What changes when a module does."""
    return hashlib.sha256(module(name).encode()).hexdigest()[:16]


class _Fed(JSComponent):
    """A component whose module is served once for all of a page, where there is a server that does: its text is 60 KB."""

    _name: ClassVar[str]

    def _get_properties(self, doc: Any) -> dict[str, Any]:
        properties: dict[str, Any] = super()._get_properties(doc)
        if served_below and doc is not None and doc.session_context is not None:
            address = f"{served_below}/{self._name}-{module_version(self._name)}.js"
            properties["esm"] = (
                f'const module = await import(new URL("{address}", document.baseURI).href);\n'
                "export function render(all) {\n  return module.render(all);\n}\n"
            )
        return properties


class HubFeed(_Fed):
    """Feeds a Bokeh source of the same document from a query's rows, in the browser alone."""

    url = param.String(doc="The hub's address; empty: a static picture")
    token = param.String(doc="What the hub asks for")
    channel = param.String(doc="A query's name")
    source = param.String(default=LIVE)
    time = param.String(doc="The column that says when a row happened")
    options = param.Dict(default={})
    columns = param.List(doc="The query's columns")
    target = param.String(doc="Name of the ColumnDataSource")
    kind = param.String(doc="How it is drawn")
    reduce = param.Selector(objects=list(REDUCTIONS))
    overlay = param.Dict(default={}, doc="What is drawn behind it: shift_ms, or another source")
    instead = param.List(doc="Queries of which one is shown while the page is narrowed by what this one does not have")

    _name = "chart"
    _esm = module("chart")


def token_of(hub: Endpoint | None) -> str:
    """A token that opens the hub for some hours; empty where it has no secret."""
    return issue(hub.secret, time.time()) if hub and hub.secret else ""


def fed(hub: Endpoint | None, query: Query, source: str = LIVE) -> dict[str, Any]:
    """What a component needs to be fed by a query."""
    return {
        "url": hub.for_browsers if hub else "",
        "token": token_of(hub),
        "channel": query.name,
        "source": source,
        "time": query.schema.time_column,
        "columns": list(query.schema.columns),
    }


class Board(_Fed):
    """Cards side by side, as many as there is room for: big numbers, rankings, lists and so on (`browser/cards.js`)."""

    url = param.String(doc="The hub's address")
    token = param.String(doc="What the hub asks for")
    source = param.String(default=LIVE)
    least = param.Integer(default=300, doc="Pixels that a card has at least, if the page has them")
    controls = param.Boolean(
        default=False, doc="Whether they can be paused and rewound here: a page of their own has no bar for it"
    )
    cards = param.List(doc="Of each: kind, channel, time, options, and whether it takes the whole width")

    _name = "cards"
    _esm = module("cards")
