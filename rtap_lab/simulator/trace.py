"""A scenario and a seed become a stream of messages in the order of their sending.

Visitors arrive at random (a Poisson process), land on a page, follow links, put things into the cart,
buy or leave; on the way to the log some messages are delayed, doubled or spoilt.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from rtap_lab.events.codec import encode
from rtap_lab.simulator.scenarios import START_MS, Scenario

_PRODUCTS = [f"/product/{name}" for name in (
    "lamp", "chair", "desk", "rug", "sofa", "shelf", "mirror", "vase", "clock", "plant",
    "pillow", "blanket", "stool", "basket", "frame",
)]  # fmt: skip
_LINKS: dict[str, list[tuple[str, float]]] = {
    "/": [("/products", 5), ("/blog", 1.5), ("/sign-up", 0.5), ("leave", 3)],
    "/products": [("product", 6), ("/search", 1.5), ("leave", 2)],
    "/search": [("product", 5), ("/search", 1), ("leave", 2.5)],
    "/blog": [("/blog/rooms", 2), ("/products", 1.5), ("leave", 4)],
    "/blog/rooms": [("/products", 2), ("leave", 4)],
    "/sign-up": [("/products", 3), ("leave", 2)],
    "product": [("product", 3), ("/products", 2), ("leave", 3)],
}
_LANDINGS = ["/", "/", "/", "/products", "/blog", "product"]
_REFERRERS = ["", "", "https://search.example/", "https://social.example/", "https://news.example/"]
_DEVICES = ["mobile", "mobile", "mobile", "desktop", "desktop", "tablet"]
_COUNTRIES = ["DE", "FR", "IT", "ES", "NL", "PL", "SE", "AT"]
_SPOILT = (
    b'{"event_id":', b"not json at all", b"[]", b'"text"', b"", b'{"event_type":"page_view"}',
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """One message on its way to the log."""

    send_ms: int
    """When it is sent, in milliseconds since the scenario began."""
    key: str
    value: dict[str, Any] | bytes
    """An event, its `event_time` in milliseconds since the scenario began; or bytes that are none."""


def _visit(
    random: Random, scenario: Scenario, start: float, visitor: int, number: int
) -> list[dict[str, Any]]:
    """The events of one visit, in order; `event_time` in seconds since the scenario began."""
    moment = start
    common: dict[str, Any] = {
        "visitor_id": f"v{visitor:06d}",
        "session_id": f"s{number:08d}",
        "device": _DEVICES[visitor % len(_DEVICES)],
        "country": _COUNTRIES[visitor % len(_COUNTRIES)],
    }
    campaign = random.choice(scenario.campaigns)
    if campaign:
        common["campaign"] = campaign
    referrer = random.choice(_REFERRERS)
    events: list[dict[str, Any]] = []

    def add(kind: str, **more: Any) -> None:
        events.append({"event_type": kind, "event_time": moment} | common | more)

    place = random.choice(_LANDINGS)
    add("session_start", **({"referrer": referrer} if referrer else {}))
    cart: float = 0.0
    while True:
        page = random.choice(_PRODUCTS) if place == "product" else place
        moment += 0.05
        add("page_view", page=page)
        moment += random.expovariate(1 / scenario.dwell)
        if place == "product" and random.random() < scenario.cart:
            price = round(random.uniform(5, 250), 2)
            cart += price
            add("custom", name="add_to_cart", page=page, value=price)
            moment += random.expovariate(2 / scenario.dwell)
        if place == "/sign-up" and random.random() < 0.6:
            add("conversion", name="sign_up", page=page)
        if cart and random.random() < 0.4:
            moment += 0.05
            add("page_view", page="/checkout")
            moment += random.expovariate(1 / scenario.dwell)
            if random.random() < scenario.purchase:
                add("conversion", name="purchase", page="/checkout", value=round(cart, 2))
            cart = 0.0
        links = _LINKS[place]
        place = random.choices([name for name, _ in links], [weight for _, weight in links])[0]
        if place == "leave":
            break
    if random.random() < 0.7:  # the others just close the window
        moment += 0.05
        add("session_end")
    return events


def trace(scenario: Scenario, seed: int, *, run: str = "") -> Iterator[Message]:
    """Yield the scenario's messages for ever, in the order of their sending.

    Args:
        scenario: The website.
        seed: Fixes every choice.
        run: Goes into every event_id, so that the same seed can run twice on one topic.
    """
    random = Random(f"{scenario.name}/{seed}")
    prefix = f"{run}-" if run else ""
    waiting: list[tuple[int, int, Message]] = []
    next_visit, visits, serial = 0.0, 0, 0
    known: list[int] = []

    def push(message: Message) -> None:
        nonlocal serial
        serial += 1
        heapq.heappush(waiting, (message.send_ms, serial, message))

    open_ms = int(scenario.dwell * 10_000)
    while True:
        next_visit += random.expovariate(scenario.visits_per_second)
        while waiting and waiting[0][0] < next_visit * 1000:
            message = heapq.heappop(waiting)[2]
            if message.send_ms >= open_ms:  # the shop has been open for a while
                yield message
        if known and random.random() < scenario.returning:
            visitor = random.choice(known)
        else:
            visitor = random.randrange(scenario.visitors)
            known.append(visitor)
            if len(known) > 5_000:
                known[random.randrange(len(known))] = known.pop()
        visits += 1
        for step, event in enumerate(_visit(random, scenario, next_visit, visitor, visits)):
            at = int(event["event_time"] * 1000)
            event = {"event_id": f"{prefix}{seed}-{visits}-{step}"} | event | {"event_time": at}
            delay = random.expovariate(1 / 0.03)
            if random.random() < scenario.late:
                delay = random.uniform(3, 20)
            sent = at + int(delay * 1000)
            push(Message(sent, event["visitor_id"], event))
            chance = random.random()
            if chance < scenario.duplicates:
                push(Message(sent + random.randrange(5, 8_000), event["visitor_id"], event))
            elif chance > 1 - scenario.malformed:
                push(Message(sent + 1, event["visitor_id"], random.choice(_SPOILT)))


def lines(scenario: Scenario, seed: int, count: int) -> Iterator[bytes]:
    """Yield `count` messages as JSON Lines, from the scenario's fixed start time."""
    for number, message in enumerate(trace(scenario, seed)):
        if number == count:
            return
        value = message.value
        if isinstance(value, dict):
            value = encode(value | {"event_time": START_MS + value["event_time"]})
        yield value.replace(b"\n", b" ") + b"\n"
