"""The lessons' streams, and their exercises: tasks whose answers are marked by the reference engine, without a stack."""

from __future__ import annotations

import io
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import orjson

from rtap_lab.errors import SettingsError
from rtap_lab.events.times import instant_text
from rtap_lab.flink.functions import campaign_kind
from rtap_lab.lab.scenarios import load_scenario
from rtap_lab.queries.expression import parse
from rtap_lab.queries.query import Definition, PatternQuery, Query, WindowQuery
from rtap_lab.queries.query import query as make_query
from rtap_lab.recordings.inputs import Line, lines_of, read_line
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event, Judge, Judged, Place
from rtap_lab.simulator.parsing import with_visitors
from rtap_lab.simulator.playback import Playback, written
from rtap_lab.simulator.scenario import START_MS

STREAMS = {"lesson": ("brisk", 0.1), "lesson_late": ("late_mobile", 0.4)}
"""The lessons' streams: a scenario, and how many times its visitors. Every lab has the same."""

_EVENTS = 3000
_SEED = 7


@dataclass(frozen=True)
class Exercise:
    """A task and how it is marked."""

    number: str
    """Lesson and number: "02.1"."""
    task: str
    model: str = ""
    """A right answer in builders' words; empty: the answer is a value."""
    value: Callable[[], Any] | None = None
    """Finds the right value."""
    hint: str = ""

    def check(self, answer: Any) -> Marked:
        """Mark an answer.

        Args:
            answer: A query (as a definition, builders' words, or made by `lab.query`), or a value, as the task says.

        Raises:
            SettingsError: When it is no answer to this kind of task.
        """
        if self.value is not None:
            return self._check_value(answer)
        given, model = _definition(answer), _definition(self.model)
        return Marked(self, *_compared(given, model))

    def _check_value(self, answer: Any) -> Marked:
        assert self.value is not None
        right = self.value()
        answer = _plain(answer)
        if isinstance(right, str):
            same = isinstance(answer, str) and answer.strip().lower() == right.lower()
        elif isinstance(right, list):
            same = isinstance(answer, list | tuple) and list(answer) == right
        else:
            same = not isinstance(answer, str | bool) and answer == right
        return Marked(self, bool(same), "right" if same else f"{answer!r} is not it")

    def solution(self) -> str:
        """A right answer."""
        return self.model or repr(self.value() if self.value else "")

    def __repr__(self) -> str:
        return f"{self.number}: {self.task}\n  lab.exercise({self.number!r}).check(…)"

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(self.number)}</b> {escape(self.task)}<br><code>lab.exercise({self.number!r}).check(…)</code></p>"


@dataclass(frozen=True)
class Marked:
    """Whether an answer is right, and if not, where it differs."""

    exercise: Exercise
    right: bool
    words: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        hint = f"\n  -> {self.exercise.hint}" if self.exercise.hint and not self.right else ""
        return f"{'✓' if self.right else '✗'} {self.exercise.number}: {self.words}{hint}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"


def _plain(answer: Any) -> Any:
    """A value of NumPy or pandas as Python's: of one cell its value, of more a list."""
    if not hasattr(answer, "size"):
        return answer
    if answer.size == 1:
        return answer.iloc[0, 0] if getattr(answer, "ndim", 0) == 2 and hasattr(answer, "iloc") else answer.item()
    return answer.tolist() if hasattr(answer, "tolist") else answer.to_numpy().tolist()


def exercise(number: str) -> Exercise:
    """An exercise of the lessons.

    Raises:
        SettingsError: When there is none of that number.
    """
    if number not in EXERCISES:
        raise SettingsError(f"exercise {number!r} is not known", hint=f"one of {', '.join(EXERCISES)}")
    return EXERCISES[number]


# --- the lessons' streams ---------------------------------------------------------------------------


@lru_cache
def stream_lines(name: str) -> bytes:
    """A lesson's stream as JSON Lines."""
    scenario, visitors = STREAMS[name]
    playback = Playback(with_visitors(load_scenario(scenario), visitors), _SEED, zero_ms=START_MS)
    lines = [line for batch in written(playback, events=_EVENTS) for line in batch.values().to_pylist()]
    stream = b"".join(line + b"\n" for line in lines)
    return stream + _crafted(stream) if name == "lesson" else stream


_CRAFTED = (
    # seconds, who, event type, name, page: what tells a right answer from one that only looks like it
    (1, "slow", "custom", "add_to_cart", "/product/lamp"),
    (2, "member", "custom", "add_to_cart", "/product/sofa"),
    (4, "member", "conversion", "sign_up", "/join"),
    (5, "reader", "page_view", None, "/blog/product/lamp"),
    (6, "thrice", "page_view", None, "/product/lamp"),
    (7, "thrice", "custom", "search", "/search"),
    (46, "slow", "conversion", "purchase", "/checkout"),
)


