"""A scenario and a seed become messages in the order of their sending, some delayed, doubled or spoilt.

The same scenario, seed and changes give the same messages, however the time is cut into blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rtap_lab.simulator.draws import Ints, bits, draws, threshold, waits
from rtap_lab.simulator.scenario import Change, Scenario
from rtap_lab.simulator.site import PAYMENT_FAILED, PURCHASE
from rtap_lab.simulator.visits import BEFORE_S, Columns, Visitors

MALFORMED = ("parse", "missing", "type", "event_type", "time", "future")
"""How a spoilt record is spoilt, by its reject reason; 0 in the column `bad` is none, n is number n - 1."""

_EVERY_DAY, _TRACKER = 4, 5
"""Purposes of draws for the way of an event (0 to 3 are the visits')."""


class Trace:
    """The messages of a scenario, as far as they have been asked for.

    Args:
        scenario: The website.
        seed: Fixes every choice.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.visitors = Visitors(scenario, seed)
        self.changes = list(scenario.changes)
        self.passed_ms = 0
        """Messages up to here have been given."""
        self._arrived_s = -BEFORE_S
        self._waiting: Columns | None = None

    def inject(self, change: Change) -> Change:
        """Let something happen from the next whole second on that has not arrived yet.

        Args:
            change: Its times are counted from that moment; they are moved.

        Returns:
            The change with the scenario's times.
        """
        begin = max(self._arrived_s * 1000, self.passed_ms)
        moved = Change(
            change.kind,
            begin + change.from_ms,
            begin + change.to_ms,
            change.size,
            change.name,
            change.page,
            change.devices,
        )
        self.changes.append(moved)
        self.visitors.add(moved)
        return moved

    def until(self, end_ms: int) -> Columns:
        """The messages to be sent from the last call's end until `end_ms`, in order.

        Returns:
            Columns: send, event, moment (ms of the scenario: intended send time, reported event time, and when
            it really happened), stream, number (the visit), step, copy, node, product, cents, visitor, bot,
            campaign, referrer, device, country, bad, field.
        """
        until_s = -(-end_ms // 1000)
        parts = [self._waiting] if self._waiting is not None else []
        if until_s > self._arrived_s:
            visits = self.visitors.arriving(self._arrived_s, until_s)
            self._arrived_s = until_s
            if len(visits["number"]):
                parts.append(self._sent(visits))
        if not parts:
            parts = [self._sent(self.visitors.arriving(0, 0))]
        joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        due = joined["send"] < end_ms
        self._waiting = {name: column[~due] for name, column in joined.items()}
        due &= joined["send"] >= 0  # what came before the beginning is not told
        found = {name: column[due] for name, column in joined.items()}
        order = np.lexsort((found["copy"], found["step"], found["number"], found["stream"], found["send"]))
        self.passed_ms = max(self.passed_ms, end_ms)
        return self._changed({name: column[order] for name, column in found.items()})

    def _sent(self, visits: Columns) -> Columns:
        """The messages of some visits, on their way."""
        disorder, devices = self.scenario.disorder, self.visitors.devices
        events = self.visitors.events(visits)
        row = events.pop("row")
        of = {
            n: visits[n][row]
            for n in ("stream", "number", "visitor", "bot", "campaign", "referrer", "device", "country")
        }
        moment = events["moment"]
        word = draws(visits["key"][row], events["step"], _EVERY_DAY)

        def by_device(table: dict[str, int], other: int) -> Ints:
            return np.array([table.get(d, table.get("*", other)) for d in devices], dtype=np.int64)

        delay = waits(word, 0, by_device(disorder.delay_ms, 30)[of["device"]])
        shares = {device: threshold(share) for device, share in disorder.late.items()}
        late = bits(word, 10, 16) < by_device(shares, threshold(0.005))[of["device"]]
        least, most = disorder.late_ms
        again = draws(visits["key"][row], events["step"], _TRACKER)
        delay = np.where(late, least + (bits(again, 0, 16) * (most - least) >> 16), delay)
        skew = np.zeros(len(moment), dtype=np.int64)
        for device, (low, high) in disorder.skew_ms.items():
            wrong = of["device"] == devices.index(device)
            clock = bits(draws(self.visitors.key, of["visitor"], 6), 0, 16)
            skew = np.where(wrong, low + (clock * (high - low) >> 16), skew)
        spoilt = bits(word, 42, 16) < threshold(disorder.malformed)
        sent: Columns = (
            events
            | of
            | {
                "send": moment + delay,
                "event": moment + skew,
                "copy": np.zeros(len(moment), dtype=np.int64),
                "bad": np.where(spoilt, 1 + bits(again, 16, 16) % len(MALFORMED), 0),
                "tracker": bits(again, 32, 16),
            }
        )
        twice = bits(word, 26, 16) < threshold(disorder.duplicates)
        copies = {name: column[twice] for name, column in sent.items()}
        copies["send"] = copies["send"] + 5 + (bits(again, 48, 13)[twice])
        copies["copy"] = copies["copy"] + 1
        return {name: np.concatenate([sent[name], copies[name]]) for name in sent}

    def _changed(self, messages: Columns) -> Columns:
        """What the changes make of messages: a matter of each message alone."""
        nodes = self.visitors.nodes
        moment = messages["moment"]
        messages["field"] = np.zeros(len(moment), dtype=np.int64)
        for number, change in enumerate(self.changes):
            during = (moment >= change.from_ms) & (moment < change.to_ms)
            if change.kind == "outage":
                failed = during & (messages["node"] == nodes.index(PURCHASE))
                messages["node"] = np.where(failed, nodes.index(PAYMENT_FAILED), messages["node"])
                messages["cents"] = np.where(failed, 0, messages["cents"])
            elif change.kind == "broken":
                of = [self.visitors.devices.index(d) for d in change.devices]
                hit = during & (np.isin(messages["device"], of) if of else True)
                hit &= messages["tracker"] < threshold(change.size)
                kind = 1 + messages["tracker"] % len(MALFORMED)
                messages["bad"] = np.where(hit, kind, messages["bad"])
            elif change.kind == "field":
                messages["field"] = np.where(during, number + 1, messages["field"])
        return messages


def blocks(trace: Trace, size: int = 40_000) -> Iterator[Columns]:
    """Yield a trace's messages in blocks of about so many, for ever."""
    step_ms = max(1_000, int(size / max(trace.scenario.rate, 0.01) * 1000))
    while True:
        yield trace.until(trace.passed_ms + step_ms)
