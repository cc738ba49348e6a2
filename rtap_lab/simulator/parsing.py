"""Scenarios from YAML: every mistake is one error that names the file, the line and what would be right."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NoReturn

import yaml

from rtap_lab.errors import SettingsError
from rtap_lab.events.limits import MAX_TEXT
from rtap_lab.simulator.scenario import FOREVER, KINDS, Change, Disorder, Scenario
from rtap_lab.simulator.site import LEAVE, SHOP, nodes_of

_NEEDED = {
    "outage": (),
    "surge": ("visits_per_second",),
    "bots": ("visits_per_second",),
    "campaign": ("visits_per_second", "name"),
    "broken": ("share",),
    "field": ("name", "value"),
}


def parse_scenario(text: str, where: str) -> Scenario:
    """A scenario of a YAML text.

    Args:
        text: The YAML.
        where: Its name in errors.

    Raises:
        SettingsError: With the line.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{where}{line}: this is not YAML: {getattr(error, 'problem', None) or error}") from error
    if root is None:
        raise SettingsError(
            f"{where}: the file is empty", hint="a scenario needs name, story, rate and visits_per_second"
        )
    scenario = _scenario(_At(root, where, ""))
    return replace(scenario, text=text)


def with_visitors(scenario: Scenario, factor: float) -> Scenario:
    """The scenario with so many times its visitors; story time stays as it is.

    Args:
        scenario: As it was parsed.
        factor: 0.001 to 1000.

    Raises:
        SettingsError: When the factor is out of its range, or the site would have too many visitors.
    """
    text = re.sub(r"(?m)^visitors:.*\n?", "", scenario.text)
    return parse_scenario(f"visitors: {factor * scenario.visitors!r}\n{text}", scenario.name)


class _At:
    """A place in the YAML, with readers for what may stand there."""

    def __init__(self, node: Any, file: str, path: str) -> None:
        self.node, self.file, self.path = node, file, path

    def fail(self, words: str) -> NoReturn:
        what = f"{self.path} " if self.path else ""
        raise SettingsError(
            f"{self.file}, line {self.node.start_mark.line + 1}: {what}{words}",
            hint="docs/scenarios.md lists every setting",
        )

    @property
    def value(self) -> Any:
        return yaml.SafeLoader("").construct_object(self.node, deep=True)

    def under(self, allowed: Iterable[str] | None = None, needed: Iterable[str] = ()) -> dict[str, _At]:
        """The entries of a mapping."""
        if not isinstance(self.node, yaml.MappingNode):
            self.fail("must be a mapping (name: value)")
        found: dict[str, _At] = {}
        for key, value in self.node.value:
            name = str(key.value)
            at = _At(value, self.file, f"{self.path}.{name}" if self.path else name)
            if allowed is not None and name not in allowed:
                near = difflib.get_close_matches(name, list(allowed), 1)
                known = f"{near[0]}?" if near else f"known are {', '.join(allowed)}"
                _At(key, self.file, at.path).fail(f"is not known; {known}")
            if name in found:
                _At(key, self.file, at.path).fail("is there twice")
            _At(key, self.file, self.path).short(name)
            found[name] = at
        for name in needed:
            if name not in found:
                self.fail(f"{name} is missing")
        return found

    def items(self) -> list[_At]:
        if not isinstance(self.node, yaml.SequenceNode):
            self.fail("must be a list")
        return [_At(each, self.file, f"{self.path}[{n}]") for n, each in enumerate(self.node.value)]

    def text(self) -> str:
        value = self.value
        if not isinstance(value, str) or not value:
            self.fail(f"is {value!r}; it must be a text")
        self.short(value)
        return value

    def short(self, text: str) -> None:
        """Refuse a text that no event can hold."""
        if len(text) > MAX_TEXT:
            self.fail(f"is a text of {len(text):,} characters; an event holds {MAX_TEXT:,}")

    def number(self, least: float, most: float, what: str = "a number") -> float:
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            self.fail(f"is {value!r}; it must be {what} from {least:g} to {most:g}")
        return float(value)

    def share(self) -> float:
        return self.number(0, 1, "a share")

    def seconds(self, least: float = 0, most: float = 10**8) -> float:
        return self.number(least, most, "seconds")

    def weights(self) -> dict[str, float]:
        found = {name: at.number(0, 10**6, "a weight") for name, at in self.under().items()}
        if not sum(found.values()):
            self.fail("needs a weight above 0")
        if len(found) > 200:
            self.fail("has more than 200 entries")
        return found

    def pair(self, read: Callable[[_At], float]) -> tuple[float, float]:
        both = self.items()
        if len(both) != 2:
            self.fail("must be two numbers, [from, to]")
        low, high = (read(each) for each in both)
        if low > high:
            self.fail(f"is [{low:g}, {high:g}]; the first must not be above the second")
        return low, high


