"""Visits as columns of numbers: who arrives in a second, and what each visitor does, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtap_lab.simulator.draws import (
    Bytes,
    Ints,
    bits,
    choices,
    draws,
    kafka_partitions,
    mixed,
    seed_of,
    threshold,
    waits,
)
from rtap_lab.simulator.scenario import FOREVER, Change, Scenario
from rtap_lab.simulator.site import ADD, END, GONE, PURCHASE, SCRAPER, START, Site, nodes_of

STEPS = 60
"""No visit has more events."""

Columns = dict[str, NDArray[Any]]
"""One array for each column, all of one length."""

BEFORE_S = 1_800
"""Visits begin so many seconds before the scenario's time 0: the shop has been open for a while."""

_FAREWELL = threshold(0.7, 8)
"""Share of visits that end with a `session_end`; the others just close the window."""


@dataclass(frozen=True)
class Stream:
    """Visits of one kind: those of every day, or those that a change brings."""

    number: int
    """0 is every day's; n is the change number n - 1."""
    rate: float
    """Visits a second, at most."""
    from_ms: int = -BEFORE_S * 1000
    to_ms: int = FOREVER
    bots: bool = False
    campaign: str = ""
    page: str = ""

    @property
    def slots(self) -> int:
        """How many visits a second of the stream could have."""
        return max(2, int(self.rate * 2) + 1)


