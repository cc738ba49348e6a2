"""Running a simulator in a lab: its controls, which any process of the lab may use, and its ground truth.

Commands are lines appended to one file in the state folder; the running simulator reads what is new
before each block. The truth of each run is a file of its own, beside the topic, never on it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson

from rtap_lab.errors import NotRunningError, SettingsError, SourceError
from rtap_lab.settings import duration_ms
from rtap_lab.stack.state import State

if TYPE_CHECKING:
    from rtap_lab.kafka.feeder import Fed
    from rtap_lab.simulator.run import Run
    from rtap_lab.simulator.scenario import Change, ChangeKind
    from rtap_lab.simulator.truth import Truth

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
    from rtap_lab.simulator.scenario import Change

    if kind not in INJECTED:
        raise SettingsError(f"inject {kind!r} is not known", hint=f"one of {', '.join(INJECTED)}")
    if not 0 < seconds <= 86_400:
        raise SettingsError(f"--seconds {seconds:g}: must be above 0, and a day at most")
    if size is not None and not 0 < size <= 20_000:
        raise SettingsError(f"--size {size:g}: must be above 0 visits a second, and 20,000 at most")
    usual = {"surge": 30.0, "bots": 3.0}.get(kind, 1.0)
    return Change(cast("ChangeKind", kind), 0, round(seconds * 1000), size or usual)


class Controls:
    """The controls of the simulator that runs in a lab.

    Args:
        state: The lab's state folder.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def _file(self) -> Path:
        return self._state.folder / "simulator.commands"

    def status(self) -> dict[str, Any]:
        """What the running simulator does.

        Raises:
            NotRunningError: When none runs.
        """
        facts = (self._state.read("simulator") or {}) if self._state.exists else {}
        if not facts or not _alive(facts["pid"]):
            raise NotRunningError(f"no simulator runs in {self._state.folder}", hint="start one: rtap simulate")
        return dict(facts)

    def _tell(self, **command: Any) -> None:
        run = self.status()["run"]
        with self._file.open("ab") as file:
            file.write(orjson.dumps({"run": run, **command}) + b"\n")

    def rate(self, rate: float) -> None:
        """Send about so many messages a second from now on."""
        self._tell(do="rate", rate=checked_rate(rate))

    def scenario(self, name: str) -> None:
        """Play another scenario from now on: a packaged one, or a YAML file."""
        from rtap_lab.simulator.reading import scenario_named

        self._tell(do="scenario", text=scenario_named(name).text)

    def inject(self, kind: str, *, seconds: float | str = 60.0, size: float | None = None) -> None:
        """Let something happen now.

        Args:
            kind: "outage" (payments fail), "surge" (more visits) or "bots".
            seconds: How long, in the scenario's own time.
            size: Further visits a second of the scenario; 30 for a surge and 3 for bots when left out.
        """
        long = seconds if isinstance(seconds, (int, float)) else duration_ms(seconds) / 1000
        self._tell(do="inject", change=change_of(kind, long, size).as_json())

    def pause(self) -> None:
        """Send nothing until `resume`."""
        self._tell(do="pause")

    def resume(self) -> None:
        """Go on."""
        self._tell(do="resume")

    def stop(self) -> None:
        """End the simulator."""
        self._tell(do="stop")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Playing:
    """A run in this process: applies commands, keeps the truth.

    Args:
        state: The lab's state folder.
        run: What is played.
        stop: Sets off the end.
    """

    def __init__(self, state: State, run: Run, stop: Callable[[], None]) -> None:
        self._state, self._run, self._stop = state, run, stop
        self._commands = state.folder / "simulator.commands"
        self._read = self._commands.stat().st_size if self._commands.exists() else 0
        self._paused = False
        self._truth = truth_folder(state) / f"{run.run}.json"
        self._sent = 0
        self._note()

    def _note(self) -> None:
        act = self._run.act
        self._state.write(
            "simulator",
            {
                "pid": os.getpid(),
                "run": self._run.run,
                "scenario": act.scenario.name,
                "rate": self._run.rate or act.scenario.rate,
                "seed": self._run.seed,
                "paused": self._paused,
                "sent": self._sent,
                "scenario_seconds": round(act.until_ms / 1000, 1),
                "truth": str(self._truth),
            },
        )

    def control(self, run: Run, now_ns: int) -> bool:
        """Apply what was commanded since the last time; True while paused."""
        from rtap_lab.simulator.reading import scenario_of
        from rtap_lab.simulator.scenario import Change

        if self._commands.exists() and self._commands.stat().st_size > self._read:
            with self._commands.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.splitlines():
                command = orjson.loads(line)
                if command["run"] != run.run:
                    continue
                if command["do"] == "rate":
                    run.at_pace(command["rate"], run.due_ns)
                elif command["do"] == "scenario":
                    run.play(scenario_of(command["text"], "command"), run.due_ns)
                elif command["do"] == "inject":
                    run.inject(Change.from_json(command["change"]))
                elif command["do"] == "stop":
                    self._stop()
                else:
                    self._paused = command["do"] == "pause"
            self._note()
        return self._paused

    def told(self, fed: Fed) -> None:
        """Keep the truth of what was sent so far."""
        self._sent = fed.sent
        self._keep(ended=False)
        self._note()

    def _keep(self, *, ended: bool) -> None:
        self._truth.parent.mkdir(exist_ok=True)
        beside = self._truth.with_suffix(".new")
        beside.write_bytes(orjson.dumps(self._run.manifest(ended=ended)))
        beside.replace(self._truth)

    def end(self) -> None:
        """The run is over."""
        self._keep(ended=True)
        if (self._state.read("simulator") or {}).get("run") == self._run.run:
            self._state.write("simulator", {})


def truth_folder(state: State) -> Path:
    """Where the truth of a lab's runs is."""
    return state.folder / "truth"


def beside(path: str | Path) -> Path:
    """Where the truth of a file that `rtap simulate --out` wrote is."""
    return Path(f"{path}.truth.json")


def truth_files(state: State, source: str = "live") -> list[Path]:
    """The files of the truth of a source, the earliest first."""
    found = sorted(truth_folder(state).glob("*.json"))
    return [p for p in found if (p.name.rpartition("@")[0] or "live") == source]


def keep_truths(state: State, paths: list[str], source: str) -> None:
    """Keep the truth that stands beside imported files."""
    for path in paths:
        if path != "-" and beside(path).exists():
            read_truth(beside(path))
            content = beside(path).read_bytes()
            truth_folder(state).mkdir(exist_ok=True)
            digest = hashlib.sha256(content).hexdigest()[:16]
            (truth_folder(state) / f"{source}@{digest}.json").write_bytes(content)


def read_truth(path: Path) -> Truth:
    """The truth in a file.

    Raises:
        SourceError: When there is none.
    """
    from rtap_lab.simulator.truth import Truth

    try:
        manifest = orjson.loads(path.read_bytes())
        if manifest["version"] != 1:
            raise KeyError("version")
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is not the ground truth of a simulator's run: {error}") from error
    return Truth(manifest)


def run_id() -> str:
    """A name for a run, new each millisecond."""
    return f"{time.time_ns() // 1_000_000:x}"
