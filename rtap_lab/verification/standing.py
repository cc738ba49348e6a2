"""How far a live run is verified and what the rest needs, kept on disk from one verification to the next."""

from __future__ import annotations

import bisect
import hashlib
import io
import logging
import os
import pickle
import time
from array import array
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from rtap_lab.reference.fates import Fate
from rtap_lab.reference.windowing import BEGIN
from rtap_lab.verification.comparing import Row
from rtap_lab.verification.recomputing import Recomputation
from rtap_lab.verification.report import Subject

log = logging.getLogger("rtap")

_HALF_S = 600
"""Seconds after which a file that was not written to its end goes."""

VERSION = 1
"""Of what is written down; another version's is not read."""


@dataclass
class Standing:
    """What a verification leaves for the next one of the same run.

    Only one that found everything right leaves something: what differs is looked at from the beginning.
    """

    recomputation: Recomputation
    results: dict[str, int]
    """The offset from which each result topic is read on."""
    shared: dict[str, int]
    """The offset from which each topic of late and rejected records is read on."""
    ahead: dict[str, list[Row]] = field(default_factory=dict)
    """Rows of result topics that were read and were not due, by query."""
    kept_ahead: dict[Fate, list[Row]] = field(default_factory=dict)
    """Rows about late and rejected records that had not been recomputed."""
    told: dict[Fate, dict[int, array[int]]] = field(default_factory=dict)
    """Offsets, by partition, of the late and rejected records that were compared: rows about them may come again."""
    upto_ms: int = BEGIN
    """Rows are compared up to here."""
    totals: dict[tuple[str, str], int] = field(default_factory=dict)
    """Rows that were compared, by query and place."""
    hours: dict[str, list[Row]] = field(default_factory=dict)
    """Rows of the hours whose rollup is not compared yet, by query."""
    rolled_up_ms: dict[str, int] = field(default_factory=dict)
    """Up to when the rollup of a query is compared."""

    def was_told(self, fate: Fate, partition: int, offset: int) -> bool:
        """Whether a record was compared as late or rejected."""
        offsets = self.told.get(fate, {}).get(partition)
        if offsets is None:
            return False
        at = bisect.bisect_left(offsets, offset)
        return at < len(offsets) and offsets[at] == offset

    def tell(self, fate: Fate, partition: int, offset: int) -> None:
        """A record was compared as late or rejected; offsets come in order."""
        self.told.setdefault(fate, {}).setdefault(partition, array("q")).append(offset)


def anew(
    subject: Subject,
    starts: Mapping[int, int],
    *,
    shared: Mapping[str, int],
    kept_ms: int | None,
    first: Mapping[str, int] | None = None,
) -> Standing:
    """The standing of a run of which nothing is verified.

    Args:
        subject: The run.
        starts: The first offset of each partition of its source.
        shared: Where rows about its source begin in the topics of late and rejected records.
        kept_ms: For how long an event id is remembered; None: for good.
        first: See `Recomputation`.
    """
    recomputation = Recomputation(
        subject.queries, bound_ms=subject.parameters.bound_ms, starts=starts, kept_ms=kept_ms, first=first
    )
    begins = {topic: subject.begins[topic] for topic in subject.results.values()}
    return Standing(recomputation, begins, dict(shared))


class Standings:
    """The standings of a lab's live runs, a file each.

    Args:
        folder: Where they lie; made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, subject: Subject) -> Standing | None:
        """What the newest verification of a run left; None where it left nothing that still fits."""
        try:
            kept = _Reader(io.BytesIO(self._path(subject).read_bytes())).load()
            if kept["of"] != _fingerprint(subject):
                return None
            standing = anew(subject, {}, shared={}, kept_ms=kept["kept_ms"])
            standing.recomputation.state = kept["recomputation"]
            for name, value in kept["rest"].items():
                setattr(standing, name, value)
        except (OSError, pickle.UnpicklingError, EOFError, KeyError, AttributeError, TypeError, ValueError):
            return None  # it is verified from the beginning
        return standing

    def write(self, subject: Subject, standing: Standing | None) -> None:
        """Keep a standing, in place of the one before; None: the next verification begins at the beginning."""
        path = self._path(subject)
        if standing is None:
            with suppress(FileNotFoundError):
                path.unlink()
            return
        rest = {name: value for name, value in vars(standing).items() if name != "recomputation"}
        kept = {
            "of": _fingerprint(subject),
            "kept_ms": standing.recomputation.ids.kept_ms,
            "recomputation": standing.recomputation.state,
            "rest": rest,
        }
        beside = path.with_suffix(f".{os.getpid()}")
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                pickle.dump(kept, file, protocol=5)
            beside.replace(path)
        except OSError as error:  # the verdict stands all the same
            for each in (beside, path):
                with suppress(OSError):
                    each.unlink()
            log.warning(
                "verify: how far %s is verified could not be kept, the next begins anew: %s", subject.key, error
            )

    def keep_only(self, keys: set[str]) -> None:
        """Remove the standings of runs other than these (`JOB/SOURCE`)."""
        wanted = {_name(key) for key in keys}
        for path in list(self.folder.iterdir()) if self.folder.is_dir() else ():
            half = path.suffix != ".pickle"  # who writes it has ended, or will have replaced it by then
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _HALF_S if half else path.name not in wanted:
                    path.unlink()

    def _path(self, subject: Subject) -> Path:
        return self.folder / _name(subject.key)


def _name(key: str) -> str:
    return f"{key.replace('/', '@')}.pickle"


def _fingerprint(subject: Subject) -> str:
    """What a standing belongs to: a run, what it asks and how."""
    queries = [(query.name, msgspec.json.encode(query.definition).decode()) for query in subject.queries]
    facts = (VERSION, subject.key, subject.run, subject.parameters, queries, sorted(subject.begins.items()))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


class _Reader(pickle.Unpickler):
    """Reads plain data and the reference engine's state: a pickle can name anything, and is told no."""

    _KNOWN: ClassVar = {
        ("array", "array"),
        ("array", "_array_reconstructor"),
        ("builtins", "set"),
        ("collections", "Counter"),
        ("collections", "defaultdict"),
        ("decimal", "Decimal"),
        ("rtap_lab.reference.fates", "Event"),
        ("rtap_lab.reference.matching", "Attempt"),
        ("rtap_lab.reference.matching", "_Keyed"),
        ("rtap_lab.verification.recomputing", "Kept"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._KNOWN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} does not belong here")
