"""The failover: one daemon owns every service, starts them in order and restarts what dies.

Its children carry the lab's mark in their environment, so that a new supervisor finds and adopts
them after the old one was killed, and `down` misses none, even one that was started a moment before
a kill. What it knows it writes to `services.json`; it takes orders by signal (SIGTERM: stop all).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil
from msgspec import structs

from rtap_lab.errors import RtapLabError
from rtap_lab.stack.order import start_order, stop_order
from rtap_lab.stack.process import Identity, is_free, port_owner, rotate, spawn
from rtap_lab.stack.service import Condition, Retrying, Service, ServiceStatus, Statuses
from rtap_lab.stack.state import Document, State
from rtap_lab.waiting import backoff


def statuses_document(state: State) -> Document[Statuses]:
    """How each service fares; the supervisor is its only writer."""
    return Document(state, "services", Statuses, dict)


def supervisor_document(state: State) -> Document[Identity | None]:
    """Which process is the lab's supervisor; it writes itself down."""
    return Document(state, "supervisor", Identity | None, lambda: None)  # type: ignore[arg-type]


def supervisor_beat(state: State) -> Document[float]:
    """When the supervisor last said that it runs: seconds since the machine's start; it is its only writer."""
    return Document(state, "beats/supervisor", float, float)


log = logging.getLogger("rtap.supervisor")

PROBE_S = 2.0
"""Seconds between two questions to a service that runs."""

TRIES = 3
"""Starts a service gets before its first readiness; one that has been ready is always restarted."""

_MARK = "RTAP_SERVICE_OF"


def mark(folder: Path, service: str) -> dict[str, str]:
    """The environment that marks a process as a lab's service."""
    return {_MARK: f"{folder}:{service}"}


def find_services(folder: Path) -> dict[str, Identity]:
    """The living processes of a lab by service name, found by their mark."""
    return dict(marked(folder))


def marked(folder: Path) -> list[tuple[str, Identity]]:
    """The same, a service that runs twice named twice.

    A service's own children inherit its mark (a TaskManager's Python workers); only what leads the session that `spawn`
    gave it is the service.
    """
    found = []
    own = os.getpid()
    for process in psutil.process_iter(["pid"]):
        try:
            value = process.environ().get(_MARK, "")
            ours = value.startswith(f"{folder}:") and process.pid != own and os.getsid(process.pid) == process.pid
            identity = Identity.of(process.pid) if ours and process.status() != psutil.STATUS_ZOMBIE else None
            if identity:
                found.append((value.removeprefix(f"{folder}:"), identity))
        except (psutil.Error, ProcessLookupError):  # gone meanwhile, or another user's: not ours
            continue
    return found


def end_children(folder: Path, service: str, ended: Identity) -> None:
    """End what a service that has ended left behind of its own session (a TaskManager's Python workers)."""
    for process in psutil.process_iter(["pid"]):
        try:
            if os.getsid(process.pid) == ended.pid and process.environ().get(_MARK) == f"{folder}:{service}":
                process.kill()
        except (psutil.Error, ProcessLookupError):  # gone meanwhile, or another user's: not ours
            continue


def keep_archive(service: Service) -> None:
    """Keep what a service archived at its end; one that cannot be kept is made again next time."""
    try:
        if service.archive:
            service.archive()
    except OSError as error:
        log.warning("%s: its class-data archive is not kept: %s", service.name, error)


