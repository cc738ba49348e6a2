"""Why a query has no rows: one sentence, what to do, and the figures that it rests on.

The causes are asked in order, from what is down to what does not match; the first that holds is told. What events there are
is read from the topic, what they would answer is asked of the reference engine, and how the job fares of Flink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, Literal

import msgspec

from rtap_lab.events.times import instant_text
from rtap_lab.flink.advice import CONTIGUITY
from rtap_lab.jobs.model import run_of
from rtap_lab.kafka.clients import read_range
from rtap_lab.lab import status
from rtap_lab.lab.context import Context
from rtap_lab.lab.looks import look
from rtap_lab.lab.pieces import Piece, Since, piece_of
from rtap_lab.lab.previews import piece_for
from rtap_lab.queries.conditions import Both, Condition, Either
from rtap_lab.queries.expression import condition_text
from rtap_lab.queries.patterns import Pattern
from rtap_lab.queries.query import PatternQuery, Query, WindowQuery
from rtap_lab.queries.windows import SessionWindow
from rtap_lab.reference.conditions import predicate
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event, Judge, Judged, Place
from rtap_lab.settings import LIVE

Cause = Literal[
    "down",
    "not_running",
    "failing",
    "standing",
    "behind",
    "no_records",
    "rejected",
    "late",
    "filtered",
    "step",
    "contiguity",
    "within",
    "followed",
    "no_match",
    "open",
    "rows",
]
"""`down`: nothing is up; `not_running`: no job answers it; `failing`: its job does not run; `standing`: it runs and does not
move; `behind`: it reads so slowly that records expired before; `no_records`, `rejected`, `late`: no event is counted, and why; `filtered`: none passes the filter; `step`: none fits a
step; `contiguity`: other events lie between; `within`: it takes longer; `followed`: what must not follow does; `no_match`;
`open`: rows come later; `rows`: there are some."""

WIDER = 10
"""A pattern is tried with so many times its `within`."""


@dataclass(frozen=True)
class Diagnosis:
    """Why there are no rows."""

    cause: Cause
    sentence: str
    fix: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    besides: str = ""
    """What else was noticed: that some events are late, and what bound would count them."""

    def as_json(self) -> dict[str, Any]:
        return {
            "cause": self.cause,
            "sentence": self.sentence,
            "fix": self.fix,
            "figures": self.figures,
            "besides": self.besides,
        }

    def __str__(self) -> str:
        besides = f"\n  besides: {self.besides}" if self.besides else ""
        return self.sentence + (f"\n  -> {self.fix}" if self.fix else "") + besides

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        fix = f"<br>→ {escape(self.fix)}" if self.fix else ""
        besides = f"<br>besides: {escape(self.besides)}" if self.besides else ""
        return f"<p>{escape(self.sentence)}{fix}{besides}</p>"


def diagnose(context: Context, query: Query, source: str, *, since: Since | None = None) -> Diagnosis:
    """Why a query has no rows on a source; see `BoundQuery.diagnose`.

    Args:
        context: The lab.
        query: The query.
        source: "live" or a recorded source.
        since: Which events are looked at; the newest minutes when left out.
    """
    if not context.is_up:
        return Diagnosis("down", "nothing is up", "rtap up")
    piece = piece_for(context, query, source, since)
    if (found := _of_job(context, query, source)) is not None:
        return found
    found, besides = _of_events(context, query, piece)
    return replace(found or _answered(context, query, source), besides=besides)


def diagnose_statement(context: Context, statement: str, source: str, *, since: Since | None) -> Diagnosis:
    """Why a SQL text that no builder can say has no rows: by what Flink answers over a piece.

    Args:
        context: The lab.
        statement: One SELECT.
        source: "live" or a recorded source.
        since: Which events are looked at; None: all.
    """
    if not context.is_up:
        return Diagnosis("down", "nothing is up", "rtap up")
    piece = piece_of(context, source, since)
    if not piece.records:
        return Diagnosis("no_records", f"there are no records in {piece}", "rtap simulate, or a longer --since")
    found = look(context, statement, piece, seconds=60, rows=1, revised=None, name="diagnose")
    figures = {"rows": len(found.answer), "records": piece.records}
    if found.answer:
        return Diagnosis("rows", f"it has rows: {found.words}", ".preview()", figures)
    if not found.complete:
        return Diagnosis("open", f"not known: {found.words}", "a smaller piece: --since 1m", figures)
    if found.strict:
        return Diagnosis("contiguity", f"no row over {piece}. {CONTIGUITY[0]}", CONTIGUITY[1], figures)
    words = f"Flink read all of {str(piece).removeprefix('all of ')}, and nothing fits"
    return Diagnosis("no_match", words, "leave out one condition after the other, and look again: .preview()", figures)


def _answered(context: Context, query: Query, source: str) -> Diagnosis:
    """Events give rows: does a job?"""
    if run_of(context.runs.read(), query.name, source) is None:
        words = f"events give rows, but no job answers {query.name} on {source}"
        return Diagnosis("not_running", words, "run it: .run(), or look: .preview()")
    return Diagnosis("rows", "it has rows, or gets them within moments", ".rows(); rtap results " + query.name)


def _of_job(context: Context, query: Query, source: str) -> Diagnosis | None:
    """What is the matter with its job; None when it runs and moves, or when there is none."""
    run = run_of(context.runs.read(), query.name, source)
    if run is None or run.state in ("finished", "drained"):
        return None
    resume = f"rtap jobs run {run.job}" + ("" if source == LIVE else f" --source {source}")
    if run.state == "failed":
        return Diagnosis("failing", f"its job {run.job} has failed: {run.error}", f"when the reason is gone: {resume}")
    if run.desired == "stopped":
        return Diagnosis("not_running", f"its job {run.job} was stopped", resume)
    facts = status.status(context)
    (job,) = [j for j in facts["jobs"] if (j["name"], j["source"]) == (run.job, source)]
    if job["state"] != "RUNNING":
        why = f": {job['error']}" if job["error"] else ""
        return Diagnosis(
            "failing", f"its job {run.job} is {job['state'].lower()}{why}", "rtap status; rtap logs taskmanager"
        )
    problems = [words for words in facts["problems"] if f"job {run.job} on {source}" in words]
    if problems and problems[0] == job["behind"]:
        return Diagnosis("behind", problems[0], "rtap status; rows of what it has read come as it reads them")
    if problems:
        return Diagnosis("standing", problems[0], "rtap status shows which service is away; rtap logs SERVICE says why")
    return None


def _of_events(context: Context, query: Query, piece: Piece) -> tuple[Diagnosis | None, str]:
    """What is the matter with the events; None when they give rows. And what is said of those that are late."""
    bound_ms = context.lateness_bound_ms(piece.source)
    judge, judged, latest = Judge(bound_ms), list[Judged](), dict[int, int]()
    delays: list[int] = []
    for record in read_range(context.endpoints.kafka, piece.places(piece.starts), piece.places(piece.ends)):
        place = Place(record.partition() or 0, record.offset() or 0, record.timestamp()[1])
        found = list(judge.judge(record.value(), place))
        latest = judge.latest
        delays += [
            latest[place.partition] - each.event.event_time for each in found if each.fate == "late" and each.event
        ]
        judged += found
    fates = {fate: sum(each.fate == fate for each in judged) for fate in ("counted", "late", "rejected", "duplicate")}
    counted = [each.event for each in judged if each.fate == "counted" and each.event]
    why = _of_fates(fates, delays, bound_ms, judged, piece)
    if why is not None:
        return why, ""
    return _of_definition(query, counted, piece, bound_ms), _late_words(delays, len(counted), bound_ms)


def _late_words(delays: Sequence[int], counted: int, bound_ms: int) -> str:
    """What to say when some events are late; empty when none is."""
    if not delays:
        return ""
    enough, share = _enough(delays)
    return (
        f"{len(delays) / (len(delays) + counted):.1%} of the events are late under the bound of {bound_ms / 1000:g} s; "
        f"a bound of {enough} s would count {share:.0%} of them: .run(bound='{enough}s')"
    )


def _enough(delays: Sequence[int]) -> tuple[int, float]:
    """A bound, seconds, that counts 95 of 100 late events, and the share that it counts."""
    ordered = sorted(delays)
    enough = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)] // 1000 + 1
    return enough, sum(delay < enough * 1000 for delay in delays) / len(delays)


def _of_fates(
    fates: dict[str, int], delays: Sequence[int], bound_ms: int, judged: Sequence[Judged], piece: Piece
) -> Diagnosis | None:
    if fates["counted"]:
        return None
    if fates["late"]:
        enough, share = _enough(delays)
        return Diagnosis(
            "late",
            f"all {fates['late']:,} events came later than the bound of {bound_ms / 1000:g} s allows",
            f"a bound of {enough} s would count {share:.0%} of them: .run(bound='{enough}s')",
            fates,
        )
    if fates["rejected"]:
        reasons = [each.reason for each in judged if each.fate == "rejected"]
        most = max(set(reasons), key=reasons.count)
        return Diagnosis(
            "rejected",
            f"all {len(reasons):,} records are rejected, most of them for {most!r}",
            'their content: lab.sql("SELECT * FROM events_raw"); the reasons: docs/troubleshooting.md',
            fates,
        )
    fix = "rtap simulate sends some" if piece.source == LIVE else "rtap import adds some"
    if piece.earlier:
        fix = f"{piece.earlier:,} records are older: since='all'; {fix}"
    return Diagnosis("no_records", f"there are no events in {piece}", fix, fates)


def _of_definition(query: Query, counted: list[Event], piece: Piece, bound_ms: int) -> Diagnosis | None:
    definition = query.definition
    passed = counted
    if definition.where is not None:
        test = predicate(definition.where)
        passed = [event for event in counted if test(event, {})]
        if not passed:
            return _filtered(definition.where, counted)
    rows = [query.schema.normal(row) for row in rows_of(definition, counted)]
    if isinstance(definition, PatternQuery) and not rows:
        return _unmatched(query, definition, passed)
    if not rows:
        return Diagnosis("no_match", f"{len(passed):,} events pass, and give no row")
    until_ms = None if piece.taken_ms is None else piece.taken_ms - bound_ms
    due = [row for row in rows if until_ms is None or query.schema.row_time_ms(row) < until_ms]
    if not due:
        first = min(query.schema.row_time_ms(row) for row in rows) + bound_ms
        what = "the first row comes"
        if isinstance(definition, WindowQuery):
            ends = "session ends" if isinstance(definition.window, SessionWindow) else "window closes"
            what = f"the first {ends}"
        return Diagnosis(
            "open",
            f"{len(passed):,} events wait in what is still open; {what} at {instant_text(first)}",
            "wait, or ask for shorter windows",
            {"rows": len(rows), "at": instant_text(first)},
        )
    return None


def _filtered(where: Condition, counted: list[Event]) -> Diagnosis:
    """Which condition lets nothing pass."""
    alone = [(each, sum(bool(predicate(each)(event, {})) for event in counted)) for each in _conjuncts(where)]
    figures = {condition_text(each): count for each, count in alone}
    never = [each for each, count in alone if not count]
    words = f"none of {len(counted):,} events passes the filter"
    if never:
        fix = 'are its values written as in the events? lab.sql("SELECT * FROM events")'
        return Diagnosis("filtered", f"{words}: none has {condition_text(never[0])}", fix, figures)
    return Diagnosis(
        "filtered", f"{words}: each condition holds for some, all together for none", "join some with |", figures
    )


def _conjuncts(condition: Condition) -> list[Condition]:
    if isinstance(condition, Both):
        return _conjuncts(condition.left) + _conjuncts(condition.right)
    return [condition]


def _unmatched(query: Query, definition: PatternQuery, events: list[Event]) -> Diagnosis:
    """Why a pattern has no match among these events."""
    pattern, figures = definition.pattern, dict[str, Any]()
    for step in pattern.steps:
        if step.least and not any(operand.step for operand in step.condition.operands()):
            test = predicate(step.condition)
            figures[step.name] = sum(bool(test(event, {})) for event in events)
            if not figures[step.name]:
                return Diagnosis(
                    "step",
                    f"none of {len(events):,} events fits step {step.name!r}: {condition_text(step.condition)}",
                    "are its values written as in the events?",
                    figures,
                )

    def matches(changed: Pattern, where: Condition | None = definition.where) -> int:
        asked = msgspec.structs.replace(definition, pattern=changed, where=where)
        return len(rows_of(asked, events))

    if pattern.absence:
        without = matches(msgspec.structs.replace(pattern, absence=None))
        if without:
            seconds = pattern.absence.within_ms / 1000
            return Diagnosis(
                "followed",
                f"{without:,} matches, and each is followed within {seconds:g} s by {condition_text(pattern.absence.condition)}",
                "that is the answer: nobody left it out. A shorter within would find more",
                figures | {"without": without},
            )
    fitting = pattern.steps[0].condition
    for step in pattern.steps[1:]:
        fitting = Either(fitting, step.condition)
    if not any(operand.step for operand in fitting.operands()):
        where = fitting if definition.where is None else Both(definition.where, fitting)
        alone = matches(pattern, where)
        if alone:
            return Diagnosis(
                "contiguity",
                f"the steps are there, but other events of the same {', '.join(definition.keys)} lie between them: "
                "next() and times= take one event right after the other",
                f"use followed_by() instead of next(), or let the pattern see no others: .where({condition_text(fitting)})",
                figures | {"matches": alone},
            )
    if pattern.within_ms:
        wider = matches(msgspec.structs.replace(pattern, within_ms=pattern.within_ms * WIDER))
        if wider:
            return Diagnosis(
                "within",
                f"the steps are there, but take longer than {pattern.within_ms / 1000:g} s",
                f"within {pattern.within_ms * WIDER / 1000:g} s there are {wider:,} matches",
                figures | {"wider": wider},
            )
    return Diagnosis(
        "no_match",
        "events fit each step, but never in this order under one key",
        "look at one visitor: lab.sql(\"SELECT * FROM events WHERE visitor_id = '…'\")",
        figures,
    )
