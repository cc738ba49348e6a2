"""Other engines and clients beside ours: the same bytes from the same broker, the same question, in turn on the same machine.

Each peer has a virtual environment of its own in the cache folder, with pinned versions, and a program in `notebooks/reports/peers/`
that counts a topic's records by page and minute of event time. What it counts is compared before a figure counts.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import orjson

from rtap_lab.bench.costs import Meter
from rtap_lab.bench.recorded import answer_queries
from rtap_lab.bench.shop import counted, messages
from rtap_lab.errors import JobError
from rtap_lab.events.times import instant_ms
from rtap_lab.jupyter.server import notebooks_folder
from rtap_lab.kafka.names import events_topic
from rtap_lab.lab import Lab
from rtap_lab.queries.builders import count, tumble
from rtap_lab.stack.components import cache_folder, jars
from rtap_lab.stack.java import find_java
from rtap_lab.stack.process import run_command
from rtap_lab.verification.report import Report

MINUTE_MS = 60_000
INSTALL_S = 900.0
"""Seconds that pip may take for a peer."""
PATIENCE_S = 600.0
"""Seconds that a peer may take to count."""

Counts = dict[tuple[int, str], int]
"""Records by the beginning of the minute (milliseconds) and the page; "" is none."""


@dataclass(frozen=True)
class Peer:
    """A contender."""

    name: str
    requirements: tuple[str, ...]
    program: str
    variants: tuple[str, ...]
    lacks: str
    """What ours does and it does not."""


PEERS = (
    Peer("bytewax", ("bytewax[kafka]==0.21.1",), "bytewax_count", ("default", "tuned"), "duplicates, late records, transactions"),
    Peer("pathway", ("pathway==0.33.0",), "pathway_count", ("default",), "duplicates, late records, transactions"),
    Peer("quixstreams", ("quixstreams==3.28.1",), "quixstreams_count", ("default", "tuned"), "duplicates, transactions (at least once)"),
    Peer("pyflink", ("apache-flink==2.3.0", "setuptools==80.9.0"), "pyflink_count", ("default", "tuned"), "duplicates, transactions; its functions are Python"),
    Peer("streamz", ("streamz==0.6.6", "confluent-kafka==2.16.1"), "streamz_count", ("default", "tuned"), "event time, durable state, duplicates"),
    Peer("confluent-kafka loop", ("confluent-kafka==2.16.1",), "confluent_loop", ("default", "tuned"), "all but a dict"),
    Peer("aiokafka loop", ("aiokafka==0.14.0",), "aiokafka_loop", ("default", "tuned"), "all but a dict"),
    Peer("kafka-python loop", ("kafka-python==3.0.12",), "kafka_python_loop", ("default",), "all but a dict"),
)  # fmt: skip
"""The default variant is what its documentation shows first; the tuned one changes what it offers to change."""


@dataclass
class Counted:
    """What a contender counted, and what that took."""

    counts: Counts
    seconds: float
    engine_cpu_s: float
    broker_cpu_s: float
    version: str
    report: Report | None = None
    """What verification says of our own answers."""


def programs() -> Path:
    """Where the peers' programs are."""
    return notebooks_folder() / "reports" / "peers"


def install(peer: Peer) -> Path:
    """The Python of a peer's environment, made where there is none.

    Raises:
        JobError: When pip fails; with its last lines.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(" ".join([version, *peer.requirements]).encode()).hexdigest()[:12]
    folder = cache_folder() / "peers" / f"{peer.program}-{key}"
    python, done = folder / "bin" / "python", folder / "installed"
    if done.is_file():
        return python
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q", *peer.requirements]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], pip):
        try:
            code, text = run_command(command, timeout=INSTALL_S)
        except TimeoutError as error:
            raise JobError(f"{peer.name} cannot be installed: {error}") from error
        if code:
            raise JobError(f"{peer.name} cannot be installed: {' '.join(text.split()[-40:])}")
    done.touch()
    return python


def make_source(lab: Lab, name: str, events: int, *, seed: int = 1) -> Counts:
    """A recorded source in which no event comes twice, since most peers look for no duplicates; what is to be counted of it."""
    counts: Counter[tuple[int, str]] = Counter()
    now_ms = time.time_ns() // 1_000_000  # what lies ahead of it an import refuses
    plain = filter(_is_plain, messages(events, seed=seed))  # of others Flink reads the first value, and an import none
    with tempfile.TemporaryDirectory(prefix="rtap-bench-") as folder:
        path = Path(folder) / "events.jsonl"
        with path.open("wb") as out:
            for line, event in counted(plain):
                if event.event_time < now_ms:
                    out.write(line + b"\n")
                    counts[event.event_time // MINUTE_MS * MINUTE_MS, event.page or ""] += 1
        imported = lab.import_jsonl(path, source=name)
    if imported.imported != counts.total() or not counts:
        raise JobError(
            f"of {counts.total()} lines made {imported.imported} were imported: peers would count others than ours"
        )
    return dict(counts)


def _is_plain(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def count_by_peer(lab: Lab, peer: Peer, variant: str, source: str, records: int) -> Counted:
    """Let a peer count a source.

    Raises:
        JobError: When it fails.
    """
    python = install(peer)
    with tempfile.TemporaryDirectory(prefix="rtap-peer-") as folder:
        out = Path(folder) / "out.json"
        program = programs() / f"{peer.program}.py"
        connectors = ",".join(str(path) for path in jars("flink") if "connector" in path.name)
        command = ["env", f"JAVA_HOME={find_java(None).parents[1]}", str(python), str(program)]
        command += [lab.endpoints.kafka.address, events_topic(source), str(records), variant, str(out), connectors]
        with Meter(lab) as cost:
            try:
                code, text = run_command(command, timeout=PATIENCE_S, cwd=Path(folder))
            except TimeoutError as error:
                raise JobError(f"{peer.name} ({variant}): {error}") from error
        if code or not out.is_file():
            raise JobError(f"{peer.name} ({variant}) failed: {' '.join(text.split()[-40:])}")
        found = json.loads(out.read_text())
    counts = {(int(start), str(page)): int(n) for start, page, n in found["rows"]}
    return Counted(counts, found["seconds"], found["cpu_s"], _broker(cost.cpu_s), found["version"])


def count_by_ours(lab: Lab, source: str, records: int) -> Counted:
    """Let a job of ours count it; the engine is all of Flink."""
    counts: Counts = {}

    def keep() -> None:
        for row in lab.rows("bench_peer", source):
            counts[instant_ms(row["window_start"]) or 0, row["page"] or ""] = row["n"]

    asked = {"bench_peer": tumble("1m").by("page").agg(n=count())}
    found = answer_queries(lab, source, records, "bench_peers", asked, verify=True, before_it_goes=keep)
    engine = sum(found.cost.cpu_s.get(name, 0.0) for name in ("taskmanager", "jobmanager", "gateway"))
    return Counted(counts, found.seconds, engine, _broker(found.cost.cpu_s), "", found.report)


def _broker(cpu_s: dict[str, float]) -> float:
    return sum(spent for name, spent in cpu_s.items() if name.startswith("kafka"))
