"""The doctor: is this machine fit for a lab, and what to do where it is not."""

from __future__ import annotations

import locale
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import psutil

from rtap_lab.errors import RtapLabError
from rtap_lab.stack import components
from rtap_lab.stack.influxd import find_influxd
from rtap_lab.stack.java import find_java, java_version
from rtap_lab.stack.ports import ports_document
from rtap_lab.stack.process import is_free, port_owner
from rtap_lab.stack.state import State
from rtap_lab.stack.supervisor import find_supervisor, statuses_document


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    verdict: Literal["OK", "WARN", "FAIL"]
    what: str
    found: str
    fix: str = ""


def examine(state: State) -> list[Finding]:
    """Look at everything a lab needs; starts nothing, changes nothing."""
    checks: list[Callable[[State], Finding]] = [
        _python,
        _java,
        _memory,
        _disk,
        _ports,
        _locale,
        _clock,
        _lock,
        _flink,
        _influxd,
        _stack,
    ]
    findings = []
    for check in checks:
        try:
            findings.append(check(state))
        except RtapLabError as error:
            findings.append(Finding("FAIL", check.__name__[1:], error.message, error.hint or ""))
    return findings


def _python(state: State) -> Finding:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if not (3, 11) <= sys.version_info < (3, 13):
        return Finding("FAIL", "python", found, "use Python 3.11 or 3.12: Flink has no others")
    return Finding("OK", "python", found)


def _java(state: State) -> Finding:
    java = find_java(None)
    return Finding("OK", "java", java_version(java).split(" OpenJDK")[0].split(" Runtime")[0][:80])


def _memory(state: State) -> Finding:
    free = psutil.virtual_memory().available / 1e9
    if free < 1.8:
        return Finding("FAIL", "memory", f"{free:.1f} GB free", "close other programs: a lab needs 1.8 GB")
    if free < 3.5:
        return Finding("WARN", "memory", f"{free:.1f} GB free", "enough for profile core, not for full")
    return Finding("OK", "memory", f"{free:.1f} GB free")


def _disk(state: State) -> Finding:
    place = state.folder if state.folder.exists() else state.folder.parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    if free < 1:
        return Finding("FAIL", "disk", f"{free:.1f} GB free at {place}", "free 1 GB, or set RTAP_STATE")
    if free < 5:
        return Finding("WARN", "disk", f"{free:.1f} GB free at {place}", "a long session may need 5 GB")
    return Finding("OK", "disk", f"{free:.0f} GB free at {place}")


def _ports(state: State) -> Finding:
    ports = ports_document(state).read() if state.exists else {}
    if not ports:
        return Finding("OK", "ports", "free ones are chosen at the first `rtap up`")
    if find_supervisor(state):
        return Finding("OK", "ports", f"{len(ports)} chosen, in use by this lab")
    taken = {name: port for name, port in ports.items() if not is_free(port)}
    if taken:
        name, port = next(iter(taken.items()))
        return Finding(
            "WARN", "ports", f"{port} of {name} is taken by {port_owner(port)}", "the next `rtap up` chooses another"
        )
    return Finding("OK", "ports", f"{len(ports)} chosen, free")


def _locale(state: State) -> Finding:
    encoding = locale.getpreferredencoding(False)
    if encoding.lower().replace("-", "") != "utf8":
        return Finding("WARN", "locale", encoding, "set LANG to a UTF-8 locale, such as C.UTF-8")
    return Finding("OK", "locale", encoding)


def _clock(state: State) -> Finding:
    now = time.time()
    if not 1_750_000_000 < now < 4_000_000_000:
        return Finding("FAIL", "clock", time.ctime(now), "set the machine's clock: events are judged by it")
    return Finding("OK", "clock", f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(now))}")


def _lock(state: State) -> Finding:
    wanted = components.locked()
    lacking = components.missing(wanted)
    if lacking:
        return Finding(
            "WARN", "lock", f"{len(lacking)} of {len(wanted)} components are not here", "`rtap fetch` brings them"
        )
    components.check_all()
    return Finding("OK", "lock", f"{len(wanted)} components, their SHA-256 as locked")


def _flink(state: State) -> Finding:
    return Finding("OK", "flink", f"jars as the wheel installed them, {components.flink_home()}")


def _influxd(state: State) -> Finding:
    found = find_influxd()
    if found is None:
        return Finding("OK", "influxd", "not here; `rtap fetch influxdb` for --store influxdb")
    return Finding("OK", "influxd", str(found))


def _stack(state: State) -> Finding:
    if not state.exists:
        return Finding("OK", "stack", f"no lab in {state.folder} yet")
    if not os.access(state.folder, os.W_OK):
        return Finding("FAIL", "stack", f"{state.folder} cannot be written", "set RTAP_STATE")
    supervisor = find_supervisor(state)
    if supervisor is None:
        return Finding("OK", "stack", "down")
    table = statuses_document(state).read()
    away = [name for name, each in table.items() if each.state != "ready"]
    if away:
        return Finding("WARN", "stack", f"up, but not ready: {', '.join(away)}", f"`rtap logs {away[0]}`")
    return Finding("OK", "stack", f"up, {len(table)} services ready")
