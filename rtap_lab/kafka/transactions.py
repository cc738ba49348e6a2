"""Open transactions: who holds them, since when, and ending what belongs to nobody.

A transaction that stays open hides what comes behind it, in every topic that it touched, from all committed readers. The
client library cannot list them, so the two requests that do are spoken here (Kafka's protocol guide: ListTransactions, key
66, and DescribeTransactions, key 65, both version 0, KIP-664).
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaException

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import ServiceError
from rtap_lab.kafka.clients import producer

_OPEN = ("Ongoing", "PrepareCommit", "PrepareAbort")
_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Transaction:
    """A transaction that has begun and has not ended."""

    id: str
    """The transactional id of its producer."""
    state: str
    started_ms: int
    """Milliseconds since the epoch, by the broker's clock."""
    topics: tuple[str, ...]

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return max(0.0, time.time() - self.started_ms / 1000)


def open_transactions(brokers: Iterable[tuple[str, int]]) -> list[Transaction]:
    """All open transactions of a cluster, the oldest first.

    Args:
        brokers: Host and port of each.

    Raises:
        ServiceError: When a broker does not answer.
    """
    found: list[Transaction] = []
    for host, port in brokers:
        try:
            with socket.create_connection((host, port), _TIMEOUT_S) as broker:
                ids = [each for each, state in _list(broker) if state in _OPEN]
                found += [each for each in _describe(broker, ids) if each.state in _OPEN] if ids else []
        except OSError as error:
            raise ServiceError(
                f"kafka: {host}:{port} does not tell its transactions: {error}", service="kafka"
            ) from error
    return sorted(found, key=lambda each: (each.started_ms, each.id))


def abort(kafka: Endpoint, ids: Collection[str]) -> None:
    """End the open transactions of these ids: whoever opened them is fenced (KIP-98: `InitProducerId` aborts).

    Raises:
        ServiceError: When the coordinator refuses, or does not answer.
    """
    for each in ids:
        try:
            producer(kafka, transactional_id=each).init_transactions(30)
        except KafkaException as error:
            raise ServiceError(f"kafka: transaction {each} cannot be ended: {error}", service="kafka") from error


# --- the protocol ----------------------------------------------------------------------------


def _ask(broker: socket.socket, key: int, body: bytes) -> _Reader:
    name = b"rtap"
    header = struct.pack(">hhih", key, 0, 1, len(name)) + name + b"\0"  # request header v2
    broker.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    (size,) = struct.unpack(">i", _receive(broker, 4))
    answer = _Reader(_receive(broker, size))
    answer.int32()  # the correlation id: there is one request at a time
    answer.tags()
    answer.int32()  # throttled for so long
    return answer


def _receive(broker: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = broker.recv(size - len(data))
        if not piece:
            raise ConnectionError("the broker closed the connection")
        data += piece
    return bytes(data)


def _list(broker: socket.socket) -> list[tuple[str, str]]:
    """Id and state of every transaction that this broker coordinates."""
    answer = _ask(broker, 66, b"\x01\x01\x00")  # no filter by state, none by producer, no tags
    _check(answer.int16())
    for _ in answer.array():
        answer.text()  # filters that it does not know
    found = []
    for _ in answer.array():
        transaction = answer.text()
        answer.int64()  # the producer's id
        found.append((transaction, answer.text()))
        answer.tags()
    return found


def _describe(broker: socket.socket, ids: Collection[str]) -> Iterator[Transaction]:
    texts = b"".join(_number(len(each) + 1) + each for each in (i.encode() for i in ids))
    answer = _ask(broker, 65, _number(len(ids) + 1) + texts + b"\0")
    for _ in answer.array():
        error = answer.int16()
        transaction, state = answer.text(), answer.text()
        answer.int32()  # its timeout
        started_ms = answer.int64()
        answer.int64()  # the producer's id
        answer.int16()  # and epoch
        names = []
        for _ in answer.array():
            names.append(answer.text())
            for _ in answer.array():
                answer.int32()
            answer.tags()
        answer.tags()
        if not error:  # else it has ended, or moved to another coordinator, in between
            yield Transaction(transaction, state, started_ms, tuple(sorted(names)))


def _check(code: int) -> None:
    if code:
        raise ConnectionError(f"the broker answers with error {code} (it may be loading)")


def _number(value: int) -> bytes:
    """An unsigned number of variable length."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


class _Reader:
    """Reads an answer from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def int16(self) -> int:
        return self._take(">h")

    def int32(self) -> int:
        return self._take(">i")

    def int64(self) -> int:
        return self._take(">q")

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self._take(">B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def text(self) -> str:
        size = self.number() - 1
        self._at += size
        return self._data[self._at - size : self._at].decode()

    def array(self) -> range:
        return range(self.number() - 1)

    def tags(self) -> None:
        for _ in range(self.number()):
            self.number()
            self._at += self.number()
