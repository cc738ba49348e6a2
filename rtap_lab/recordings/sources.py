"""What a lab knows of its recorded sources."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec


def digest_of_value(value: bytes | None) -> int:
    """BLAKE2b-64 of a record's value, as a number."""
    return int.from_bytes(hashlib.blake2b(value or b"", digest_size=8).digest(), "big")


def content_of(total: int) -> str:
    """The sum of the digests of all values, as it is kept (`ImportedFile.content`)."""
    return f"{total % 2**64:016x}"


Format = Literal["access-log", "jsonl", "slice"]


class ImportedFile(msgspec.Struct, frozen=True):
    """One file of a source."""

    name: str
    read: int
    """Lines."""
    imported: int
    rejected: int
    content: str | None = None
    """The sum, modulo 2^64, of the BLAKE2b-64 digests of its events as they were written, 16 hex digits: whatever their order, and
    whether or not a query looks at what differs. None: not known (it was written before this was kept)."""


class Source(msgspec.Struct, frozen=True):
    """A recorded source: a topic of its own, and what was imported into it."""

    format: Format
    latest_ms: int | None = None
    """The greatest event time so far, milliseconds since the epoch."""
    disorder_ms: int = 0
    """How far an event lay behind the latest before it, at most."""
    files: dict[str, ImportedFile] = {}
    """By the SHA-256 of the content."""
    pending: Pending | None = None
    """An import whose commit was asked for and not seen to be done."""

    refused_from: int = 0
    """The offset in `events.rejected` before which rows are of an earlier source of its name."""

    @property
    def lateness_bound_ms(self) -> int:
        """The bound under which nothing of the source is late."""
        return self.disorder_ms + 1

    @property
    def steady(self) -> bool:
        """Whether no arrival lies before an earlier one: the importer writes a running maximum, a slice has its own."""
        return self.format != "slice"

    @property
    def events(self) -> int:
        """How many events were imported."""
        return sum(each.imported for each in self.files.values())

    @property
    def refused_lines(self) -> int:
        """How many lines were refused."""
        return sum(each.rejected for each in self.files.values())

    def as_json(self) -> dict[str, Any]:
        """What it is, as plain values."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        del facts["pending"]
        return facts | {"bound_ms": self.lateness_bound_ms}


class Pending(msgspec.Struct, frozen=True):
    """What becomes of a source when an import's transaction was committed."""

    after: Source
    starts: dict[str, int]
    """The end of each partition before the import."""


Sources = dict[str, Source]
