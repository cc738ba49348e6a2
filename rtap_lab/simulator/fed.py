"""What was sent of a run, and how far it slipped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Fed:
    """What was sent."""

    sent: int = 0
    seconds: float = 0.0
    failed: int = 0
    slips: Counter[int] = field(default_factory=Counter)
    """How much later than intended messages left, counted in steps of 10 µs."""

    def slip_ms(self, share: float) -> float:
        """A quantile of the slip, milliseconds."""
        rest = share * sum(self.slips.values())
        for step in sorted(self.slips):
            rest -= self.slips[step]
            if rest <= 0:
                return step / 100
        return 0.0
