"""Typed, frozen settings, and the durations and names they are made of.

What a user may choose lives here; where a service listens, and which run is current, is state
(`rtap_lab.stack.state`). Nothing here reads a file or starts anything.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args
from urllib.parse import urlsplit

from rtap_lab.errors import SettingsError

Duration = str | float | timedelta
"""A text such as "10s", a number of seconds, or a timedelta."""
Delivery = Literal["exactly_once", "low_latency"]
StateBackend = Literal["hashmap", "rocksdb"]
"""As Flink calls them: on the heap, or in files of RocksDB."""
Profile = Literal["core", "full"]
StoreKind = Literal["sqlite", "influxdb"]

LIVE = "live"
"""The source of the events that happen now; every other source is a recorded one."""

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
"""The names of this machine that a browser may use; another one was made to point here (DNS rebinding)."""

PARTITIONS = 12
"""Partitions of `events` and of each recorded source."""

RETENTION_MS = 6 * 3_600_000
"""How long `events` keeps a record, unless a lab says otherwise."""

LEAST_RETENTION_MS = 60_000
"""The shortest retention: the broker looks for what is past it every few seconds at most."""

TRANSACTION_MS = 24 * 3_600_000
"""How long a transaction may stay open: one that was prepared before a laptop slept is there to be committed when it wakes."""

EVENTS_RETENTION_BYTES = 1 << 30
"""Of each partition of `events`, whatever its age."""

_UNITS = {
    "ms": 1,
    "s": 1000, "sec": 1000, "second": 1000, "seconds": 1000,
    "m": 60_000, "min": 60_000, "minute": 60_000, "minutes": 60_000,
    "h": 3_600_000, "hour": 3_600_000, "hours": 3_600_000,
}  # fmt: skip
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)
_SOURCE = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def duration_ms(value: Duration, *, name: str = "duration") -> int:
    """Return a duration in whole milliseconds.

    Args:
        value: "10s", "30 min", "1500 ms", a `timedelta`, or a number of seconds.
        name: What the value is for; named in the error.

    Raises:
        SettingsError: When it is not a duration above zero.
    """
    if isinstance(value, timedelta):
        result = value / timedelta(milliseconds=1)
    elif isinstance(value, str):
        match = _DURATION.fullmatch(value)
        unit = _UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise SettingsError(
                f"{name}: {value!r} is not a duration",
                hint='write a number and a unit, such as "500ms", "10s", "30min" or "1h"',
            )
        result = float(match[1]) * unit
    else:
        result = float(value) * 1000
    if result < 1 or result != int(result):
        raise SettingsError(f"{name}: {value!r} must be a whole number of milliseconds, 1 or more")
    return int(result)


def duration_text(ms: int) -> str:
    """A duration as people say it, in the two largest units that it has: "2 h 5 min", "1 min 30 s", "250 ms"."""
    units = (("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))
    parts = []
    for unit, size in units:
        if ms >= size:
            parts.append(f"{ms // size} {unit}")
            ms %= size
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def source_name(name: str, *, reserved: frozenset[str] = frozenset()) -> str:
    """Return the name of a recorded source, checked.

    Raises:
        SettingsError: When it does not fit `[a-z][a-z0-9_-]{0,39}` or is taken.
    """
    if not _SOURCE.fullmatch(name):
        raise SettingsError(
            f"source {name!r}: a source's name is a lower-case letter, then up to 39 of a-z 0-9 _ -",
            hint="name it with --source, for example --source weblog",
        )
    if name in reserved | {"late", "rejected", LIVE}:
        raise SettingsError(f"source {name!r}: the name is taken", hint="choose another --source")
    return name


@dataclass(frozen=True)
class JobParameters:
    """What a run of the standard job may vary. Durations are milliseconds."""

    gap_ms: int = 30 * 60_000
    """Session gap."""
    within_ms: int = 30 * 60_000
    """How far a purchase may follow an add to cart."""
    bound_ms: int = 2_000
    """How far an event may arrive behind its time before it is late."""
    delivery: Delivery = "exactly_once"
    state_backend: StateBackend | None = None
    """Where Flink keeps its state; None: `rocksdb` live, `hashmap` on a recorded source, where MATCH_RECOGNIZE catches up quadratically
    on RocksDB. A recorded source whose state outgrows the TaskManager's memory needs `rocksdb`."""

    def __post_init__(self) -> None:
        if self.delivery not in get_args(Delivery):
            raise SettingsError(
                f"delivery: {self.delivery!r} is not known", hint=f"one of {', '.join(get_args(Delivery))}"
            )
        if self.state_backend is not None and self.state_backend not in get_args(StateBackend):
            raise SettingsError(
                f"state_backend: {self.state_backend!r} is not known",
                hint=f"one of {', '.join(get_args(StateBackend))}",
            )
        for name in ("gap_ms", "within_ms", "bound_ms"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name[:-3]}: must be 1 ms or more")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class JobOptions(TypedDict, total=False):
    """The parameters of a job as a person gives them; what is left out (or None) stays as it is."""

    gap: Duration | None
    within: Duration | None
    bound: Duration | None
    delivery: str | None
    state_backend: str | None


