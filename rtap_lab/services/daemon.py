"""The supervisor as a process: `python -m rtap_lab.services.daemon STATE`; started by `rtap up`."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from rtap_lab.events.model import schema
from rtap_lab.jobs.owned import end_left
from rtap_lab.kafka.topics import lab_topics
from rtap_lab.services import modules
from rtap_lab.services.site import Site, schema_document
from rtap_lab.settings import Settings
from rtap_lab.stack.service import Service
from rtap_lab.stack.state import State
from rtap_lab.stack.supervisor import Supervisor


def all_services(site: Site) -> list[Service]:
    """Every service of the lab's profile and store."""
    return [service for module in modules() for service in module.declare(site)]


TIDY_S = 5.0
"""Seconds between two looks for Flink jobs that nobody owns any more."""


def port_names(settings: Settings) -> list[str]:
    """What needs a port, under these settings."""
    return [name for module in modules() if hasattr(module, "ports") for name in module.ports(settings)]


def supervisor_of(state: State) -> Supervisor:
    """The lab's supervisor, wired: services, what must stay true, what comes before a stop."""
    site = Site(state)
    ready = schema_document(state)
    founded = False

    def found() -> None:
        """Topics and schema, once Kafka and the registry are ready."""
        nonlocal founded
        if founded or supervisor.not_ready(site.kafka_names):
            return
        site.topics.ensure(lab_topics(site.settings))
        if supervisor.not_ready(["registry"]):
            return
        from rtap_lab.kafka.schema_registry import Registry  # slow to import, and needed once a start

        ready.write(Registry(site.endpoints.registry).register(schema()))
        founded = True

    def reconcile() -> None:
        if founded and not supervisor.not_ready(["jobmanager", "taskmanager", "gateway"]):
            site.lifecycle.reconcile_all()

    looked = 0.0

    def tidy() -> None:
        """Flink jobs of programs that are gone, now and then."""
        nonlocal looked
        if founded and time.monotonic() - looked > TIDY_S and not supervisor.not_ready(["jobmanager"]):
            looked = time.monotonic()
            end_left(site.flink)

    supervisor = Supervisor(
        state, all_services(site), reconcilers=[found, reconcile, tidy], before_stop=site.lifecycle.stop_all
    )
    return supervisor


def main() -> None:
    """Be the lab's supervisor, unless there is one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for chatty in ("httpx", "httpx2", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    state = State(Path(sys.argv[1]))
    (state.folder / ".locks").mkdir(exist_ok=True)
    lock = FileLock(state.folder / ".locks" / "daemon")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return  # another one is at work
    try:
        supervisor_of(state).run()
    except Exception:
        logging.exception("the supervisor failed")
        raise


if __name__ == "__main__":
    main()
