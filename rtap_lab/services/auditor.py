"""The auditor: keeps what no SQL sees, the content of rejected and late records, as long as somebody may ask for it."""

from __future__ import annotations

import ctypes
import threading
import time

from rtap_lab.jobs.refused import Sweeper
from rtap_lab.kafka.auditor import Auditor
from rtap_lab.kafka.clients import is_temporary
from rtap_lab.services.process import ServiceProcess, log, own_service
from rtap_lab.services.site import Site
from rtap_lab.stack.service import Service
from rtap_lab.stack.state import Document, State

SWEEP_S = 60.0
"""Seconds between two looks for rows that nobody needs."""

Counts = dict[str, dict[str, int]]


def counts_document(state: State) -> Document[Counts]:
    """What was read, rejected and late, by source or run, for the status; the auditor is its only writer."""
    return Document(state, "audit", Counts, dict)


def declare(site: Site) -> list[Service]:
    return [own_service(site, "auditor", depends=tuple(site.kafka_names))]


def main(process: ServiceProcess) -> None:
    """Audit what comes, until the stop."""
    document = counts_document(process.state)
    auditor = Auditor(process.site.topics, log.warning, document.read())
    sweep = threading.Thread(target=_sweep, args=(process,), name="sweep", daemon=True)
    sweep.start()
    saved = time.monotonic()

    def step() -> None:
        nonlocal saved
        try:
            auditor.step(0.5)
        except Exception:
            auditor.rewind()
            raise
        if auditor.changed and time.monotonic() - saved > 1:
            saved, auditor.changed = time.monotonic(), False
            document.write(auditor.counts)
        if not sweep.is_alive() and not process.stop.is_set():
            raise RuntimeError("the sweep has ended: the log says why")

    process.repeat(step)
    auditor.close()


def give_back_memory() -> None:
    """Give the system back what was freed; does nothing where the C library has no `malloc_trim` (glibc has).

    A look at 90,000 rows leaves pieces of the client's buffers all over the heap: after 60 of them the process held 127 MB,
    with this 107.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _sweep(process: ServiceProcess) -> None:
    """Let rows go that nobody needs, beside the audit: a look at all of them may take longer than a step."""
    sweeper, said = Sweeper(process.state, process.site.topics, stop=process.stop), ""
    while not process.stop.wait(SWEEP_S):
        try:
            sweeper.step()
            give_back_memory()
            said = ""
        except Exception as error:
            if not is_temporary(error):
                log.exception("the sweep has ended")
                raise
            if str(error) != said:
                log.warning("the sweep: %s", error)
                said = str(error)
