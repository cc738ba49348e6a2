"""The demo: a whole lab from nothing to proven answers, and away again."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rtap_lab.bench.session import collect, measure
from rtap_lab.errors import RtapLabError
from rtap_lab.lab import Lab
from rtap_lab.lab.browsing import open_page
from rtap_lab.monitoring.latency import Collector, as_table
from rtap_lab.queries.standard import TRAFFIC
from rtap_lab.settings import LIVE

GAP, WITHIN = "20s", "30s"


def run(state: Path, *, seconds: float | None, rate: float, delivery: str, say: Callable[[str], None]) -> int:
    """Run the demo in a state folder of its own; the exit code.

    It passes when no service failed for good, a client saw live values, and verification is exact;
    latency is printed and decides nothing. Ctrl-C takes the same path.
    """
    began = time.monotonic()
    stop = threading.Event()
    handlers = {n: signal.signal(n, lambda *_: stop.set()) for n in (signal.SIGINT, signal.SIGTERM)}
    lab = Lab(state)
    try:
        lab.reset()
        say(f"starting Kafka, Flink, the registry and the rest, in {state}")
        lab = Lab.up(state, gap=GAP, within=WITHIN, delivery=delivery)
        say(f"up after {time.monotonic() - began:.1f} s; the live dashboard: {lab.dashboard}")
        open_page(lab.state, lab.dashboard)
        collector = collect(lab)
        until = "until Ctrl-C" if seconds is None else f"for {seconds:g} s"
        say(f"a brisk shop, {rate:g} events/s, {until}; session gap {GAP}, carts within {WITHIN}, {delivery}")
        threading.Thread(target=_narrate, args=(collector, began, stop, say), daemon=True).start()
        measured = measure(lab, rate=rate, seconds=seconds, stop=stop, collector=collector)
        stop.set()
        say(
            f"sent {measured.fed.sent} messages, {measured.fed.sent / measured.fed.seconds:.0f}/s, "
            f"slip p99 {measured.fed.slip_ms(0.99):.1f} ms; a client received {measured.rows} rows"
        )
        say(str(as_table(measured.latency)))
        live = lab.verify(LIVE)  # also waits until the job has read all
        say(f"while it runs: {str(live).splitlines()[-1]}")
        lab.stop_job(drain=True)
        whole = lab.verify(LIVE)
        say(str(whole))
        failed = [s["name"] for s in lab.status()["services"] if s["state"] == "failed"]
        if failed:
            say(f"failed for good: {', '.join(failed)}")
        if not measured.rows:
            say("no live value reached the client: run it for longer (DEMO_SECONDS=60)")
        good = live.exact and whole.exact and not failed and measured.rows > 0
        say("demo passed" if good else "demo FAILED")
        return 0 if good else 1
    except RtapLabError as error:
        say(f"demo FAILED: {error}")
        return 1
    finally:
        ended = time.monotonic()
        lab.down()
        say(f"down in {time.monotonic() - ended:.1f} s; {time.monotonic() - began:.0f} s in all")
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _narrate(collector: Collector, began: float, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Now and then say what the client sees."""
    while not collector.first.wait(0.2):
        if stop.is_set():
            return
    say(f"first live value after {time.monotonic() - began:.1f} s")
    while not stop.wait(10):
        traffic = [s.row for s in collector.seen if s.query == TRAFFIC]
        if traffic:
            newest = traffic[-1]
            say(f"  {newest['window_end']}  {newest['views']} views by {newest['visitors']} visitors in a minute")
