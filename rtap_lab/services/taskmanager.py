"""Flink's TaskManager: one, with all the slots."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import replace
from pathlib import Path

import psutil

from rtap_lab.services import working_files
from rtap_lab.services.flink_cluster import SLOTS, cluster_of
from rtap_lab.services.jvm import jvm_service
from rtap_lab.services.site import Site
from rtap_lab.settings import Settings
from rtap_lab.stack.java import Jvm
from rtap_lab.stack.service import Service

# framework/task heap, direct and native memory. The heap is a limit: it grows into it only when a job needs it
_MEMORY = {
    "taskmanager.cpu.cores": "2.0",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "1024m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.off-heap.size": "0",
    "taskmanager.memory.network.min": "96m",
    "taskmanager.memory.network.max": "96m",
    # taken when it is needed, by windows: each wants a megabyte or two of its slot's share, and 24 may share a slot
    "taskmanager.memory.managed.size": "768m",
    "taskmanager.memory.jvm-metaspace.size": "320m",
    "taskmanager.memory.jvm-overhead.min": "256m",
    "taskmanager.memory.jvm-overhead.max": "256m",
}


_ID = "taskmanager.resource-id"
_FILES = "state.backend.rocksdb.localdir"


def ports(settings: Settings) -> list[str]:
    return ["taskmanager-data"]


def declare(site: Site) -> list[Service]:
    cluster = cluster_of(site)

    def tidy() -> None:
        """Remove a killed one's working state."""
        commands = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
        for left in (cluster.folder / "tmp").glob("tm_*"):
            if not any(left.name in command for command in commands):
                shutil.rmtree(left, ignore_errors=True)
        working_files.clear(cluster.folder, living=commands)

    def build() -> Jvm:
        tidy()
        name = f"taskmanager-{secrets.token_hex(4)}"
        files = working_files.choose(cluster.folder, name)
        main = ["org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "--configDir", str(cluster.conf)]
        for key, value in {**_MEMORY, _ID: name, **({_FILES: str(files)} if files else {})}.items():
            main += ["-D", f"{key}={value}"]
        # state of recorded jobs is objects: the serial collector took a third longer with them
        memory = ["-XX:+UseParallelGC", "-Xms192m", "-Xmx1152m", "-XX:MaxDirectMemorySize=224m"]
        made = cluster.jvm("taskmanager", main, memory)
        # while it catches up it takes all the cores it gets: who asks it, and the broker, must still be heard in time
        return replace(made, command=["nice", "-n", "5", *made.command])

    def probe(pid: int) -> str | None:
        # its own: with those of the one before it would look ready, and then, once that is forgotten, stuck
        slots = site.flink.slots(of=_value(pid, _ID), patience=2)
        return None if slots >= SLOTS else f"{slots} of {SLOTS} slots"

    def lives(pid: int) -> str | None:
        files = _value(pid, _FILES)
        return (working_files.outgrown(cluster.folder, Path(files)) if files else None) or probe(pid)

    service = jvm_service(
        "taskmanager", build, lambda: None, depends=("jobmanager",), environment=cluster.environment()
    )

    def archive() -> None:
        tidy()
        if service.archive:
            service.archive()

    # to a JobManager that came back it comes back a few seconds later
    return [replace(service, probe=probe, lives=lives, archive=archive, patience=8)]


def _value(pid: int, key: str) -> str | None:
    """What a TaskManager was started with for a key; None where it was not."""
    words = psutil.Process(pid).cmdline()
    return next((word.removeprefix(f"{key}=") for word in words if word.startswith(f"{key}=")), None)
