"""The ports of one lab: chosen once, kept in its state folder, all on 127.0.0.1."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rtap_lab.errors import SettingsError
from rtap_lab.stack.process import free_port, is_free, port_owner
from rtap_lab.stack.state import Document, State

Ports = dict[str, int]


def ports_document(state: State) -> Document[Ports]:
    """The chosen ports by name; written by `choose_ports` alone, while nothing is up."""
    return Document(state, "ports", Ports, dict)


def choose_ports(state: State, names: Collection[str], wanted: Mapping[str, int]) -> Ports:
    """Choose the ports of a lab that is about to start: those of last time where they are free, else new ones.

    Args:
        state: The lab.
        names: What needs a port.
        wanted: Ports that must be these.

    Raises:
        SettingsError: When a wanted port is taken, or names nothing that has one.
    """
    document = ports_document(state)
    chosen = dict(document.read())
    for name, port in wanted.items():
        if name not in names:
            raise SettingsError(f"--port {name}: nothing of that name has a port", hint=f"one of {', '.join(names)}")
        if not is_free(port):
            raise SettingsError(
                f"port {port}, wanted for {name}, is taken by {port_owner(port)}",
                hint="stop that program, or let the lab choose: leave out --port",
            )
        chosen[name] = port
    chosen = {name: port for name, port in chosen.items() if is_free(port)}
    for name in names:
        if name not in chosen:
            chosen[name] = free_port(set(chosen.values()))
    document.write(chosen)
    return chosen
