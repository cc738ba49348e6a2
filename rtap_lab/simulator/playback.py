"""One run of the simulator: which message is due when, through changes of pace, scenario and pauses.

Everything that happened is in its `manifest`, from which `truth` makes the same messages again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from rtap_lab.simulator.draws import Ints
from rtap_lab.simulator.encoding import Encoder
from rtap_lab.simulator.parsing import parse_scenario
from rtap_lab.simulator.scenario import Change, Scenario
from rtap_lab.simulator.trace import Trace
from rtap_lab.simulator.visits import Columns

NS = 1_000_000
"""Nanoseconds of a millisecond."""


@dataclass
class Segment:
    """From one moment of the scenario on, time passes so fast."""

    from_ms: int
    """Of the scenario."""
    due_ns: int
    """When that is, since the run's beginning."""
    pace_ns: int
    """How long a millisecond of the scenario lasts."""
    shift_ms: int = 0
    """How far the machine's clock was set since the run's beginning."""


@dataclass
class Act:
    """A scenario of the run, and what was done to it."""

    scenario: Scenario
    prefix: str
    """What the event_ids begin with."""
    segments: list[Segment]
    injected: list[Change] = field(default_factory=list)
    sent: int = 0
    """Messages of it that were sent."""
    until_ms: int = 0
    """How far it was played."""


@dataclass
class Batch:
    """Messages with their times."""

    messages: Columns
    due_ns: Ints
    """When each is to be sent, since the run's beginning."""
    event_ms: Ints
    """What each says when it happened, milliseconds since the epoch."""
    moment_ms: Ints
    """When it really happened."""
    zero_ms: int
    """The time of the run's beginning on the clock that these were made by."""
    act: Act
    encoder: Encoder

    def __len__(self) -> int:
        return len(self.due_ns)

    def values(self) -> pa.Array:
        """The bytes of each message."""
        return self.encoder.encode(self.messages, self.event_ms)

    def first(self, count: int) -> Batch:
        """Its first messages."""
        cut = {name: column[:count] for name, column in self.messages.items()}
        return Batch(
            cut,
            self.due_ns[:count],
            self.event_ms[:count],
            self.moment_ms[:count],
            self.zero_ms,
            self.act,
            self.encoder,
        )


