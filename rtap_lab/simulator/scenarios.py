"""Named scenarios: how many visitors come, what they do, and what goes wrong on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

from rtap_lab.errors import SettingsError

START_MS = 1_767_261_600_000
"""2026-01-01T10:00:00Z: when every scenario begins."""


@dataclass(frozen=True)
class Scenario:
    """A website and its visitors. Times are seconds, shares are of 1."""

    name: str
    story: str
    visits_per_second: float
    rate: float
    """About how many messages a second of the scenario has; a pace of so many is real time."""
    dwell: float = 20.0
    """Mean time on a page."""
    cart: float = 0.12
    """Share of product views that end in an add to cart."""
    purchase: float = 0.55
    """Share of carts that are bought."""
    returning: float = 0.35
    """Share of visits by a visitor who was here before."""
    late: float = 0.005
    """Share of events held up by 3 to 20 s on their way."""
    duplicates: float = 0.003
    malformed: float = 0.002
    campaigns: tuple[str, ...] = ("", "", "", "spring_sale", "newsletter")
    visitors: int = 20_000
    weights: dict[str, float] = field(default_factory=dict)


_ALL = (
    Scenario("steady", "An ordinary shop on an ordinary day", visits_per_second=10.35, rate=50),
    Scenario(
        "brisk", "A busy shop of quick decisions: short visits, for demos of a minute",
        visits_per_second=38.4, rate=200, dwell=3.0, cart=0.25, visitors=4_000,
    ),
)  # fmt: skip
SCENARIOS = {scenario.name: scenario for scenario in _ALL}


def scenario_named(name: str) -> Scenario:
    """A scenario.

    Raises:
        SettingsError: When there is none of that name.
    """
    if name not in SCENARIOS:
        raise SettingsError(
            f"scenario {name!r} is not known", hint=f"one of {', '.join(SCENARIOS)}"
        )
    return SCENARIOS[name]
