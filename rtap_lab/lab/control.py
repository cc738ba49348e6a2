"""What the dashboard shows of its lab and may do with it: the plugin of `panel serve` that the dashboard's service names."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from rtap_lab.dashboards.control import routes
from rtap_lab.errors import RtapLabError, SettingsError
from rtap_lab.jobs.model import Runs, run_key
from rtap_lab.lab.facade import Lab
from rtap_lab.lab.scenarios import list_scenarios
from rtap_lab.queries.catalogue import PACKAGED_JOBS
from rtap_lab.queries.query import Query
from rtap_lab.queries.standard import JOB
from rtap_lab.services.auditor import counts_document
from rtap_lab.settings import LIVE
from rtap_lab.verification.verdicts import verdicts_document

log = logging.getLogger("rtap")

VERIFIED_EVERY_S = 60.0
"""Seconds between two verifications of a dashboard that keeps verifying."""


class LabControl:
    """One lab, as `dashboards.control` takes it.

    What takes long goes on in a thread, one of a name at a time; how it ended is among the facts.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.acts: dict[str, Callable[..., Any]] = {
            "verify": self.verify,
            "keep_verifying": self.keep_verifying,
            "simulate": self.simulate,
            "simulator_rate": self.set_rate,
            "simulator_inject": self.inject,
            "simulator_stop": self.stop_simulator,
            "job_run": self.run_job,
            "job_stop": self.stop_job,
            "job_savepoint": self.savepoint,
        }
        self._working: dict[str, threading.Thread] = {}
        self._ended: dict[str, tuple[float, str]] = {}
        """When and how what took long ended last, by name: no words when well."""
        self._stop_simulator = threading.Event()
        self._stop_verifying = threading.Event()

    # --- what is shown ---------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Services, jobs, the simulator, the newest verdicts, and what is at work."""
        status = self.lab.status()
        runs = self.lab.runs()
        verdicts = verdicts_document(self.lab.state).read()
        verdicts = {key: each for key, each in verdicts.items() if key in runs and runs[key].run == each.run}
        try:
            simulator: dict[str, Any] | None = self.lab.simulator.status()
        except RtapLabError:  # none runs
            simulator = None
        running = {job["name"] for job in status["jobs"] if job["source"] == "live"}
        newest = max((each.at for each in verdicts.values()), default=0.0)
        if self._ended.get("verify", (newest,))[0] < newest:
            del self._ended["verify"]  # a newer verdict says how it is
        return {
            "ok": status["ok"],
            "problems": status["problems"] + status["notices"],
            "services": status["services"],
            "jobs": status["jobs"],
            "not_running": [name for name in PACKAGED_JOBS if name not in running],
            "simulator": simulator,
            "scenarios": list_scenarios(),
            "verdicts": {key: msgspec.to_builtins(verdict) for key, verdict in verdicts.items()},
            "left_out": self._left_out(runs),
            "working": sorted(name for name, thread in self._working.items() if thread.is_alive()),
            "ended": {name: words for name, (_, words) in self._ended.items()},
            "at": time.time(),
        }

    def queries(self) -> list[Query]:
        """The queries of one's own that run on the live source; none while the lab cannot tell."""
        try:
            runs = self.lab.runs().values()
        except RtapLabError:  # the page is shown all the same
            return []
        own = [run for run in runs if run.source == LIVE and run.job not in (JOB, *PACKAGED_JOBS)]
        return [query for run in own if run.desired == "running" for query in run.queries]

    def _left_out(self, runs: Runs) -> dict[str, int]:
        """How many live records were rejected or late, by reason, as the auditor counted them."""
        counts = counts_document(self.lab.state).read()
        found: dict[str, int] = {}
        for key in (LIVE, *(run.run for run in runs.values() if run.key == run_key(JOB, LIVE))):
            found |= {name: n for name, n in counts.get(key, {}).items() if ": " in name}
        return found

    # --- what may be done ------------------------------------------------------------------------

    def verify(self) -> str:
        """Recompute every answer of the live source."""
        return self._begin("verify", self._prove)

    def _prove(self) -> str:
        report = self.lab.verify()
        return "" if report.exact else f"{report.words}: `rtap verify` says why"

    def keep_verifying(self, on: bool) -> str:
        """Verify the live source every minute, each time from where the time before ended; or no longer.

        A stack that is away, or a job that stands still, is said, and looked at again a minute later.
        """
        if not on:
            self._stop_verifying.set()
            return "stopped"
        self._stop_verifying.clear()
        before = self._working.get("keep verifying")
        if before is not None and before.is_alive():  # it goes on
            return "begun"

        def keep() -> str:
            while not self._stop_verifying.is_set():
                try:
                    words = self._prove()
                except RtapLabError as error:
                    words = str(error).splitlines()[0]
                self._ended["verify"] = (time.time(), words)
                self._stop_verifying.wait(VERIFIED_EVERY_S)
            return ""

        return self._begin("keep verifying", keep)

    def simulate(self, scenario: str = "brisk", rate: float | None = None) -> str:
        """Begin to simulate visitors; they end with the dashboard's process."""
        if scenario not in list_scenarios():  # a file of the machine is not for a page to name
            raise SettingsError(f"scenario {scenario!r} is not known", hint=f"one of {', '.join(list_scenarios())}")
        pace = None if rate is None else float(rate)
        self._stop_simulator.clear()

        def play() -> str:
            seed = int(time.time())
            self.lab.simulate(scenario, rate=pace, stop=self._stop_simulator, seed=seed, on_note=lambda words: None)
            return ""

        return self._begin("simulate", play)

    def set_rate(self, rate: float) -> str:
        """Another rate for the simulator that runs, messages a second."""
        self.lab.simulator.rate(float(rate))
        return f"{float(rate):g} a second"

    def inject(self, kind: str, seconds: float = 120) -> str:
        """Let something happen at the simulated site: an outage, a surge, bots."""
        self.lab.simulator.inject(kind, seconds=float(seconds))
        return f"{kind} for {float(seconds):g} s"

    def stop_simulator(self) -> str:
        """End the simulator that runs, whoever began it."""
        self._stop_simulator.set()
        self.lab.simulator.stop()
        return "stopped"

    def run_job(self, name: str) -> str:
        """Run a job on the live source, or go on with it."""
        return self._begin(f"run {name}", lambda: self.lab.run_job(name, on_note=lambda words: None).error)

    def stop_job(self, name: str) -> str:
        """Stop a job with a savepoint; it goes on from there when it is run again."""
        return self._begin(f"stop {name}", lambda: self.lab.stop_job(name).error)

    def savepoint(self, name: str) -> str:
        """Take a savepoint of a job."""

        def take() -> str:
            self.lab.savepoint(name)
            return ""

        return self._begin(f"savepoint {name}", take)

    def _begin(self, name: str, act: Callable[[], str]) -> str:
        """Do it in a thread; what it returns says what was not well."""
        before = self._working.get(name)
        if before is not None and before.is_alive():
            raise SettingsError(f"{name} is at work already")
        self._ended.pop(name, None)

        def work() -> None:
            try:
                words = act()
            except (RtapLabError, OSError) as error:
                words = str(error).splitlines()[0]
            except Exception as error:  # a fault of ours, or a client's own error: who asked is to see it
                log.exception("%s", name)
                words = f"{type(error).__name__}: {error}".splitlines()[0]
            self._ended[name] = (time.time(), words)

        self._working[name] = threading.Thread(target=work, name=name, daemon=True)
        self._working[name].start()
        return "begun"


ROUTES = routes(LabControl(Lab()))
"""As `panel serve --plugins` takes them: the lab is that of `RTAP_STATE`."""
