"""Up, down, reset: bringing a lab's stack up and away, whatever state a kill has left it in."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from rtap_lab.errors import ComponentError, JobError, ServiceError, ServiceNotReadyError, SettingsError, StatementError
from rtap_lab.jobs.lifecycle import OTHER_SQL, Lifecycle
from rtap_lab.jobs.model import Run, job_queries, need_run, run_key
from rtap_lab.lab.context import Context
from rtap_lab.lab.migration import migrate
from rtap_lab.queries.query import PatternQuery, Query
from rtap_lab.queries.standard import JOB
from rtap_lab.services import working_files
from rtap_lab.services.daemon import port_names, supervisor_of
from rtap_lab.services.site import schema_document, settings_document
from rtap_lab.settings import LIVE, JobParameters, Settings
from rtap_lab.stack import components
from rtap_lab.stack.disk import LOW_BYTES, free_bytes
from rtap_lab.stack.influxd import find_influxd
from rtap_lab.stack.java import base_archive, find_java, java_version
from rtap_lab.stack.ports import choose_ports
from rtap_lab.stack.process import Identity, spawn
from rtap_lab.stack.service import ServiceStatus, Statuses
from rtap_lab.stack.state import VERSION, State
from rtap_lab.stack.supervisor import find_services, find_supervisor, statuses_document, supervisor_document
from rtap_lab.waiting import until

StatusListener = Callable[[Statuses], None]
"""Called now and then with the state of every service."""

NEEDED_MEMORY = {"core": 1_800_000_000, "full": 3_000_000_000}
CATCH_UP_PER_S = 15_000
"""Events a second that a new live run of the standard job reads on two cores, about."""
PATTERNS_PER_S = 1_800
"""The same of another job with a pattern, which may look at every event: Flink's CEP operator seeks in RocksDB for each
(docs/open-points.md)."""
_BUSY = "another `rtap up`, `down` or `reset` is at work on this lab; wait for it"
_ALIASES = {"kafka-1": "kafka", "jobmanager": "flink"}
"""Services whose port has another name."""


def check_machine(settings: Settings, folder: Path) -> None:
    """Refuse to start what cannot run here.

    Raises:
        ServiceError: When memory or disk is short.
        ComponentError: When Java does not fit.
    """
    if not (sys.platform.startswith("linux") or sys.platform == "darwin"):
        raise ServiceError(f"{sys.platform} is not supported", hint="use Linux, macOS, or WSL on Windows")
    java_version(_java(settings))
    free = psutil.virtual_memory().available
    needed = NEEDED_MEMORY[settings.profile]
    if free < needed:
        raise ServiceError(
            f"too little memory: {free / 1e9:.1f} GB are free, profile {settings.profile} needs {needed / 1e9:.1f} GB",
            hint="close other programs" + (", or use --profile core" if settings.profile == "full" else ""),
        )
    space = free_bytes(folder)
    if space < LOW_BYTES:
        raise ServiceError(
            f"too little disk space: {space / 1e6:.0f} MB are free where {folder} is, "
            f"{LOW_BYTES / 1e6:.0f} MB are needed",
            hint="free some, or set RTAP_STATE to a folder on another disk",
        )
    if settings.store == "influxdb" and find_influxd() is None:
        raise ComponentError("there is no influxd", hint="run `rtap fetch influxdb`")


def _java(settings: Settings) -> Path:
    return find_java(Path(settings.java) if settings.java else None)


def revive(state: State) -> Identity | None:
    """The lab's supervisor; a new one, which adopts the services, where the old one died; None when nothing is up."""
    supervisor = find_supervisor(state) if state.exists else None
    if supervisor is None and state.exists and find_services(state.folder):
        _check_version(state)
        with state.lock("up", timeout=200, busy=_BUSY):
            return find_supervisor(state) or (_launch(state) if find_services(state.folder) else None)
    return supervisor


def _check_version(state: State) -> None:
    """Refuse to go on with what an earlier version started: it speaks otherwise."""
    if state.version != VERSION:
        raise SettingsError(
            f"this lab is up under an earlier version of rtap_lab ({state.folder})",
            hint="`rtap down`, then `rtap up`: data are kept",
        )


