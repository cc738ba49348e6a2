"""Pure: in which order services start and stop, and how long to wait before the next try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rtap_lab.errors import SettingsError


def start_order(depends: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Services in levels: all of a level may start at once, after the levels before it.

    Args:
        depends: For each service, what must be ready first; unknown names are ignored, so that a
            profile may leave services out.

    Raises:
        SettingsError: When services wait for each other.
    """
    left = {name: {d for d in needs if d in depends} for name, needs in depends.items()}
    levels: list[list[str]] = []
    while left:
        level = sorted(name for name, needs in left.items() if not needs)
        if not level:
            raise SettingsError(f"services wait for each other: {sorted(left)}")
        levels.append(level)
        left = {name: needs - set(level) for name, needs in left.items() if name not in level}
    return levels


def stop_order(depends: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The start order, backwards."""
    return start_order(depends)[::-1]


def backoff(failures: int, *, first: float = 0.2, longest: float = 10.0) -> float:
    """Seconds to wait before the next start, after so many failures in a row."""
    return min(longest, first * float(2 ** min(max(failures - 1, 0), 16)))
