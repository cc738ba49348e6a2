"""Up, down, reset: bringing a lab's stack up and away, whatever state a kill has left it in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from rtap_lab.errors import ComponentError, ServiceError, ServiceNotReadyError, SettingsError
from rtap_lab.lab.addresses import choose, known
from rtap_lab.lab.daemon import supervisor_of
from rtap_lab.lab.runs import LIVE, Runs
from rtap_lab.settings import Settings
from rtap_lab.stack import components
from rtap_lab.stack.influxdb import find_influxd
from rtap_lab.stack.java import base_archive, find_java, java_version
from rtap_lab.stack.process import Identity
from rtap_lab.stack.state import State
from rtap_lab.stack.supervisor import marked, running

Table = dict[str, dict[str, Any]]
Told = Callable[[Table], None]

NEEDED_MEMORY = {"core": 1_800_000_000, "full": 3_000_000_000}
NEEDED_DISK = 1_000_000_000
_BUSY = "another `rtap up`, `down` or `reset` is at work on this lab; wait for it"


def check_machine(settings: Settings) -> None:
    """Refuse to start what cannot run here.

    Raises:
        ServiceError: When memory or disk is short.
        ComponentError: When Java does not fit.
    """
    if not (sys.platform.startswith("linux") or sys.platform == "darwin"):
        raise ServiceError(f"{sys.platform} is not supported", hint="use Linux, macOS, or WSL on Windows")
    java_version(find_java(settings.java))
    free = psutil.virtual_memory().available
    needed = NEEDED_MEMORY[settings.profile]
    if free < needed:
        raise ServiceError(
            f"too little memory: {free / 1e9:.1f} GB are free, profile {settings.profile} needs {needed / 1e9:.1f} GB",
            hint="close other programs" + (", or use --profile core" if settings.profile == "full" else ""),
        )
    space = shutil.disk_usage(settings.state).free
    if space < NEEDED_DISK:
        raise ServiceError(
            f"too little disk space: {space / 1e6:.0f} MB are free where {settings.state} is, "
            f"{NEEDED_DISK / 1e6:.0f} MB are needed",
            hint="free some, or set RTAP_STATE to a folder on another disk",
        )
    if settings.store == "influxdb" and find_influxd() is None:
        raise ComponentError("there is no influxd", hint="run `rtap fetch influxdb`")


def revive(state: State) -> Identity | None:
    """The lab's supervisor; a new one, which adopts the services, where the old one died."""
    supervisor = running(state)
    if supervisor is None and marked(state.folder):
        with state.lock("up", timeout=200, busy=_BUSY):
            return running(state) or (_launch(state) if marked(state.folder) else None)
    return supervisor