def _of_a_service(name: str) -> bool:
    """A variable that marks a service's process or is its secret: a supervisor that one of them starts has none of it."""
    return name.startswith("RTAP_") and name not in ("RTAP_STATE", "RTAP_CACHE")


def _launch(state: State) -> Identity:
    for document in (statuses_document(state), supervisor_document(state), schema_document(state)):
        document.remove()  # of an earlier life
    spawn(
        [sys.executable, "-m", "rtap_lab.services.daemon", str(state.folder)],
        log=state.log("supervisor"),
        cwd=state.folder,
        without=_of_a_service,
    )

    def started() -> Identity | None:
        return find_supervisor(state) if statuses_document(state).read() else None

    failed = ServiceError("the supervisor did not start", service="supervisor")

    def otherwise() -> ServiceError:
        failed.log_tail = tuple(state.log_tail("supervisor"))
        return failed

    supervisor = until(started, 30, otherwise, every=0.05)
    assert supervisor is not None
    return supervisor


def up(
    context: Context,
    settings: Settings,
    *,
    ports: Mapping[str, int],
    job: Mapping[str, Any] | None,
    chosen: bool,
    timeout: float,
    on_status: StatusListener,
    on_note: Callable[[str], None],
) -> bool:
    """Bring the stack up, with the standard job running on `events` unless `job` is None.

    Args:
        context: The lab.
        settings: What to start.
        ports: Ports that must be these, by service.
        job: Parameters of the standard job that must be so; the others stay as they were.
        chosen: Whether profile, store, retention, hubs or proxy were asked for, so that a running other one is an error.
        timeout: Seconds until it must be ready.
        on_status: Called with the services now and then.
        on_note: Called with what a person should know before it happens.

    Returns:
        False when all was up already.

    Raises:
        ServiceError: When it cannot be; what this call started is then stopped again.
    """
    state = context.state
    state.create()
    wanted = _Wanted(settings, ports, job, chosen)
    with state.lock("up", timeout=timeout, busy=_BUSY):
        deadline = time.monotonic() + timeout
        while True:
            try:
                return _bring_up(context, wanted, deadline, on_status, on_note)
            except _EndedError:  # a `down` that died had told it to end: all is down now, and is started
                if time.monotonic() >= deadline:
                    raise


@dataclass(frozen=True)
class _Wanted:
    """What `up` was asked for; see there."""

    settings: Settings
    ports: Mapping[str, int]
    job: Mapping[str, Any] | None
    chosen: bool


def _bring_up(
    context: Context, wanted: _Wanted, deadline: float, on_status: StatusListener, on_note: Callable[[str], None]
) -> bool:
    """Start what is not up, and wait until all is; see `up`."""
    state, job = context.state, wanted.job
    supervisor = find_supervisor(state)
    was_up = supervisor is not None or bool(find_services(state.folder))
    was_running = False
    if was_up:
        _check_version(state)
        before = settings_document(state).read()
        if wanted.chosen and before != replace(wanted.settings, java=before.java):
            raise SettingsError(
                f"this lab is up with profile {before.profile}, store {before.store}, a retention of "
                f"{_shown(before.retention_ms)}, {before.hubs} hub(s) and {before.proxy or 'no'} proxy",
                hint="`rtap down`, then `rtap up` with the others",
            )
        if supervisor is None:
            _launch(state)
    else:
        _prepare(state, wanted.settings, wanted.ports)
        _launch(state)
    try:
        _await_ready(state, _core, deadline, on_status, founded=True)
        if job is not None:
            was_running = _run_standard(context, job, deadline, on_note)
        _await_ready(state, lambda name: True, deadline, on_status)
        if job is not None:
            _await_answers(context, deadline)
    except BaseException as error:
        if not was_up:  # no partial stack is left; one that others use is not touched
            _down(state, on_status)
        if isinstance(error, _EndedError) and supervisor is None:  # it was ours, and nobody told it to
            raise ServiceError(error.message, service="supervisor", log_tail=error.log_tail) from error
        raise
    return not (was_up and (was_running or job is None))


class _EndedError(ServiceError):
    """The supervisor has ended while it was waited for."""


def _check_supervised(state: State) -> None:
    if find_supervisor(state) is None:
        raise _EndedError("the supervisor ended", service="supervisor", log_tail=state.log_tail("supervisor"))