def job_changes(**options: Unpack[JobOptions]) -> dict[str, Any]:
    """The given parameters of a job by their names in `JobParameters`, checked.

    Raises:
        SettingsError: When one has no usable value.
    """
    changes: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            is_word = name in ("delivery", "state_backend")
            changes[name if is_word else f"{name}_ms"] = value if is_word else duration_ms(value, name=name)  # type: ignore[arg-type]
    JobParameters(**changes)
    return changes


MOST_HUBS = 8
"""Hubs on one machine: each reads and hashes all rows for itself."""


@dataclass(frozen=True)
class Settings:
    """What a user chose for one lab; kept in its state folder."""

    profile: Profile = "core"
    store: StoreKind = "sqlite"
    java: str | None = None
    """A `java` to use instead of the wheel's."""
    retention_ms: int = RETENTION_MS
    """How long `events` keeps a record."""
    transaction_ms: int = TRANSACTION_MS
    """How long a transaction of a job may stay open. A test may scale it down; an import needs the whole."""
    hubs: int = 1
    """Processes that serve live clients, each with a port of its own."""
    proxy: str = ""
    """How browsers reach a port of this machine, where a proxy stands before it and takes the prefix away:
    `https://hub.example.org/user/me/proxy/{port}`; empty: as 127.0.0.1."""

    @property
    def segment_ms(self) -> int:
        """How long a segment of `events` takes records (15 min of 6 h): a segment goes as a whole, once its last record is past
        the retention, and the ticks would keep one alive for days.
        """
        return max(self.retention_ms // 24, 5_000)

    @property
    def deduplication_ms(self) -> int:
        """How long a live job remembers an event_id (7 h of 6 h): longer than the topic keeps its record."""
        return self.retention_ms + max(self.retention_ms // 6, 180_000)

    @property
    def hosts(self) -> frozenset[str]:
        """The names under which browsers may come: this machine's, and the proxy's."""
        return LOCAL | ({str(urlsplit(self.proxy).hostname)} if self.proxy else set())

    def for_browsers(self, address: str, port: int) -> str:
        """An address of this machine as browsers reach it: itself, or the proxy's."""
        if not self.proxy:
            return address
        proxied = self.proxy.rstrip("/").replace("{port}", str(port))
        # with a slash: some proxies send who comes without one to the other address, and a WebSocket does not go there
        return f"{re.sub('^http', 'ws', proxied)}/" if address.startswith("ws") else proxied

    @property
    def hub_names(self) -> list[str]:
        """The service names of the hubs: hub, hub-2 and so on."""
        return ["hub", *(f"hub-{n}" for n in range(2, self.hubs + 1))]

    def __post_init__(self) -> None:
        parts = urlsplit(self.proxy)
        if self.proxy and (parts.scheme not in ("http", "https") or not parts.hostname or "{port}" not in parts.path):
            raise SettingsError(
                f"--proxy {self.proxy!r}: this is no address with a place for a port",
                hint="as jupyter-server-proxy has it: --proxy 'https://hub.example.org/user/me/proxy/{port}'",
            )
        if not 1 <= self.hubs <= MOST_HUBS:
            raise SettingsError(f"--hubs {self.hubs}: 1 to {MOST_HUBS}")
        if self.retention_ms < LEAST_RETENTION_MS:
            raise SettingsError(
                "retention: must be a minute or more", hint="`--retention 6h` keeps events for six hours"
            )
        if self.profile not in get_args(Profile):
            raise SettingsError(
                f"profile: {self.profile!r} is not known", hint=f"one of {', '.join(get_args(Profile))}"
            )
        if self.store not in get_args(StoreKind):
            raise SettingsError(f"store: {self.store!r} is not known", hint=f"one of {', '.join(get_args(StoreKind))}")


def state_folder(path: str | Path | None = None) -> Path:
    """Return the state folder: the argument, else `RTAP_STATE`, else `.rtap` here."""
    return Path(path or os.environ.get("RTAP_STATE") or ".rtap").absolute()
