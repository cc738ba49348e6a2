"""What the visitors really did: the ground truth of a run, made again from its manifest.

It stands beside the events, never on their topic: nothing that answers questions can read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from rtap_lab.simulator.encoding import stream_name
from rtap_lab.simulator.playback import NS, Segment, replayed
from rtap_lab.simulator.scenario import FOREVER
from rtap_lab.simulator.site import says
from rtap_lab.simulator.trace import MALFORMED


class Happened(NamedTuple):
    """One message of a run: a real event, and what became of it on its way. Times: milliseconds since the epoch."""

    event_id: str
    event_type: str
    name: str | None
    page: str | None
    value: float | None
    visitor_id: str
    session_id: str
    moment_ms: int
    """When it really happened."""
    reported_ms: int
    """When the record says it happened: not the same if the device's clock was wrong."""
    sent_ms: int
    copy: bool
    """Sent a second time."""
    malformed: str | None
    """How the record was spoilt, as the reject reason that it earns."""
    bot: bool

    def fate(self, bound_ms: int) -> str:
        """What should become of it if it arrives when it is sent: malformed, duplicate, late or on time."""
        if self.malformed:
            return "malformed"
        if self.copy:
            return "duplicate"
        return "late" if self.reported_ms <= self.sent_ms - bound_ms else "on time"


@dataclass
class Visit:
    """One visit: a true session. Times: milliseconds since the epoch."""

    session_id: str
    visitor_id: str
    bot: bool
    begin_ms: int
    end_ms: int
    events: int = 0
    page_views: int = 0
    carts: int = 0
    purchases: int = 0

    @property
    def abandoned(self) -> bool:
        """Something was put into the cart and nothing bought."""
        return self.carts > 0 and self.purchases == 0


@dataclass(frozen=True)
class Anomaly:
    """Something that was made to happen. Times: milliseconds since the epoch."""

    kind: str
    from_ms: int
    to_ms: int | None
    size: float
    name: str


class Truth:
    """The ground truth of a run.

    Args:
        manifest: What `Playback.manifest` gave.
    """

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.manifest = manifest

    @property
    def ended(self) -> bool:
        """False when the run was killed: its last second may be missing here."""
        return bool(self.manifest["ended"])

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return sum(int(act["sent"]) for act in self.manifest["acts"])

    def messages(self) -> Iterator[Happened]:
        """Yield every message, in the order of their sending."""
        for batch in replayed(self.manifest):
            trace, cols = batch.encoder.trace, batch.messages
            nodes = trace.visitors.nodes
            prefix = f"{batch.act.prefix}-" if batch.act.prefix else ""
            for n, product, cents, visitor, stream, number, step, copy, bad, bot, due, event, moment in zip(
                cols["node"].tolist(),
                cols["product"].tolist(),
                cols["cents"].tolist(),
                cols["visitor"].tolist(),
                cols["stream"].tolist(),
                cols["number"].tolist(),
                cols["step"].tolist(),
                cols["copy"].tolist(),
                cols["bad"].tolist(),
                cols["bot"].tolist(),
                batch.due_ns.tolist(),
                batch.event_ms.tolist(),
                batch.moment_ms.tolist(),
                strict=True,
            ):
                kind, name, page = says(nodes, n, product)
                visit = f"{stream_name(stream)}{number}"
                yield Happened(
                    f"{prefix}{trace.seed}-{visit}-{step}",
                    kind,
                    name,
                    page,
                    cents / 100 if cents else None,
                    f"v{visitor:09d}",
                    visit,
                    moment,
                    event,
                    batch.zero_ms + due // NS,
                    copy > 0,
                    MALFORMED[bad - 1] if bad else None,
                    bot,
                )

    def visits(self) -> list[Visit]:
        """The true sessions, by their first event that was sent."""
        found: dict[tuple[str, str], Visit] = {}
        for each in self.messages():
            if each.copy:
                continue
            act = each.event_id.rsplit("-", 2)[0]
            visit = found.get((act, each.session_id))
            if visit is None:
                visit = found[act, each.session_id] = Visit(
                    each.session_id, each.visitor_id, each.bot, each.moment_ms, each.moment_ms
                )
            visit.begin_ms = min(visit.begin_ms, each.moment_ms)
            visit.end_ms = max(visit.end_ms, each.moment_ms)
            visit.events += 1
            visit.page_views += each.event_type == "page_view"
            visit.carts += each.name == "add_to_cart"
            visit.purchases += each.name == "purchase"
        return list(found.values())

    def funnel(self) -> dict[str, int]:
        """How many visits came how far: visits, product, cart, checkout, purchase."""
        reached: dict[str, set[str]] = {
            "visits": set(),
            "product": set(),
            "cart": set(),
            "checkout": set(),
            "purchase": set(),
        }
        for each in self.messages():
            visit = each.event_id.rsplit("-", 1)[0]
            reached["visits"].add(visit)
            if each.event_type == "page_view" and (each.page or "").startswith("/product/"):
                reached["product"].add(visit)
            elif each.event_type == "page_view" and each.page == "/checkout":
                reached["checkout"].add(visit)
            elif each.name == "add_to_cart":
                reached["cart"].add(visit)
            elif each.name == "purchase":
                reached["purchase"].add(visit)
        return {step: len(visits) for step, visits in reached.items()}

    def conversions(self) -> dict[str, tuple[int, float]]:
        """Of each goal, how often it was reached and what that was worth."""
        found: dict[str, tuple[int, float]] = {}
        for each in self.messages():
            if each.event_type == "conversion" and not each.copy:
                count, worth = found.get(str(each.name), (0, 0.0))
                found[str(each.name)] = count + 1, round(worth + (each.value or 0), 2)
        return found

    def anomalies(self) -> list[Anomaly]:
        """What was made to happen while the run lasted, the story's own and what was injected."""
        from rtap_lab.simulator.parsing import parse_scenario

        found = []
        for act in self.manifest["acts"]:
            segments = [Segment(**each) for each in act["segments"]]
            zero_ms = self.manifest["zero_ms"]

            def on_clock(scenario_ms: int, segments: list[Segment] = segments, zero_ms: int = zero_ms) -> int:
                of = [s for s in segments if s.from_ms <= scenario_ms] or segments[:1]
                return (
                    zero_ms + of[-1].shift_ms + (of[-1].due_ns + (scenario_ms - of[-1].from_ms) * of[-1].pace_ns) // NS
                )

            story = parse_scenario(act["scenario"], "manifest").changes
            injected = list(act["injected"])
            for facts in [*(c.as_json() for c in story), *injected]:
                begin, end = int(facts["from_ms"]), int(facts["to_ms"])
                if begin < act["until_ms"]:
                    ends = on_clock(end) if end < min(FOREVER, act["until_ms"]) else None
                    found.append(
                        Anomaly(str(facts["kind"]), on_clock(begin), ends, float(facts["size"]), str(facts["name"]))
                    )
        return found

    def fates(self, bound_ms: int) -> Counter[str]:
        """How many messages should have each fate."""
        return Counter(each.fate(bound_ms) for each in self.messages())
