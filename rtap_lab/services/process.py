"""A service of our own as a process: its declaration, the stop signal, the beat, and trying again when a peer is away."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import msgspec

from rtap_lab.jobs.documents import runs_document
from rtap_lab.jobs.model import Runs
from rtap_lab.kafka.clients import is_temporary
from rtap_lab.services.site import Site
from rtap_lab.stack.service import Retrying, Service
from rtap_lab.stack.state import Document, State
from rtap_lab.store.writer import Feed
from rtap_lab.waiting import backoff

log = logging.getLogger("rtap")

PATIENCE = 10
"""How often a service of ours may be found without a step: one may take long (a store that is tidied up)."""

BEAT_S = 1.0


class Beat(msgspec.Struct, frozen=True):
    """What a service says of itself."""

    pid: int
    steps: int = 0
    """How often it did what it repeats."""
    trouble: str = ""
    """What made its last step fail, if it will be tried again."""
    failure: str = ""
    """Why it ended for good."""


def beat_document(state: State, name: str) -> Document[Beat | None]:
    """A service's beat; it is its only writer."""
    return Document(state, f"beats/{name}", Beat | None, lambda: None)  # type: ignore[arg-type]


def own_service(
    site: Site,
    name: str,
    *,
    depends: tuple[str, ...],
    answers: Callable[[], str | None] | None = None,
    port: int | None = None,
    link: str | None = None,
) -> Service:
    """Declare a service whose main is in the module of its name.

    Args:
        site: The lab.
        name: The service's; `NAME-2` and so on are further processes of one module.
        depends: What must be ready first.
        answers: Asks it, beside what its beat says.
        port: Where it listens.
        link: Where a person can look at it.
    """
    beat = beat_document(site.state, name)

    last = Beat(0)

    def beats(pid: int) -> str | None:
        nonlocal last
        said = beat.read()
        if said is None or said.pid != pid:
            return "has not begun"
        if said == last:
            return "makes no step"
        last = said
        return Retrying(said.trouble) if said.trouble else answers() if answers else None

    def failure(pid: int) -> str | None:
        said = beat.read()
        return said.failure or None if said and said.pid == pid else None

    command = [sys.executable, "-m", "rtap_lab.services", name, str(site.folder)]
    return Service(name, lambda: command, beats, depends, port, link=link, failure=failure, patience=PATIENCE)


class ServiceProcess:
    """This process as a service.

    Args:
        name: The service's.
        site: The lab.
    """

    def __init__(self, name: str, site: Site) -> None:
        self.name = name
        self.site = site
        self.state = site.state
        self.stop = threading.Event()
        self._beat = beat_document(site.state, name)
        self._said = Beat(os.getpid())
        self._beaten = 0.0
        self._runs = runs_document(site.state)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())

    def beat(self, trouble: str = "") -> None:
        """Say that a step was made, about once a second; at once when that is news."""
        said = Beat(os.getpid(), self._said.steps + 1, trouble)
        news = trouble != self._said.trouble or not self._beaten
        self._said = said
        if news or time.monotonic() - self._beaten > BEAT_S:
            self._beaten = time.monotonic()
            self._beat.write(said)

    def repeat(self, step: Callable[[], object]) -> None:
        """Call it again and again until the stop.

        What may pass by itself (a peer is away, the disk is full) is logged once and tried again, with backoff. Anything
        else would come again for ever: it is written down for `rtap status`, and ends the service.

        Raises:
            Exception: What is not temporary.
        """
        logged, failures = "", 0
        while not self.stop.is_set():
            try:
                step()
                logged, failures = "", 0
                self.beat()
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                if not is_temporary(error):
                    self._beat.write(Beat(os.getpid(), self._said.steps, failure=reason))
                    raise
                failures += 1
                self._trouble(reason)
                if str(error) != logged:
                    log.warning("%s: %s", type(error).__name__, error)
                    logged = str(error)
                self.stop.wait(backoff(failures, first=0.5, longest=5))

    def beside(self, name: str, step: Callable[[], float], first_s: float = 0.0) -> threading.Thread:
        """Run something beside what the service is for, which it must not hold up, in a thread until the stop.

        What may pass by itself is logged once and tried again, with backoff; anything else ends the thread.

        Args:
            name: What it is called in the log.
            step: Does it once; gives the seconds until the next.
            first_s: Seconds until the first.
        """

        def repeat() -> None:
            pause, said, failures = first_s, "", 0
            while not self.stop.wait(pause):
                try:
                    pause, said, failures = step(), "", 0
                except Exception as error:
                    failures += 1
                    pause = backoff(failures, first=1.0)
                    if not is_temporary(error):
                        log.exception("the %s has ended", name)
                        raise
                    if str(error) != said:
                        log.warning("the %s: %s", name, error)
                        said = str(error)

        thread = threading.Thread(target=repeat, name=name, daemon=True)
        thread.start()
        return thread

    def _trouble(self, reason: str) -> None:
        try:
            self.beat(reason)
        except OSError as error:  # the disk is full: that is in its way too
            log.warning("the beat: %s", error)

    def runs(self) -> Runs:
        """The current runs."""
        return self._runs.read()

    def feeds(self) -> list[Feed]:
        """The result topics of all current runs."""
        return [
            Feed(
                topic := run.topics[query.name],
                query,
                run.source,
                run.key,
                run.run,
                run.results_from[topic],
                provisional=run.parameters.delivery == "low_latency",
            )
            for run in self._runs.read().values()
            if run.desired != "removed"
            for query in run.queries
        ]
