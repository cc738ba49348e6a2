"""Random draws that depend on nothing but what they are for: a hash of the key, the step and the purpose.

A drawn number needs no generator's state, so the bytes of a run do not depend on how it is cut into
blocks, and a visitor added in the middle changes nobody else. All arithmetic is on integers: the same
on every machine and with every version of numpy. The hash is the finalizer of SplitMix64 (Steele, Lea,
Flood: Fast splittable pseudorandom number generators, 2014).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Context, Decimal
from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def seed_of(*parts: object) -> np.uint64:
    """A 64-bit key of some words and numbers."""
    text = "\x00".join(map(str, parts)).encode()
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


def mixed(words: Words) -> Words:
    """SplitMix64's finalizer: every bit of the result depends on every bit of the word."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def draws(key: Words | np.uint64, numbers: Ints, purpose: int) -> Words:
    """64 random bits for each of some numbers (a visit's, a step's) under a key.

    Args:
        key: One key, or one for each number.
        numbers: What is drawn for.
        purpose: Tells draws for the same number apart.
    """
    with np.errstate(over="ignore"):
        return mixed(key + _GOLDEN * (numbers.astype(np.uint64) * np.uint64(64) + np.uint64(purpose)))


def bits(words: Words, start: int, count: int) -> Ints:
    """Some bits of each draw, as a number."""
    return ((words >> np.uint64(start)) & np.uint64((1 << count) - 1)).astype(np.int64)


def threshold(share: float, width: int = 16) -> int:
    """Draws of `width` bits below this are a share of all."""
    return round(share * (1 << width))


@cache
def exponential() -> Ints:
    """The inverse of the exponential distribution: 1,024 quantiles, in 1/1,024 of the mean."""
    context = Context(prec=20)
    quantiles = [-context.ln(1 - (Decimal(2 * step + 1) / Decimal(2048))) * 1024 for step in range(1024)]
    return np.array([int(each.to_integral_value()) for each in quantiles], dtype=np.int64)


def waits(words: Words, start: int, means: Ints | int) -> Ints:
    """Exponentially distributed waits; ten bits of each draw are used."""
    return exponential()[bits(words, start, 10)] * means >> 10


def choices(weights: Mapping[int, float]) -> Bytes:
    """A table of 256 entries in which each number has the share that its weight asks for."""
    total, passed, table = sum(weights.values()), 0.0, np.zeros(256, dtype=np.uint8)
    begin = 0
    for number, weight in weights.items():
        passed += weight
        end = round(256 * passed / total)
        table[begin:end] = number
        begin = end
    return table


_M = 0x5BD1E995


def kafka_partitions(keys: NDArray[np.uint8], partitions: int) -> Ints:
    """The partition that Kafka's clients choose for keys of one length (their Murmur2, seed 0x9747b28c).

    Args:
        keys: Shape (keys, bytes of a key).
        partitions: Of the topic.
    """
    count, length = keys.shape
    whole = length - length % 4
    mask = np.uint64(0xFFFFFFFF)
    data = keys.astype(np.uint64)
    hashed = np.full(count, 0x9747B28C ^ length, dtype=np.uint64)
    times = np.uint64(_M)
    for at in range(0, whole, 4):
        word = data[:, at] | data[:, at + 1] << np.uint64(8)
        word |= data[:, at + 2] << np.uint64(16) | data[:, at + 3] << np.uint64(24)
        word = word * times & mask
        word = (word ^ word >> np.uint64(24)) * times & mask
        hashed = (hashed * times & mask) ^ word
    for at in range(length - 1, whole - 1, -1):
        hashed ^= data[:, at] << np.uint64(8 * (at - whole))
    if length > whole:
        hashed = hashed * times & mask
    hashed = (hashed ^ hashed >> np.uint64(13)) * times & mask
    hashed ^= hashed >> np.uint64(15)
    return (hashed & np.uint64(0x7FFFFFFF)).astype(np.int64) % partitions
