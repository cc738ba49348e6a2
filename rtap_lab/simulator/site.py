"""The website: its pages and what can be done there, as a graph of weighted links.

A node is a page (`/products`; `/product/*` is one page for each product) or an action (`custom:login`,
`conversion:sign_up`). Links to the checkout count only with something in the cart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rtap_lab.simulator.draws import Bytes, choices

START, END, GONE = 0, 1, 2
"""The nodes of every site: a visit starts; it ends with an event, or without one."""

LEAVE = "leave"
CHECKOUT, PURCHASE, ADD = "/checkout", "conversion:purchase", "custom:add_to_cart"
PAYMENT_FAILED = "custom:payment_failed"
"""What is seen in place of a purchase while payments do not work."""

PRODUCTS = (
    "lamp",
    "chair",
    "desk",
    "rug",
    "sofa",
    "shelf",
    "mirror",
    "vase",
    "clock",
    "plant",
    "pillow",
    "blanket",
    "stool",
    "basket",
    "frame",
    "bench",
)

Links = Mapping[str, Mapping[str, float]]

SHOP: Links = {
    "/": {"/products": 5, "/blog": 1.5, "/sign-up": 0.5, "/login": 1, "/checkout": 1, LEAVE: 3},
    "/products": {"/product/*": 6, "/search": 1.5, "/checkout": 1.5, LEAVE: 2},
    "/search": {"/product/*": 5, "/search": 1, LEAVE: 2.5},
    "/product/*": {"/product/*": 3, "/products": 2, ADD: 1.2, "/checkout": 1, LEAVE: 3},
    ADD: {"/product/*": 2.5, "/products": 1, "/checkout": 5, LEAVE: 1.5},
    "/checkout": {PURCHASE: 5.5, "/products": 1, LEAVE: 3},
    PURCHASE: {"/": 1, LEAVE: 4},
    PAYMENT_FAILED: {"/": 1, LEAVE: 4},
    "/login": {"custom:login": 4, "custom:login_failed": 1, LEAVE: 0.5},
    "custom:login": {"/products": 4, "/": 1, LEAVE: 0.5},
    "custom:login_failed": {"/login": 3, LEAVE: 1},
    "/sign-up": {"conversion:sign_up": 3, "/products": 1, LEAVE: 1.5},
    "conversion:sign_up": {"/products": 3, LEAVE: 1},
    "/blog": {"/blog/rooms": 2, "/products": 1.5, "conversion:newsletter": 0.4, LEAVE: 4},
    "/blog/rooms": {"/products": 2, "conversion:newsletter": 0.2, LEAVE: 4},
    "conversion:newsletter": {"/products": 1, LEAVE: 2},
    "/sale": {"/product/*": 6, "/sign-up": 1.5, "/checkout": 1, LEAVE: 3},
}
"""A shop for things at home: what the packaged scenarios are about."""

SCRAPER: Links = {
    "/": {"/products": 1},
    "/products": {"/product/*": 9, "/login": 1, LEAVE: 0.05},
    "/product/*": {"/product/*": 9, "/products": 1, "/login": 0.7, LEAVE: 0.15},
    "/login": {"custom:login_failed": 1},
    "custom:login_failed": {"/login": 2, "/products": 1},
}
"""What a bot does: read every product, try passwords."""


@dataclass(frozen=True)
class Site:
    """A site as tables: nodes by number, and for each the 256 equally likely next nodes.

    Args:
        links: Weight of each link, by node.
        nodes: Names of all nodes in their order, so that several sites can share them; found when left out.
    """

    nodes: tuple[str, ...]
    empty: Bytes
    """Next nodes with nothing in the cart; shape (nodes, 256)."""
    full: Bytes
    """Next nodes with something in the cart; shape (nodes, 256)."""
    pages: Bytes
    """1 for the nodes that are pages; shape (nodes,)."""

    @staticmethod
    def of(links: Links, nodes: tuple[str, ...] | None = None) -> Site:
        nodes = nodes or nodes_of(links)
        number = {name: at for at, name in enumerate(nodes)} | {LEAVE: END}

        def table(without: frozenset[str]) -> Bytes:
            rows = np.full((len(nodes), 256), END, dtype=np.uint8)
            for name, to in links.items():
                open_ = {number[n]: w for n, w in to.items() if n not in without and w > 0}
                if open_:
                    rows[number[name]] = choices(open_)
            return rows

        pages = np.array([name.startswith("/") for name in nodes], dtype=np.uint8)
        return Site(nodes, table(frozenset({CHECKOUT, PURCHASE})), table(frozenset()), pages)


def nodes_of(*sites: Links) -> tuple[str, ...]:
    """The names of all nodes of some sites, in the order of their first mention."""
    names = ["", "", ""]  # START, END, GONE have no names
    for links in sites:
        for name, to in links.items():
            names += [n for n in (name, *to) if n != LEAVE and n not in names]
    for needed in (ADD, PURCHASE, PAYMENT_FAILED):
        if needed not in names:
            names.append(needed)
    return tuple(names)


def says(nodes: tuple[str, ...], node: int, product: int) -> tuple[str, str | None, str | None]:
    """The event_type, name and page of an event of a node."""
    if node in (START, END):
        return ("session_start" if node == START else "session_end"), None, None
    kind, _, goal = nodes[node].partition(":")
    item = f"/product/{PRODUCTS[product]}"
    if not goal:
        return "page_view", None, item if kind == "/product/*" else kind
    checkout = nodes[node] in (PURCHASE, PAYMENT_FAILED)
    return kind, goal, item if nodes[node] == ADD else CHECKOUT if checkout else "/"
