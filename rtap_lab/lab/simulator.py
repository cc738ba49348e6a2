"""Running a simulator in a lab: its controls, which any process of the lab may use, and its ground truth.

Commands are lines appended to a file of the simulator that runs; it reads what is new before each block. The truth of
each run is a file of its own, beside the topic, never on it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import orjson

from rtap_lab.errors import NotRunningError, SettingsError
from rtap_lab.lab.context import Context
from rtap_lab.lab.scenarios import load_scenario
from rtap_lab.lab.traffic import Traffic
from rtap_lab.lab.truth import beside, truth_folder
from rtap_lab.settings import duration_ms
from rtap_lab.simulator.fed import Fed
from rtap_lab.simulator.parsing import parse_scenario, with_visitors
from rtap_lab.simulator.scenario import START_MS, Change, ChangeKind, Scenario
from rtap_lab.stack.disk import need_room, with_room
from rtap_lab.stack.process import Identity
from rtap_lab.stack.state import Document, State

if TYPE_CHECKING:
    from rtap_lab.simulator.playback import Playback

INJECTED = ("outage", "surge", "bots")
"""What can be injected while a simulator runs."""


def checked_rate(rate: float | None) -> float | None:
    """A rate that can be sent.

    Raises:
        SettingsError: When it cannot.
    """
    if rate is not None and not 0 < rate <= 1_000_000:
        raise SettingsError(f"--rate {rate:g}: must be above 0, and 1,000,000 at most")
    return rate


def change_of(kind: str, seconds: float, size: float | None) -> Change:
    """What is injected, beginning now.

    Raises:
        SettingsError: When there is no such thing.
    """

    if kind not in INJECTED:
        raise SettingsError(f"inject {kind!r} is not known", hint=f"one of {', '.join(INJECTED)}")
    if not 0 < seconds <= 86_400:
        raise SettingsError(f"--seconds {seconds:g}: must be above 0, and a day at most")
    if size is not None and not 0 < size <= 20_000:
        raise SettingsError(f"--size {size:g}: must be above 0 visits a second, and 20,000 at most")
    usual = {"surge": 30.0, "bots": 3.0}.get(kind, 1.0)
    return Change(cast("ChangeKind", kind), 0, round(seconds * 1000), size or usual)


class Playing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A simulator that runs, as it is kept on disk."""

    identity: Identity
    """Its process."""
    run: str
    scenario: str
    rate: float
    """Messages a second."""
    pace: float
    """How much faster than it is told the story passes."""
    visitors: float
    seed: int
    paused: bool
    sent: int
    scenario_seconds: float
    truth: str

    def as_json(self) -> dict[str, Any]:
        """What it is, as plain values."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        return {"pid": facts.pop("identity")["pid"], **facts}


Simulators = dict[str, Playing]


def simulators_document(state: State) -> Document[Simulators]:
    """The simulators of a lab by run; each changes its own entry."""
    return Document(state, "simulators", Simulators, dict)


def _commands(state: State, run: str) -> Path:
    return state.folder / "simulators" / f"{run}.commands"


class Controls:
    """The controls of the simulator that runs in a lab.

    Args:
        state: The lab's state folder.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def _playing(self) -> Playing:
        found = simulators_document(self._state).read() if self._state.exists else {}
        living = [each for each in found.values() if each.identity.alive()]
        if not living:
            raise NotRunningError(f"no simulator runs in {self._state.folder}", hint="start one: rtap simulate")
        return living[-1]

    def status(self) -> dict[str, Any]:
        """What the running simulator does.

        Raises:
            NotRunningError: When none runs.
        """
        return self._playing().as_json()

    def _command(self, **command: Any) -> None:
        with _commands(self._state, self._playing().run).open("ab") as file:
            file.write(orjson.dumps(command) + b"\n")

    def rate(self, rate: float) -> None:
        """Send about so many messages a second from now on; the story passes that much faster."""
        self._command(do="rate", rate=checked_rate(rate))

    def scenario(self, name: str) -> None:
        """Play another scenario from now on: a packaged one, or a YAML file."""
        self._command(do="scenario", text=load_scenario(name).text)

    def inject(self, kind: str, *, seconds: float | str = 60.0, size: float | None = None) -> None:
        """Let something happen now.

        Args:
            kind: "outage" (payments fail), "surge" (more visits) or "bots".
            seconds: How long, in the scenario's own time.
            size: Further visits a second of the scenario; 30 for a surge and 3 for bots when left out.
        """
        long = seconds if isinstance(seconds, (int, float)) else duration_ms(seconds) / 1000
        self._command(do="inject", change=change_of(kind, long, size).as_json())

    def pause(self) -> None:
        """Send nothing until `resume`."""
        self._command(do="pause")

    def resume(self) -> None:
        """Go on."""
        self._command(do="resume")

    def stop(self) -> None:
        """End the simulator."""
        self._command(do="stop")


