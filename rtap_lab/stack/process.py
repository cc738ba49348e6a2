"""Processes we own: started apart from any terminal, known by identity, waited for without polling."""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import psutil

from rtap_lab.waiting import until

LOG_LIMIT = 20_000_000
"""Bytes of a log; there is one earlier part of the same size."""


@lru_cache(maxsize=1)
def _boot() -> str:
    """This start of the machine (`random(4)`, boot_id); empty where the kernel names none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _birth(pid: int) -> int:
    """When a process began, on a clock that nobody can set.

    Linux: clock ticks since the boot (`proc_pid_stat(5)`, field 22). Elsewhere: microseconds since the epoch, as the kernel
    noted them once; `psutil.create_time` of Linux is the boot time by the wall clock plus these ticks, and moves with it.

    Raises:
        OSError: When there is no such process.
        psutil.Error: The same, where it is psutil that is asked.
    """
    if _boot():
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return int(stat[stat.rindex(b")") + 2 :].split()[19])  # the name before it may hold anything
    return int(psutil.Process(pid).create_time() * 1e6)


class Identity(msgspec.Struct, frozen=True):
    """A process that cannot be mistaken for another one that later gets its PID, whatever happens to the clock."""

    pid: int
    birth: int = -1
    """When it began: clock ticks since the boot (microseconds since the epoch where the kernel gives no ticks)."""
    boot: str = ""
    """Which start of the machine."""

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        try:
            return cls(pid, _birth(pid), _boot())
        except (OSError, psutil.Error):
            return None

    def process(self) -> psutil.Process | None:
        """The process, while it runs and is still the same one."""
        if Identity.of(self.pid) != self:
            return None
        try:
            process = psutil.Process(self.pid)
            return process if process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    @property
    def age_s(self) -> float:
        """How long it has run, seconds."""
        if self.boot:
            return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - self.birth / os.sysconf("SC_CLK_TCK"))
        return max(0.0, time.time() - self.birth / 1e6)

    def alive(self) -> bool:
        return self.process() is not None

    def signal(self, number: int) -> bool:
        """Send a signal, to this very process only; tells whether it was there."""
        with contextlib.suppress(ProcessLookupError):
            if not hasattr(signal, "pidfd_send_signal"):  # not Linux
                if self.alive():
                    os.kill(self.pid, number)
                    return True
                return False
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive():  # looked at after it was opened: the pid cannot change hands in between
                    signal.pidfd_send_signal(descriptor, number)
                    return True
            finally:
                os.close(descriptor)
        return False

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, so long at most; tells whether it has.

        Works for a process that is not our child: an adopted one.
        """
        if not self.alive():
            return True
        if not hasattr(os, "pidfd_open"):  # not Linux
            return until(lambda: not self.alive(), seconds)
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            select.select([descriptor], [], [], max(0.0, seconds))
        finally:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # reap it where it is our child
        return not self.alive()

    def stop(self, grace: float) -> None:
        """Ask it to end, and after so many seconds end it."""
        if self.signal(signal.SIGTERM):
            self.signal(signal.SIGCONT)  # a stopped process could not hear the request
            if not self.wait(grace):
                self.signal(signal.SIGKILL)
                self.wait(5)


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    without: Callable[[str], bool] = lambda name: False,
) -> Identity:
    """Start a process in a session of its own, its output appended to a log.

    Args:
        command: What is run.
        log: Where its output goes.
        cwd: Its working directory.
        environment: What is set beside this process's own environment.
        without: Tells which variables of that it does not get.

    Raises:
        OSError: When it cannot be started.
    """
    rotate(log)
    with log.open("ab") as output:  # every write goes to the end: the file can be emptied while it runs
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**{name: value for name, value in os.environ.items() if not without(name)}, **(environment or {})},
            start_new_session=True,
        )
    child.returncode = 0  # the identity waits for it; Popen must not warn that nobody did
    identity = Identity.of(child.pid)
    return identity or Identity(child.pid)


def rotate(log: Path, limit: int = LOG_LIMIT) -> None:
    """Keep one earlier part of a log that has grown large, also while it is written to."""
    if log.exists() and log.stat().st_size > limit:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def is_free(port: int) -> bool:
    """Whether a port of 127.0.0.1 can be bound now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(taken: Collection[int] = ()) -> int:
    """A free port below the ephemeral range, so that no outgoing connection takes it later."""
    chooser = random.SystemRandom()
    while True:
        port = chooser.randrange(20_000, 32_000)
        if port not in taken and is_free(port):
            return port


def listens(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    with socket.socket() as asked:
        asked.settimeout(1)
        return asked.connect_ex(("127.0.0.1", port)) == 0


def port_holder(port: int) -> psutil.Process | None:
    """The process that listens on a port of 127.0.0.1; None too where we may not know, and while it is dying."""
    with contextlib.suppress(psutil.Error):  # macOS tells nobody but root
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid:
                return psutil.Process(each.pid)
    return None


def port_owner(port: int) -> str:
    """Who listens on a port of 127.0.0.1, as far as we may know."""
    holder = port_holder(port)
    with contextlib.suppress(psutil.Error):
        if holder is not None:
            return f"{holder.name()} (pid {holder.pid})"
    return "another program"


def run_command(command: Sequence[str], *, timeout: float, cwd: Path | None = None) -> tuple[int, str]:
    """Run a short command to its end; where it is broken off, nothing that it began goes on.

    Args:
        command: It and its arguments.
        timeout: Seconds that it may take.
        cwd: Where it runs.

    Returns:
        Its exit code, and what it printed on both outputs.

    Raises:
        OSError: When it cannot be started; TimeoutError when it took longer than so many seconds.
    """
    with subprocess.Popen(
        list(command),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=timeout)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeoutError(f"{command[0]} took more than {timeout:.0f} s") from error
            raise
    return process.returncode, printed.decode(errors="replace")


def output_of(command: Sequence[str], *, cwd: Path) -> str:
    """What a short command prints, stripped; empty when it fails or is not there."""
    try:
        code, printed = run_command(command, timeout=10, cwd=cwd)
    except OSError:
        return ""
    return printed.strip() if code == 0 else ""
