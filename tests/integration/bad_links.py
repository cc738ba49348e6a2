"""Run inside a network namespace by test_links: a lab whose links become slow, narrow, cut or silent, each in turn.

The namespace's packet filter leads every new connection to a port through a small proxy here; the product knows nothing of
it. Prints what was seen, one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rtap_lab.errors import RtapLabError
from rtap_lab.lab import Lab
from rtap_lab.stack.ports import ports_document
from rtap_lab.waiting import until

SEED = 20_261_127
MARK = 7
"""Of the proxy's own connections: these are led nowhere else."""
FAULT_SECONDS = 20
LINKS = {"kafka": "the broker", "flink-rpc": "the JobManager's RPC", "hub": "the hub"}


@dataclass
class Toxic:
    """What a link does to what passes; harmless as it is."""

    latency_s: float = 0.0
    bytes_per_s: float = 0.0
    resets: float = 0.0
    """The share of pieces at which the connection is cut."""
    silent: bool = False
    """Nothing passes, and nobody is told."""


TOXICS = {
    "200 ms": Toxic(latency_s=0.2),
    "64 kbit/s": Toxic(bytes_per_s=8_000),
    "1 % cut": Toxic(resets=0.01),
    "silent": Toxic(silent=True),
}


class Link:
    """A proxy in front of one port.

    Args:
        port: The port that it stands for.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.toxic = Toxic()
        self.dice = random.Random(SEED + port)
        self.passed = 0

    async def serve(self) -> int:
        """Begin; the proxy's own port."""
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plain = socket.socket()
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        try:
            await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.upstream))
        except OSError:
            plain.close()
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(sock=plain)
        ways = (self._pass(reader, back), self._pass(there, writer))
        await asyncio.wait([asyncio.create_task(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        for end in (back, writer):
            end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def read() -> None:
            piece = b"-"
            while piece:
                try:
                    piece = await reader.read(16_384)
                except OSError:  # cut off: the end, for the other side too
                    piece = b""
                await pieces.put((time.monotonic() + self.toxic.latency_s, piece))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                while self.toxic.silent:
                    await asyncio.sleep(0.05)
                if not piece or self.dice.random() < self.toxic.resets:
                    return
                if self.toxic.bytes_per_s:
                    await asyncio.sleep(len(piece) / self.toxic.bytes_per_s)
                self.passed += len(piece)
                writer.write(piece)
                await writer.drain()
        except OSError:
            return  # one of the two ends has gone
        finally:
            reading.cancel()


def lead(links: dict[str, Link]) -> None:
    """Lead new connections to the links' ports through them."""
    started = threading.Event()
    rules: list[str] = []

    async def run() -> None:
        for link in links.values():
            rules.append(f"tcp dport {link.upstream} redirect to :{await link.serve()}")
        started.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    started.wait(10)
    lines = ["type nat hook output priority -100", f"meta mark {MARK} accept", *rules]
    table = "table ip bad_links {\nchain output {\n" + "\n".join(lines) + "\n}\n}\n"
    subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True)


def sessions(lab: Lab) -> int:
    """How many rows there are, asked for while a transaction that a cut left open hides the newest."""

    def ask() -> int | None:
        try:
            return len(lab.rows("sessions"))
        except RtapLabError as error:
            if not error.temporary:
                raise
            return None

    found = until(lambda: None if (n := ask()) is None else (n,), 180, lambda: AssertionError("no rows can be read"))
    assert found is not None
    return found[0]


def main(folder: Path) -> None:
    print("seed", SEED)
    seen: list[dict[str, object]] = []
    lab = Lab.up(folder, gap="5s", within="8s", timeout=400)
    try:
        ports = ports_document(lab.state).read()
        lab.down()  # ports are kept, so that the links can be laid before anybody connects
        links = {name: Link(ports[name]) for name in LINKS}
        lead(links)
        Lab.up(folder, timeout=400)
        stop = threading.Event()
        errors: list[Exception] = []

        def shop() -> None:
            try:
                lab.simulate(rate=80, seconds=1_200, seed=SEED, stop=stop)
            except Exception as error:
                errors.append(error)

        sender = threading.Thread(target=shop, daemon=True)  # it must not outlive a failure
        sender.start()
        until(lambda: lab.rows("sessions"), 120, lambda: AssertionError("no sessions"))
        for name, link in links.items():
            for words, toxic in TOXICS.items():
                link.toxic = toxic
                time.sleep(0.5)  # what was on its way
                before = link.passed
                time.sleep(FAULT_SECONDS)  # the fault itself
                link.toxic, during = Toxic(), link.passed - before
                healed = time.monotonic()
                rows = sessions(lab)
                until(lambda: lab.status()["ok"], 180, lambda: AssertionError(f"{lab.status()['problems']}"))
                until(
                    lambda n=rows: sessions(lab) > n,  # type: ignore[misc]
                    120,
                    lambda: AssertionError("no new rows"),
                )
                seconds = round(time.monotonic() - healed, 1)
                seen.append({"link": name, "toxic": words, "bytes": during, "healed_s": seconds})
                print(seen[-1], flush=True)
        stop.set()
        sender.join(60)
        report = lab.verify(full=True)
        print(json.dumps({"seen": seen, "exact": report.exact, "rows": report.rows, "errors": list(map(str, errors))}))
        if not report.exact:
            print(report)
    finally:
        lab.down()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
