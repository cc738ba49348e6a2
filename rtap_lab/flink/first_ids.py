"""Which ids of a batch come for the first time, a thousand at once. Pure; runs inside Flink.

An open hash table in numpy (linear probing: Knuth, TAOCP 3, 6.4) of 64-bit hashes, and the ids themselves beside it: where hashes
are equal the bytes decide, so that the answer is exact whatever collides. The hash multiplies and mixes word after word with keys
that are drawn for each process, so that nobody can choose ids which meet in one slot.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import pyarrow as pa

Numbers = np.ndarray[Any, Any]

MOST_WORDS = 16
"""Longer ids (of 128 bytes) are hashed one by one."""

_ROWS = 20
"""Bits of a place that say which row of its block it is."""

_MIX = np.uint64(0x9E3779B97F4A7C15)


class FirstIds:
    """The ids that have come so far."""

    def __init__(self) -> None:
        self._keys = np.frombuffer(secrets.token_bytes(8 * (MOST_WORDS + 1)), np.uint64) | np.uint64(1)
        self._blocks: list[tuple[Numbers, Numbers]] = []
        self._held = 0
        self._make(16)

    def __len__(self) -> int:
        return self._held

    def add(self, ids: pa.StringArray) -> Numbers:
        """Take a batch's ids; True for each that came for the first time, in the batch's order.

        Args:
            ids: Without nulls; 2^20 at most.
        """
        offsets, data = _bytes_of(ids)
        return self._add(offsets, data.copy())  # of its own: else it would keep all of a batch

    def restore(self, block: bytes) -> None:
        """Take what `block_of` gave for ids that were new, after a restart."""
        number = int(np.frombuffer(block, np.int32, 1)[0])
        offsets = np.frombuffer(block, np.int32, number + 1, 4)
        self._add(offsets, np.frombuffer(block, np.uint8, -1, 4 * (number + 2)))

    def _add(self, offsets: Numbers, data: Numbers) -> Numbers:
        number = len(offsets) - 1
        if (self._held + number) * 2 > len(self._slots):
            self._resize(int((self._held + number) * 4 - 1).bit_length())
        hashes = _hashes(offsets, data, self._keys)
        block = len(self._blocks)
        self._blocks.append((offsets, data))
        new = np.ones(number, bool)
        for several in _alike(hashes):
            seen: set[bytes] = set()
            for row in several:
                mine = self._id((block << _ROWS) + row)
                new[row] = mine not in seen
                seen.add(mine)
        left = np.flatnonzero(new)
        places = (np.int64(block) << _ROWS) + np.arange(number)
        slots = (hashes >> self._shift).astype(np.int64)
        while len(left):
            at = slots[left]
            found = self._slots[at]
            empty = found == 0
            taken = left[empty]
            self._slots[at[empty]] = hashes[taken]
            self._places[at[empty]] = places[taken]
            done = empty.copy()
            done[empty] = self._places[at[empty]] == places[taken]  # of several that want one slot the last has it
            alike = np.flatnonzero(~empty & (found == hashes[left]))
            for n in alike.tolist():
                if self._id(int(self._places[at[n]])) == self._id(int(places[left[n]])):
                    new[left[n]] = False
                    done[n] = True
            stays = ~done
            # who lost a slot that was empty looks at it again: the winner may be the same id
            slots[left[stays & ~empty]] = (at[stays & ~empty] + 1) & self._mask
            left = left[stays]
        self._held += int(new.sum())
        if not new.any():
            self._blocks.pop()
        return new

    def _id(self, place: int) -> bytes:
        offsets, data = self._blocks[place >> _ROWS]
        row = place & ((1 << _ROWS) - 1)
        return data[offsets[row] : offsets[row + 1]].tobytes()

    def _make(self, bits: int) -> None:
        """An empty table of 2^bits slots: a hash in each, 0 where there is none, and the place of its id."""
        self._slots, self._places = np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, np.int64)
        self._shift, self._mask = np.uint64(64 - bits), np.int64((1 << bits) - 1)

    def _resize(self, bits: int) -> None:
        """A table of 2^bits slots with what is held."""
        held = self._slots != 0
        hashes, places = self._slots[held], self._places[held]
        self._make(bits)
        slots = (hashes >> self._shift).astype(np.int64)
        while len(hashes):
            empty = self._slots[slots] == 0
            self._slots[slots[empty]] = hashes[empty]
            self._places[slots[empty]] = places[empty]
            lost = self._places[slots] != places
            lost |= self._slots[slots] != hashes
            hashes, places, slots = hashes[lost], places[lost], (slots[lost] + 1) & self._mask


def block_of(ids: pa.StringArray) -> bytes:
    """Ids as `FirstIds.restore` takes them: how many, where each begins, their bytes."""
    offsets, data = _bytes_of(ids)
    return np.int32(len(offsets) - 1).tobytes() + offsets.tobytes() + data.tobytes()


def _bytes_of(ids: pa.StringArray) -> tuple[Numbers, Numbers]:
    """Where each id begins in the bytes of all, and these."""
    _, offsets, data = ids.buffers()
    starts = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return starts - starts[0], text[starts[0] : starts[-1]]


def _hashes(offsets: Numbers, data: Numbers, keys: Numbers) -> Numbers:
    """A hash of each id, never 0."""
    starts, lengths = offsets[:-1], np.diff(offsets)
    width = 8 * min(MOST_WORDS, (int(lengths.max(initial=1)) + 7) // 8)
    columns = np.arange(width)
    padded = np.concatenate([data, np.zeros(width, np.uint8)])
    texts = padded[starts[:, None] + columns]
    texts[columns >= lengths[:, None]] = 0
    with np.errstate(over="ignore"):
        words = texts.view(np.uint64)
        found = lengths.astype(np.uint64) * keys[-1]
        for place in range(
            words.shape[1]
        ):  # each is mixed: else who knows no key could still choose words that cancel out
            mixed = (found ^ words[:, place]) * keys[place]
            # an id's hash must not depend on how long the others of its batch are
            found = np.where(lengths > 8 * place, mixed ^ (mixed >> np.uint64(32)), found)
        for row in np.flatnonzero(lengths > width).tolist():
            found[row] = np.uint64(hash(data[offsets[row] : offsets[row + 1]].tobytes()) & (2**64 - 1))
        found *= _MIX
        found ^= found >> np.uint64(32)
    found[found == 0] = 1
    return np.asarray(found)


def _alike(hashes: Numbers) -> list[list[int]]:
    """The rows that share a hash, in their order, where several do."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    several = np.flatnonzero(np.diff(edges) > 1).tolist()
    return [order[edges[n] : edges[n + 1]].tolist() for n in several]
