"""The auditor: keeps what no SQL sees: the content of rejected and late records, as long as somebody may ask for it, and how
many records expired before they were read."""

from __future__ import annotations

import ctypes
import time

from rtap_lab.errors import RtapLabError
from rtap_lab.jobs.refused import Sweeper
from rtap_lab.jobs.unread import AUDITOR, Watch, unread_document
from rtap_lab.kafka.auditor import Auditor
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
    watched = unread_document(process.state).read()
    auditor = Auditor(
        process.site.topics,
        log.warning,
        document.read(),
        newest={int(p): offset for p, offset in watched.events.items()},
        read_to={int(p): offset for p, offset in watched.readers[AUDITOR].places.items()} if watched.readers else None,
    )
    sweeper = Sweeper(process.state, process.site.topics, stop=process.stop)
    watch = Watch(
        process.state, process.site.topics_at_a_glance, auditor.newest, retention_ms=process.site.settings.retention_ms
    )

    def sweep() -> float:
        sweeper.step()
        give_back_memory()
        return SWEEP_S

    beside = [process.beside("sweep", sweep, SWEEP_S), process.beside("watch", watch.step)]
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
        if not process.stop.is_set() and (ended := [each.name for each in beside if not each.is_alive()]):
            raise RuntimeError(f"the {' and the '.join(ended)} has ended: the log says why")

    process.repeat(step)
    for each in beside:
        each.join(2)
    try:
        watch.close()
    except RtapLabError as error:
        log.warning("the watch: %s", error)
    auditor.close()


def give_back_memory() -> None:
    """Give the system back what was freed; does nothing where the C library has no `malloc_trim` (glibc has).

    A look at 90,000 rows leaves pieces of the client's buffers all over the heap: after 60 of them the process held 127 MB,
    with this 107.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
