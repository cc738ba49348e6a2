"""What a service is to the supervisor: a command, what it waits for, and a proof that it works; and how it fares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec


@dataclass(frozen=True)
class Service:
    """One declared service."""

    name: str
    prepare: Callable[[], list[str]]
    """Write its configuration and give its command; called before each start."""
    probe: Callable[[], str | None]
    """Ask the service itself whether it works: None when ready, else what is still missing. May
    raise; what it raises is what is missing."""
    depends: tuple[str, ...] = ()
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    link: str | None = None
    """Where a person can look at it."""
    grace: float = 4.0
    """Seconds it gets to end by itself."""
    archive: Callable[[], None] | None = None
    """Called after it has ended: keeps the class-data archive it wrote, if it did."""
    failure: Callable[[int], str | None] = lambda pid: None
    """Called after the process of this id has ended: why starting it again would not help; None: it may."""
    cwd: Path | None = None


Condition = Literal["waiting", "starting", "ready", "restarting", "failed", "stopping"]


class ServiceStatus(msgspec.Struct, frozen=True):
    """How a service fares, as the supervisor knows it."""

    state: Condition = "waiting"
    detail: str = ""
    """What is missing, or why it ended."""
    pid: int | None = None
    port: int | None = None
    link: str | None = None
    restarts: int = 0
    since: float = 0.0
    """When the state began; this and the following in seconds since the epoch."""
    started: float | None = None
    ready: float | None = None


Statuses = dict[str, ServiceStatus]
