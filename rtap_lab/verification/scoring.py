"""How far the answers are from what really happened, and how much of that the disorder explains.

`verify` says that the answers are what the records imply; `score` says what the visitors did, which
the records tell only as far as they were not late, spoilt or from a wrong clock. Without a simulator's
truth, what was accepted stands for what happened, late events included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from rtap_lab.events.times import instant_text
from rtap_lab.queries.query import Query
from rtap_lab.queries.schema import Schema
from rtap_lab.queries.standard import ABANDONED, BOUGHT, CONVERSIONS, TRAFFIC, TRAFFIC_OF_HOUR, VISITS
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event, Judged
from rtap_lab.settings import LIVE
from rtap_lab.tables import Table
from rtap_lab.verification.comparing import Compared, Row, compare, identity
from rtap_lab.verification.report import Subject

if TYPE_CHECKING:
    from rtap_lab.simulator.truth import Anomaly, Happened, Truth, Visit

MINUTE = 60_000
BOT_EVENTS, BOT_PACE_MS = 12, 600
"""A session of so many events or more, less than so long apart on average, is taken for a bot's."""


@dataclass
class Scored:
    """Rows of one query against what really happened."""

    name: str
    true: int
    """Rows that what really happened has."""
    found: int
    exact: int
    wrong: int
    missing: int
    extra: int
    unexplained: int
    """Rows that differ from what the arrived records imply: 0 unless the pipeline is at fault."""
    first: list[dict[str, Any]] = field(default_factory=list)
    """The first unexplained ones."""


@dataclass(frozen=True)
class Agreement:
    """Precision and recall of what was found."""

    true: int
    found: int
    right: int

    @property
    def precision(self) -> float | None:
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        return self.right / self.true if self.true else None

    def as_json(self) -> dict[str, Any]:
        return self.__dict__ | {"precision": self.precision, "recall": self.recall}


@dataclass(frozen=True)
class Detection:
    """When the answers showed an anomaly."""

    anomaly: Anomaly
    by: str
    """The query, and what it showed."""
    delay_s: float | None
    """From its beginning to the end of the window that showed it; None when none did."""

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.anomaly.kind,
            "from": instant_text(self.anomaly.from_ms),
            "by": self.by,
            "delay_s": self.delay_s,
        }