class _Runner(threading.Thread):
    """Keeps one service alive."""

    def __init__(self, supervisor: Supervisor, service: Service, adopted: Identity | None) -> None:
        super().__init__(name=service.name, daemon=True)
        self.supervisor = supervisor
        self.service = service
        self.identity = adopted
        self.status = ServiceStatus(port=service.port, link=service.link)

    def report(self, state: Condition, **facts: Any) -> None:
        pid = self.identity.pid if self.identity else None
        self.status = structs.replace(self.status, state=state, since=time.time(), pid=pid, **facts)
        self.supervisor.publish()

    def run(self) -> None:
        stopping = self.supervisor.stopping
        failures, been_ready = 0, False
        while not stopping.is_set():
            try:
                if self.identity is None:
                    if not self._wait_for_dependencies():
                        return
                    self._start()
                waited = self._wait_until_ready()
                if waited is None:
                    been_ready = True
                    started = time.monotonic()
                    reason = self._watch()
                    failures = 0 if time.monotonic() - started > 10 else failures
                else:
                    reason = waited
            except (RtapLabError, OSError) as error:
                reason = str(error)
            except Exception as error:
                log.exception("%s", self.service.name)
                reason = f"{type(error).__name__}: {error}"
            ended, self.identity = self.identity, None
            if stopping.is_set():
                return  # `shut_down` stops it, and keeps its archive
            if ended:
                end_children(self.supervisor.state.folder, self.service.name, ended)
            keep_archive(self.service)
            permanent = self.service.failure(ended.pid) if ended else None
            failures += 1
            log.warning("%s: %s (failure %d)", self.service.name, reason, failures)
            restarts = self.status.restarts + 1
            if permanent is not None or (not been_ready and failures >= TRIES):
                self.report("failed", detail=permanent or reason, restarts=restarts)
                return
            self.report("restarting", detail=reason, restarts=restarts)
            stopping.wait(backoff(failures))

    def _wait_for_dependencies(self) -> bool:
        while not self.supervisor.stopping.is_set():
            waiting = self.supervisor.not_ready(self.service.depends)
            if not waiting:
                return True
            if self.status.detail != f"waits for {', '.join(waiting)}":
                self.report("waiting", detail=f"waits for {', '.join(waiting)}")
            self.supervisor.changed.wait(0.25)
        return False

    def _start(self) -> None:
        service = self.service
        if service.port is not None and not is_free(service.port):
            raise RtapLabError(
                f"port {service.port} of {service.name} is taken by {port_owner(service.port)}",
                hint=f"stop that program, or choose another: rtap up --port {service.name}=N",
            )
        command = service.prepare()
        environment = {**service.environment, **mark(self.supervisor.state.folder, service.name)}
        self.identity = spawn(
            command,
            log=self.supervisor.state.log(service.name),
            cwd=service.cwd or self.supervisor.state.folder,
            environment=environment,
        )
        log.info("%s: pid %d", service.name, self.identity.pid)
        self.report("starting", started=time.time(), detail="")

    def _wait_until_ready(self) -> str | None:
        assert self.identity is not None
        missing = "does not answer"
        while not self.supervisor.stopping.is_set():
            if not self.identity.alive():
                return f"it ended before it was ready ({missing})"
            answer = self._ask(self.service.probe)
            if answer is None:
                self.report("ready", detail="", ready=time.time())
                return None
            if answer != missing:
                missing = str(answer)
                self.report("starting", detail=missing)
            self.identity.wait(0.15)
        return missing

    def _ask(self, probe: Callable[[int], str | None]) -> str | None:
        assert self.identity is not None
        try:
            return probe(self.identity.pid)
        except Exception as error:  # whatever a client raises: it does not work (yet)
            return f"{type(error).__name__}: {error}".splitlines()[0]

    def _watch(self) -> str:
        """Ask it again and again while it runs; why it is there no more.

        Questions are counted, not seconds: when everything was stopped for a while (a laptop slept), it gets as many as ever.
        """
        assert self.identity is not None
        unanswered = 0
        while not self.identity.wait(PROBE_S / 2 if unanswered else PROBE_S):
            answer = self._ask(self.service.lives or self.service.probe)
            waiting = self.supervisor.not_ready(self.service.depends)
            if self.supervisor.stopping.is_set():
                unanswered = 0
            elif answer is None:
                unanswered = 0
                self._now("ready", "")
            elif isinstance(answer, Retrying):
                unanswered = 0
                self._now("retrying", str(answer))
            elif waiting:
                unanswered = 0
                self._now("waiting", f"waits for {', '.join(waiting)}")
            else:
                unanswered += 1
                if unanswered > 1:  # one may be chance
                    self._now("stuck", answer)
                if unanswered >= self.service.patience:
                    self.identity.stop(0)
                    return f"it ran and did not answer: {answer}"
        return "it ended"

    def _now(self, state: Condition, detail: str) -> None:
        """Report what is news."""
        if (self.status.state, self.status.detail) != (state, detail):
            self.report(state, detail=detail)


