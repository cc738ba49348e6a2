"""The fault campaign: seeded schedules of one or two faults under load, and a ledger of what became of the answers.

Each fault is a small file in `tests/faults/`: what happens to which services, at which moment of a checkpoint, what heals it,
and how soon. A campaign has a lab of its own. A schedule is made from its seed alone, so that one that fails is played again
by `rtap bench run faults --schedules 1 --seed SEED`.

Moments: `any`; `during`, a checkpoint has begun and is not complete; `complete`, one was completed a moment ago, and its
transactions may not be committed yet.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import yaml

from rtap_lab.errors import NotRunningError, RowError, ServiceError, SettingsError
from rtap_lab.jobs.checkpoints import CheckpointFolder
from rtap_lab.jobs.model import Run, run_key
from rtap_lab.kafka.clients import is_temporary, read_range
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.queries.query import Query
from rtap_lab.queries.standard import JOB, standard_queries
from rtap_lab.settings import LIVE, Profile
from rtap_lab.stack.process import Identity, spawn
from rtap_lab.stack.supervisor import find_services, find_supervisor, marked, statuses_document
from rtap_lab.waiting import until

Moment = Literal["any", "during", "complete"]
Row = dict[str, Any]
Answer = TypeVar("Answer")

RATE = 80.0
"""Events a second while the faults happen."""

STEADY = ("sessions", "checkout_abandoned")
"""Queries that have new rows every few seconds under this traffic: recovery is told by them."""

PATIENCE_S = 180.0
"""Seconds after which a lab counts as not recovered."""

LOG_RENEWED = 25
"""Schedules after which the lab begins anew: each verification recomputes the whole log."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of the matrix, as its file says it."""

    name: str
    about: str
    row: int
    """Of the fault matrix in docs/reliability.md."""
    act: Literal["kill", "stop", "pause", "spoil", "roll", "command"]
    """SIGKILL; SIGSTOP for good; SIGSTOP for `seconds`, then SIGCONT; kill, the newest checkpoint cut off meanwhile; SIGTERM one
    after the other, each once the one before is back; a command of ours killed within `seconds`."""
    services: tuple[str, ...] = ()
    """By name; "*": every process of the lab, its supervisor too."""
    count: int | None = None
    """How many of the services, drawn by the seed; None: all."""
    commands: dict[str, float] = {}
    """Of act `command`: what is drawn from, and the seconds within which it is killed. "down && up": the last one is killed, those
    before end in peace."""
    profile: Profile = "core"
    """The stack that it is about: three brokers are `full`."""
    seconds: float = 0.0
    moments: tuple[Moment, ...] = ("any",)
    healing: Literal["itself", "up"] = "itself"
    told_by: Literal["rows", "status"] = "rows"
    """What tells the recovery: a new committed row, or, of what no row waits for, a status that is ok again."""
    recovery_s: float
    """The goal, p95: from the fault, or the end of a pause, until then."""

    def fits(self, profile: Profile) -> bool:
        """Whether it can happen to a stack of a profile: its processes, or all, are there."""
        one_broker = "kafka" in self.services
        return self.profile == profile or (profile == "full" and not one_broker)


def faults_folder() -> Path:
    """Where the faults are written down: in a checkout."""
    return Path(__file__).parents[2] / "tests" / "faults"


def load_faults(folder: Path | None = None, *, only: Sequence[str] | None = None) -> list[Fault]:
    """All faults, by the order of their names.

    Args:
        folder: Where they are; None: the checkout's.
        only: The names of those that are wanted.

    Raises:
        SettingsError: When there are none, a file is no fault, or a wanted one is not there.
    """
    found = {}
    for path in sorted((folder or faults_folder()).glob("*.yaml")):
        try:
            found[path.stem] = msgspec.convert({"name": path.stem, **yaml.safe_load(path.read_text())}, Fault)
        except (msgspec.ValidationError, yaml.YAMLError, TypeError) as error:
            raise SettingsError(f"{path} is no fault: {error}") from error
    if not found:
        raise SettingsError(f"there are no faults in {folder or faults_folder()}", hint="run it from a checkout")
    if unknown := set(only or ()) - set(found):
        raise SettingsError(f"faults {sorted(unknown)} are not known", hint=f"there are {', '.join(found)}")
    return [fault for name, fault in found.items() if only is None or name in only]