def _prepare(state: State, settings: Settings, ports: Mapping[str, int]) -> None:
    """All that must be true, and on disk, before the first process starts."""
    check_machine(settings, state.folder)
    migrate(state)
    _check_profile(state, settings)
    if components.missing(components.locked()):
        raise ComponentError("the stack's components are not here", hint="run `rtap fetch`")
    components.check_all()
    base_archive(_java(settings))
    wanted = {_ALIASES.get(name, name): port for name, port in ports.items()}
    choose_ports(state, port_names(settings), wanted)
    settings_document(state).write(settings)


def _run_standard(
    context: Context, changes: Mapping[str, Any], deadline: float, on_note: Callable[[str], None]
) -> bool:
    """Let the standard job run; whether it did already."""
    state, lifecycle, flink = context.state, context.lifecycle, context.site.flink
    current = context.runs.read().get(run_key(JOB, LIVE))
    words = replacement(context, JOB, LIVE, changes)
    if words:
        on_note(words)
    asked = lifecycle.request(JOB, LIVE, dict(changes))
    was_running = current is not None and current.state == "running" and current.run == asked.run
    refused: list[JobError] = []
    reconciled(lifecycle, JOB, LIVE, refused)

    def running() -> bool:
        _check_supervised(state)
        # by the run, not by one job id: the supervisor may resubmit it meanwhile
        run = context.runs.read()[asked.key]
        if run.state == "failed":
            lifecycle.reconcile(JOB, LIVE)
            raise ServiceError(f"the standard job failed: {run.error}", service="taskmanager")
        if run.state != "running":
            reconciled(lifecycle, JOB, LIVE, refused)
            return False
        try:
            return run.job_id is not None and run.state == "running" and flink.is_running(run.job_id)
        except JobError:  # the JobManager is away, or knows the job no more: the supervisor resubmits it
            return False

    until(
        running,
        max(deadline - time.monotonic(), 0),
        lambda: _late(
            f"the standard job does not run{f' ({refused[-1].message})' if refused else ''}",
            context.state,
            "taskmanager",
        ),
    )
    return was_running


def reconciled(lifecycle: Lifecycle, job: str, source: str, refused: list[JobError]) -> Run | None:
    """Do what should be done about a run now; None where Flink is away for a moment: the intent is written, and it is tried again.

    Args:
        lifecycle: The lab's.
        job, source: Which run.
        refused: Why it could not be done is added here.

    Raises:
        JobError: When Flink refuses it, or it failed for good.
    """
    try:
        return lifecycle.reconcile(job, source)
    except StatementError:
        raise
    except JobError as error:
        if need_run(lifecycle.runs.read(), job, source).state == "failed":
            raise
        refused.append(error)
        return None


def _await_answers(context: Context, deadline: float) -> None:
    """Wait until the standard job's answers move: a checkpoint is complete, every partition has been heard from."""
    flink = context.site.flink

    def move() -> bool:
        _check_supervised(context.state)
        run = context.runs.read()[run_key(JOB, LIVE)]
        try:
            completed = run.job_id is not None and flink.checkpoints(run.job_id)["counts"]["completed"]
        except JobError:  # it is being resubmitted
            return False
        return bool(completed) and len(context.topics.committed(run.group, run.events)) >= len(
            context.topics.partitions(run.events)
        )

    until(
        move,
        max(deadline - time.monotonic(), 0),
        lambda: _late("the standard job's answers do not move", context.state, "taskmanager"),
    )


def replacement(context: Context, job: str, source: str, changes: Mapping[str, Any]) -> str:
    """What a request will replace and how long that takes, in words; empty when it goes on with the current run."""
    current = context.runs.read().get(run_key(job, source))
    if current is None or current.bounded:
        return ""
    before = current.parameters.as_json()
    wanted = JobParameters(**(before | dict(changes)))
    queries = job_queries(job, context.jobs.read(), wanted)
    if not context.lifecycle.replaces(current, wanted, queries):
        return ""
    if current.state == "drained":
        why = "it was drained"
    elif context.lifecycle.other_sql(current):
        why = OTHER_SQL
    else:
        differing = [name for name, value in wanted.as_json().items() if before[name] != value]
        words = [
            f"{name.removesuffix('_ms')} {_shown(before[name])} becomes {_shown(wanted.as_json()[name])}"
            for name in differing
        ]
        why = ", ".join(words) or "its definition is another"
    return f"job {job} on {source} begins a new run ({why}): {_costs(context, current, queries)}"


