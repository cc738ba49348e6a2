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
from rtap_lab.kafka.clients import is_temporary
from rtap_lab.services.site import Site
from rtap_lab.stack.service import Service
from rtap_lab.stack.state import Document, State
from rtap_lab.stack.supervisor import find_services
from rtap_lab.store.writer import Feed
from rtap_lab.waiting import backoff

log = logging.getLogger("rtap")


class Beat(msgspec.Struct, frozen=True):
    """What a service says of itself."""

    pid: int
    at: float
    """Seconds since the epoch."""
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
    probe: Callable[[], str | None] | None = None,
    port: int | None = None,
    link: str | None = None,
) -> Service:
    """Declare a service whose main is in the module of its name.

    Args:
        site: The lab.
        name: The service's.
        depends: What must be ready first.
        probe: Asks it whether it works; its own beat when left out.
        port: Where it listens.
        link: Where a person can look at it.
    """
    beat = beat_document(site.state, name)

    def beats() -> str | None:
        mine, said = find_services(site.folder).get(name), beat.read()
        return None if said and mine and said.pid == mine.pid else "has not begun"

    def failure(pid: int) -> str | None:
        said = beat.read()
        return said.failure or None if said and said.pid == pid else None

    command = [sys.executable, "-m", "rtap_lab.services", name, str(site.folder)]
    return Service(name, lambda: command, probe or beats, depends, port, link=link, failure=failure)


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
        self._runs = runs_document(site.state)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())

    def beat(self) -> None:
        """Say that it works."""
        self._beat.write(Beat(os.getpid(), time.time()))

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
            except Exception as error:
                if not is_temporary(error):
                    reason = f"{type(error).__name__}: {error}".splitlines()[0]
                    self._beat.write(Beat(os.getpid(), time.time(), reason))
                    raise
                failures += 1
                if str(error) != logged:
                    log.warning("%s: %s", type(error).__name__, error)
                    logged = str(error)
                self.stop.wait(backoff(failures, first=0.5, longest=5))

    def feeds(self) -> list[Feed]:
        """The result topics of all current runs."""
        return [
            Feed(run.topics[query.name], query, run.source, run.key, run.run, run.results_from[run.topics[query.name]])
            for run in self._runs.read().values()
            for query in run.queries
        ]