@dataclass(frozen=True)
class Step:
    """One fault of a schedule."""

    fault: Fault
    moment: Moment
    after_s: float
    """Seconds after the step before it."""
    services: tuple[str, ...] = ()
    command: str = ""
    killed_after_s: float = 0.0
    """When the command is killed, if it has not ended."""

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": self.fault.name, "after_s": self.after_s}
        if self.fault.count:
            shown["services"] = list(self.services)
        if self.command:
            shown |= {"command": self.command, "killed_after_s": self.killed_after_s}
        return shown


def schedule(seed: int, faults: Sequence[Fault], each: int | None = None) -> list[Step]:
    """The steps of a seed. Pure.

    Args:
        seed: What they are drawn by.
        faults: What is drawn from.
        each: How many steps; a fault may come again. None: two of three schedules have one fault, the others two different
            ones (if there are two to draw from).
    """
    dice = random.Random(seed)
    if each is not None:
        chosen = dice.choices(list(faults), k=each)
    else:
        chosen = dice.sample(list(faults), 1 if len(faults) < 2 or dice.random() < 2 / 3 else 2)
    return [_drawn(each, dice, 4.0 if n == 0 else 8.0) for n, each in enumerate(chosen)]


def _drawn(fault: Fault, dice: random.Random, within_s: float) -> Step:
    return Step(
        fault,
        dice.choice(fault.moments),
        round(dice.uniform(0.5, within_s), 2),
        tuple(sorted(dice.sample(fault.services, fault.count))) if fault.count else fault.services,
        command := dice.choice(sorted(fault.commands)) if fault.commands else "",
        round(dice.uniform(0.1, fault.commands[command]), 2) if command else 0.0,
    )


@dataclass
class Outcome:
    """What became of one schedule."""

    seed: int
    faults: list[dict[str, Any]]
    recovery_s: float | None = None
    """From the last fault, or the end of its pause, to what tells the recovery; None: not within `PATIENCE_S`."""
    healed_s: float | None = None
    """Until `rtap status` was ok again."""
    goal_s: float = 0.0
    new_rows: dict[str, int] = field(default_factory=dict)
    """Rows by query that were committed since the schedule began: rows, not offsets."""
    rows: int = 0
    """Rows that the verification compared, of topics, store and hub."""
    missing: int = 0
    repeated: int = 0
    wrong: int = 0
    """Wrong rows and rows too many."""
    late: int = 0
    client_rows: int = 0
    client_faults: list[str] = field(default_factory=list)
    """Where what the live client received is no gap-free piece of the topic."""
    problems: list[str] = field(default_factory=list)
    note: str = ""
    played_s: float = 0.0
    """How long the schedule took, its verification too."""
    verified_s: float = 0.0
    """How long its verification took."""

    @property
    def exact(self) -> bool:
        damage = self.missing or self.repeated or self.wrong or self.client_faults or self.problems
        compared = self.rows > 0 and self.client_rows > 0
        return not damage and compared and self.recovery_s is not None and self.healed_s is not None

    @property
    def in_time(self) -> bool:
        return self.recovery_s is not None and self.recovery_s <= self.goal_s

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"exact": self.exact, "in_time": self.in_time}


