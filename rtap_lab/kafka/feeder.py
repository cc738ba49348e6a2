"""Sends a trace to the live topic at its own pace: open loop, and says how far it slipped."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message

from rtap_lab.clocks import Clock, SystemClock
from rtap_lab.errors import ServiceError
from rtap_lab.events.codec import encode
from rtap_lab.kafka.clients import producer
from rtap_lab.kafka.topics import LIVE_EVENTS
from rtap_lab.simulator.trace import Message as Sent


@dataclass
class Fed:
    """What was sent."""

    sent: int = 0
    seconds: float = 0.0
    failed: int = 0
    slips_ms: list[float] = field(default_factory=list)
    """How much later than intended each hundredth message left, milliseconds."""

    def slip_ms(self, share: float) -> float:
        """A quantile of the slip."""
        ordered = sorted(self.slips_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def feed(
    bootstrap: str,
    messages: Iterable[Sent],
    *,
    stretch: float = 1.0,
    events: int | None = None,
    seconds: float | None = None,
    schema_id: int | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[int], None] = lambda sent: None,
    clock: Clock | None = None,
) -> Fed:
    """Send messages as if they happened now, each at its intended time.

    Args:
        bootstrap: Kafka's address.
        messages: What to send, ordered by `send_ms`.
        stretch: How long a second of the trace lasts.
        events: How many to send at most.
        seconds: How long at most.
        schema_id: Goes into the header `schema_id`.
        stop: Ends it from another thread.
        progress: Told now and then how many were sent.
        clock: For tests.

    Raises:
        ServiceError: When the broker refused a message for good.
    """
    clock = clock or SystemClock()
    stop = stop or threading.Event()
    result, errors = Fed(), list[str]()

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            result.failed += 1
            errors.append(str(error))

    out = producer(bootstrap)
    began, zero_ms = clock.monotonic(), clock.now_ms()
    stream = iter(messages)
    first = next(stream, None)
    origin = first.send_ms if first else 0
    try:
        for message in itertools.chain([first] if first else [], stream):
            due = (message.send_ms - origin) * stretch / 1000
            if stop.is_set() or (events is not None and result.sent >= events):
                break
            if seconds is not None and due > seconds:
                break
            wait = due - (clock.monotonic() - began)
            if wait > 0.001:
                out.poll(0)
                if wait > 0.05:
                    stop.wait(wait)
                    if stop.is_set():
                        break
                else:
                    clock.sleep(wait)
            elif result.sent % 50 == 0:
                out.poll(0)
            created_ms = zero_ms + int(due * 1000)
            if isinstance(message.value, dict):
                behind = (message.send_ms - message.value["event_time"]) * stretch
                value = encode(message.value | {"event_time": created_ms - int(behind)})
            else:
                value = message.value
            headers: list[tuple[str, str | bytes | None]] = [("created", str(created_ms))]
            if schema_id is not None:
                headers.append(("schema_id", str(schema_id)))
            while True:
                try:
                    out.produce(
                        LIVE_EVENTS, value, message.key, headers=headers, on_delivery=delivered
                    )
                    break
                except BufferError:
                    out.poll(0.1)
            result.sent += 1
            if result.sent % 100 == 0:
                result.slips_ms.append(max(0.0, (clock.monotonic() - began - due) * 1000))
                progress(result.sent)
    finally:
        left = out.flush(30)
        result.seconds = clock.monotonic() - began
    if errors or left:
        raise ServiceError(
            f"kafka: {len(errors) + left} of {result.sent} messages were not accepted"
            + (f" ({errors[0]})" if errors else ""),
            service="kafka", hint="`rtap status` shows the broker; `rtap logs kafka` its log",
        )  # fmt: skip
    progress(result.sent)
    return result