class Playback:
    """A scenario being played.

    Args:
        scenario: What to play first.
        seed: Fixes every choice.
        run: Goes into every event_id.
        rate: About how many messages a second; the scenario's own pace when left out.
        zero_ms: The time of the run's beginning, milliseconds since the epoch.
    """

    def __init__(
        self, scenario: Scenario, seed: int, *, run: str = "", rate: float | None = None, zero_ms: int = 0
    ) -> None:
        self.seed, self.run, self.zero_ms = seed, run, zero_ms
        self.acts: list[Act] = []
        self.rate = rate
        self.play(scenario, 0)

    def play(self, scenario: Scenario, due_ns: int) -> None:
        """Begin a scenario, at a time since the run's beginning; what the last one had under way is dropped."""
        number = len(self.acts)
        prefix = f"{self.run}{f'.{number}' if number else ''}"
        self.trace = Trace(scenario, self.seed)
        self.encoder = Encoder(self.trace, prefix)
        shift_ms = self.acts[-1].segments[-1].shift_ms if self.acts else 0
        self.acts.append(Act(scenario, prefix, [Segment(0, due_ns, self._pace(scenario, self.rate), shift_ms)]))

    @staticmethod
    def _pace(scenario: Scenario, rate: float | None) -> int:
        return max(1, round(NS * scenario.rate / rate)) if rate else NS

    @property
    def act(self) -> Act:
        """What is played now."""
        return self.acts[-1]

    @property
    def due_ns(self) -> int:
        """When the next block begins, since the run's beginning."""
        now = self.act.segments[-1]
        return now.due_ns + (self.trace.passed_ms - now.from_ms) * now.pace_ns

    def at_pace(self, rate: float | None, due_ns: int) -> None:
        """Go on from a time since the run's beginning (after a pause), at a rate."""
        self.rate = rate
        pace = self._pace(self.act.scenario, rate)
        self._go_on(max(due_ns, self.due_ns), pace, self.act.segments[-1].shift_ms)

    def clock_moved(self, by_ms: int) -> None:
        """The machine's clock was set: what is sent from now on says the new time."""
        now = self.act.segments[-1]
        self._go_on(self.due_ns, now.pace_ns, now.shift_ms + by_ms)

    def _go_on(self, due_ns: int, pace: int, shift_ms: int) -> None:
        segment = Segment(self.trace.passed_ms, due_ns, pace, shift_ms)
        if self.act.segments[-1].from_ms == segment.from_ms:
            self.act.segments.pop()
        self.act.segments.append(segment)

    def inject(self, change: Change) -> Change:
        """Let something happen from now on; its times count from now."""
        moved = self.trace.inject(change)
        self.act.injected.append(moved)
        return moved

    def block(self, *, wall_ns: int | None = None, span_ms: int | None = None) -> Batch:
        """The messages of the next piece of time, of the clock's or of the scenario's."""
        segment = self.act.segments[-1]
        span = span_ms or max(1, (wall_ns or 250 * NS) // segment.pace_ns)
        messages = self.trace.until(self.trace.passed_ms + span)
        self.act.until_ms = self.trace.passed_ms
        return timed(messages, segment, self.zero_ms, self.act, self.encoder)

    def manifest(self, *, ended: bool) -> dict[str, Any]:
        """All that is needed to make the run's messages again."""
        acts = [
            {
                "scenario": act.scenario.text,
                "prefix": act.prefix,
                "sent": act.sent,
                "until_ms": act.until_ms,
                "segments": [vars(s) for s in act.segments],
                "injected": [c.as_json() for c in act.injected],
            }
            for act in self.acts
        ]
        return {"version": 1, "seed": self.seed, "run": self.run, "zero_ms": self.zero_ms, "ended": ended, "acts": acts}


def timed(messages: Columns, segment: Segment, zero_ms: int, act: Act, encoder: Encoder) -> Batch:
    """Messages of one segment, with their times on the clock."""
    due = segment.due_ns + (messages["send"] - segment.from_ms) * segment.pace_ns
    event = due - (messages["send"] - messages["event"]) * segment.pace_ns
    moment = due - (messages["send"] - messages["moment"]) * segment.pace_ns
    zero_ms += segment.shift_ms
    return Batch(messages, due, zero_ms + event // NS, zero_ms + moment // NS, zero_ms, act, encoder)


def replayed(manifest: dict[str, Any], block_ms: int | None = None) -> Iterator[Batch]:
    """Yield the batches of a run again, all that was sent, from its manifest."""
    for facts in manifest["acts"]:
        scenario = parse_scenario(facts["scenario"], "manifest")
        injected = [Change.from_json(c) for c in facts["injected"]]
        trace = Trace(scenario.with_changes(*injected), manifest["seed"])
        encoder = Encoder(trace, facts["prefix"])
        segments = [Segment(**s) for s in facts["segments"]]
        act = Act(scenario, facts["prefix"], segments, injected, facts["sent"], facts["until_ms"])
        left = facts["sent"]
        step = block_ms or max(1000, int(40_000 / scenario.rate * 1000))
        for number, segment in enumerate(segments):
            end = segments[number + 1].from_ms if number + 1 < len(segments) else facts["until_ms"]
            while trace.passed_ms < end and left > 0:
                messages = trace.until(min(end, trace.passed_ms + step))
                batch = timed(messages, segment, manifest["zero_ms"], act, encoder).first(left)
                left -= len(batch)
                yield batch


def written(run: Playback, *, events: int | None = None, seconds: float | None = None) -> Iterator[Batch]:
    """Yield a run's batches without waiting, until so many messages, or seconds of the scenario."""
    act = run.act
    step = max(1000, int(40_000 / act.scenario.rate * 1000))
    while (events is None or act.sent < events) and (seconds is None or act.until_ms < seconds * 1000):
        span = step if seconds is None else min(step, round(seconds * 1000) - act.until_ms)
        batch = run.block(span_ms=max(1, span))
        if events is not None:
            batch = batch.first(events - act.sent)
        act.sent += len(batch)
        yield batch
