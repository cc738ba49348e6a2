"""Watermarks: how far event time has certainly come, over partitions with bounded disorder."""

from __future__ import annotations

from collections.abc import Iterable

from rtap_lab.reference.windowing import BEGIN


class Watermarks:
    """The least over partitions of (greatest time - bound); it never goes back.

    Args:
        bound_ms: How far behind the greatest time of its partition an event may still be.
        partitions: All that there are; before each was heard from there is no watermark.
        idle_after_ms: A partition that was silent for so long is passed over. None (the lab's rule: its
            ticker keeps partitions talking, since idleness loses rows on catch-up): never.
    """

    def __init__(self, bound_ms: int, partitions: Iterable[int], *, idle_after_ms: int | None = None) -> None:
        self.bound_ms = bound_ms
        self.idle_after_ms = idle_after_ms
        self._greatest: dict[int, int] = dict.fromkeys(partitions, BEGIN)
        self._heard: dict[int, int] = {}
        self._watermark = BEGIN

    def observe(self, partition: int, time_ms: int, *, now_ms: int = 0) -> None:
        """A record of a partition.

        Args:
            partition: Its number.
            time_ms: The time that the bound counts from: of the lab's sources, the arrival.
            now_ms: The clock, for idleness.
        """
        if time_ms > self._greatest.get(partition, BEGIN):
            self._greatest[partition] = time_ms
        self._heard[partition] = now_ms

    def current(self, *, now_ms: int = 0) -> int:
        """The watermark.

        Args:
            now_ms: The clock, for idleness.
        """
        times = [
            greatest
            for partition, greatest in self._greatest.items()
            if self.idle_after_ms is None or now_ms - self._heard.get(partition, now_ms) < self.idle_after_ms
        ]
        if times and (least := min(times)) > BEGIN:
            self._watermark = max(self._watermark, least - self.bound_ms)
        return self._watermark
