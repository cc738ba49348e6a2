"""Sends a simulated run to the live topic at its own pace: open loop, and says how far it slipped."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, Message

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import ServiceError
from rtap_lab.kafka.clients import producer
from rtap_lab.kafka.names import LIVE_EVENTS
from rtap_lab.simulator.encoding import keys
from rtap_lab.simulator.fed import Fed
from rtap_lab.simulator.playback import NS, Batch, Playback

BLOCK_MS = 100
"""So much of the clock's time is made at once: a control takes effect after two of these at most."""

CLOCK_MS = 500
"""A clock that moved by more than this was set, and the visitors' clocks with it."""

LEAD_NS = 300 * NS
"""The run begins so long from now, so that its first block is there in time."""


SILENT_S = 5.0
"""Seconds without an acknowledgement, while messages wait for one, after which it is said."""


class Silence:
    """Tells once when nothing is acknowledged any more, and once when it is again. Pure.

    Args:
        now: Seconds on a steady clock.
    """

    def __init__(self, now: float) -> None:
        self._accepted, self._heard, self._told = 0, now, False

    def note(self, accepted: int, waiting: int, now: float) -> str:
        """What is to be said; empty when nothing is.

        Args:
            accepted: Messages acknowledged so far.
            waiting: Messages that wait for it.
            now: Seconds on the same clock.
        """
        if accepted != self._accepted or not waiting:
            self._accepted, self._heard = accepted, now
            if self._told:
                self._told = False
                return "kafka accepts messages again; what waited was sent late"
        elif not self._told and now - self._heard >= SILENT_S:
            self._told = True
            return f"kafka has accepted nothing for {SILENT_S:.0f} s; {waiting:,} messages wait (`rtap status` shows the broker)"
        return ""


Control = Callable[[Playback, int], bool]
"""Told the run and the time since its beginning (ns); changes the run; True while it is to pause."""


def feed(
    kafka: Endpoint,
    run: Playback,
    *,
    events: int | None = None,
    seconds: float | None = None,
    schema_id: int | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[int], None] = lambda sent: None,
    control: Control = lambda run, now_ns: False,
    on_sent: Callable[[Fed], None] = lambda fed: None,
    on_note: Callable[[str], None] = lambda words: None,
) -> Fed:
    """Send a run's messages as if they happened now, each at its intended time.

    Args:
        kafka: Where Kafka is.
        run: What to send; its time 0 becomes now.
        events: How many to send at most.
        seconds: How long at most.
        schema_id: Goes into the header `schema_id`.
        stop: Ends it from another thread.
        progress: Told now and then how many were sent.
        control: Asked before each block is made, from another thread.
        on_sent: Called about once a second with what was sent so far.
        on_note: Told when nothing is acknowledged any more, and when it is again.

    Raises:
        ServiceError: When the broker refused a message for good.
    """
    stop = stop or threading.Event()
    result, errors, accepted = Fed(), list[str](), 0

    def delivered(error: KafkaError | None, message: Message) -> None:
        nonlocal accepted
        if error is None:
            accepted += 1
        else:
            result.failed += 1
            errors.append(str(error))

    out = producer(kafka)
    run.trace.until(0)  # the visits that are under way already
    made: queue.Queue[tuple[Batch, list[int], list[str], list[bytes]] | Exception] = queue.Queue(2)
    over = threading.Event()
    began_ns = time.monotonic_ns() + LEAD_NS
    run.zero_ms = (time.time_ns() + LEAD_NS) // NS

    def make() -> None:
        paused, apart_ns = False, time.time_ns() - time.monotonic_ns()
        try:
            while not over.is_set():
                moved_ms = (time.time_ns() - time.monotonic_ns() - apart_ns) // NS
                if abs(moved_ms) > CLOCK_MS:
                    run.clock_moved(moved_ms)
                    apart_ns += moved_ms * NS
                now_ns = time.monotonic_ns() - began_ns
                if control(run, now_ns):
                    paused = True
                    over.wait(0.05)
                    continue
                if paused:
                    run.at_pace(run.rate, now_ns)
                    paused = False
                batch = run.block(wall_ns=BLOCK_MS * NS)
                block = (batch, batch.due_ns.tolist(), keys(batch.messages), batch.values().to_pylist())
                while not over.is_set():
                    try:
                        made.put(block, timeout=0.1)
                        break
                    except queue.Full:
                        continue
        except Exception as error:  # raised again where it is noticed
            made.put(error)

    schema: list[tuple[str, str | bytes | None]] = [("schema_id", str(schema_id))] if schema_id is not None else []
    maker = threading.Thread(target=make, name="simulator", daemon=True)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(0.0003)  # making a block must not hold up the sending of the one before
    maker.start()
    next_call, silence = 0.0, Silence(time.monotonic())
    end_ns = None if seconds is None else int(seconds * 1e9)
    try:
        going = True
        while going and not stop.is_set():
            try:
                block = made.get(timeout=0.1)
            except queue.Empty:
                out.poll(0)
                if end_ns is not None and time.monotonic_ns() - began_ns > end_ns:
                    break
                continue
            if isinstance(block, Exception):
                raise block
            batch, dues, ids, values = block
            for due, key, value in zip(dues, ids, values, strict=True):
                if (events is not None and result.sent >= events) or (end_ns is not None and due >= end_ns):
                    going = False
                    break
                wait = due - (time.monotonic_ns() - began_ns)
                if wait > 50_000:
                    out.poll(0)
                    if wait > 50 * NS:
                        stop.wait(wait / 1e9)
                    else:
                        time.sleep(wait / 1e9)
                elif result.sent % 50 == 0:
                    out.poll(0)
                if stop.is_set():
                    break
                headers = [("created", str(batch.zero_ms + due // NS)), *schema]
                while True:
                    try:
                        out.produce(LIVE_EVENTS, value, key, headers=headers, on_delivery=delivered)
                        break
                    except BufferError:
                        out.poll(0.1)
                result.sent += 1
                batch.act.sent += 1
                if result.sent % 10 == 0:
                    slip = max(0, time.monotonic_ns() - began_ns - due) // 10_000
                    result.slips[slip if slip < 10_000 else slip // 100 * 100] += 1
                    if result.sent % 100 == 0:
                        progress(result.sent)
            if time.monotonic() > next_call:
                on_sent(result)
                next_call = time.monotonic() + 1
                if words := silence.note(accepted, len(out), time.monotonic()):
                    on_note(words)
    finally:
        over.set()
        maker.join(10)
        sys.setswitchinterval(switch)
        left = out.flush(30)
        result.seconds = (time.monotonic_ns() - began_ns) / 1e9
        on_sent(result)
    if errors or left:
        raise ServiceError(
            f"kafka: {len(errors) + left} of {result.sent} messages were not accepted"
            + (f" ({errors[0]})" if errors else ""),
            service="kafka",
            hint="`rtap status` shows the broker; `rtap logs kafka` its log",
        )
    progress(result.sent)
    return result
