"""What a service is to the supervisor: a command, what it waits for, and a proof that it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


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
    cwd: Path | None = None
