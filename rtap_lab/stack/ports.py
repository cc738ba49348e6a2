"""The ports of one lab: chosen once, kept in its state folder, all on 127.0.0.1."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from rtap_lab.errors import SettingsError
from rtap_lab.stack.process import free_port, is_free, port_holder, port_owner
from rtap_lab.stack.state import Document, State
from rtap_lab.waiting import until

Ports = dict[str, int]

LINGER_S = 10.0
"""The sockets of a process that was killed are still there for a moment, for seconds where the machine is busy."""


def ports_document(state: State) -> Document[Ports]:
    """The chosen ports by name; written by `choose_ports` alone, while nothing is up."""
    return Document(state, "ports", Ports, dict)


def choose_ports(state: State, names: Collection[str], wanted: Mapping[str, int]) -> Ports:
    """Choose the ports of a lab that is about to start: those of last time where they are free, else new ones.

    A client that is connected keeps to the port that it knows, so one that nobody is seen to hold is waited for.

    Args:
        state: The lab.
        names: What needs a port.
        wanted: Ports that must be these.

    Raises:
        SettingsError: When a wanted port is taken, or names nothing that has one.
    """
    document = ports_document(state)
    chosen = dict(document.read())
    deadline = time.monotonic() + LINGER_S
    for name, port in wanted.items():
        if name not in names:
            raise SettingsError(f"--port {name}: nothing of that name has a port", hint=f"one of {', '.join(names)}")
        if not _comes_free(port, deadline):
            raise SettingsError(
                f"port {port}, wanted for {name}, is taken by {port_owner(port)}",
                hint="stop that program, or let the lab choose: leave out --port",
            )
        chosen[name] = port
    chosen = {name: port for name, port in chosen.items() if _comes_free(port, deadline)}
    for name in names:
        if name not in chosen:
            chosen[name] = free_port(set(chosen.values()))
    document.write(chosen)
    return chosen


def _comes_free(port: int, deadline: float) -> bool:
    until(lambda: is_free(port) or port_holder(port) is not None, deadline - time.monotonic())
    return is_free(port)
