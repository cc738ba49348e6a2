"""The judge is judged: wrong answers of many kinds are seeded, and every one must turn verification red, naming the place.

A recorded source is imported, answered by Flink and found exact. Then, for each kind, all that a verification reads is
written anew, with one thing wrong: result rows, late and rejected rows and events into topics beside the real ones, points
into a copy of the store's file, rows into a hub of its own. The verifier reads them with its real clients.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from msgspec import structs

from rtap_lab.endpoints import Endpoint
from rtap_lab.events.times import instant_ms, instant_text
from rtap_lab.jobs.model import need_run
from rtap_lab.jobs.refused import row_of
from rtap_lab.kafka.clients import producer, read_range
from rtap_lab.kafka.names import LATE, REJECTED, events_topic
from rtap_lab.kafka.topics import Topic, Topics
from rtap_lab.lab import Lab
from rtap_lab.lab.sources import keep
from rtap_lab.lab.subjects import subject_of
from rtap_lab.live.hub import Hub
from rtap_lab.live.server import LiveServer
from rtap_lab.queries.catalogue import packaged
from rtap_lab.recordings.rejects import encode_row, key_of, rejected_rows
from rtap_lab.recordings.sources import content_of, digest_of_value
from rtap_lab.settings import PARTITIONS
from rtap_lab.stack.process import free_port
from rtap_lab.store.embedded import EmbeddedStore
from rtap_lab.verification.report import RunReport, Subject, Upto
from rtap_lab.verification.verifier import Verifier
from tests.integration.test_answers import rtap

SEED = 20_261_126
SOURCE = "judged"
Row = dict[str, Any]


@dataclass
class Written:
    """One record as it was, or is to be, written."""

    key: bytes | None
    value: bytes | None
    partition: int = 0
    timestamp: int = 0
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    offset: int = -1


@dataclass
class World:
    """All that a verification reads, ready to be spoilt."""

    results: dict[str, list[Written]]
    late: list[Written]
    rejected: list[Written]
    events: list[Written]
    store: Path
    dice: random.Random
    source: str = SOURCE
    after_ms: int = 0
    """Points up to here are left as they are: a verification that goes on does not look at them again."""
    before: dict[str, list[Written]] = field(default_factory=dict)
    """Rows that lie before `results` and are left as they are."""
    open: dict[str, list[Written]] = field(default_factory=dict)
    """Rows that lie behind `results` and are not due yet."""
    shown: dict[str, list[Row]] | None = None
    """What the hub shows; None: what the topics hold."""
    begins_early: str = ""
    """The query whose run is said to begin one row earlier than it does."""

    def rows(self, query: str) -> list[Row]:
        return [json.loads(each.value or b"null") for each in self.results[query]]

    def topic(self, query: str) -> list[Written]:
        """All that a result topic is to hold."""
        return [*self.before.get(query, ()), *self.results[query], *self.open.get(query, ())]

    def pick(self, query: str, test: Callable[[Row], bool] = lambda row: True) -> int:
        """The place of some row that passes a test."""
        return self.dice.choice([n for n, row in enumerate(self.rows(query)) if test(row)])

    def edit(self, query: str, at: int, **changes: Any) -> None:
        """Change a row, and its key with it."""
        row = self.rows(query)[at] | changes
        key = {name: row[name] for name in json.loads(self.results[query][at].key or b"{}")}
        self.results[query][at] = Written(json.dumps(key).encode(), json.dumps(row).encode())

    def sql(self, statement: str) -> None:
        """Change the copy of the store; exactly one point."""
        with closing(sqlite3.connect(self.store)) as db, db:
            assert db.execute(statement).rowcount == 1, statement

    def hub(self, query: str) -> list[Row]:
        """What the hub shows of a query, to be changed."""
        if self.shown is None:
            self.shown = {
                name: [json.loads(each.value or b"null") for each in self.topic(name)] for name in self.results
            }
        return self.shown[query]

    def kept(self, topic: str, at: int, **changes: Any) -> None:
        """Change a row of the late or rejected topic."""
        records = getattr(self, topic)
        records[at] = replace(records[at], value=json.dumps(json.loads(records[at].value) | changes).encode())

    def kept_rows(self, topic: str, test: Callable[[Row], bool]) -> list[int]:
        rows = ((n, row_of(each.value)) for n, each in enumerate(getattr(self, topic)))
        # other tests leave foreign ones
        found = [n for n, row in rows if row is not None and row["source"] == self.source and test(row)]
        self.dice.shuffle(found)
        return found


def later(text: str, ms: int) -> str:
    return instant_text((instant_ms(text) or 0) + ms)


Kind = tuple[str, str, Callable[[World], object]]
"""A name, the place that the report must name ("query in where", or words of a problem), and what goes wrong."""
KINDS: list[Kind] = []


def said(name: str, place: str, act: Callable[[World], object]) -> None:
    KINDS.append((name, place, act))


V, S, C, B, A, H = (
    "page_views_1m",
    "sessions",
    "conversions_1m",
    "cart_to_purchase",
    "checkout_abandoned",
    "traffic_hop",
)


def moved(w: World) -> None:
    at = w.pick(H)
    row = w.rows(H)[at]
    w.edit(H, at, window_start=later(row["window_start"], 600_000), window_end=later(row["window_end"], 600_000))


def swapped(w: World) -> None:
    one = w.pick(V)
    views = w.rows(V)[one]["views"]
    two = w.pick(V, lambda row: row["views"] != views)
    other = w.rows(V)[two]["views"]
    w.edit(V, one, views=other)
    w.edit(V, two, views=views)


def split(w: World) -> None:
    at = w.pick(S, lambda row: row["events"] > 2)
    row = w.rows(S)[at]
    w.edit(S, at, events=row["events"] - 1)
    w.results[S].append(copy.deepcopy(w.results[S][at]))
    w.edit(S, len(w.results[S]) - 1, window_start=later(row["window_start"], 1), events=1)


def merged(w: World) -> None:
    one = w.pick(S)
    row = w.rows(S)[one]
    del w.results[S][w.pick(S, lambda other: other != row)]


def misplaced(w: World) -> None:
    at = w.pick(V)
    w.results[V][at] = Written(b'{"page": "/elsewhere"}', w.results[V][at].value)


def without_column(w: World) -> None:
    at = w.pick(V)
    row = w.rows(V)[at]
    del row["visitors"]
    w.results[V][at] = Written(w.results[V][at].key, json.dumps(row).encode())


def raw(query: str, value: bytes | None) -> Callable[[World], None]:
    return lambda w: w.results[query].append(Written(b"{}", value))


def plus(query: str, column: str, change: Callable[[Any], Any], test: Callable[[Row], bool] = lambda row: True) -> Any:
    def act(w: World) -> None:
        at = w.pick(query, test)
        w.edit(query, at, **{column: change(w.rows(query)[at][column])})

    return act


def drop(query: str, which: Callable[[World], int]) -> Any:
    def act(w: World) -> None:
        del w.results[query][which(w)]

    return act


# --- the result topics -------------------------------------------------------------------------
said("a row dropped", f"{V} in topic", drop(V, lambda w: w.pick(V)))
said("the first row dropped", f"{H} in topic", drop(H, lambda w: 0))
said("the last row dropped", f"{H} in topic", drop(H, lambda w: -1))
said("all rows of a query gone", f"{C} in topic", lambda w: w.results[C].clear())
said("a row doubled", f"{V} in topic", lambda w: w.results[V].append(copy.deepcopy(w.results[V][w.pick(V)])))
said("a row moved to another window", f"{H} in topic", moved)
said("a late event counted", f"{V} in topic", plus(V, "views", lambda n: n + 1))
said("a window short of one event", f"{V} in topic", plus(V, "views", lambda n: n - 1))
said("visitors counted as views", f"{V} in topic", lambda w: w.edit(V, (n := w.pick(V, lambda r: r["views"] != r["visitors"])), visitors=w.rows(V)[n]["views"]))  # fmt: skip
said("a value rounded", f"{C} in topic", plus(C, "value", round, lambda r: r["value"] != round(r["value"])))
said("a value off by a millionth", f"{C} in topic", plus(C, "value", lambda v: v + 2e-6))
said("a value missing", f"{C} in topic", plus(C, "value", lambda v: None))
said("another page", f"{V} in topic", plus(V, "page", lambda p: "/nowhere"))
said("no page for a page", f"{V} in topic", plus(V, "page", lambda p: None, lambda r: r["page"] is not None))
said("a page that differs in case", f"{V} in topic", plus(V, "page", lambda p: str(p).upper(), lambda r: r["page"] not in (None, "/")))  # fmt: skip
said("a window's end off by a millisecond", f"{H} in topic", plus(H, "window_end", lambda t: later(t, 1)))
said("the values of two rows swapped", f"{V} in topic", swapped)
said("a session split in two", f"{S} in topic", split)
said("two sessions taken for one", f"{S} in topic", merged)
said("a session that ends too early", f"{S} in topic", plus(S, "window_end", lambda t: later(t, -1000)))
said("another entry page", f"{S} in topic", plus(S, "entry_page", lambda p: "/nowhere"))
said("another exit page", f"{S} in topic", plus(S, "exit_page", lambda p: "/nowhere"))
said("bounced turned around", f"{S} in topic", plus(S, "bounced", lambda b: not b))
said("a purchase matched to no cart", f"{B} in topic", lambda w: w.results[B].append(copy.deepcopy(w.results[B][0])) or w.edit(B, -1, visitor_id="nobody"))  # fmt: skip
said("a match lost", f"{B} in topic", drop(B, lambda w: w.pick(B)))
said("a match from an earlier cart", f"{B} in topic", plus(B, "cart_time", lambda t: later(t, -1)))
said("seconds rounded", f"{B} in topic", plus(B, "seconds", round, lambda r: r["seconds"] != round(r["seconds"])))
said("an abandonment lost", f"{A} in topic", drop(A, lambda w: w.pick(A)))
said("an abandonment of one who bought", f"{A} in topic", lambda w: w.results[A].append(copy.deepcopy(w.results[A][0])) or w.edit(A, -1, cart_event_id="bought"))  # fmt: skip
said("the event of another cart", f"{A} in topic", plus(A, "cart_event_id", lambda i: i + "x"))
said("a foreign row", f"{S} in topic", raw(S, b'{"x": 1}'))
said("a row of another query", f"{S} in topic", lambda w: w.results[S].append(copy.deepcopy(w.results[V][0])))
said("garbage", f"{H} in topic", raw(H, b"\x00\xff"))
said("a tombstone", f"{H} in topic", raw(H, None))
said("another key", f"{V} in topic", misplaced)
said("no key", f"{V} in topic", lambda w: w.results[V].__setitem__(0, Written(None, w.results[V][0].value)))
said("a column missing", f"{V} in topic", without_column)
said("a number as text", f"{V} in topic", plus(V, "views", str))
said("a row of the run before", f"{V} in topic", lambda w: setattr(w, "begins_early", V))

# --- the store ----------------------------------------------------------------------------------


def first_point(w: World, table: str) -> str:
    """The condition that holds for the point that comes first by its identity, of those that are looked at."""
    of = f"FROM {table} WHERE source = '{w.source}' AND point_time > {w.after_ms}"
    return f"(source, point_time, window_start) = (SELECT source, point_time, window_start {of} ORDER BY 2, 3 LIMIT 1)"


def point(table: str, change: str) -> Callable[[World], None]:
    return lambda w: w.sql(f"UPDATE {table} SET {change} WHERE {first_point(w, table)}")


def removed(table: str) -> Callable[[World], None]:
    return lambda w: w.sql(f"DELETE FROM {table} WHERE {first_point(w, table)}")


said("a point lost", f"{H} in store", removed(H))
said("a point's measure changed", f"{H} in store", point(H, "views = views + 1"))
said("a point's measure gone", f"{H} in store", point(H, "visitors = NULL"))
said("a point of another time", f"{H} in store", point(H, "window_start = window_start + 1"))
said("a point given to another source", f"{H} in store", point(H, "source = 'other'"))
said("a point of another source", f"{S} in store", lambda w: w.sql(f"INSERT INTO {S} SELECT source, point_time, window_start, window_end, 'stranger', events, page_views, entry_page, exit_page, bounced FROM {S} WHERE {first_point(w, S)} LIMIT 1"))  # fmt: skip


# --- late and rejected --------------------------------------------------------------------------
def by_sql(row: Row) -> bool:
    return not row.get("sha256") and row.get("partition") is not None


def whole(row: Row) -> bool:
    return bool(row.get("sha256")) and row.get("partition") is not None


def lose(topic: str, test: Callable[[Row], bool]) -> Callable[[World], None]:
    return lambda w: getattr(w, topic).pop(w.kept_rows(topic, test)[0])


def tell(topic: str, test: Callable[[Row], bool], **changes: Any) -> Callable[[World], None]:
    return lambda w: w.kept(topic, w.kept_rows(topic, test)[0], **changes)


def invent(topic: str) -> Callable[[World], None]:
    def act(w: World) -> None:
        told = [json.loads(each.value or b"{}") for name in ("late", "rejected") for each in getattr(w, name)]
        places = {(row.get("partition"), row.get("offset")) for row in told}
        counted = next(each for each in w.events if (each.partition, each.offset) not in places)
        made = json.loads(getattr(w, topic)[w.kept_rows(topic, whole)[0]].value)
        made |= {"partition": counted.partition, "offset": counted.offset, "event_id": "counted"}
        getattr(w, topic).append(Written(b"k", json.dumps(made).encode()))

    return act


def beyond(topic: str) -> Callable[[World], None]:
    def act(w: World) -> None:
        made = json.loads(getattr(w, topic)[w.kept_rows(topic, whole)[0]].value)
        getattr(w, topic).append(Written(b"k", json.dumps(made | {"offset": 10**9}).encode()))
        getattr(w, topic).append(Written(b"k", json.dumps(made | {"partition": 10**6}).encode()))

    return act


for name in ("late", "rejected"):
    said(f"a {name} record where none is", f"{name} in topic", beyond(name))
    said(f"a {name} record that the SQL did not tell", f"{name} in topic", lose(name, by_sql))
    said(f"a {name} record whose content is lost", f"{name} in topic", lose(name, whole))
    said(f"a {name} record of another content", f"{name} in topic", tell(name, whole, sha256="0" * 64))
    said(f"a {name} record of another size", f"{name} in topic", tell(name, whole, size=77))
    said(f"a {name} record at another place", f"{name} in topic", tell(name, whole, offset=0, partition=0))
    said(f"a counted event among the {name}", f"{name} in topic", invent(name))
said("a late record that only the watermark caught", "late in topic", tell("late", by_sql, reason="watermark"))
said("another reason", "rejected in topic", tell("rejected", whole, reason="future"))


# --- the import ---------------------------------------------------------------------------------
def refused(row: Row) -> bool:
    return row.get("line") is not None


def imported(w: World) -> list[int]:
    return [n for n, each in enumerate(w.events) if each.key != b"bad"]


def added(w: World) -> None:
    event = json.loads(w.events[imported(w)[9]].value or b"") | {"event_id": "nobody's"}
    w.events.append(replace(w.events[-1], value=json.dumps(event).encode(), headers=[], offset=10**6))


def unseen(w: World, at: int) -> None:
    event = json.loads(w.events[at].value or b"") | {"country": "elsewhere"}
    w.events[at] = replace(w.events[at], value=json.dumps(event).encode())


said("a refused line lost", "lines were refused", lose("rejected", refused))
said("an event of the import lost", "events were imported", lambda w: w.events.pop(w.dice.choice(imported(w))))
said("an event of the import twice", "events were imported", lambda w: w.events.append(copy.deepcopy(w.events[imported(w)[3]])))  # fmt: skip
said("a field that no query looks at", "is not what was imported", lambda w: unseen(w, imported(w)[7]))
said("an event that nobody imported", "are of no file that was imported", added)
said("an event of another file", "events were imported", lambda w: setattr(w.events[imported(w)[0]], "headers", []))

# --- the hub ------------------------------------------------------------------------------------
said("a row that clients are not shown", f"{V} in hub", lambda w: w.hub(V).pop(len(w.hub(V)) // 2))
said("the newest row not shown", f"{H} in hub", lambda w: w.hub(H).pop())
said("a row shown twice", f"{V} in hub", lambda w: w.hub(V).append(w.hub(V)[-1]))
said("a row shown with another value", f"{V} in hub", lambda w: w.hub(V)[-1].update(views=10_000))
said("a foreign row shown", f"{S} in hub", lambda w: w.hub(S).append({"x": 1}))
said("rows shown in another order", f"{H} in hub", lambda w: w.hub(H).reverse())
said("the oldest rows not shown", f"{V} in hub", lambda w: w.hub(V).__delitem__(slice(0, 5)))
said("nothing shown", f"{H} in hub", lambda w: w.hub(H).clear())


# --- seeding and judging ------------------------------------------------------------------------


@contextmanager
def a_hub(shown: dict[str, list[Row]], source: str) -> Iterator[Endpoint]:
    """A real hub that shows these rows."""
    port, secret = free_port(), secrets.token_hex(8)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    schemas = {name: packaged()[name].schema for name in shown}
    server = LiveServer(Hub("mutated", schemas), secret)

    async def serve() -> None:
        for name, rows in shown.items():
            server.begin(name, source, "run", 0)
            server.publish(name, source, list(enumerate(rows, 1)), appended_ms=0, received_ms=0)
            server.loaded(name, source)
        await server.start(port)
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield Endpoint(f"ws://127.0.0.1:{port}", secret=secret)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


class Court:
    """What was found exact, and a place beside it where wrong answers are judged."""

    def __init__(self, lab: Lab, folder: Path, source: str = SOURCE) -> None:
        self.lab = lab
        self.folder = folder
        self.topics = Topics(lab.endpoints.kafka)
        context = lab._context
        self.run = need_run(context.runs.read(), "standard", source)
        self.subject = subject_of(context, self.run)
        self.world = World(
            {q.name: self._read(self.run.topics[q.name], self.run.results_from[self.run.topics[q.name]]) for q in self.run.queries},
            self._read(LATE),
            self._read(REJECTED),
            self._read(self.subject.events),
            folder / "points.sqlite",
            random.Random(SEED),
            source,
        )  # fmt: skip
        wide = {"retention.ms": "-1", "max.message.bytes": "8388608"}
        self.events = Topic("events.mutant", PARTITIONS, wide | {"message.timestamp.type": "CreateTime"})
        self.places = {name: f"mutant.{name}" for name in (*self.world.results, "late", "rejected")}
        self.topics.ensure([Topic(name, 1, wide) for name in self.places.values()])

    def _read(self, topic: str, begin: int = 0) -> list[Written]:
        starts, ends = self.topics.starts([topic]), self.topics.ends([topic], committed=True)
        starts = {key: max(start, begin) for key, start in starts.items()}
        return [
            Written(r.key(), r.value(), r.partition() or 0, r.timestamp()[1], r.headers() or [], r.offset() or 0)  # type: ignore[arg-type]
            for r in read_range(self.lab.endpoints.kafka, starts, ends)
        ]

    def _write(self, out: Producer, topic: str, records: list[Written]) -> dict[tuple[int, int], int]:
        """Write records; where each was, and its offset now."""
        now: dict[tuple[int, int], int] = {}

        def kept(record: Written) -> Callable[[Any, Any], None]:
            def note(error: Any, message: Any) -> None:
                assert error is None, error
                now[record.partition, record.offset] = message.offset()

            return note

        for each in records:
            out.produce(
                topic,
                each.value,
                each.key,
                partition=each.partition,
                on_delivery=kept(each),
                timestamp=each.timestamp,
                headers=each.headers,
            )
            out.poll(0)
        assert out.flush(30) == 0
        assert None not in now.values(), "delivered without an offset: nobody knows whether it was written"
        return now

    def spoilt(self, spoil: Callable[[World], object]) -> World:
        """A copy of the world, the store's file too, spoilt."""
        world = copy.deepcopy(self.world)
        with closing(sqlite3.connect(self.lab.state.folder / "store" / "points.sqlite")) as db:
            world.store.unlink(missing_ok=True)
            db.execute("VACUUM INTO ?", (str(world.store),))
        spoil(world)
        return world

    def judge(self, spoil: Callable[[World], object]) -> RunReport:
        """Spoil a copy of the world, write it, and verify it."""
        world = self.spoilt(spoil)
        out = producer(self.lab.endpoints.kafka)
        begins = self.topics.empty([f"mutant.{name}" for name in world.results])
        for name, records in world.results.items():
            self._write(out, self.places[name], records)
        subject = replace(
            self.subject,
            results={name: self.places[name] for name in world.results},
            begins={self.places[n]: begins[self.places[n]] - (n == world.begins_early) for n in world.results},
        )
        if world.begins_early:
            subject = self._with_an_earlier_row(out, world, subject)
        if [e.offset for e in world.events] != [e.offset for e in self.world.events] or any(
            (a.headers, a.value) != (b.headers, b.value) for a, b in zip(world.events, self.world.events, strict=True)
        ):
            subject = self._other_events(out, world, subject)
        emptied = self.topics.empty([self.places["late"], self.places["rejected"]])
        subject = replace(subject, refused_from=emptied[self.places["rejected"]])
        for name in ("late", "rejected"):
            self._write(out, self.places[name], [replace(each, partition=0) for each in getattr(world, name)])
        ends = self.topics.ends([subject.events], committed=True)
        shown = shown_rows(world)
        store = EmbeddedStore(world.store)
        try:
            with a_hub(shown, subject.source) as hub:
                verifier = Verifier(
                    self.topics, store, hub, late=self.places["late"], rejected=self.places["rejected"], patience=0.5
                )
                return verifier.verify(subject, Upto(ends, whole=True))[0]
        finally:
            store.close()

    def _with_an_earlier_row(self, out: Producer, world: World, subject: Subject) -> Subject:
        """The same topic, with one row of an earlier run before the beginning that is believed."""
        name = world.begins_early
        begin = self.topics.empty([self.places[name]])[self.places[name]]
        world.edit(name, 0, views=99)
        self._write(out, self.places[name], [world.results[name][0], *self.world.results[name]])
        return replace(subject, begins={**subject.begins, self.places[name]: begin})

    def _other_events(self, out: Producer, world: World, subject: Subject) -> Subject:
        """The source under another name, with these events; what tells of its records is told of the new places."""
        self.topics.delete([self.events.name])
        self.topics.ensure([self.events])
        now = self._write(out, self.events.name, world.events)
        for name in ("late", "rejected"):
            for at in world.kept_rows(name, lambda row: True):
                row = json.loads(getattr(world, name)[at].value)
                place = (
                    {"offset": now.get((row["partition"], row["offset"]), -1)} if row.get("offset") is not None else {}
                )
                world.kept(name, at, source="mutant", **place)
        with closing(sqlite3.connect(world.store)) as db, db:
            for name in world.results:
                db.execute(f"UPDATE {name} SET source = 'mutant' WHERE source = ?", (SOURCE,))
        return replace(subject, source="mutant")


