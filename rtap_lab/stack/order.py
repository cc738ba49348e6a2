"""Pure: in which order services start and stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from rtap_lab.errors import SettingsError


def start_order(depends: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Services in levels: all of a level may start at once, after the levels before it.

    Args:
        depends: For each service, what must be ready first; unknown names are ignored, so that a
            profile may leave services out.

    Raises:
        SettingsError: When services wait for each other.
    """
    sorter = TopologicalSorter({name: [d for d in needs if d in depends] for name, needs in depends.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise SettingsError(f"services wait for each other: {' -> '.join(error.args[1])}") from error
    levels: list[list[str]] = []
    while sorter.is_active():
        level = sorted(sorter.get_ready())
        sorter.done(*level)
        levels.append(level)
    return levels


def stop_order(depends: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The start order, backwards."""
    return start_order(depends)[::-1]