def _shown(value: Any) -> str:
    if not isinstance(value, int):
        return str(value)
    return f"{value / 60_000:g} min" if value % 60_000 == 0 else f"{value / 1000:g} s"


def _costs(context: Context, run: Run, queries: Iterable[Query]) -> str:
    topics = context.topics
    starts, ends = topics.starts([run.events]), topics.ends([run.events])
    records = sum(ends.values()) - sum(starts.values())
    # the standard job's pattern sees carts and purchases only
    slow = run.job != JOB and any(isinstance(query.definition, PatternQuery) for query in queries)
    seconds = 5 + records / (PATTERNS_PER_S if slow else CATCH_UP_PER_S)
    return f"its rows are removed, and the log is read again from its beginning ({records:,} records, about {seconds:.0f} s)"


def _core(name: str) -> bool:
    """What a job needs."""
    return name.startswith("kafka") or name in ("jobmanager", "taskmanager", "gateway", "registry")


def _check_profile(state: State, settings: Settings) -> None:
    before = settings_document(state).read().profile
    data = any((state.folder / f"kafka-{n}" / "data").exists() for n in (1, 2, 3))
    if data and before != settings.profile:
        raise SettingsError(
            f"the log in {state.folder} was written by profile {before}; {settings.profile} cannot go on with it",
            hint=f"rtap up --profile {before}, or `rtap reset` first, or another RTAP_STATE",
        )


def _late(what: str, state: State, service: str) -> ServiceNotReadyError:
    return ServiceNotReadyError(
        f"{what} in time",
        service=service,
        log_tail=state.log_tail(service),
        hint="a longer --timeout, or `rtap logs` and `rtap doctor`",
    )


def _await_ready(
    state: State, wanted: Callable[[str], bool], deadline: float, on_status: StatusListener, *, founded: bool = False
) -> None:
    """Wait until the wanted services are ready; `founded`: until topics and schema are there too."""
    statuses, schema = statuses_document(state), schema_document(state)
    waiting: dict[str, ServiceStatus] = {}

    def ready() -> bool:
        table = statuses.read()
        on_status(table)
        for name, each in table.items():
            if each.state == "failed":
                raise ServiceNotReadyError(
                    f"{name} does not start: {each.detail}",
                    service=name,
                    log_tail=state.log_tail(name),
                    hint=None
                    if "->" in each.detail
                    else f"`rtap logs {name}` has more; `rtap doctor` looks at the machine",
                )
        waiting.clear()
        waiting.update({n: each for n, each in table.items() if wanted(n) and each.state != "ready"})
        if table and not waiting and (not founded or schema.read() is not None):
            return True
        _check_supervised(state)
        return False

    def otherwise() -> ServiceNotReadyError:
        name, each = next(iter(waiting.items()), ("supervisor", ServiceStatus()))
        return _late(f"{name} was not ready ({each.detail})", state, name)

    until(ready, max(deadline - time.monotonic(), 0), otherwise)


def down(state: State, *, on_status: StatusListener = lambda table: None) -> bool:
    """Stop everything of this lab; False when nothing was up. Data are kept."""
    if not state.exists:
        return False
    with state.lock("up", timeout=200, busy=_BUSY):
        return _down(state, on_status)


def _down(state: State, on_status: StatusListener) -> bool:
    supervisor = find_supervisor(state)
    if supervisor is not None:
        supervisor.signal(signal.SIGTERM)

        def ended() -> bool:
            on_status({name: ServiceStatus("stopping") for name in statuses_document(state).read()})
            return supervisor.wait(0.3)

        until(ended, 150, every=0.01)
        supervisor.stop(0)
    if not find_services(state.folder):
        return supervisor is not None
    with state.lock("daemon", timeout=30):
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
    working_files.clear(state.folder / "flink")
    for name in os.listdir(state.folder):
        path = state.folder / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    state.folder.rmdir()