@dataclass
class Score:
    """The outcome of a scoring."""

    source: str
    truth: str
    """Where the truth came from: "the simulator's truth", or "the accepted records"."""
    upto: str | None
    queries: list[Scored]
    fates: dict[str, dict[str, int]]
    """By fate: how many messages should have had it as they were sent, and how many had it."""
    sessions: Agreement | None = None
    bots: Agreement | None = None
    funnel_true: float | None = None
    """Share of carts that were bought."""
    funnel_found: float | None = None
    visits: int = 0
    abandonments: int = 0
    """Visits that put something into the cart and bought nothing."""
    detections: list[Detection] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def unexplained(self) -> int:
        return sum(each.unexplained for each in self.queries)

    @property
    def exact(self) -> bool:
        """Every difference from what happened is explained by what arrived, and something was compared."""
        return not self.unexplained and any(each.true for each in self.queries)

    @property
    def funnel_error(self) -> float | None:
        """Found minus true rate."""
        if self.funnel_true is None or self.funnel_found is None:
            return None
        return self.funnel_found - self.funnel_true

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "truth": self.truth,
            "upto": self.upto,
            "exact": self.exact,
            "unexplained": self.unexplained,
            "queries": [vars(each) for each in self.queries],
            "fates": self.fates,
            "sessions": self.sessions.as_json() if self.sessions else None,
            "bots": self.bots.as_json() if self.bots else None,
            "funnel": {"true": self.funnel_true, "found": self.funnel_found, "error": self.funnel_error},
            "visits": self.visits,
            "abandonments": self.abandonments,
            "detections": [each.as_json() for each in self.detections],
            "seconds": self.seconds,
        }

    @property
    def table(self) -> Table:
        """The rows of each query."""
        names = ("true", "found", "exact", "wrong", "missing", "extra", "unexplained")
        return Table(("query", *names), [[q.name, *(getattr(q, n) for n in names)] for q in self.queries])

    def _repr_html_(self) -> str:
        return f"{self.table._repr_html_()}<p>{'<br>'.join(map(escape, self.notes))}</p>"

    def __str__(self) -> str:
        return "\n".join([str(self.table), *self.notes])

    @property
    def notes(self) -> list[str]:
        """Fates, visits, anomalies, the first unexplained rows, the verdict."""
        lines: list[str] = []
        for fate, counts in self.fates.items():
            lines.append(f"{fate:<12} as sent {counts['sent']:>8}   as arrived {counts['arrived']:>8}")
        for name, agreement in (("sessions", self.sessions), ("bots", self.bots)):
            if agreement:
                lines.append(
                    f"{name}: {agreement.true} true, {agreement.found} found, precision "
                    f"{_share(agreement.precision)}, recall {_share(agreement.recall)}"
                )
        if self.funnel_error is not None:
            lines.append(
                f"carts bought: true {_share(self.funnel_true)}, found {_share(self.funnel_found)}, "
                f"error {self.funnel_error * 100:+.2f} points"
            )
        for each in self.detections:
            shown = "never shown" if each.delay_s is None else f"shown after {each.delay_s:.1f} s"
            lines.append(f"{each.anomaly.kind} from {instant_text(each.anomaly.from_ms)}: {shown} ({each.by})")
        if any(each.delay_s is None for each in self.detections):
            lines.append(
                '"never shown": the rows are right, but this simple watch on them did not cross its line while it lasted.'
            )
        for query in self.queries:
            lines += [
                f"  {query.name}, {each['what']}: expected {each['expected']}, found {each['found']}"
                for each in query.first
            ]
        upto = f"up to {self.upto}" if self.upto else "whole"
        verdict = "EXPLAINED" if self.exact else "NOT EXPLAINED"
        lines.append(f"{verdict}: {self.source} against {self.truth}, {upto}, {self.seconds:.1f} s")
        return lines


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def score(
    subject: Subject,
    truths: Iterable[Truth],
    judged: Iterable[Judged],
    expected: Mapping[str, list[Row]],
    found: Mapping[str, list[Row]],
    *,
    w_ms: int | None = None,
    since_ms: int = -(2**62),
) -> Score:
    """Compare answers with what really happened.

    Args:
        subject: The run: its source and parameters.
        truths: Of the simulator's runs on the source; none for other input.
        judged: The fates of the source's records.
        expected: The rows that these imply, by query.
        found: The pipeline's rows, by query.
        w_ms: Rows are compared up to here; None: all.
        since_ms: Windows are compared from here on.
    """
    judged, truths = list(judged), list(truths)
    messages = [message for truth in truths for message in truth.messages()]
    real = [_event(message) for message in messages if not message.copy]
    known = {event.event_id for event in real}
    others = [j.event for j in judged if j.event is not None and j.event.event_id not in known]
    events = [*real, *others]
    true_rows = {query.name: rows_of(query.definition, events) for query in subject.queries}
    result = Score(
        subject.source,
        "the simulator's truth" if truths else "the accepted records",
        instant_text(w_ms) if w_ms is not None else None,
        [],
        _fates(subject, messages, judged),
    )
    due_rows: dict[str, list[Row]] = {}
    true_due: dict[str, list[Row]] = {}
    for query in subject.queries:
        name, schema = query.name, query.schema

        def against(rows: list[Row], query: Query = query) -> Compared:
            wanted = {identity(query.schema, query.schema.normal(row)): row for row in rows}
            delivery = subject.parameters.delivery
            there = found[query.name]
            return compare(query, "store", wanted, there, delivery=delivery, w_ms=w_ms, since_ms=since_ms)

        def due(rows: list[Row], schema: Schema = schema) -> list[Row]:
            return [row for row in rows if w_ms is None or schema.row_time_ms(row) <= w_ms]

        truly, arrived = against(true_rows[name]), against(expected[name])
        due_rows[name], true_due[name] = due(found[name]), due(true_rows[name])
        result.queries.append(
            Scored(
                name,
                truly.rows,
                len(found[name]) - truly.open,
                truly.rows - truly.missing - truly.wrong,
                truly.wrong,
                truly.missing,
                truly.extra,
                arrived.differences,
                arrived.first,
            )
        )
    result.funnel_true, result.funnel_found = _funnel(true_due), _funnel(due_rows)
    if truths:
        visits = [visit for truth in truths for visit in truth.visits()]
        result.visits = len(visits)
        result.abandonments = sum(visit.abandoned for visit in visits)
        result.sessions = _sessions(visits, due_rows[VISITS], subject.parameters.gap_ms, w_ms)
        result.bots = _bots(visits, due_rows[VISITS], subject.parameters.gap_ms, w_ms)
        anomalies = [each for truth in truths for each in truth.anomalies()]
        result.detections = [d for each in anomalies if (d := _detected(each, due_rows, judged))]
    return result


def _event(message: Happened) -> Event:
    return Event(
        message.event_id,
        message.event_type,
        message.moment_ms,
        message.visitor_id,
        message.name,
        message.page,
        message.value,
        message.session_id,
    )


def _fates(subject: Subject, messages: list[Happened], judged: list[Judged]) -> dict[str, dict[str, int]]:
    sent = Counter(message.fate(subject.parameters.bound_ms) for message in messages)
    arrived = Counter(each.fate for each in judged)
    arrived["rejected"] += subject.refused_lines
    names = {"on time": "counted", "late": "late", "duplicate": "duplicate", "malformed": "rejected"}
    if not messages:
        return {}
    if subject.source != LIVE:  # a recorded source's time is its events' own: see its bound
        sent["on time"] += sent.pop("late", 0)
    return {name: {"sent": sent[name], "arrived": arrived[fate]} for name, fate in names.items()}  # type: ignore[index]


