"""A scenario: who comes, what the site is like, what goes wrong on the way, and what happens when. Plain values."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Literal

from rtap_lab.simulator.site import SHOP, Links

START_MS = 1_767_261_600_000
"""2026-01-01T10:00:00Z: when every scenario begins."""

ChangeKind = Literal["outage", "surge", "bots", "campaign", "broken", "field"]
KINDS: tuple[ChangeKind, ...] = ("outage", "surge", "bots", "campaign", "broken", "field")
FOREVER = 10**12


@dataclass(frozen=True)
class Change:
    """Something that happens at the site, from one moment of the scenario to another (milliseconds).

    outage: payments fail. surge: `size` further visits a second. bots: `size` bots a second begin a
    visit. campaign: `size` further visits a second with campaign `name`, landing on `page`. broken: the
    tracker spoils a `size` share of the events of `devices`. field: events carry `properties` with
    `name` and value `page`.
    """

    kind: ChangeKind
    from_ms: int
    to_ms: int = FOREVER
    size: float = 1.0
    name: str = ""
    page: str = ""
    devices: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The change as plain JSON values."""
        return self.__dict__ | {"devices": list(self.devices)}

    @staticmethod
    def from_json(facts: dict[str, object]) -> Change:
        """A change from what `as_json` gave."""
        return Change(**facts | {"devices": tuple(facts["devices"])})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Disorder:
    """What happens to events on their way to the log. Times are milliseconds, shares are of 1."""

    delay_ms: dict[str, int] = field(default_factory=dict)
    """Mean delay by device; "*" for the others."""
    late: dict[str, float] = field(default_factory=dict)
    """Share held up by `late_ms` instead, by device; "*" for the others."""
    late_ms: tuple[int, int] = (3_000, 20_000)
    duplicates: float = 0.003
    """Share that is sent a second time, 5 ms to 8 s later."""
    malformed: float = 0.002
    """Share that is spoilt on the way."""
    skew_ms: dict[str, tuple[int, int]] = field(default_factory=dict)
    """How wrong the clocks of a device's visitors are, from and to, by device."""
    idle_partition: int | None = None
    """A partition (of 12) that no visitor's events go to."""


@dataclass(frozen=True)
class Scenario:
    """A website and its visitors."""

    name: str
    story: str
    rate: float
    """About how many messages a second of the scenario has; a pace of so many is real time."""
    visits_per_second: float
    curve: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    """Factors of the arrival rate: (seconds since the beginning, factor), linear between, repeated after `period`."""
    period: float | None = None
    """Seconds after which the curve begins again: a day, as long as it lasts here."""
    dwell: float = 20.0
    """Mean time on a page, seconds."""
    bounce: float = 0.2
    """Share of visits that end after their first page."""
    returning: float = 0.35
    """Share of visits by a visitor of an earlier one."""
    devices: dict[str, float] = field(default_factory=lambda: {"mobile": 3, "desktop": 2, "tablet": 1})
    countries: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("DE", "FR", "IT", "ES", "NL", "PL", "SE", "AT"), 1.0)
    )
    campaigns: dict[str, float] = field(default_factory=lambda: {"none": 6, "newsletter": 1, "autumn": 1})
    referrers: dict[str, float] = field(
        default_factory=lambda: {
            "none": 2,
            "https://search.example/": 1,
            "https://social.example/": 1,
            "https://news.example/": 1,
        }
    )
    landings: dict[str, float] = field(default_factory=lambda: {"/": 3, "/products": 1, "/blog": 1, "/product/*": 1})
    landings_by_campaign: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of visits with such a campaign; it goes before the referrer's."""
    landings_by_referrer: dict[str, dict[str, float]] = field(
        default_factory=lambda: {
            "https://search.example/": {"/product/*": 4, "/products": 2, "/": 1},
            "https://social.example/": {"/blog": 3, "/product/*": 2, "/": 1},
        }
    )
    site: Links = field(default_factory=lambda: SHOP)
    disorder: Disorder = field(default_factory=Disorder)
    changes: tuple[Change, ...] = ()
    text: str = field(default="", compare=False, repr=False)
    """The YAML it was read from."""
    lasts: float = 600.0
    """Seconds after which the story has been told."""

    visitors: float = 1.0
    """How many times the visitors of the story as it was written there are."""

    def scaled(self, factor: float) -> Scenario:
        """The scenario with so many times its visitors, those that changes bring included."""
        more = ("surge", "bots", "campaign")
        changes = tuple(replace(c, size=c.size * factor) if c.kind in more else c for c in self.changes)
        return replace(
            self,
            rate=self.rate * factor,
            visits_per_second=self.visits_per_second * factor,
            visitors=self.visitors * factor,
            changes=changes,
        )

    def with_changes(self, *more: Change) -> Scenario:
        """The scenario, and something more that happens in it."""
        return replace(self, changes=(*self.changes, *more))

    def factor(self, seconds: float) -> float:
        """The arrival rate's factor at a moment of the scenario."""
        curve = self.curve
        if self.period:
            seconds %= self.period
        if seconds <= curve[0][0]:
            return curve[0][1]
        for (t0, f0), (t1, f1) in itertools.pairwise(curve):
            if seconds < t1:
                return f0 + (f1 - f0) * (seconds - t0) / (t1 - t0)
        return curve[-1][1]
