"""What an import did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Imported:
    """What an import did."""

    source: str
    read: int = 0
    imported: int = 0
    rejected: int = 0
    disorder_ms: int = 0
    """How far an event lay behind the latest before it, at most, in the whole source."""
    already: list[str] = field(default_factory=list)
    """Files that the source held already; nothing of them was written again."""
    reasons: dict[str, int] = field(default_factory=dict)
    late: int = 0
    """Retimed onto the live topic: events that were sent later than the bound allows."""
    seconds: float = 0.0

    @property
    def bound_ms(self) -> int:
        return self.disorder_ms + 1

    def as_json(self) -> dict[str, Any]:
        return self.__dict__ | {"bound_ms": self.bound_ms}
