"""Random disordered streams and random queries, from a seed: the cases of the agreement with Flink.

Times lie on a coarse grid, names are few and many fields are missing, because it is at ties, at the
edges of windows and at NULL that two engines disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from rtap_lab.errors import SettingsError
from rtap_lab.queries import aggregates as agg
from rtap_lab.queries.aggregates import Aggregate
from rtap_lab.queries.conditions import Condition, earlier, field, properties
from rtap_lab.queries.patterns import Measure, Pattern
from rtap_lab.queries.query import Definition, PatternQuery, WindowQuery
from rtap_lab.queries.windows import CumulateWindow, HopWindow, SessionWindow, TumbleWindow, Window

START_MS = 1_767_261_600_000
"""2026-01-01T10:00:00Z."""

_PAGES = ("/", "/a", "/b", "/é", "/z'z", "/a/100%_b\\!c", "/a\n/")
_PIECES = ("/", "/a", "a", "'", "é", "%", "_", "\\", "!c", "/a/1", "z'z", "\n")
_NAMES = ("a", "b", "c")
_PROPERTIES = ("plan", "Größe 'x'", 'a"b`c\\')
_KEYS = ("page", "name", "device", "visitor_id", "country", properties["plan"].name, properties[_PROPERTIES[1]].name)


@dataclass(frozen=True)
class Stream:
    """Events in the order of their arrival."""

    events: list[dict[str, Any]]
    """`event_time` in milliseconds since the epoch; some ids are there twice."""
    bound_ms: int
    """A bound that makes some of them late."""


class Case(msgspec.Struct, frozen=True):
    """A case that was written down, for good."""

    bound_ms: int
    query: Definition
    events: list[dict[str, Any]]

    @property
    def stream(self) -> Stream:
        return Stream(self.events, self.bound_ms)


def stream(seed: int, size: int = 300) -> Stream:
    """A random stream.

    Args:
        seed: Fixes it.
        size: Events, copies not counted.
    """
    random = Random(f"stream/{seed}")
    grid, span = random.choice([(1, 20_000), (250, 60_000), (1000, 120_000), (1000, 600_000)])
    disorder = random.choice([0, 2_000, 15_000])
    sent: list[tuple[float, dict[str, Any]]] = []
    for number in range(size):
        at = random.randrange(0, span, grid)
        kind = random.choice(["page_view", "page_view", "custom", "conversion", "session_start"])
        event: dict[str, Any] = {
            "event_id": f"{random.randrange(16):x}{number:04d}",
            "event_type": kind,
            "event_time": START_MS + at,
            "visitor_id": f"v{random.randrange(4)}",
        }
        if kind in ("custom", "conversion") or random.random() < 0.5:
            event["name"] = random.choice(_NAMES)
        if random.random() < 0.8:
            event["page"] = random.choice(_PAGES)
        if random.random() < 0.5:
            event["device"] = random.choice(["mobile", "desktop"])
        if random.random() < 0.7:
            event["country"] = random.choice(["DE", "FR"])
        if random.random() < 0.7:
            event["value"] = random.choice([0, 1, 2.5, 10, -3.25, 0.1])
        if random.random() < 0.6:
            event["properties"] = {
                key: random.choice(["", "pro", "/a"]) for key in _PROPERTIES if random.random() < 0.6
            }
        delay = random.uniform(0, disorder)
        sent.append((at + delay, event))
        if random.random() < 0.04:
            sent.append((at + delay + random.uniform(0, 5_000), event))
    sent.sort(key=lambda each: each[0])
    return Stream([event for _, event in sent], max(1, int(disorder * 0.9)))


def query(seed: int) -> Definition:
    """A random query."""
    random = Random(f"query/{seed}")
    while True:
        try:
            return _pattern(random) if random.random() < 0.4 else _window(random)
        except SettingsError:  # an impossible one: the builder said so; another is drawn
            continue


def _duration(random: Random, low: int, high: int) -> int:
    return random.choice([1, 250, 1000]) * random.randint(low, high)


def _window(random: Random) -> WindowQuery:
    keys = random.sample(_KEYS, random.choice([0, 0, 1, 1, 2]))
    step = _duration(random, 2, 10)
    several = step * random.randint(1, 5)
    windows: list[Window] = [
        TumbleWindow(step),
        HopWindow(several, step),
        CumulateWindow(several, step),
        SessionWindow(step),
    ]
    window = random.choice(windows)
    measures = {f"m{n}": _aggregate(random) for n in range(random.randint(1, 3))}
    if isinstance(window, CumulateWindow | SessionWindow):
        measures = {n: a for n, a in measures.items() if a.function != "rate"} or {"n": agg.count()}
    where = _condition(random) if random.random() < 0.5 else None
    made = WindowQuery(window, measures, {f"k{n}": name for n, name in enumerate(keys)}, where)
    return made.top(random.randint(1, 3), random.choice(list(measures))) if random.random() < 0.3 else made


def _aggregate(random: Random) -> Aggregate:
    where = _condition(random) if random.random() < 0.3 else None
    text = random.choice(["page", "name", "device", "visitor_id", properties["plan"].name])
    made: list[Callable[[], Aggregate]] = [
        lambda: agg.count(where),
        lambda: agg.distinct(text, where),
        lambda: agg.total("value", where=where),
        lambda: agg.total("value", default=0, where=where),
        lambda: agg.smallest("value", where),
        lambda: agg.greatest(text, where),
        lambda: agg.mean("value", where),
        lambda: agg.first(text, where),
        lambda: agg.last(text, where),
        lambda: agg.percentile("value", random.choice([0.0, 0.5, 0.9, 1.0]), where),
        lambda: agg.rate(random.choice([1000, 60_000]), where),
        lambda: agg.count(where).equal_to(1),
        lambda: agg.smallest("event_time", where),
        lambda: agg.greatest("event_time", where),
    ]
    return random.choice(made)()


def _simple(random: Random) -> Condition:
    draws: list[Callable[[], Condition]] = [
        lambda: field("name") == random.choice(_NAMES),
        lambda: field("page") != random.choice(_PAGES),
        lambda: field("page") < "/b",
        lambda: field("page").starts_with(random.choice(_PIECES)),
        lambda: field("page").ends_with(random.choice(_PIECES)),
        lambda: field("page").contains(random.choice(_PIECES)),
        lambda: field("event_type") == random.choice(["page_view", "custom", "conversion"]),
        lambda: field("value") > random.choice([0, 1, 5]),
        lambda: field("value") <= 2.5,
        lambda: field("device").is_missing(),
        lambda: field("country").is_present(),
        lambda: field("name").is_in("a", "c"),
        lambda: field("event_time") >= START_MS + 5_000,
        lambda: properties[random.choice(_PROPERTIES)] == random.choice(["", "pro"]),
        lambda: properties["plan"].is_missing(),
        lambda: properties["plan"] <= field("page"),
    ]
    return random.choice(draws)()


def _condition(random: Random) -> Condition:
    shape = random.random()
    if shape < 0.5:
        return _simple(random)
    if shape < 0.7:
        return _simple(random) & _simple(random)
    return _simple(random) | _simple(random) if shape < 0.85 else ~_condition(random)


def _pattern(random: Random) -> PatternQuery:
    names = ["a", "b", "c", "d"][: random.randint(1, 4)]

    def times(last: bool) -> int | tuple[int, int | None]:
        if last or random.random() < 0.6:
            return random.choice([1, 1, 1, 2, 3])
        return random.choice([(1, None), (0, 1), (0, None), (1, 3), (2, None), (0, 2)])

    def condition(at: int) -> Condition:
        found = _condition(random)
        if at and random.random() < 0.3:
            before = random.choice(names[: at + 1])
            found = found & (field("value") >= earlier(before, "value"))
        return found

    pattern = Pattern.begin(names[0], condition(0), times=times(len(names) == 1))
    for at, name in enumerate(names[1:], 1):
        last = at == len(names) - 1
        if random.random() < 0.5:
            pattern = pattern.next(name, condition(at), times=times(last))
        else:
            unless = _condition(random) if random.random() < 0.4 else None
            pattern = pattern.followed_by(name, condition(at), unless=unless, times=times(last))
    pattern = pattern.within(_duration(random, 5, 40) / 1000)
    if random.random() < 0.3:
        pattern = pattern.then_not(_condition(random), _duration(random, 2, 20) / 1000)
    skip = random.random()
    if skip < 0.3:
        pattern = pattern.skip_to_next_row()
    elif skip < 0.4 and len(names) > 1:
        pattern = pattern.skip_to_first(names[-1])
    elif skip < 0.5 and len(names) > 1:
        pattern = pattern.skip_to_last(names[-1])
    measures = {
        "ended": Measure("last", names[-1]),
        "first_id": Measure("first", names[0], "event_id"),
        "last_id": Measure("last", names[-1], "event_id"),
    }
    for name in names:
        measures[f"n_{name}"] = Measure("count", name)
    measures["took"] = Measure("elapsed", names[0], until=names[-1])
    where = _condition(random) if random.random() < 0.3 else None
    return PatternQuery(pattern, measures, where=where)
