"""The supervisor as a process: `python -m rtap_lab.lab STATE`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rtap_lab.events.model import schema
from rtap_lab.kafka.schema_registry import Registry
from rtap_lab.kafka.topics import Topics, live_topics
from rtap_lab.lab.addresses import known
from rtap_lab.lab.runs import Runs
from rtap_lab.lab.services import declare
from rtap_lab.settings import Settings
from rtap_lab.stack.state import State
from rtap_lab.stack.supervisor import Supervisor
from rtap_lab.streams.queries import STANDARD


def settings_of(state: State) -> Settings:
    """The settings that the last `up` wrote down."""
    chosen: dict[str, Any] = state.read("settings") or {}
    java = chosen.get("java")
    return Settings(
        state.folder,
        profile=chosen.get("profile", "core"),
        store=chosen.get("store", "sqlite"),
        java=Path(java) if java else None,
    )


def supervisor_of(state: State) -> Supervisor:
    """The lab's supervisor, wired: services, what must stay true, what comes before a stop."""
    addresses = known(state)
    runs = Runs(state, addresses)
    founded = False
    supervisor: Supervisor

    def found() -> None:
        """Topics and schema, once Kafka and the registry are ready."""
        nonlocal founded
        if founded or supervisor.not_ready([n for n in supervisor.services if n.startswith("kafka")]):
            return
        Topics(addresses.kafka).ensure(live_topics(STANDARD))
        if supervisor.not_ready(["registry"]):
            return
        state.write("schema", {"id": Registry(addresses.url("registry")).register(schema())})
        founded = True

    def keep() -> None:
        if founded and not supervisor.not_ready(["jobmanager", "taskmanager", "gateway"]):
            runs.keep()

    def before_stop() -> None:
        """Savepoints, so that all that is counted is committed before the stop."""
        for source, run in runs.all().items():
            if run["desired"] == "running" and run["state"] == "running":
                runs.stop(source, keep_wish=True)

    supervisor = Supervisor(
        state, declare(state, settings_of(state), addresses), keepers=[found, keep], before_stop=before_stop
    )
    return supervisor


def main() -> None:
    """Be the lab's supervisor, unless there is one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    state = State(Path(sys.argv[1]))
    (state.folder / ".locks").mkdir(exist_ok=True)
    lock = FileLock(state.folder / ".locks" / "supervisor")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return  # another one is at work
    try:
        supervisor_of(state).run()
    except Exception:
        logging.exception("the supervisor failed")
        raise
