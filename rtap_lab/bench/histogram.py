"""A histogram of latencies that can be merged: of several runs the merged one has percentiles, their average has none. Pure.

The buckets are those of HdrHistogram (G. Tene, hdrhistogram.org) with three significant digits: below 2,048 us one each, above
that 1,024 for each doubling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

_LINEAR = 2048
_HALF = 1024


class Histogram:
    """Counts of durations, exact to a thousandth."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    @classmethod
    def of(cls, values_ms: Iterable[float]) -> Histogram:
        """One of these durations, in milliseconds; below zero counts as zero."""
        made = cls()
        made.add(values_ms)
        return made

    @classmethod
    def from_json(cls, counts: Mapping[str, int]) -> Histogram:
        """As `as_json` gave it."""
        made = cls()
        made.counts.update({int(bucket): count for bucket, count in counts.items()})
        return made

    def as_json(self) -> dict[str, int]:
        """Counts by bucket."""
        return {str(bucket): count for bucket, count in sorted(self.counts.items())}

    def add(self, values_ms: Iterable[float]) -> None:
        """Count durations, in milliseconds."""
        us = np.maximum(np.rint(np.fromiter(values_ms, float) * 1000), 0).astype(np.int64)
        if not us.size:
            return
        shift = np.maximum(np.frexp(us.astype(float))[1] - 11, 0)
        buckets = np.where(us < _LINEAR, us, _LINEAR + (shift - 1) * _HALF + (us >> shift) - _HALF)
        found, counts = np.unique(buckets, return_counts=True)
        self.counts.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))

    def merge(self, other: Histogram) -> None:
        """Count what another counted, too."""
        self.counts.update(other.counts)

    def __len__(self) -> int:
        return self.counts.total()

    def quantile_ms(self, share: float) -> float:
        """The duration that such a share of them does not exceed, milliseconds; NaN of none."""
        rest = share * len(self)
        for bucket in sorted(self.counts):
            rest -= self.counts[bucket]
            if rest <= 0:
                return _middle_us(bucket) / 1000
        return float("nan")


def _middle_us(bucket: int) -> float:
    if bucket < _LINEAR:
        return bucket
    shift, rest = divmod(bucket - _LINEAR, _HALF)
    return float((rest + _HALF) << (shift + 1)) + (1 << shift)