def shown_rows(world: World) -> dict[str, list[Row]]:
    """What a hub shows of a world: what was said of it, else the rows of its topics that can be read."""
    if world.shown is not None:
        return world.shown
    shown: dict[str, list[Row]] = {}
    for name in world.results:
        try:
            rows = [json.loads(each.value or b"null") for each in world.topic(name)]
        except ValueError:
            rows = []
        shown[name] = [row for row in rows if isinstance(row, dict)]
    return shown


@pytest.fixture(scope="module")
def court(stack: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    folder = tmp_path_factory.mktemp("court")
    lines = folder / "shop.jsonl"
    assert rtap(stack, "simulate", "--out", str(lines), "--events", "4000", "--seed", "5").returncode == 0
    stack.import_jsonl(lines, source=SOURCE)
    out = producer(stack.endpoints.kafka)
    facts = stack._context.source(SOURCE)
    [(digest, file)] = facts.files.items()
    newest = max(r.timestamp for r in _newest(stack))

    def kept(error: Any, message: Any) -> None:
        """The importer is a source's only writer; what it would keep of these is written for it."""
        assert error is None, error
        place = (SOURCE, message.partition(), message.offset())
        for row in rejected_rows(message.value(), *place, arrival_ms=newest):
            out.produce(REJECTED, encode_row(row), key_of(row))

    bad = (b"no JSON", b"{}", b'{"event_id": "x"}', b"[1", b'{"event_type": "odd"}')
    for number, each in enumerate(bad):
        headers = [("file", digest[:24].encode())]
        out.produce(events_topic(SOURCE), each, b"bad", number, timestamp=newest, on_delivery=kept, headers=headers)
    assert out.flush(10) == 0
    assert out.flush(10) == 0
    content = content_of(int(file.content or "0", 16) + sum(map(digest_of_value, bad)))
    more = structs.replace(file, read=file.read + len(bad), imported=file.imported + len(bad), content=content)
    keep(stack._context, SOURCE, structs.replace(facts, files={digest: more}))
    stack.run_standard(SOURCE, gap="20s", within="30s", bound="1s")
    report = stack.verify(SOURCE)
    assert report.exact, str(report)
    assert min(report.ledger[each] for each in ("late", "duplicate", "rejected", "refused_lines")) > 0
    court = Court(stack, folder)
    yield court
    court.topics.delete([*court.places.values(), court.events.name])
    stack.remove_source(SOURCE)
    shutil.rmtree(folder)


def _newest(lab: Lab) -> list[Written]:
    topics = Topics(lab.endpoints.kafka)
    topic = events_topic(SOURCE)
    found = read_range(lab.endpoints.kafka, topics.starts([topic]), topics.ends([topic], committed=True))
    return [Written(None, None, timestamp=r.timestamp()[1]) for r in found]


def places(report: RunReport) -> set[str]:
    """What a report names."""
    return {f"{c.name} in {c.where}" for c in report.compared if c.differences}


def test_what_was_not_touched_is_exact(court: Court) -> None:
    """Also under the other name: else a red verdict on it would say nothing."""
    report = court.judge(lambda world: None)
    assert report.exact, "\n".join([str(report.table), *report.notes])
    report = court.judge(lambda world: world.events.sort(key=lambda e: (e.offset, e.partition)))
    assert report.exact, "\n".join([str(report.table), *report.notes])


@pytest.mark.parametrize(("name", "place", "act"), KINDS, ids=[each[0] for each in KINDS])
def test_a_wrong_answer_turns_it_red_and_is_named(
    court: Court, name: str, place: str, act: Callable[[World], object]
) -> None:
    named(court.judge(act), name, place)


def named(report: RunReport, name: str, place: str) -> None:
    """Assert that a report is red and names the place."""
    told = "\n".join([str(report.table), *report.notes])
    assert not report.exact, f"{name} (seed {SEED}) stays green:\n{told}"
    if " in " in place and place.rpartition(" ")[2] in ("topic", "store", "hub"):
        assert place in places(report), told
        if place.endswith((" store", " hub")):
            assert places(report) == {place}, f"only there:\n{told}"
        query = place.split(" in ")[0]
        assert query in told.split("read ", 1)[1], "the place is named in words, with the row"
    else:
        assert any(place in problem for problem in report.problems), told


def test_there_are_more_than_forty_kinds() -> None:
    assert len({each[0] for each in KINDS}) == len(KINDS) >= 40