class _Player:
    """A run in this process: applies commands, keeps the truth.

    Args:
        state: The lab's state folder.
        playback: What is played.
        stop: Sets off the end.

    Raises:
        SettingsError: When a simulator runs in this lab already.
    """

    def __init__(self, state: State, playback: Playback, stop: Callable[[], None]) -> None:
        self._state, self._playback, self._stop = state, playback, stop
        self._document = simulators_document(state)
        self._commands = _commands(state, playback.run)
        self._commands.parent.mkdir(exist_ok=True)
        self._read = 0
        self._paused = False
        self._truth = truth_folder(state) / f"{playback.run}.json"
        self._sent = 0
        me = Identity.of(os.getpid())
        assert me is not None
        self._me = me

        def entered(table: Simulators) -> Simulators:
            living = {run: each for run, each in table.items() if each.identity.alive()}
            for each in living.values():
                raise SettingsError(
                    f"a simulator runs in this lab already: {each.scenario} at {each.rate:g}/s (pid {each.identity.pid})",
                    hint="`rtap simulate set` changes it, `rtap simulate stop` ends it",
                )
            return {playback.run: self._facts()}

        self._document.change(entered)

    def _facts(self) -> Playing:
        act = self._playback.act
        rate = self._playback.rate or act.scenario.rate
        return Playing(
            identity=self._me,
            run=self._playback.run,
            scenario=act.scenario.name,
            rate=rate,
            pace=round(rate / act.scenario.rate, 3),
            visitors=act.scenario.visitors,
            seed=self._playback.seed,
            paused=self._paused,
            sent=self._sent,
            scenario_seconds=round(act.until_ms / 1000, 1),
            truth=str(self._truth),
        )

    def _note(self) -> None:
        self._document.change(lambda table: table | {self._playback.run: self._facts()})

    def control(self, playback: Playback, now_ns: int) -> bool:
        """Apply what was commanded since the last time; True while paused."""
        if self._commands.exists() and self._commands.stat().st_size > self._read:
            with self._commands.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.splitlines():
                self._apply(playback, orjson.loads(line))
            self._note()
        return self._paused

    def _apply(self, playback: Playback, command: dict[str, Any]) -> None:
        match command["do"]:
            case "rate":
                playback.at_pace(command["rate"], playback.due_ns)
            case "scenario":
                playback.play(parse_scenario(command["text"], "command"), playback.due_ns)
            case "inject":
                playback.inject(Change.from_json(command["change"]))
            case "stop":
                self._stop()
            case what:
                self._paused = what == "pause"

    def on_sent(self, fed: Fed) -> None:
        """Keep the truth of what was sent so far."""
        self._sent = fed.sent
        self._keep(ended=False)
        self._note()

    def _keep(self, *, ended: bool) -> None:
        self._truth.parent.mkdir(exist_ok=True)
        part = self._truth.with_suffix(".new")
        part.write_bytes(orjson.dumps(self._playback.manifest(ended=ended)))
        part.replace(self._truth)

    def end(self) -> None:
        """The run is over."""
        try:
            self._keep(ended=True)
        finally:  # a full disk must not leave an entry that refuses the next simulator
            self._document.change(lambda table: {run: each for run, each in table.items() if run != self._playback.run})
            self._commands.unlink(missing_ok=True)


def chosen_scenario(scenario: str, visitors: float | None) -> Scenario:
    """A scenario by its name, with so many times its visitors.

    Raises:
        SettingsError: When there is none, or the factor cannot be.
    """
    website = load_scenario(scenario)
    return website if visitors is None else with_visitors(website, visitors)