class Visitors:
    """The visits of a scenario.

    Args:
        scenario: The website.
        seed: Fixes every choice.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.key = seed_of("rtap simulator 2", seed)
        peak = max(factor for _, factor in scenario.curve)
        self.streams = [Stream(0, scenario.visits_per_second * peak)]
        self.nodes = nodes_of(scenario.site, SCRAPER)
        self.sites = (Site.of(scenario.site, self.nodes), Site.of(SCRAPER, self.nodes))
        self.campaigns = ["none", *(c for c in scenario.campaigns if c != "none")]
        self.devices, self.countries = list(scenario.devices), list(scenario.countries)
        self.referrers = ["none", *(r for r in scenario.referrers if r != "none")]
        for change in scenario.changes:
            self.add(change)

    def add(self, change: Change) -> None:
        """A change of the scenario; those that bring visits are streams of their own."""
        number = len(self.streams)
        rate = change.size if change.kind in ("surge", "bots", "campaign") else 0.0
        if change.kind == "campaign" and change.name not in self.campaigns:
            self.campaigns.append(change.name)
        self.streams.append(
            Stream(
                number,
                rate,
                change.from_ms,
                change.to_ms,
                change.kind == "bots",
                change.name if change.kind == "campaign" else "",
                change.page,
            )
        )
        self.__dict__.pop("_landings", None)

    def arriving(self, first_s: int, until_s: int) -> Columns:
        """The visits that arrive in some seconds of the scenario, not in order.

        Columns: stream, number, start (ms), key, visitor, bot, campaign, landing, referrer, device, country.
        """
        found = [self._stream(each, first_s, until_s) for each in self.streams if each.rate > 0]
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def _stream(self, stream: Stream, first_s: int, until_s: int) -> Columns:
        first_s = max(first_s, stream.from_ms // 1000)
        until_s = max(first_s, min(until_s, -(-stream.to_ms // 1000)))
        slots = stream.slots
        seconds = np.arange(first_s, until_s, dtype=np.int64)
        key = mixed(np.array([self.key + np.uint64(stream.number) * np.uint64(0xD1342543)]))[0]
        # of the places for visits in a second, a share is taken: close to a Poisson process
        if stream.number == 0:
            scenario = self.scenario
            shares = [scenario.factor(s) * scenario.visits_per_second / slots for s in seconds.tolist()]
        else:
            shares = [stream.rate / slots] * len(seconds)
        taken = np.array([threshold(share, 32) for share in shares], dtype=np.int64)
        number = (seconds[:, None] + BEFORE_S) * slots + np.arange(slots, dtype=np.int64)
        word = draws(key, number, 0)
        chosen = bits(word, 0, 32) < taken[:, None]
        start = seconds[:, None] * 1000 + (bits(word, 32, 20) * 1000 >> 20)
        chosen &= (start >= stream.from_ms) & (start < stream.to_ms)
        number, start, word = number[chosen], start[chosen], word[chosen]
        visitor = self._visitors(stream, key, number)
        of_visitor = draws(self.key, visitor, 1)
        of_visit = draws(key, number, 2)
        campaign, referrer, device, country = self._tables
        columns: Columns = {
            "stream": np.full(len(number), stream.number, dtype=np.int64),
            "number": number,
            "start": start,
            "key": draws(key, number, 3),
            "visitor": visitor,
            "bot": np.full(len(number), stream.bots, dtype=bool),
            "campaign": campaign[bits(of_visit, 0, 8)].astype(np.int64),
            "referrer": referrer[bits(of_visit, 8, 8)].astype(np.int64),
            "device": device[bits(of_visitor, 0, 8)].astype(np.int64),
            "country": country[bits(of_visitor, 8, 8)].astype(np.int64),
        }
        if stream.campaign:
            columns["campaign"][:] = self.campaigns.index(stream.campaign)
        landing = self._landings[columns["campaign"], columns["referrer"], bits(of_visit, 16, 8)]
        columns["landing"] = np.where(stream.bots, self.nodes.index("/"), landing)
        if stream.page:
            columns["landing"][:] = self.nodes.index(stream.page)
        idle = self.scenario.disorder.idle_partition
        if idle is not None and len(number):
            places = kafka_partitions(visitor_keys(visitor), 12)
            columns = {name: column[places != idle] for name, column in columns.items()}
        return columns

    def _visitors(self, stream: Stream, key: np.uint64, number: Ints) -> Ints:
        """Who makes each visit: somebody new, or the visitor of an earlier visit."""
        if stream.bots:  # a few machines, each coming again and again
            return 900_000_000 + stream.number * 1000 + bits(draws(key, number, 4), 0, 5)
        number = number.copy()
        again = threshold(self.scenario.returning)
        back = max(1, stream.slots * 3_000)
        for _ in range(12):
            word = draws(key, number, 5)
            earlier = number - 1 - (bits(word, 16, 32) * back >> 32)
            returns = (bits(word, 0, 16) < again) & (earlier >= 0)
            if not returns.any():
                break
            number = np.where(returns, earlier, number)
        return stream.number * 100_000_000 + number % 100_000_000

    @cached_property
    def _tables(self) -> tuple[Bytes, Bytes, Bytes, Bytes]:
        scenario = self.scenario

        def table(names: list[str], weights: dict[str, float]) -> Bytes:
            return choices({names.index(name): weight for name, weight in weights.items()})

        return (
            table(self.campaigns, scenario.campaigns),
            table(self.referrers, scenario.referrers),
            table(self.devices, scenario.devices),
            table(self.countries, scenario.countries),
        )

    @cached_property
    def _landings(self) -> Bytes:
        """Landing pages; shape (campaigns, referrers, 256)."""
        scenario, number = self.scenario, {name: at for at, name in enumerate(self.nodes)}

        def table(campaign: str, referrer: str) -> Bytes:
            weights = (
                scenario.landings_by_campaign.get(campaign)
                or scenario.landings_by_referrer.get(referrer)
                or scenario.landings
            )
            return choices({number[page]: weight for page, weight in weights.items()})

        return np.array([[table(c, r) for r in self.referrers] for c in self.campaigns])

    # --- what each does --------------------------------------------------------------------------

    def events(self, visits: Columns) -> Columns:
        """What the visitors do: one row for each event, `row` its visit.

        Columns: row, step, node, moment (ms), product, cents.
        """
        site, bots = self.sites
        empty, full = (np.concatenate([site.empty, bots.empty]), np.concatenate([site.full, bots.full]))
        pages = site.pages.astype(bool)
        add, purchase = self.nodes.index(ADD), self.nodes.index(PURCHASE)
        persona = visits["bot"].astype(np.int64) * len(self.nodes)
        dwell = np.where(visits["bot"], 400, int(self.scenario.dwell * 1000))
        bounce = threshold(self.scenario.bounce)
        rows = np.arange(len(visits["number"]), dtype=np.int64)
        node, moment = np.full(len(rows), START, dtype=np.int64), visits["start"]
        cart = np.zeros(len(rows), dtype=np.int64)
        parts: list[Columns] = []
        for step in range(STEPS):
            word = draws(visits["key"][rows], np.full(len(rows), step, dtype=np.int64), 0)
            product = bits(word, 0, 4)
            price = 500 + (bits(word, 4, 14) * 24_500 >> 14)
            cents = np.where(node == add, price, np.where(node == purchase, cart, 0))
            parts.append(
                {
                    "row": rows,
                    "step": np.full(len(rows), step, dtype=np.int64),
                    "node": node,
                    "moment": moment,
                    "product": product,
                    "cents": cents,
                }
            )
            cart = np.where(node == add, cart + price, np.where(node == purchase, 0, cart))
            table = bits(word, 18, 8)
            base = persona[rows] + node
            after = np.where(cart > 0, full[base, table], empty[base, table]).astype(np.int64)
            if step == 0:
                after = visits["landing"][rows]
                moment = moment + 50
            else:
                means = np.where(pages[node], dwell[rows], dwell[rows] >> 2)
                moment = moment + 50 + waits(word, 26, means)
                if step == 1:
                    bounced = (bits(word, 36, 16) < bounce) & ~visits["bot"][rows]
                    after = np.where(bounced, END, after)
            silent = (after == END) & (bits(word, 52, 8) >= _FAREWELL)
            after = np.where(silent, GONE, after)
            go_on = (node != END) & (after != GONE)
            rows, node, moment, cart = rows[go_on], after[go_on], moment[go_on], cart[go_on]
            if not len(rows):
                break
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def visitor_keys(visitor: Ints) -> Bytes:
    """The visitors' ids (`v` and nine digits) as bytes; shape (visitors, 10)."""
    digits = visitor[:, None] // 10 ** np.arange(8, -1, -1) % 10 + 48
    letter = np.full((len(visitor), 1), ord("v"))
    keys: Bytes = np.concatenate([letter, digits], axis=1).astype(np.uint8)
    return keys