class Supervisor:
    """Owns the services of one lab.

    Args:
        state: The lab's state folder.
        services: What to run.
        reconcilers: Called about once a second while the stack is up, for what must stay true beyond
            processes (the jobs). What one raises is logged, and it is called again.
        before_stop: Called once before the first service is stopped.
    """

    def __init__(
        self,
        state: State,
        services: Sequence[Service],
        *,
        reconcilers: Iterable[Callable[[], None]] = (),
        before_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.state = state
        self.statuses = statuses_document(state)
        self.services = {service.name: service for service in services}
        self.reconcilers = tuple(reconcilers)
        self.before_stop = before_stop
        self.stopping = threading.Event()
        self.changed = threading.Event()
        self._lock = threading.Lock()
        self._runners: dict[str, _Runner] = {}

    def not_ready(self, names: Iterable[str]) -> list[str]:
        """Which of these services are declared and not ready."""
        return [name for name in names if name in self._runners and self._runners[name].status.state != "ready"]

    def publish(self) -> None:
        """Write what is known to `services.json`."""
        with self._lock:
            table = {name: runner.status for name, runner in self._runners.items()}
            try:
                self.statuses.write(table)
            except OSError as error:  # a full disk must not end the supervisor
                log.error("services.json: %s", error)
        self.changed.set()
        self.changed.clear()

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; the caller holds the lab's supervisor lock."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        me = Identity.of(os.getpid())
        assert me is not None
        supervisor_document(self.state).write(me)
        living = find_services(self.state.folder)
        for name in living.keys() - self.services.keys():
            living[name].stop(1)  # of another profile or store
        self._runners = {name: _Runner(self, service, living.get(name)) for name, service in self.services.items()}
        self.publish()
        for level in start_order({n: s.depends for n, s in self.services.items()}):
            for name in level:
                self._runners[name].start()
        reconciler = threading.Thread(target=self._reconcile, name="reconciler", daemon=True)
        reconciler.start()
        self._beat()  # before the first wait: else a status takes it for silent since the boot
        while not self.stopping.wait(1):
            self._beat()
        reconciler.join(30)
        self.shut_down()

    def _beat(self) -> None:
        """Say that it runs, and keep the logs within their size; a full disk ends neither, nor the supervisor."""
        try:
            now = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()
            supervisor_beat(self.state).write(now)
        except OSError as error:
            log.error("the beat: %s", error)
        try:
            for log_file in self.state.logs.glob("*.log"):
                rotate(log_file)
        except OSError as error:
            log.error("a log that has grown large: %s", error)

    def _reconcile(self) -> None:
        complained: dict[Callable[[], None], str] = {}
        while not self.stopping.wait(0.5 if self.not_ready(self.services) else 1.0):
            for reconciler in self.reconcilers:
                try:
                    reconciler()
                    complained.pop(reconciler, None)
                except Exception as error:  # tried again in a second; said once
                    if str(error) != complained.get(reconciler):
                        log.warning("%s", error)
                        complained[reconciler] = str(error)

    def shut_down(self) -> None:
        """Stop all services of this lab, in order, whoever started them."""
        self.stopping.set()
        try:
            self.before_stop()
        except Exception:
            log.exception("before the stop")
        known = {n: r.identity for n, r in self._runners.items() if r.identity} or {}
        living = known | find_services(self.state.folder)
        for level in stop_order({name: s.depends for name, s in self.services.items()}):
            self._stop([name for name in level if name in living], living)
        rest = find_services(self.state.folder)
        self._stop(list(rest), rest)
        self.statuses.remove()
        supervisor_document(self.state).remove()
        log.info("all stopped")

    def _stop(self, names: list[str], living: dict[str, Identity]) -> None:
        def stop(name: str) -> None:
            service = self.services.get(name)
            living[name].stop(service.grace if service else 2)
            end_children(self.state.folder, name, living[name])
            if service:
                keep_archive(service)

        threads = [threading.Thread(target=stop, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def find_supervisor(state: State) -> Identity | None:
    """The living supervisor of a lab."""
    identity = supervisor_document(state).read()
    return identity if identity and identity.alive() else None
