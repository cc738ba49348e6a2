"""A look: a statement that runs in Flink over a fixed piece of a source, bounded in time and rows, and always ended.

It says how much of the piece it has seen and why it ended, so that an answer over a part of the input is never taken for one
over all of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from rtap_lab.errors import JobError, StatementError
from rtap_lab.events.times import instant_text
from rtap_lab.flink.advice import CONTIGUITY, strict
from rtap_lab.flink.gateway import Rows, Session
from rtap_lab.flink.properties import TERMINAL, look_properties
from rtap_lab.flink.statements import catalog
from rtap_lab.kafka.names import events_topic
from rtap_lab.lab.context import Context, SqlSession
from rtap_lab.lab.interrupts import uninterrupted
from rtap_lab.lab.pieces import Piece, piece_of
from rtap_lab.lab.rows import Row
from rtap_lab.settings import LIVE
from rtap_lab.tables import Table, Text
from rtap_lab.waiting import until

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20
"""Rows that are shown of many."""

Ending = Literal["reading", "complete", "rows", "seconds", "interrupted"]
"""Why a look ended: it has not; it has read its piece; it has so many rows; its time was over; Ctrl-C or the stop button."""

STARTS_S = 1.5
"""Seconds in which the tasks of a job that was accepted run: so long its end waits for them."""

_NOT_BEGUN = ("CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING")
"""States of a task before it runs."""

PLANNING_S = 60.0
"""A statement that has not begun by then never will."""


@dataclass
class Look:
    """What was seen."""

    piece: Piece
    columns: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """Instants are RFC 3339 texts."""
    ended_by: Ending = "reading"
    read: int | None = 0
    """Records of the piece that were read, at least."""
    revised: bool = False
    """Whether rows may be revised by what is read later: then, of a part of the piece, they are no answer."""
    seconds: float = 0.0
    left_out: int = 0
    """Rows that were not wanted."""
    open_windows: bool = False
    """Whether it may show windows that were open when its piece was taken."""
    changelog: bool = False
    """Whether its rows are changes, with their kind in front."""
    newest: int | None = None
    """Shown are so many rows from the end, instead of those from the beginning."""
    kind: Literal["events", "catalog"] = "events"
    """Whether it read events, or only what is known of them."""
    strict: bool = False
    """Whether it is a pattern that lets no other row lie between those of a match."""

    @property
    def complete(self) -> bool:
        return self.ended_by == "complete"

    @property
    def withheld(self) -> bool:
        """Whether its rows are of a part of the input, and would be others had it read all."""
        return self.revised and not self.complete

    @property
    def answer(self) -> list[Row]:
        """The rows that can be relied on: all, or none."""
        return [] if self.withheld else self.rows

    def frame(self) -> pd.DataFrame:
        """The answer as a DataFrame; times are timestamps, of TIMESTAMP_LTZ in UTC.

        Raises:
            StatementError: When there is no answer yet: its rows are of a part of the input.
        """
        import pandas as pd

        if self.withheld:
            raise StatementError(f"no answer: {self.words}")
        frame = pd.DataFrame(self.rows, columns=self.columns)
        for name, kind in zip(self.columns, self.types, strict=True):
            if kind.startswith("TIMESTAMP") and not frame.empty:
                frame[name] = pd.to_datetime(frame[name], utc="LTZ" in kind or "LOCAL" in kind, format="ISO8601")
        frame.attrs["look"] = self.words
        return frame

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.answer,
            "ended_by": self.ended_by,
            "records_read": self.read,
            "records": self.piece.records,
            "words": self.words,
        }

    def _shown(self) -> list[Row]:
        return self.answer[:SHOWN] if self.newest is None else self.answer[-self.newest :]

    def _table(self) -> Table | Text:
        return self.text or Table.of(self.columns, self._shown(), grouped=False)

    @property
    def text(self) -> Text | None:
        """What EXPLAIN or SHOW CREATE says; None where there are rows."""
        if self.kind != "catalog" or len(self.rows) != 1 or len(self.columns) != 1:
            return None
        value = str(self.rows[0][self.columns[0]])
        return Text(value) if "\n" in value else None

    def __str__(self) -> str:
        if self.text:
            return str(self.text)
        left = len(self.answer) - len(self._shown())
        more = f"\n… and {left:,} more" if left else ""
        return f"{self._table()}{more}\n{len(self.answer):,} rows; {self.words}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        if self.text:
            return self.text._repr_html_()
        left = len(self.answer) - len(self._shown())
        more = f"<p>… and {left:,} more: <code>.frame()</code></p>" if left else ""
        return f"{self._table()._repr_html_()}{more}<p>{len(self.answer):,} rows; {escape(self.words)}</p>"

    @property
    def words(self) -> str:
        """How much was seen and why it ended, in one sentence."""
        if self.kind == "catalog":
            return "complete; no event was read"
        if self.ended_by == "reading":
            return f"so far; reading {self.piece}"
        whole = self.piece.records
        if self.read is None:
            share = "a part"
        elif self.complete or self.read >= whole:
            share = "all"
        else:
            share = f"{self.read:,} of {whole:,} records ({self.read / whole:.0%})"
        why = {
            "complete": "complete",
            "rows": f"ended after {len(self.rows):,} rows",
            "seconds": f"its {self.seconds:.0f} s were over",
            "interrupted": "interrupted",
        }[self.ended_by]
        words = f"{why}; saw {share} of {str(self.piece).removeprefix('all of ')}"
        if self.complete and self.open_windows:
            cut = ["began before it"] if self.piece.since_ms is not None else []
            cut += ["are still open"] if self.piece.taken_ms is not None else []
            if cut:
                words += f"; of windows that {' or '.join(cut)}, a part of their events is shown"
        if self.complete and self.strict and not self.rows:
            words += f". {'. To let others lie between, '.join(CONTIGUITY)}"
        if self.withheld:
            words += "; no answer yet: what it has would change with the rest. Give it more seconds, or a smaller piece (since)"
        return words


def look(
    context: Context,
    statement: str,
    piece: Piece,
    *,
    views: Sequence[str] = (),
    seconds: float,
    rows: int,
    revised: bool | None = False,
    wanted: Callable[[Row], bool] = lambda row: True,
    changelog: bool = False,
    name: str = "look",
    on_rows: Callable[[Look], None] = lambda so_far: None,
) -> Look:
    """Run a query over a piece.

    Ctrl-C ends it and keeps the rows so far.

    Args:
        context: The lab.
        statement: A SELECT.
        piece: What it reads.
        views: Statements that come before, such as `CREATE TEMPORARY VIEW`.
        seconds: How long it may take at most, from its first answer on: planning does not count.
        rows: How many rows at most.
        revised: Whether its rows may be revised by later ones; None: a person wrote it, Flink is asked, and what earlier
            statements of that person left (`context.sql_session`) is there.
        wanted: Which rows are kept; the others are counted.
        changelog: Keep each change as a row of its own, with its kind in front (+I, -U, +U, -D), instead of what they leave.
        name: Of Flink's job.
        on_rows: Called with what there is so far whenever rows came.

    Raises:
        StatementError: With Flink's reason.
    """
    kept = context.sql_session if revised is None else SqlSession()
    views = [*kept.views.values(), *views]
    written = "\n".join([*views, statement]) if revised is None else ""
    windows = "DESCRIPTOR" in written.upper()
    found = Look(piece, seconds=seconds, open_windows=windows, strict=strict(written))
    properties = {
        **look_properties(),
        **kept.settings,
        "pipeline.auto-watermark-interval": "50 ms",
        "pipeline.name": name,
        "sql-client.execution.result-mode": "changelog",
        # a hint could lead a table elsewhere
        "table.dynamic-table-options.enabled": "false",
    }
    with Session(context.endpoints.gateway, properties) as session:
        for each in [*source_statements(context, piece.source, piece), *views]:
            session.configure(each)
        found.revised = _is_revised(session, statement) if revised is None else revised
        if changelog:  # what has changed once has changed for good
            found.revised, found.changelog = False, True
        _fetch(context, session, statement, found, seconds, rows, wanted, on_rows)
    return found


def source_statements(context: Context, source: str, piece: Piece | None) -> list[str]:
    """The catalog over a piece of a source, as statements; without one, over all of it and what comes."""
    recorded = context.sources.read().get(source)
    if piece is None and source != LIVE:
        piece = piece_of(context, source, None)
    return catalog(
        topic=events_topic(source),
        kafka=context.endpoints.kafka,
        group=f"rtap-look-{source}",
        bound_ms=context.lateness_bound_ms(source),
        starts=piece.starts if piece else None,
        ends=piece.ends if piece else None,
        steady=recorded is not None and recorded.steady,
    )


def _fetch(
    context: Context,
    session: Session,
    statement: str,
    found: Look,
    seconds: float,
    rows: int,
    wanted: Callable[[Row], bool],
    on_rows: Callable[[Look], None],
) -> None:
    operation = session.start(statement)
    begun = time.monotonic()
    deadline: float | None = None
    job_id: str | None = None
    ended = False
    try:
        for page in session.pages(operation, statement):
            now = time.monotonic()
            if page is None:
                if deadline is None and now - begun > PLANNING_S:
                    raise StatementError("flink: the statement did not start", sql=statement)
                time.sleep(0.03)
            else:
                deadline = deadline or now + seconds
                job_id = page.job_id or job_id
                _take(found, page, wanted)
                # rows that may be revised are counted when all is read
                if not found.revised and len(found.rows) >= rows:
                    found.ended_by = "rows"
                    del found.rows[rows:]
                    break
                if page.rows:
                    on_rows(found)
                else:
                    time.sleep(0.02)
            if deadline is not None and now > deadline:
                found.ended_by = "seconds"
                break
        else:
            ended = True
    except KeyboardInterrupt:
        found.ended_by = "interrupted"
    finally:
        if not ended:
            with uninterrupted():
                found.read = _read_so_far(context, job_id, found.piece)
                _await_tasks(context, job_id)
                session.end(operation)
                if job_id and context.site.flink.job(job_id)["state"] not in TERMINAL:
                    context.site.flink.cancel(job_id)
    if ended:
        found.ended_by, found.read = "complete", found.piece.records
        if len(found.rows) > rows:
            found.ended_by = "rows"
            del found.rows[rows:]
            found.revised = False  # they are final, and the first of them


def _await_tasks(context: Context, job_id: str | None) -> None:
    """Wait until all tasks of a job run, before it is cancelled.

    A sink of rows that is cancelled while it is restored has no lock yet, and its NullPointerException ends the whole TaskManager
    with all its jobs (Flink 2.3, `CollectSinkFunction.accumulateFinalResults`).
    """
    if job_id is None:
        return
    flink = context.site.flink

    def past_it() -> bool:
        try:
            job = flink.job(job_id)
            begun = all(each["status"] not in _NOT_BEGUN for each in job["vertices"])
            return job["state"] in TERMINAL or (job["state"] == "RUNNING" and begun)
        except JobError:  # the JobManager is away, or knows it no more
            return True

    until(past_it, STARTS_S, every=0.05)


def _take(found: Look, page: Rows, wanted: Callable[[Row], bool]) -> None:
    """Keep the rows as the changelog leaves them."""
    found.columns, found.types = page.columns, page.types
    op = next(name for name in (OP, f"_{OP}", f"__{OP}") if name not in page.columns)
    if found.changelog:
        found.columns, found.types = [op, *page.columns], ["CHAR(2)", *page.types]
    for kind, values in zip(page.kinds, page.rows, strict=True):
        row = {name: _value(value) for name, value in zip(page.columns, values, strict=True)}
        if not wanted(row):
            found.left_out += 1
        elif found.changelog:
            found.rows.append({op: _OPS[kind], **row})
        elif kind in ("INSERT", "UPDATE_AFTER"):
            found.rows.append(row)
        elif row in found.rows:
            found.rows.remove(row)


OP = "op"
"""The column of a change's kind; with underscores before it where the query has one of that name."""