def _launch(state: State) -> Identity:
    (state.folder / "services.json").unlink(missing_ok=True)
    (state.folder / "supervisor.json").unlink(missing_ok=True)
    with state.log("supervisor").open("ab") as output:
        subprocess.Popen(
            [sys.executable, "-m", "rtap_lab.lab", str(state.folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=state.folder,
            start_new_session=True,
        )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        supervisor = running(state)
        if supervisor and state.read("services"):
            return supervisor
        time.sleep(0.05)
    raise ServiceError("the supervisor did not start", service="supervisor", log_tail=state.log_tail("supervisor"))


def up(
    state: State, settings: Settings, *, job: Mapping[str, Any] | None, chosen: bool, timeout: float, told: Told
) -> bool:
    """Bring the stack up, with the standard job running on `events` unless `job` is None.

    Args:
        state: The lab.
        settings: What to start.
        job: Parameters of the standard job that must be so; the others stay as they were.
        chosen: Whether profile and store were asked for, so that a running other one is an error.
        timeout: Seconds until it must be ready.
        told: Told the table of services now and then.

    Returns:
        False when all was up already.

    Raises:
        ServiceError: When it cannot be; then nothing is left running.
    """
    state.create()
    with state.lock("up", timeout=timeout, busy=_BUSY):
        deadline = time.monotonic() + timeout
        living = marked(state.folder)
        supervisor = running(state)
        was_up = supervisor is not None
        if living or supervisor:
            before = state.read("settings") or {}
            asked = {"profile": settings.profile, "store": settings.store}
            if chosen and any(before.get(key) != value for key, value in asked.items()):
                raise SettingsError(
                    f"this lab is up with profile {before.get('profile')} and store {before.get('store')}",
                    hint="`rtap down`, then `rtap up` with the others",
                )
            if supervisor is None:
                _launch(state)
        else:
            check_machine(settings)
            _check_profile(state, settings)
            if components.missing(components.locked()):
                raise ComponentError("the stack's components are not here", hint="run `rtap fetch`")
            for name in ("kafka", "flink"):
                components.jars(name)
            components.unpacked("registry")
            components.flink_home()
            base_archive(find_java(settings.java))
            choose(state, settings.profile, dict(settings.ports), living=False)
            state.write(
                "settings",
                {
                    "profile": settings.profile,
                    "store": settings.store,
                    "java": str(settings.java) if settings.java else None,
                },
            )
            _launch(state)
        try:
            _await_ready(state, {"schema"}, _core, deadline, told)
            if job is not None:
                runs = Runs(state, known(state))
                was_running = runs.all().get(LIVE, {}).get("state") == "running"
                runs.wish(LIVE, dict(job))
                job_id = runs.ensure(LIVE)["job_id"]
                while not runs.rest.runs(job_id):
                    _tick(deadline, "the standard job does not run", state, "taskmanager")
                was_up = was_up and was_running
            _await_ready(state, set(), lambda name: True, deadline, told)
        except BaseException:
            if not was_up:  # no partial stack is left
                _down(state, told)
            raise
        return not was_up


def _core(name: str) -> bool:
    return name.startswith("kafka") or name in ("jobmanager", "taskmanager", "gateway", "registry")


def _check_profile(state: State, settings: Settings) -> None:
    before = (state.read("settings") or {}).get("profile")
    data = any((state.folder / f"kafka-{n}" / "data").exists() for n in (1, 2, 3))
    if data and before and before != settings.profile:
        raise SettingsError(
            f"the log in {state.folder} was written by profile {before}; {settings.profile} cannot go on with it",
            hint=f"rtap up --profile {before}, or `rtap reset` first, or another RTAP_STATE",
        )


def _tick(deadline: float, what: str, state: State, service: str) -> None:
    if time.monotonic() > deadline:
        raise ServiceNotReadyError(
            f"{what} in time",
            service=service,
            log_tail=state.log_tail(service),
            hint="a longer --timeout, or `rtap logs` and `rtap doctor`",
        )
    time.sleep(0.1)


def _await_ready(state: State, files: set[str], wanted: Callable[[str], bool], deadline: float, told: Told) -> None:
    while True:
        table: Table = state.read("services") or {}
        told(table)
        failed = [name for name, each in table.items() if each["state"] == "failed"]
        if failed:
            name = failed[0]
            detail = table[name].get("detail", "")
            raise ServiceNotReadyError(
                f"{name} does not start: {detail}",
                service=name,
                log_tail=state.log_tail(name),
                hint=None if "->" in detail else f"`rtap logs {name}` has more; `rtap doctor` looks at the machine",
            )
        waiting = [n for n, each in table.items() if wanted(n) and each["state"] != "ready"]
        if table and not waiting and all(state.read(name) for name in files):
            return
        if running(state) is None:
            raise ServiceError("the supervisor ended", service="supervisor", log_tail=state.log_tail("supervisor"))
        name = waiting[0] if waiting else "supervisor"
        detail = table.get(name, {}).get("detail", "")
        _tick(deadline, f"{name} was not ready ({detail})", state, name)


def down(state: State, *, told: Told = lambda table: None) -> bool:
    """Stop everything of this lab; False when nothing was up. Data are kept."""
    if not state.exists:
        return False
    with state.lock("up", timeout=200, busy=_BUSY):
        return _down(state, told)


def _down(state: State, told: Told) -> bool:
    supervisor = running(state)
    if supervisor is not None:
        supervisor.signal(signal.SIGTERM)
        deadline = time.monotonic() + 150
        while supervisor.alive() and time.monotonic() < deadline:
            told({name: {"state": "stopping"} for name in state.read("services") or {}})
            supervisor.wait(0.3)
        supervisor.stop(0)
    if not marked(state.folder):
        return supervisor is not None
    with state.lock("supervisor", timeout=30):
        supervisor_of(state).shut_down()  # its supervisor was killed: end the services from here
    return True


def reset(state: State) -> None:
    """Stop everything and delete the lab's data.

    Raises:
        SettingsError: When the folder is not a lab's.
    """
    if not state.folder.exists():
        return
    if not state.exists:
        if any(p.name not in (".locks", "logs") for p in state.folder.iterdir()):
            raise SettingsError(f"{state.folder} is not a lab's state folder: nothing was deleted")
    else:
        down(state)
    for name in os.listdir(state.folder):
        path = state.folder / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    state.folder.rmdir()