def _scenario(at: _At) -> Scenario:
    base = Scenario("", "", 1, 1)
    top = at.under(
        (
            "name",
            "story",
            "rate",
            "visits_per_second",
            "curve",
            "period",
            "dwell",
            "bounce",
            "returning",
            "devices",
            "countries",
            "campaigns",
            "referrers",
            "landings",
            "landings_by_campaign",
            "landings_by_referrer",
            "site",
            "disorder",
            "changes",
            "lasts",
            "visitors",
        ),
        ("name", "story", "rate", "visits_per_second"),
    )
    facts: dict[str, Any] = {
        "name": top["name"].text(),
        "story": top["story"].text(),
        "rate": top["rate"].number(0.01, 10**6, "messages a second"),
        "visits_per_second": top["visits_per_second"].number(0.001, 20_000, "visits a second"),
    }
    for name in ("period", "dwell", "lasts"):
        if name in top:
            facts[name] = top[name].seconds(0.1, 10**6)
    for name in ("bounce", "returning"):
        if name in top:
            facts[name] = top[name].share()
    for name in ("devices", "countries", "campaigns", "referrers"):
        if name in top:
            facts[name] = top[name].weights()
    devices = facts.get("devices", base.devices)
    if "curve" in top:
        points = [each.items() for each in top["curve"].items()]
        for point, each in zip(points, top["curve"].items(), strict=True):
            if len(point) != 2:
                each.fail("must be two numbers, [seconds, factor]")
        curve = tuple((s.seconds(), f.number(0, 1000, "a factor")) for s, f in points)
        if not curve or any(a[0] >= b[0] for a, b in itertools.pairwise(curve)):
            top["curve"].fail("needs points of growing seconds")
        facts["curve"] = curve
    facts["site"] = site = _site(top["site"]) if "site" in top else SHOP
    pages = set(nodes_of(site))

    def landings(each: _At) -> dict[str, float]:
        found = each.weights()
        for name in found:
            if name not in pages or not name.startswith("/"):
                each.fail(f"names the page {name!r}, which the site does not have")
        return found

    if "landings" in top:
        facts["landings"] = landings(top["landings"])
    for name in ("landings_by_campaign", "landings_by_referrer"):
        if name in top:
            facts[name] = {of: landings(each) for of, each in top[name].under().items()}
    if "landings" in top:  # said once for all, it holds for every referrer
        facts.setdefault("landings_by_referrer", {})
    if "disorder" in top:
        facts["disorder"] = _disorder(top["disorder"], devices)
    if "changes" in top:
        facts["changes"] = tuple(_change(each, devices, pages) for each in top["changes"].items())
    scenario = Scenario(**facts)
    return scenario.scaled(top["visitors"].number(0.001, 1000, "a factor")) if "visitors" in top else scenario


def _site(at: _At) -> dict[str, Any]:
    """The shop's links, those that are given in place of its own."""
    given = {name: each.weights() for name, each in at.under().items()}
    site = dict(SHOP) | given
    for name, each in at.under().items():
        for linked in [name, *given[name]]:
            kind, _, goal = linked.partition(":")
            if linked != LEAVE and not linked.startswith("/") and not (kind in ("custom", "conversion") and goal):
                each.fail(f"names {linked!r}; a node is a page (/…), custom:NAME, conversion:NAME or {LEAVE}")
            if linked != LEAVE and linked not in site:
                each.fail(f"links to {linked!r}, which has no links of its own")
    if len(nodes_of(site)) > 200:
        at.fail("has more than 200 nodes")
    return site


def _disorder(at: _At, devices: dict[str, float]) -> Disorder:
    top = at.under(("delay", "late", "late_between", "duplicates", "malformed", "skew", "idle_partition"))
    facts: dict[str, Any] = {}

    def each_device(under: _At) -> dict[str, _At]:
        return under.under([*devices, "*"])

    if "delay" in top:
        facts["delay_ms"] = {n: round(a.seconds(0, 3600) * 1000) for n, a in each_device(top["delay"]).items()}
    if "late" in top:
        facts["late"] = {n: a.share() for n, a in each_device(top["late"]).items()}
    if "late_between" in top:
        low, high = top["late_between"].pair(lambda a: a.seconds(0, 86_400))
        facts["late_ms"] = (round(low * 1000), round(high * 1000))
    for name in ("duplicates", "malformed"):
        if name in top:
            facts[name] = top[name].share()
    if "skew" in top:
        pairs = {n: a.pair(lambda x: x.seconds(-86_400, 86_400)) for n, a in top["skew"].under(list(devices)).items()}
        facts["skew_ms"] = {n: (round(low * 1000), round(high * 1000)) for n, (low, high) in pairs.items()}
    if "idle_partition" in top:
        number = top["idle_partition"].number(0, 11, "a partition")
        if number != int(number):
            top["idle_partition"].fail(f"is {number:g}; it must be a whole number")
        facts["idle_partition"] = int(number)
    return Disorder(**facts)


def _change(at: _At, devices: dict[str, float], pages: set[str]) -> Change:
    entry = at.under(KINDS)
    if len(entry) != 1:
        at.fail(f"must be one of {', '.join(KINDS)}")
    kind, inner = next(iter(entry.items()))
    rest = {*_NEEDED[kind], "from", "to"} | {"broken": {"devices"}, "campaign": {"landing"}}.get(kind, set())
    top = inner.under(sorted(rest), ("from", *_NEEDED[kind]))
    begin = round(top["from"].seconds() * 1000)
    end = round(top["to"].seconds() * 1000) if "to" in top else FOREVER
    if end <= begin:
        top["to"].fail(f"is {end / 1000:g}; it must be after from ({begin / 1000:g})")
    size = 1.0
    if "visits_per_second" in top:
        size = top["visits_per_second"].number(0.001, 20_000, "visits a second")
    if "share" in top:
        size = top["share"].share()
    page = ""
    if "landing" in top:
        page = top["landing"].text()
        if page not in pages or not page.startswith("/"):
            top["landing"].fail(f"is {page!r}, which is no page of the site")
    if "value" in top:
        page = top["value"].text()
    chosen: tuple[str, ...] = ()
    if "devices" in top:
        chosen = tuple(each.text() for each in top["devices"].items())
        for name in chosen:
            if name not in devices:
                top["devices"].fail(f"names {name!r}; there are {', '.join(devices)}")
    name = top["name"].text() if "name" in top else ""
    return Change(kind, begin, end, size, name, page, chosen)  # type: ignore[arg-type]
