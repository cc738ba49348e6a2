"""Windows as values: which ones an event belongs to. `[start, end)`, milliseconds since the epoch.

Tumble, hop and cumulate windows are made of slices: the largest pieces that no window's edge cuts. An
event is kept once, in its slice; a window is the sum of its slices (J. Li et al., "No Pane, No Gain",
SIGMOD Record 34(1), 2005).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from rtap_lab.errors import SettingsError


def _positive(window: str, **durations: int) -> None:
    for name, value in durations.items():
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise SettingsError(f"{window}: {name} must be a whole number of milliseconds above 0, not {value!r}")


class TumbleWindow(msgspec.Struct, frozen=True, tag_field="kind", tag="tumble"):
    """Windows of one size, one after the other."""

    size_ms: int

    def __post_init__(self) -> None:
        _positive("tumble", size_ms=self.size_ms)

    @property
    def slice_ms(self) -> int:
        return self.size_ms

    def of_slice(self, start: int) -> Iterator[tuple[int, int]]:
        """The windows that contain a slice, as (start, end), the earliest end first."""
        yield start, start + self.size_ms


class HopWindow(msgspec.Struct, frozen=True, tag_field="kind", tag="hop"):
    """Windows of one size that begin every `slide_ms`; they overlap (a sliding window).

    Raises:
        SettingsError: When the size is not a multiple of the slide, as Flink asks.
    """

    size_ms: int
    slide_ms: int

    def __post_init__(self) -> None:
        _positive("hop", size_ms=self.size_ms, slide_ms=self.slide_ms)
        if self.size_ms % self.slide_ms:
            raise SettingsError(
                f"hop: the size ({self.size_ms} ms) must be a multiple of the slide ({self.slide_ms} ms)"
            )

    @property
    def slice_ms(self) -> int:
        return self.slide_ms

    def of_slice(self, start: int) -> Iterator[tuple[int, int]]:
        """The windows that contain a slice, as (start, end), the earliest end first."""
        for end in range(start + self.slide_ms, start + self.size_ms + 1, self.slide_ms):
            yield end - self.size_ms, end


class CumulateWindow(msgspec.Struct, frozen=True, tag_field="kind", tag="cumulate"):
    """Windows that begin together and grow by `step_ms` up to `size_ms`.

    Raises:
        SettingsError: When the size is not a multiple of the step, as Flink asks.
    """

    size_ms: int
    step_ms: int

    def __post_init__(self) -> None:
        _positive("cumulate", size_ms=self.size_ms, step_ms=self.step_ms)
        if self.size_ms % self.step_ms:
            raise SettingsError(
                f"cumulate: the size ({self.size_ms} ms) must be a multiple of the step ({self.step_ms} ms)"
            )

    @property
    def slice_ms(self) -> int:
        return self.step_ms

    def of_slice(self, start: int) -> Iterator[tuple[int, int]]:
        """The windows that contain a slice, as (start, end), the earliest end first."""
        first = start // self.size_ms * self.size_ms
        for end in range(start + self.step_ms, first + self.size_ms + 1, self.step_ms):
            yield first, end


class SessionWindow(msgspec.Struct, frozen=True, tag_field="kind", tag="session"):
    """A key's events, none more than `gap_ms` after the one before; it ends `gap_ms` after its last.

    A gap of exactly `gap_ms` still merges: Flink merges windows that touch (`TimeWindow.intersects`).
    """

    gap_ms: int

    def __post_init__(self) -> None:
        _positive("session", gap_ms=self.gap_ms)


AlignedWindow = TumbleWindow | HopWindow | CumulateWindow
Window = AlignedWindow | SessionWindow
