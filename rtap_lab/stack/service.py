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
    probe: Callable[[int], str | None]
    """Ask the service itself whether it works, given its process's id: None when ready, else what is still missing.
    May raise; what it raises is what is missing."""
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
    lives: Callable[[int], str | None] | None = None
    """Asked again and again once it was ready, like `probe`, which is asked when this is left out."""
    patience: int = 3
    """So many times in a row it may not answer, its dependencies being ready; then it is ended, and started again."""


class Retrying(str):
    """What a living service has trouble with, and tries again by itself: starting it anew would not help."""


Condition = Literal["waiting", "starting", "ready", "retrying", "stuck", "restarting", "failed", "stopping"]
"""`waiting` for its dependencies; `retrying`: it works on what is in its way; `stuck`: it runs and does not answer."""


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
