"""Where the services of one lab listen: chosen once, kept in the state folder, free for this lab."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtap_lab.errors import NotRunningError, SettingsError
from rtap_lab.settings import Profile
from rtap_lab.stack.process import free_port, is_free, port_owner
from rtap_lab.stack.state import State

_NAMES = [
    "kafka",
    "kafka-2",
    "kafka-3",
    "controller",
    "controller-2",
    "controller-3",
    "registry",
    "registry-management",
    "flink",
    "flink-rpc",
    "flink-blob",
    "taskmanager-data",
    "gateway",
    "store",
    "hub",
    "dashboard",
]
_ALIASES = {"kafka-1": "kafka", "jobmanager": "flink"}


@dataclass(frozen=True)
class Addresses:
    """The ports of one lab, all on 127.0.0.1."""

    ports: Mapping[str, int]
    profile: Profile

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def kafka(self) -> str:
        names = ["kafka", "kafka-2", "kafka-3"] if self.profile == "full" else ["kafka"]
        return ",".join(f"127.0.0.1:{self.ports[name]}" for name in names)

    @property
    def hub(self) -> str:
        return f"ws://127.0.0.1:{self.ports['hub']}"

    @property
    def brokers(self) -> int:
        return 3 if self.profile == "full" else 1


def choose(state: State, profile: Profile, wanted: Mapping[str, int], *, living: bool) -> Addresses:
    """Choose the lab's ports: those of last time where they are free, else new ones.

    Args:
        state: The lab.
        profile: Which services there are.
        wanted: Ports that must be these.
        living: Whether services of this lab run already; then nothing is chosen anew.

    Raises:
        SettingsError: When a wanted port is taken, or names no service.
    """
    kept = {name: port for name, port in (state.read("ports") or {}).items() if name in _NAMES}
    if not living:
        for name, port in wanted.items():
            name = _ALIASES.get(name, name)
            if name not in _NAMES:
                raise SettingsError(f"--port {name}: no such service", hint=f"one of {', '.join(_NAMES)}")
            if not is_free(port):
                raise SettingsError(
                    f"port {port}, wanted for {name}, is taken by {port_owner(port)}",
                    hint="stop that program, or let the lab choose: leave out --port",
                )
            kept[name] = port
        kept = {name: port for name, port in kept.items() if is_free(port)}
    for name in _NAMES:
        needed = profile == "full" or not name.endswith(("-2", "-3"))
        if needed and name not in kept:
            kept[name] = free_port(set(kept.values()))
    state.write("ports", kept)
    return Addresses(kept, profile)


def known(state: State) -> Addresses:
    """The addresses of a lab that has been up.

    Raises:
        NotRunningError: When it never was.
    """
    ports, chosen = state.read("ports"), state.read("settings")
    if not ports or not chosen:
        raise NotRunningError(f"no stack is up in {state.folder}", hint="start it: rtap up")
    return Addresses(ports, chosen["profile"])