class Client(threading.Thread):
    """A live client of all queries: what it was shown, in pieces that each begin with a snapshot."""

    def __init__(self, lab: Lab, names: Iterable[str]) -> None:
        super().__init__(name="client", daemon=True)
        self.lab = lab
        self.names = list(names)
        self.stop = threading.Event()
        self.pieces: dict[str, list[list[Row]]] = {name: [] for name in self.names}
        self.begun: dict[str, list[float]] = {name: [] for name in self.names}
        """When each piece began, seconds since the epoch."""
        self.error = ""

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                for message in self.lab.watch(*self.names, stop=self.stop):
                    pieces = self.pieces[message["channel"]]
                    if message["type"] == "snapshot":
                        pieces.append(list(message["rows"]))
                        self.begun[message["channel"]].append(message["client_ms"] / 1000)
                    else:
                        pieces[-1].extend(message["rows"])
            except NotRunningError:  # the whole lab is away: it comes back
                self.stop.wait(0.2)
            except Exception as error:
                self.error = f"{type(error).__name__}: {error}"
                return


def out_of_step(piece: Sequence[Row], rows: Sequence[Row]) -> str:
    """Why what a client was shown is no gap-free piece of a topic's rows; empty when it is. Pure."""
    if not piece:
        return ""
    begins = [n for n, row in enumerate(rows) if row == piece[0]]
    if any(list(rows[n : n + len(piece)]) == list(piece) for n in begins):
        return ""
    if not begins:
        return f"its first row is none of the topic's: {piece[0]}"
    wanted = rows[begins[0] :]
    at = next((n for n, (a, b) in enumerate(zip(piece, wanted, strict=False)) if a != b), min(len(piece), len(wanted)))
    return f"row {at} of {len(piece)} is {piece[at] if at < len(piece) else None}, the topic has {wanted[at : at + 1]}"