_OPS = {"INSERT": "+I", "UPDATE_BEFORE": "-U", "UPDATE_AFTER": "+U", "DELETE": "-D"}


def _value(value: Any) -> Any:
    if isinstance(value, dict) and "epochSecond" in value:
        return instant_text(int(value["epochSecond"]) * 1000 + int(value.get("nano", 0)) // 1_000_000)
    return value


_MODE = re.compile(r"changelogMode=\[([A-Z,]*)\]")
_LINE = re.compile(r"\bline (\d+)")
_WRITES = re.compile(r"^\s*Logical(Legacy)?Sink\(", re.MULTILINE)


def explained(session: Session, statement: str, how: str = "") -> str:
    """Flink's plan of a query, as text.

    Raises:
        StatementError: When Flink's parser takes it for anything but a query.
    """
    explain = f"EXPLAIN {how}\n{statement}"  # on a line of its own: Flink's columns are the statement's
    text = ""
    try:
        for page in session.pages(session.start(explain), explain):
            if page is None:
                time.sleep(0.02)
            else:
                text += "".join(str(value) for row in page.rows for value in row)
    except StatementError as error:
        message = _LINE.sub(lambda line: f"line {int(line[1]) - 1}", error.message)
        raise StatementError(message, sql=statement, hint=error.hint, trace=error.trace) from error
    if _WRITES.search(text):
        raise StatementError("flink: this writes; only queries are run here", sql=statement)
    return text


def _is_revised(session: Session, statement: str) -> bool:
    """Whether a query's rows may be revised: what Flink's plan says of its last operator."""
    physical = explained(session, statement, "CHANGELOG_MODE").partition("== Optimized Physical Plan ==")[2]
    first = _MODE.search(physical)
    return first is None or set(first[1].split(",")) != {"I"}


def _read_so_far(context: Context, job_id: str | None, piece: Piece) -> int | None:
    """How many records of its piece a job has read: its source's own count, which begins to count a moment late."""
    if job_id is None:
        return 0
    try:
        return min(piece.records, context.site.flink.records_read(job_id)) or None
    except JobError:  # it has ended meanwhile
        return None