def _crafted(stream: bytes) -> bytes:
    """The stream's last events, written by hand."""
    accepted = (_accepted(line) for line in lines_of(io.BytesIO(stream)))
    last = max(event["event_time"] for event in accepted if not isinstance(event, str))
    lines = []
    for number, (seconds, who, kind, name, page) in enumerate(_CRAFTED):
        event = {"event_id": f"crafted-{number}", "event_type": kind, "event_time": instant_text(last + seconds * 1000)}
        event |= {"visitor_id": who, "page": page} | ({"name": name} if name else {})
        lines.append(orjson.dumps(event) + b"\n")
    return b"".join(lines)


def _accepted(line: Line) -> dict[str, Any] | str:
    """The event of a line, or why an import refuses it."""
    return read_line(line, "jsonl", "lesson", b"", time.time_ns() // 1_000_000)


def import_stream(name: str, into: Callable[[Path], Any]) -> None:
    """Give a lesson's stream, as a file that goes afterwards, to an import.

    Args:
        name: The stream's.
        into: Takes the file.

    Raises:
        SettingsError: When there is none of that name.
    """
    if name not in STREAMS:
        raise SettingsError(f"lesson stream {name!r} is not known", hint=f"one of {', '.join(STREAMS)}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.jsonl"
        file.write_bytes(stream_lines(name))
        into(file)


_AGENTS = {
    "desktop": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "mobile": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148 Safari/604.1",
    "tablet": "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Safari/604.1",
}


def access_log() -> str:
    """The lesson's stream as its web server would have written it down (combined format), a broken line among the rest.

    Addresses are private ones, one for a visitor; a visit begins with the site's style sheet.
    """
    addresses: dict[str, str] = {}
    lines = []
    for event in counted():
        if event.event_type not in ("page_view", "session_start"):
            continue
        path = event.page if event.event_type == "page_view" else "/site.css"
        number = len(addresses)
        address = addresses.setdefault(event.visitor_id, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        moment = datetime.fromtimestamp(event.event_time / 1000, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
        agent = _AGENTS[event.device or "desktop"]
        lines.append(f'{address} - - [{moment}] "GET {path} HTTP/1.1" 200 2326 "{event.referrer or "-"}" "{agent}"')
    lines.insert(len(lines) // 2, lines[0][:60])
    return "\n".join(lines) + "\n"


@lru_cache
def judged(name: str) -> list[Judged]:
    """The fates of a lesson's stream, recorded in one partition, under a bound that makes nothing late."""
    judge, latest, found = Judge(2**40), 0, list[Judged]()
    for offset, line in enumerate(lines_of(io.BytesIO(stream_lines(name)))):
        event = _accepted(line)
        if not isinstance(event, str):  # else an import refuses it
            latest = max(latest, event["event_time"])
            found += judge.judge(event["bytes"], Place(0, offset, latest))
    return found


def counted(name: str = "lesson") -> list[Event]:
    """The counted events of a lesson's stream: nothing of it is late."""
    return [each.event for each in judged(name) if each.fate == "counted" and each.event]


# --- marking ----------------------------------------------------------------------------------------


def _definition(answer: Any) -> Definition:
    if isinstance(answer, str):
        return parse(answer)
    if isinstance(answer, WindowQuery | PatternQuery):
        return answer
    if isinstance(answer, Query):
        return answer.definition
    found = getattr(answer, "definition", None)
    if isinstance(found, WindowQuery | PatternQuery):
        return found
    raise SettingsError(
        f"{answer!r} is no query", hint="end a window with .agg(…), a pattern with .by(…); or give lab.query(…)"
    )


def _compared(given: Definition, model: Definition) -> tuple[bool, str]:
    """Whether two definitions answer the lesson's stream alike, and how not."""
    if type(given) is not type(model):
        return False, f"a {'pattern' if isinstance(model, PatternQuery) else 'window'} is asked for"
    right, wanted = _rows(model)
    mine, columns = _rows(given, wanted)
    if isinstance(model, WindowQuery) and set(columns) != set(wanted):
        return False, f"its columns should be {', '.join(wanted)}; they are {', '.join(columns)}"
    if mine == right:
        return True, f"right: {len(right):,} rows"
    lacking, extra = list((right - mine).elements()), list((mine - right).elements())
    words = f"{len(lacking):,} of {len(right):,} rows are missing, {len(extra):,} are too many"
    if lacking:
        words += f"; missing for instance {_shown(lacking[0])}"
    elif extra:
        words += f"; too many for instance {_shown(extra[0])}"
    return False, words


def _rows(definition: Definition, order: list[str] | None = None) -> tuple[Counter[tuple[Any, ...]], list[str]]:
    """A query's rows over the lesson's stream; of a pattern, whose steps may have any name: keys and time of each match.

    Args:
        definition: The query.
        order: The order of columns, where it has the same.
    """
    asked = make_query("answer", definition)
    schema = asked.schema
    rows = [schema.normal(row) for row in rows_of(asked.definition, counted())]
    columns = list(schema.columns) if schema.windowed else [*schema.keys, schema.time_column]
    if order is not None and set(columns) == set(order):
        columns = order
    return Counter(tuple(row[name] for name in columns) for row in rows), columns


def _shown(row: tuple[Any, ...]) -> str:
    return ", ".join(instant_text(each) if isinstance(each, int) and each > 10**12 else str(each) for each in row)


def _most_viewed() -> str:
    pages = Counter(each.page for each in counted() if each.event_type == "page_view")
    return str(pages.most_common(1)[0][0])


def _behind_ms() -> list[int]:
    """How far behind the latest event before it each event of the late stream came."""
    return [each.place.arrival_ms - each.event.event_time for each in judged("lesson_late") if each.event]


EXERCISES: dict[str, Exercise] = {
    each.number: each
    for each in (
        Exercise(
            "00.1",
            'Conversions and their worth by name, every 10 seconds; call them "conversions" and "worth".',
            'tumble("10s").by("name").where(field("event_type") == "conversion").agg(conversions=count(), worth=total("value"))',
            hint='conversions are events with event_type "conversion"; total("value") is their worth',
        ),
        Exercise(
            "01.1",
            "How many conversions are there in the lesson's stream?",
            value=lambda: sum(each.event_type == "conversion" for each in counted()),
            hint="SELECT COUNT(*) AS n FROM events WHERE …",
        ),
        Exercise("01.2", "Which page was viewed most?", value=_most_viewed, hint="GROUP BY page, of page views only"),
        Exercise(
            "02.1",
            'Page views of each page, every 10 seconds; call them "views".',
            'tumble("10s").by("page").where(field("event_type") == "page_view").agg(views=count())',
            hint='where(field("event_type") == "page_view")',
        ),
        Exercise(
            "02.2",
            'How many different visitors were there in the last 30 seconds? Told every 10 seconds, as "visitors".',
            'hop("30s", every="10s").agg(visitors=distinct("visitor_id"))',
            hint="windows that overlap: hop",
        ),
        Exercise(
            "02.3",
            'The three pages with the most events of each minute; call them "events".',
            'tumble("1m").by("page").agg(events=count()).top(3, "events")',
            hint='.top(3, "events")',
        ),
        Exercise(
            "03.1",
            'Visits that end after 20 seconds of silence: how many events ("events") has each visitor\'s?',
            'session("20s").by("visitor_id").agg(events=count())',
            hint='session("20s").by("visitor_id")',
        ),
        Exercise(
            "03.2",
            'The same visits: which page was viewed last ("exit"), and was there exactly one page view ("bounced")?',
            'session("20s").by("visitor_id").agg(exit=last("page", where=field("event_type") == "page_view"), '
            'bounced=count(where=field("event_type") == "page_view").equal_to(1))',
            hint="an aggregate takes where=…; count(…).equal_to(1) is yes or no",
        ),
        Exercise(
            "04.1",
            "An add_to_cart, and some time after it, within 30 seconds, a purchase of the same visitor.",
            'begin("cart", field("name") == "add_to_cart").followed_by("buy", field("name") == "purchase").within("30s").by("visitor_id")',
            hint="other events lie between: followed_by, not next",
        ),
        Exercise(
            "04.2",
            "An add_to_cart after which, for 20 seconds, that visitor purchases nothing.",
            'begin("cart", field("name") == "add_to_cart").then_not(field("name") == "purchase", within="20s").by("visitor_id")',
            hint="what must not follow: then_not",
        ),
        Exercise(
            "05.1",
            'With a bound of 2 s, how many events of "lesson_late" are late?',
            value=lambda: sum(behind >= 2000 for behind in _behind_ms()),
            hint="run any query on it with bound='2s', and look at the verification's ledger",
        ),
        Exercise(
            "05.2",
            "How many whole seconds must the bound be for none of them to be late?",
            value=lambda: max(_behind_ms()) // 1000 + 1,
            hint="what the import measured as disorder, rounded up: an event exactly the bound behind is late",
        ),
        Exercise(
            "06.1",
            "Which delivery may show an equal row twice after a failure?",
            value=lambda: "low_latency",
            hint="it writes without transactions",
        ),
        Exercise(
            "07.1",
            'Conversions by name and minute; call them "conversions".',
            'tumble("1m").by("name").where(field("event_type") == "conversion").agg(conversions=count())',
            hint='by("name")',
        ),
        Exercise(
            "08.1",
            'Events of each page, every minute, but only of pages that begin with "/product/"; call them "events".',
            'tumble("1m").by("page").where(field("page").starts_with("/product/")).agg(events=count())',
            hint='field("page").starts_with(…)',
        ),
        Exercise(
            "09.1",
            'What does the packaged function classify the campaign "spring-newsletter" as?',
            value=lambda: campaign_kind("spring-newsletter"),
            hint="SELECT campaign_kind('spring-newsletter')",
        ),
        Exercise(
            "10.1",
            "A stream of 1, 2, 3, 4, 5 goes through sliding_window(3, return_partial=False) and map(sum). What comes out?",
            value=lambda: [6, 9, 12],
            hint="s = Stream(); found = s.sliding_window(3, return_partial=False).map(sum).sink_to_list(); s.emit(1) …",
        ),
    )
}
