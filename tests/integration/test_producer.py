"""What a producer calls delivered is in the log, also where a partition refuses its first batch."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from rtap_lab.endpoints import Endpoint
from rtap_lab.kafka.clients import producer, read_range
from rtap_lab.kafka.topics import Topic, Topics
from rtap_lab.lab import Lab
from rtap_lab.waiting import until

TOPIC = "events.refusing"
NOWHERE = 99
PRODUCE, METADATA = 0, 3


class Refusing:
    """A link to a broker whose first batch is refused, as by a broker that has not made the partition yet.

    The batch is led to a partition that there is not; the broker's own refusal comes back, once `release` is set.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.refused, self.release = threading.Event(), threading.Event()
        self.passed = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        broker = socket.create_connection(("127.0.0.1", self.upstream))
        asked: dict[int, tuple[int, bytes | None]] = {}

        def request(message: bytes) -> bytes:
            kind, version, correlation = struct.unpack(">hhi", message[:8])
            partition = None
            if kind == PRODUCE and not self.refused.is_set():
                at = message.index(TOPIC.encode()) + len(TOPIC) + (1 if version >= 9 else 4)
                partition = message[at : at + 4]
                message = message[:at] + struct.pack(">i", NOWHERE) + message[at + 4 :]
            elif kind == PRODUCE:
                self.passed += 1
            asked[correlation] = (kind, partition)
            return message

        def answer(message: bytes) -> bytes:
            kind, partition = asked.pop(struct.unpack(">i", message[:4])[0])
            if kind == METADATA:
                there, here = (b"127.0.0.1" + struct.pack(">i", port) for port in (self.upstream, self.port))
                message = message.replace(there, here)
            if partition is not None:
                message = message.replace(struct.pack(">i", NOWHERE), partition, 1)
                self.refused.set()
                self.release.wait(10)
            return message

        threading.Thread(target=_pump, args=(client, broker, request), daemon=True).start()
        _pump(broker, client, answer)


def _pump(source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes]) -> None:
    """Lead messages of Kafka's protocol (four bytes of length before each) on, until an end closes."""
    with source, target, source.makefile("rb") as pieces:
        while len(length := pieces.read(4)) == 4:
            message = change(pieces.read(struct.unpack(">i", length)[0]))
            try:
                target.sendall(struct.pack(">i", len(message)) + message)
            except OSError:
                return


@pytest.fixture
def refusing(stack: Lab) -> Iterator[Refusing]:
    topics = Topics(stack.endpoints.kafka)
    topics.ensure([Topic(TOPIC)])
    link = Refusing(int(stack.endpoints.kafka.address.rpartition(":")[2]))
    yield link
    link.close()
    topics.delete([TOPIC])


@pytest.mark.parametrize("transactional", [False, True])
def test_a_batch_that_was_refused_is_never_taken_for_written(
    stack: Lab, refusing: Refusing, transactional: bool
) -> None:
    out = producer(
        Endpoint(f"127.0.0.1:{refusing.port}"), transactional_id="rtap-test-refusing" if transactional else None
    )
    if transactional:
        out.init_transactions(20)
        out.begin_transaction()
    delivered: list[tuple[object, bytes, int | None]] = []

    def told(error: object, message: object) -> None:
        delivered.append((error, message.value(), message.offset()))  # type: ignore[attr-defined]

    out.produce(TOPIC, b"0", partition=0, on_delivery=told)
    assert until(lambda: out.poll(0.01) >= 0 and refusing.refused.is_set(), 20), "the first batch came and was refused"
    for number in range(1, 20):
        out.produce(TOPIC, str(number).encode(), partition=0, on_delivery=told)
    # a producer with several requests under way sends these before the refusal reaches it; ours has to wait
    sent_meanwhile = until(lambda: out.poll(0.01) >= 0 and refusing.passed > 0, 0.5)
    refusing.release.set()
    assert out.flush(20) == 0
    if transactional:
        out.commit_transaction(20)
    assert not sent_meanwhile
    assert [error for error, _, _ in delivered] == [None] * 20
    assert [value for _, value, _ in delivered] == [str(number).encode() for number in range(20)]
    assert None not in [offset for _, _, offset in delivered]
    kafka = stack.endpoints.kafka
    topics = Topics(kafka)
    held = [record.value() for record in read_range(kafka, topics.starts([TOPIC]), topics.await_committed([TOPIC]))]
    assert held == [value for _, value, _ in delivered]
