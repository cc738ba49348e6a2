"""How long an answer takes: from the record that released it to the client that received it, by stage.

Of a window (and an absence) the origin is the last partition's first record, tick included, whose
arrival lets the watermark pass its end; of a match, its last event. Its time is the header `created`,
else the arrival. Freshness, which includes the bound, is another thing and shown apart.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rtap_lab.endpoints import Endpoint
from rtap_lab.events.codec import decode
from rtap_lab.kafka.clients import read_range
from rtap_lab.queries.query import Catalog
from rtap_lab.tables import Table

STAGES = ("created_to_topic_ms", "topic_to_flink_output_ms", "flink_output_to_hub_ms", "hub_to_client_ms")


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as a client received it; times in milliseconds since the epoch."""

    query: str
    row: Mapping[str, Any]
    appended_ms: int
    received_ms: int
    client_ms: float


class Collector(threading.Thread):
    """A live client that remembers when it received what.

    Args:
        watch: Gives the messages of all standard queries until the event is set.
    """

    def __init__(self, watch: Callable[[threading.Event], Iterator[dict[str, Any]]]) -> None:
        super().__init__(daemon=True, name="collector")
        self._watch = watch
        self.stop = threading.Event()
        self.seen: list[Seen] = []
        self.first = threading.Event()
        """Set when the first live value came."""
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            for message in self._watch(self.stop):
                if message["type"] != "update":
                    continue
                for row in message["rows"]:
                    self.seen.append(
                        Seen(
                            message["channel"],
                            row,
                            message["appended_ms"],
                            message["received_ms"],
                            message["client_ms"],
                        )
                    )
                self.first.set()
        except Exception as error:  # shown by whoever reads the outcome
            self.error = error


@dataclass
class Origins:
    """Of each partition, arrivals in order and when each record was created; created by event."""

    arrivals: dict[int, list[int]] = field(default_factory=dict)
    created: dict[int, list[int]] = field(default_factory=dict)
    events: dict[tuple[str, int], int] = field(default_factory=dict)
    """(visitor, event time) of an event: when it was created."""

    @classmethod
    def read(
        cls, kafka: Endpoint, starts: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]
    ) -> Origins:
        """Read them from a topic."""
        origins = cls()
        for record in read_range(kafka, starts, ends):
            partition, arrival = record.partition() or 0, record.timestamp()[1]
            headers = dict(record.headers() or [])
            stamp = headers.get("created")
            created = int(stamp) if stamp else arrival
            origins.arrivals.setdefault(partition, []).append(arrival)
            origins.created.setdefault(partition, []).append(created)
            for row in decode(record.value()):
                if row.visitor_id and row.event_time:
                    origins.events.setdefault((row.visitor_id, row.event_time), created)
        return origins

    def of_watermark(self, passes_ms: int, bound_ms: int) -> tuple[int, int] | None:
        """Created and arrival of the record that let the watermark reach an instant."""
        last: tuple[int, int] | None = None
        for partition, arrivals in self.arrivals.items():
            index = bisect.bisect_left(arrivals, passes_ms + bound_ms)
            if index in (0, len(arrivals)):  # before what was read, or not there yet
                return None
            found = (self.created[partition][index], arrivals[index])
            if last is None or found[1] > last[1]:
                last = found
        return last


def quantiles(values: Iterable[float]) -> dict[str, float]:
    """p50, p95, p99 and the number of values."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": float("nan"), "p95": float("nan"), "p99": float("nan"), "n": 0}
    pick = {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return pick | {"n": len(ordered)}


def durations(seen: Iterable[Seen], origins: Origins, queries: Catalog, *, bound_ms: int) -> dict[str, list[float]]:
    """The whole way and each stage of every row, in milliseconds.

    Returns:
        `created_to_client_ms` (windows, sessions, absences), its four stages, `match_to_client_ms`
        (from a match's last event: the bound is in it), and `freshness_ms`.
    """
    whole: list[float] = []
    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    matches: list[float] = []
    freshness: list[float] = []
    for each in seen:
        schema = queries[each.query].schema
        row = schema.normal(dict(each.row))
        due = schema.row_time_ms(row)
        if not schema.windowed and not schema.absent_ms:
            last = origins.events.get((row.get("visitor_id", ""), row[schema.time_column]))
            if last is not None:
                matches.append(each.client_ms - last)
            continue
        origin = origins.of_watermark(due, bound_ms)
        if origin is None:
            continue
        created, arrival = origin
        whole.append(each.client_ms - created)
        freshness.append(each.client_ms - due)
        for name, value in zip(
            STAGES,
            (
                arrival - created,
                each.appended_ms - arrival,
                each.received_ms - each.appended_ms,
                each.client_ms - each.received_ms,
            ),
            strict=True,
        ):
            stages[name].append(value)
    return {"created_to_client_ms": whole, **stages, "match_to_client_ms": matches, "freshness_ms": freshness}


def as_table(figures: Mapping[str, Mapping[str, float]]) -> Table:
    """The figures, in milliseconds."""
    rows = [
        [name.removesuffix("_ms").replace("_", " "), q["p50"], q["p95"], q["p99"], q["n"]]
        for name, q in figures.items()
    ]
    return Table(("milliseconds", "p50", "p95", "p99", "n"), rows)
