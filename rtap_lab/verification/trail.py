"""Where a reading of a topic went, while the topic may forget from its beginning. Pure.

A verification that reads for minutes may find that records expired before it came to them: Kafka's reader goes on at what is left,
and says nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class Trail:
    """The offsets that were read of each partition, as far as they are not one after the other.

    Args:
        positions: Where each partition is read from.
        fresh: Partitions of which nothing was read before, and which begin behind records that had expired: there more of them
            may be missing without harm.
    """

    def __init__(self, positions: Mapping[int, int], fresh: Collection[int] = ()) -> None:
        self._positions = dict(positions)
        self._fresh = frozenset(fresh)
        self._next = dict(positions)
        self._jumps: list[tuple[int, int, int]] = []

    def note(self, partition: int, offset: int) -> None:
        """A record was read."""
        expected = self._next.get(partition, 0)
        if offset != expected:
            self._jumps.append((partition, expected, offset))
        self._next[partition] = offset + 1

    def begins(self, starts: Mapping[int, int]) -> dict[int, int]:
        """Of fresh partitions whose first records expired before they were read: where their reading begins.

        Args:
            starts: Where each partition begins now.
        """
        return {p: to for p, at, to in self._jumps if self._leads(p, at) and at < starts.get(p, 0)}

    def has_hole(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> bool:
        """Whether records may have expired between others that were read, or behind them. What lies between for good (markers
        of transactions) is told from that only where the log still begins before it.

        Args:
            starts: Where each partition begins now.
            ends: Up to where each was read.
        """
        if any(self._next.get(p, 0) < min(end, starts.get(p, 0)) for p, end in ends.items()):
            return True
        return any(at < starts.get(p, 0) and not self._leads(p, at) for p, at, _ in self._jumps)

    def _leads(self, partition: int, at: int) -> bool:
        return partition in self._fresh and at == self._positions.get(partition, 0)
