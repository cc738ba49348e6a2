"""What else pushes rows to clients, beside the hub: `websockets.broadcast` alone, and Panel's sessions. Served as `bench.fanout` asks.

The first is the least that a push can cost: a text, made once, to every connection; no query, no order, no slow client looked after.
The second is what a dashboard does whose server streams to each browser: a session, its document and its callback each.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

ROW_BYTES = 300
"""About what a row of the packaged queries takes."""

Publish = Callable[[int], None]
"""Sends a row that was due at a moment (nanoseconds since the epoch)."""


async def on_schedule(publish: Publish, hertz: float, seconds: float) -> None:
    """Say "ready", wait for a line, publish so often for so long, and say what it cost; then wait for the end."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    loop = asyncio.get_running_loop()
    began, cpu, sent = loop.time(), time.process_time(), 0
    while (due := began + sent / hertz) < began + seconds:
        await asyncio.sleep(due - loop.time())
        sent += 1
        publish(time.time_ns() - int((loop.time() - due) * 1e9))
    took, cost = loop.time() - began, time.process_time() - cpu
    print(json.dumps({"sent": sent, "seconds": took, "cpu_s": cost}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def broadcast(port: int, hertz: float, seconds: float) -> None:
    """`websockets.broadcast` to whoever is there."""
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.asyncio.server import broadcast as push

    clients: set[ServerConnection] = set()

    async def client(connection: ServerConnection) -> None:
        clients.add(connection)
        await connection.send('{"type":"snapshot"}')
        try:
            async for _ in connection:
                pass
        finally:
            clients.discard(connection)

    def publish(due_ns: int) -> None:
        push(
            clients, json.dumps({"type": "update", "due_ns": due_ns, "filling": "x" * ROW_BYTES}, separators=(",", ":"))
        )

    async with serve(client, "127.0.0.1", port, compression=None):
        await on_schedule(publish, hertz, seconds)


async def sessions(port: int, hertz: float, seconds: float) -> None:
    """Sessions of Panel, each with a Bokeh source that its server streams to."""
    import panel as pn
    from bokeh.models import ColumnDataSource
    from bokeh.plotting import figure

    there: list[tuple[Any, ColumnDataSource]] = []

    def page() -> Any:
        source = ColumnDataSource({"t": [], "row": []})
        plot = figure(width=300, height=200)
        plot.line("t", "t", source=source)
        there.append((pn.state.curdoc, source))
        return pn.pane.Bokeh(plot)

    server = pn.serve(
        page,
        port=port,
        address="127.0.0.1",
        show=False,
        start=False,
        verbose=False,
        websocket_origin=f"127.0.0.1:{port}",
    )
    server.start()

    def publish(due_ns: int) -> None:
        row = {"t": [due_ns / 1e9], "row": [f"due_ns:{due_ns} {'x' * ROW_BYTES}"]}
        for document, source in there:
            document.add_next_tick_callback(lambda source=source: source.stream(row, 200))

    await on_schedule(publish, hertz, seconds)


SERVERS: dict[str, Callable[[int, float, float], Awaitable[None]]] = {"broadcast": broadcast, "sessions": sessions}


if __name__ == "__main__":
    name, port, hertz, seconds = sys.argv[1:]
    asyncio.run(SERVERS[name](int(port), float(hertz), float(seconds)))  # type: ignore[arg-type]
