"""A service that is a JVM, with its class-data archive."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rtap_lab.stack.java import Jvm
from rtap_lab.stack.service import Service


def jvm_service(
    name: str,
    build: Callable[[], Jvm],
    probe: Callable[[], str | None],
    lives: Callable[[], str | None] | None = None,
    *,
    depends: tuple[str, ...] = (),
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    link: str | None = None,
) -> Service:
    """Declare a JVM.

    Args:
        name: The service's.
        build: Writes its configuration and gives its command; called before each start.
        probe: Asks it whether it works.
        lives: Asks it so once it was ready; `probe` does when this is left out.
        depends: What must be ready first.
        port: Where it listens.
        environment: Further environment.
        link: Where a person can look at it.
    """
    last: list[Jvm] = []

    def prepare() -> list[str]:
        last[:] = [build()]
        return last[0].command

    def archive() -> None:
        if last:  # an adopted process belongs to an earlier supervisor: its archive is not kept
            last[0].archive()

    # writing a class-data archive at the end takes a JVM a few seconds, once per user
    return Service(
        name,
        prepare,
        lambda pid: probe(),
        depends,
        port,
        environment or {},
        link,
        grace=25,
        archive=archive,
        lives=(lambda pid: lives()) if lives else None,
    )