def _funnel(rows: Mapping[str, list[Row]]) -> float | None:
    bought, abandoned = len(rows[BOUGHT]), len(rows[ABANDONED])
    return bought / (bought + abandoned) if bought + abandoned else None


def _sessions(visits: list[Visit], rows: list[Row], gap_ms: int, w_ms: int | None) -> Agreement:
    """A session is right when it is one true visit from its first event to its last."""
    ours = {visit.visitor_id for visit in visits}
    true = {(v.visitor_id, v.begin_ms, v.end_ms) for v in visits if w_ms is None or v.end_ms + gap_ms - 1 <= w_ms}
    found = {(r["visitor_id"], r["window_start"], r["window_end"] - gap_ms) for r in rows if r["visitor_id"] in ours}
    return Agreement(len(true), len(found), len(true & found))


def _bots(visits: list[Visit], rows: list[Row], gap_ms: int, w_ms: int | None) -> Agreement | None:
    """A visitor is taken for a bot by the pace of a session."""
    ours = {visit.visitor_id for visit in visits}
    true = {v.visitor_id for v in visits if v.bot and (w_ms is None or v.end_ms + gap_ms - 1 <= w_ms)}
    found = {
        row["visitor_id"]
        for row in rows
        if row["visitor_id"] in ours
        and row["events"] >= BOT_EVENTS
        and row["window_end"] - gap_ms - row["window_start"] < row["events"] * BOT_PACE_MS
    }
    return Agreement(len(true), len(found), len(true & found)) if true or found else None


def _detected(anomaly: Anomaly, rows: Mapping[str, list[Row]], judged: list[Judged]) -> Detection | None:
    """When a simple watch on the answers would have noticed; None for what is no anomaly of theirs.

    It counts by the minute, as the windows do. Of a story that is played so fast that its anomaly is over within a few
    minutes it counts by a third of the anomaly, in rows that know the millisecond: matches, visits, arrivals.
    """
    last = max((each.place.arrival_ms for each in judged), default=anomaly.from_ms)
    begin, end = anomaly.from_ms, anomaly.to_ms or last
    width = min(MINUTE, max(1000, (end - begin) // 3))
    by_minute, span = width == MINUTE, "minute" if width == MINUTE else f"{width / 1000:.3g} s"
    minutes = sorted({r["window_end"] for r in rows[TRAFFIC_OF_HOUR]})
    if anomaly.kind == "outage":
        if by_minute:
            counts = Counter({r["window_end"]: r["conversions"] for r in rows[CONVERSIONS] if r["goal"] == "purchase"})
            series = [(minute, counts[minute]) for minute in minutes]
        else:
            series = _binned(((r["purchase_time"], 1) for r in rows[BOUGHT]), width, minutes)
        by = f"purchases in {CONVERSIONS if by_minute else BOUGHT} by the {span} below half of before"
        return Detection(anomaly, by, _crossed(series, width, begin, end, lambda n, usual: n < usual / 2))
    if anomaly.kind in ("surge", "bots", "campaign"):
        if by_minute:
            series = sorted((r["window_end"], r["views"]) for r in rows[TRAFFIC])
        else:
            series = _binned(((r["window_start"], r["page_views"]) for r in rows[VISITS]), width, minutes)
        by = f"views in {TRAFFIC if by_minute else VISITS} by the {span} above one and a half of before"
        return Detection(anomaly, by, _crossed(series, width, begin, end, lambda n, usual: n > usual * 1.5))
    if anomaly.kind == "broken":
        series = _binned(((each.place.arrival_ms, int(each.fate == "rejected")) for each in judged), width)
        by = f"rejected records by the {span} above three times of before"
        return Detection(anomaly, by, _crossed(series, width, begin, end, lambda n, usual: n > usual * 3 + 5))
    return None


def _binned(
    counts: Iterable[tuple[int, int]], width_ms: int, between: list[int] | None = None
) -> list[tuple[int, int]]:
    """Sums by the end of their bin; of `between`, a first and a last time, empty bins too."""
    bins: Counter[int] = Counter()
    for at, count in counts:
        bins[at // width_ms * width_ms + width_ms] += count
    if between and bins:
        last = max(*bins, between[-1] // width_ms * width_ms)
        return [(end, bins[end]) for end in range(min(bins), last + 1, width_ms)]
    return sorted(bins.items())


def _crossed(series: list[tuple[int, int]], width_ms: int, begin: int, end: int, crosses: Any) -> float | None:
    """Seconds from an anomaly's beginning to the end of the first window that shows it."""
    whole = series[1:]  # the first window began before the traffic did
    before = [count for at, count in whole if at <= begin][-5:]
    if not before:
        return None
    usual = sum(before) / len(before)
    for at, count in whole:
        if begin < at and at - width_ms < end and crosses(count, usual):
            return (at - begin) / 1000
    return None