class Campaign:
    """Schedules on a lab of its own.

    Args:
        folder: The lab's state folder; emptied now and then.
        faults: What may happen; those of another profile do not.
        say: Told what happens, in a line.
        profile: One broker (`core`) or three (`full`).
        each: How many faults a schedule has; None: one or two.
        evidence: Where the logs of a lab whose schedule was not exact are kept, by seed; None: nowhere.

    Raises:
        SettingsError: When no fault is left.
    """

    def __init__(
        self,
        folder: Path,
        faults: Sequence[Fault],
        say: Callable[[str], None] = print,
        *,
        profile: Profile = "core",
        each: int | None = None,
        evidence: Path | None = None,
    ) -> None:
        self.folder = folder
        self.evidence = evidence
        self.profile = profile
        self.each = each
        self.faults = [fault for fault in faults if fault.fits(profile)]
        if not self.faults:
            raise SettingsError(f"none of these faults is about profile {profile}")
        self.say = say
        self.lab = Lab(folder)

    def run(self, seeds: Sequence[int], keep: Callable[[Outcome], None] = lambda outcome: None) -> list[Outcome]:
        """Play the schedules of these seeds; each outcome is given to `keep` as soon as it is there."""
        outcomes = []
        try:
            for number, seed in enumerate(seeds):
                if number % LOG_RENEWED == 0:
                    self._renew()
                outcome = self.play(seed)
                outcomes.append(outcome)
                keep(outcome)
                self.say(_line(outcome))
                if not outcome.exact:
                    self._keep_logs(str(seed))
                    self._renew()  # what it left must not colour the next
        except Exception:
            self._keep_logs("broken-off")
            raise
        finally:
            self.lab.reset()
        return outcomes

    def _keep_logs(self, name: str) -> None:
        """Copy the lab's logs to where they outlive it; a campaign does not end because that fails."""
        if self.evidence is None:
            return
        try:
            shutil.copytree(self.lab.state.logs, self.evidence / name, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            self.say(f"the logs were not kept: {error}")

    def _renew(self) -> None:
        self.lab.reset()
        self.lab = Lab.up(self.folder, profile=self.profile, gap="10s", within="15s", timeout=PATIENCE_S * 2)

    @property
    def live(self) -> Run:
        return self.lab.runs()[run_key(JOB, LIVE)]

    def play(self, seed: int) -> Outcome:
        """Play one schedule: traffic, faults, recovery, verification."""
        started = time.monotonic()
        steps = schedule(seed, self.faults, self.each)
        outcome = Outcome(seed, [], goal_s=max(step.fault.recovery_s for step in steps))
        began = self._ends()
        before = self.live
        client, stop, errors = (
            Client(self.lab, [query.name for query in standard_queries()]),
            threading.Event(),
            list[str](),
        )

        def send() -> None:
            try:
                self.lab.simulate(rate=RATE, seconds=600, seed=seed, stop=stop)
            except Exception as error:  # it is a fault of ours, and is told
                errors.append(f"the simulator ended: {error}")

        shop = threading.Thread(target=send, name="shop")
        client.start()
        shop.start()
        try:
            self._await_rows(self._ends(), time.monotonic())  # under load, answers move
            since = time.monotonic()
            for step in steps:
                time.sleep(step.after_s)  # the schedule's own time
                moment, since = self.harm(step)
                outcome.faults.append(step.as_json() | {"moment": moment})
            ends = self._ends_now()
            outcome.recovery_s = self._await_rows(ends, since)
            outcome.healed_s = self._await_ok(since)
            if outcome.healed_s is None:
                outcome.problems.append(f"the status is not ok: {self._status_words()}")
            if all(step.fault.told_by == "status" for step in steps):
                outcome.recovery_s = outcome.healed_s
        except Exception as error:
            outcome.problems.append(f"{type(error).__name__}: {error}")
        finally:
            stop.set()
            shop.join(60)
        outcome.problems += errors + self._orphans()
        judged = time.monotonic()
        try:
            self._judge(outcome, client, before, began)
        except Exception as error:
            outcome.problems.append(f"not verified: {type(error).__name__}: {error}")
        finally:
            client.stop.set()
            client.join(10)
        outcome.verified_s = round(time.monotonic() - judged, 1)
        outcome.played_s = round(time.monotonic() - started, 1)
        return outcome

    # --- the faults ------------------------------------------------------------------------------

    def victims(self, step: Step) -> list[Identity]:
        """The processes that a fault is about: this lab's own, by their identity."""
        living = find_services(self.folder)
        if "*" in step.services:
            supervisor = find_supervisor(self.lab.state)
            return [*([supervisor] if supervisor else []), *living.values()]
        return [living[name] for name in step.services if name in living]

    def harm(self, step: Step) -> tuple[str, float]:
        """Do it: the moment that it was, and when it was over (`time.monotonic`)."""
        fault = step.fault
        moment = await_moment(step.moment, self.folder / "flink" / "runs" / JOB / LIVE / self.live.run)
        victims = self.victims(step)
        if fault.act == "command":
            moment = "killed" if self._break_off(step) else "ended before"
        if fault.act == "roll":
            for name in step.services:
                ended = self._awaited(name)
                ended.signal(signal.SIGTERM)
                self._await_replaced(name, ended)
        if fault.act in ("stop", "pause", "spoil"):
            for each in victims:
                each.signal(signal.SIGSTOP)
        if fault.act == "pause":
            time.sleep(fault.seconds)  # the fault itself
            for each in victims:
                each.signal(signal.SIGCONT)
        if fault.act == "spoil":
            kept = CheckpointFolder(self.folder / "flink" / "runs").candidates(self.live)
            newest = Path(kept[0].removeprefix("file:")) / "_metadata"
            newest.write_bytes(newest.read_bytes()[:400])
        if fault.act in ("kill", "spoil"):
            for each in victims:
                each.signal(signal.SIGKILL)
        over = time.monotonic()
        if fault.healing == "up":
            for each in victims:
                each.wait(10)
            # a command that was killed may have changed the parameters
            self.lab = Lab.up(self.folder, timeout=PATIENCE_S, gap="10s", within="15s")
        return moment, over

    def _break_off(self, step: Step) -> bool:
        """Run the commands of a step; the last one is killed. False when it had ended before."""
        *before, last = step.command.split("&&")
        for words in before:
            if not self._start(words).wait(PATIENCE_S):
                raise ServiceError(f"`rtap {words.strip()}` did not end in {PATIENCE_S:.0f} s")
        broken = self._start(last)
        time.sleep(step.killed_after_s)  # the schedule's own time
        killed = broken.signal(signal.SIGKILL)
        broken.wait(10)
        return killed

    def _start(self, words: str) -> Identity:
        command = [sys.executable, "-m", "rtap_lab.cli", *words.split()]
        log = self.folder.with_name("commands.log")
        return spawn(command, log=log, cwd=self.folder.parent, environment={"RTAP_STATE": str(self.folder)})

    def _awaited(self, name: str) -> Identity:
        """A service's process; one that is being restarted is waited for."""
        gone = ServiceError(f"{name} is not there", service=name)
        found = until(lambda: find_services(self.folder).get(name), PATIENCE_S, lambda: gone, every=0.2)
        assert found is not None
        return found

    def _await_replaced(self, name: str, ended: Identity) -> None:
        def replaced() -> bool:
            now = find_services(self.folder).get(name)
            return now not in (None, ended) and bool(self.lab.status()["ok"])

        until(replaced, PATIENCE_S, lambda: ServiceError(f"{name} is not back", service=name), every=0.2)

    def _orphans(self) -> list[str]:
        """Processes of this lab that its supervisor does not know, for longer than a restart takes."""

        def strangers() -> list[str]:
            running = marked(self.folder)
            listed = {name: each.pid for name, each in statuses_document(self.lab.state).read().items()}
            return [f"an orphan: {name}, process {each.pid}" for name, each in running if each.pid != listed.get(name)]

        until(lambda: not strangers(), 10, every=0.5)
        return strangers()

    # --- what became of it -----------------------------------------------------------------------

    def _ends(self) -> dict[str, int]:
        topics = self.live.topics
        ends = Topics(self.lab.endpoints.kafka).ends([topics[name] for name in topics], committed=True)
        return {topic: end for (topic, _), end in ends.items()}

    def _ends_now(self) -> dict[str, int]:
        """The same, asked for until the broker is there again."""
        return patiently(self._ends, PATIENCE_S)

    def _rows(self, query: Query, begin: int) -> list[Row]:
        """The committed rows of a result topic from an offset on; markers of transactions are none."""
        topics, topic = Topics(self.lab.endpoints.kafka), self.live.topics[query.name]
        found = []
        for record in read_range(self.lab.endpoints.kafka, {(topic, 0): begin}, topics.ends([topic], committed=True)):
            try:
                found.append(query.schema.read(record.value()))
            except RowError:  # the verification counts it
                continue
        return found

    def _await_rows(self, ends: dict[str, int], since: float) -> float | None:
        """Seconds from `since` until a steady query has a row beyond these ends; None: not in time."""
        queries = [query for query in self.live.queries if query.name in STEADY]

        def new() -> bool:
            try:
                return any(self._rows(query, ends.get(self.live.topics[query.name], 0)) for query in queries)
            except Exception as error:
                if not is_temporary(error):
                    raise
                return False

        left = PATIENCE_S - (time.monotonic() - since)
        return round(time.monotonic() - since, 2) if until(new, max(left, 1), every=0.1) else None

    def _await_ok(self, since: float) -> float | None:
        left = PATIENCE_S - (time.monotonic() - since)
        ok = until(lambda: self.lab.status()["ok"], max(left, 1), every=0.2)
        return round(time.monotonic() - since, 2) if ok else None

    def _status_words(self) -> str:
        """What the status says is the matter."""
        found = self.lab.status()
        waiting = [f"{each['name']} is {each['state']}" for each in found["services"] if each["state"] != "ready"]
        jobs = [f"job {each['name']} is {each['state']}" for each in found["jobs"] if each["state"] != "RUNNING"]
        return "; ".join([*found["problems"], *waiting, *jobs]) or "nothing any more"

    def _judge(self, outcome: Outcome, client: Client, before: Run, began: dict[str, int]) -> None:
        report = self.lab.verify(full=True)
        for each in report.compared:
            outcome.rows += each.rows
            outcome.missing += each.missing
            outcome.repeated += each.repeated
            outcome.wrong += each.wrong + each.extra
        outcome.late = report.ledger["late"]
        outcome.problems += report.problems
        if report.differs:
            outcome.problems += [line for run in report.runs for line in run.notes[1:]][:10]
        now = self.live
        outcome.note = now.note if now.note != before.note else ""
        client.stop.set()
        client.join(10)
        if client.error:
            outcome.client_faults.append(client.error)
        for query in now.queries:
            rows = self._rows(query, now.results_from[now.topics[query.name]])
            outcome.new_rows[query.name] = len(self._rows(query, began.get(now.topics[query.name], 0)))
            for piece, begun in zip(client.pieces[query.name], client.begun[query.name], strict=True):
                if now.run != before.run and begun < now.started:
                    continue  # of the run before: its rows are gone, and this run's are the same in another order
                outcome.client_rows += len(piece)
                why = out_of_step(piece, rows)
                if why:
                    outcome.client_faults.append(f"{query.name}: {why}")


def patiently(ask: Callable[[], Answer], seconds: float) -> Answer:
    """An answer, asked for again while what is in the way may pass by itself."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except Exception as error:
            if not is_temporary(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def await_moment(moment: Moment, run: Path, *, seconds: float = 5.0) -> str:
    """Wait for a moment of a checkpoint, as the run's folder shows it; "any" when it does not come."""

    def checkpoints() -> dict[Path, bool]:
        return {path: (path / "_metadata").exists() for path in run.glob("*/chk-*")}

    if moment == "any":
        return "any"
    before = checkpoints()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path, complete in checkpoints().items():
            if complete == (moment == "complete") and before.get(path) != complete:
                return moment
        time.sleep(0.001)
    return "any"


def _line(outcome: Outcome) -> str:
    what = " + ".join(f"{each['name']} ({each['moment']})" for each in outcome.faults)
    verdict = "exact" if outcome.exact else f"NOT EXACT: {(outcome.problems + outcome.client_faults)[:2]}"
    seconds = f"{outcome.recovery_s:.1f} s" if outcome.recovery_s is not None else "never"
    return (
        f"seed {outcome.seed}: {what or 'no fault'}: new rows after {seconds}, {outcome.rows} rows compared, {verdict}"
    )


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of a campaign. Pure."""
    alone: dict[str, list[float]] = {}
    for each in outcomes:
        if len(each.faults) == 1 and each.recovery_s is not None:
            alone.setdefault(each.faults[0]["name"], []).append(each.recovery_s)
    return {
        "schedules": len(outcomes),
        "faults": sum(len(each.faults) for each in outcomes),
        "seconds": round(sum(each.played_s for each in outcomes)),
        "seconds_verifying": round(sum(each.verified_s for each in outcomes)),
        "exact": sum(each.exact for each in outcomes),
        "in_time": sum(each.in_time for each in outcomes),
        "lost": sum(each.missing for each in outcomes),
        "doubled": sum(each.repeated for each in outcomes),
        "wrong": sum(each.wrong for each in outcomes),
        "client_faults": sum(len(each.client_faults) for each in outcomes),
        "rows_compared": sum(each.rows for each in outcomes),
        "client_rows": sum(each.client_rows for each in outcomes),
        "recovery_s": {
            name: {"n": len(times), "p50": _quantile(times, 0.5), "p95": _quantile(times, 0.95), "max": max(times)}
            for name, times in sorted(alone.items())
        },
    }


def _quantile(values: Sequence[float], share: float) -> float:
    """The nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 100 * len(ordered)) // 100) - 1))]