def pace_words(website: Scenario, rate: float | None) -> str:
    """How fast a scenario's story passes at a rate, and when what happens in it is due, in words."""
    pace = rate / website.rate if rate else 1.0
    words = f"{website.rate * pace:g} messages a second"
    if abs(pace - 1) > 0.005:
        words += f", {pace:.2g}x story time (--visitors {pace:.2g} would scale the visitors and leave time alone)"
    due = [f"{c.kind} at +{c.from_ms / 1000 / pace:.0f} s" for c in website.changes if c.from_ms > 0]
    return ", ".join([words, *due])


def simulate(
    context: Context,
    scenario: str,
    *,
    rate: float | None,
    visitors: float | None,
    seed: int,
    seconds: float | None,
    events: int | None,
    stop: threading.Event | None,
    progress: Callable[[int], None],
    on_note: Callable[[str], None],
) -> Fed:
    """Let a simulated website send events onto the live topic; see `Lab.simulate`."""
    from rtap_lab.kafka.feeder import feed  # these need numpy and pyarrow, which nothing else of a lab does
    from rtap_lab.simulator.playback import Playback

    stop = stop or threading.Event()
    need_room(context.state.folder)
    playback = Playback(chosen_scenario(scenario, visitors), seed, run=run_id(), rate=checked_rate(rate))
    kafka = context.endpoints.kafka
    website = playback.act.scenario
    if rate is not None and abs(rate / website.rate - 1) > 0.005:
        on_note(f"scenario {website.name}: {pace_words(website, rate)}")
    player = _Player(context.state, playback, stop.set)
    try:
        return feed(
            kafka,
            playback,
            seconds=seconds,
            events=events,
            stop=stop,
            progress=with_room(context.state.folder, progress),
            schema_id=context.schema_id,
            control=player.control,
            on_sent=player.on_sent,
            on_note=on_note,
        )
    finally:
        player.end()


def start_simulator(
    context: Context, scenario: str, *, rate: float | None, visitors: float | None, seed: int, seconds: float | None
) -> Traffic:
    """Let a simulated website send in the background; see `Lab.start_simulator`."""
    # What the thread needs is imported here: two threads that import pandas at once see it half made.
    import rtap_lab.kafka.feeder
    import rtap_lab.simulator.playback  # noqa: F401

    try:
        other = Controls(context.state).status()
    except NotRunningError:
        website = chosen_scenario(scenario, visitors)
        checked_rate(rate)
        context.endpoints  # noqa: B018  (says so when nothing is up)

        def send(stop: threading.Event) -> Fed:
            return simulate(
                context,
                scenario,
                rate=rate,
                visitors=visitors,
                seed=seed,
                seconds=seconds,
                events=None,
                stop=stop,
                progress=lambda sent: None,
                on_note=lambda words: None,
            )

        return Traffic(f"{website.name} sends in the background, {pace_words(website, rate)}", send)
    return Traffic(
        f"a simulator sends already and is left as it is: {other['scenario']}, {other['rate']:g} messages a second",
        None,
    )


def write_file(
    out: Path,
    file: Any,
    website: Scenario,
    seed: int,
    *,
    seconds: float | None,
    events: int | None,
    progress: Callable[[int], None],
) -> int:
    """Write a scenario's messages as JSON Lines from its fixed start, and what really happened beside them.

    Args:
        out: The file's path; "-" has no truth beside it.
        file: Where the lines go: open, binary.
        website: The scenario.
        seed: Fixes every choice.
        seconds: Of the scenario; its length when neither is given.
        events: Messages.
        progress: Called with the number of messages so far.

    Returns:
        How many messages there are.

    Raises:
        OSError: When it cannot be written.
    """
    from rtap_lab.simulator.playback import Playback, written

    if seconds is None and events is None:
        seconds = website.lasts
    playback, count = Playback(website, seed, zero_ms=START_MS), 0
    for batch in written(playback, events=events, seconds=seconds):
        file.writelines(line + b"\n" for line in batch.values().to_pylist())
        count += len(batch)
        progress(count)
    file.flush()
    if str(out) != "-":
        beside(out).write_bytes(orjson.dumps(playback.manifest(ended=True)))
    return count


def run_id() -> str:
    """A name for a run, new each millisecond."""
    return f"{time.time_ns() // 1_000_000:x}"
