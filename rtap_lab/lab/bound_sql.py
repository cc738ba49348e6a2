"""A question in SQL, the lab that it is asked in, and the source it is asked of. Made by `Lab.query`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Unpack

from rtap_lab.errors import SettingsError
from rtap_lab.lab import previews, sql
from rtap_lab.lab.bound import BoundQuery
from rtap_lab.lab.context import Context
from rtap_lab.lab.debugging import PatternDebugger
from rtap_lab.lab.diagnosis import Diagnosis, diagnose_statement
from rtap_lab.lab.interrupts import interruptible
from rtap_lab.lab.looks import Look, look
from rtap_lab.lab.pieces import Piece, Since, piece_of
from rtap_lab.lab.previews import MOST_CHECKED, NEWEST_MS, Checked, Preview
from rtap_lab.lab.rows import Row
from rtap_lab.queries.query import Definition
from rtap_lab.queries.query import query as make_query
from rtap_lab.settings import LIVE, JobOptions

if TYPE_CHECKING:
    from rtap_lab.queries.sql_text import Reading

_SELECT = re.compile(r"\s*SELECT\b(\s+ALL\b)?", re.IGNORECASE)
_QUERY = re.compile(r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*\(*\s*(SELECT|WITH)\b", re.IGNORECASE | re.DOTALL)


def is_sql(text: str) -> bool:
    """Whether a text means to be SQL."""
    return bool(_QUERY.match(text))


@interruptible
class BoundSql:
    """A question in SQL. What of it the builders can say, too, is checked by the reference engine, and can run.

    Args:
        context: The lab.
        statement: One SELECT, as `sql.read_statement` lets it pass.
        name: The name that it was given; empty: made from the text.
        title: For people.
        source: "live" or a recorded source.
        on_note: Told what a person should know before it happens.
    """

    def __init__(
        self, context: Context, statement: str, name: str, title: str, source: str, on_note: Callable[[str], None]
    ) -> None:
        from rtap_lab.queries.sql_text import NoDefinitionError, read_sql  # sqlglot takes half a second

        self._context = context
        self._on_note = on_note
        self.statement = statement
        self.name = name or f"sql_{hashlib.sha256(statement.encode()).hexdigest()[:8]}"
        self.title = title
        self.source = source
        self.reading: Reading | None = None
        """What it says as a definition; None: it has none."""
        self.why_unread = ""
        """Why it has no definition, or none that can be kept running."""
        try:
            self.reading = read_sql(statement)
        except NoDefinitionError as error:
            self.why_unread = str(error)
        else:
            if not self.reading.windowed:
                self.why_unread = "without a window no row of it is ever final"

    @property
    def definition(self) -> Definition:
        """What it asks, as builders say it.

        Raises:
            SettingsError: When it has no definition; it says why.
        """
        return self.query.definition

    @property
    def query(self) -> BoundQuery:
        """The same question as a query of builders: what `run` keeps running.

        Raises:
            SettingsError: When there is none; it says why.
        """
        if self.reading is None or not self.reading.windowed:
            raise SettingsError(
                f"{self.name} cannot be kept running: {self.why_unread}, so that nothing could verify its rows",
                hint="preview() answers it; a window or a pattern in builders' words runs: help(rtap_lab.queries.builders)",
            )
        asked = make_query(self.name, self.reading.definition, self.title)
        return BoundQuery(self._context, asked, self.source, self._on_note)

    def text(self) -> str:
        """The question as it was asked."""
        return self.statement

    def sql(self) -> str:
        """The question as it was asked."""
        return self.statement

    def explain(self) -> str:
        """How Flink would answer it: its plan.

        Raises:
            StatementError: When Flink refuses it.
        """
        views = list(self._context.sql_session.views.values())
        return previews.explain_statement(self._context, self.statement, self.source, views=views)

    def preview(
        self,
        *,
        since: Since | None = None,
        seconds: float = 10,
        rows: int = 1000,
        on_rows: Callable[[Look], None] = lambda so_far: None,
    ) -> Preview | Look:
        """Let Flink answer over what is there now; it says how much it saw and why it ended. See `BoundQuery.preview`.

        Of windows only final rows are kept; what has no definition is looked at as `Lab.sql` does.
        """
        if self.reading is not None and self.reading.windowed:
            statement, edges = with_edges(self.statement, self.reading)
            return previews.preview_statement(
                self._context,
                self.query.query,
                statement,
                self._piece(since),
                columns=lambda row: in_columns(row, edges),
                seconds=seconds,
                rows=rows,
                on_rows=on_rows,
            )
        return sql.run(
            self._context,
            self.statement,
            source=self.source,
            since=self._since(since),
            seconds=seconds,
            rows=rows,
            on_rows=on_rows,
        )

    def check(self, *, since: Since | None = None, seconds: float = 120) -> Checked | Unchecked:
        """Let Flink answer the text as it stands, and the reference engine what it says; compare every row.

        Args:
            since: As in `preview`.
            seconds: How long Flink may take at most.

        Returns:
            Where the text has no definition, what Flink alone says.
        """
        piece = self._piece(since)
        if self.reading is None:
            found = look(
                self._context, self.statement, piece, seconds=seconds, rows=MOST_CHECKED, revised=None, name="check"
            )
            return Unchecked(self.name, found, self.why_unread)
        asked = make_query(self.name, self.reading.definition, self.title)
        statement, edges = with_edges(self.statement, self.reading)
        found = look(
            self._context, statement, piece, seconds=seconds, rows=MOST_CHECKED, revised=None, name=f"check {self.name}"
        )
        rows = [in_columns(row, edges) for row in found.rows]
        return previews.compared_with_reference(self._context, asked, found, rows)

    def diagnose(self, *, since: Since | None = None) -> Diagnosis:
        """Why it has no rows: one sentence, and what to do.

        Of a text without a definition, by what Flink answers over the newest minutes.
        """
        if self.reading is None or not self.reading.windowed:
            return diagnose_statement(self._context, self.statement, self.source, since=self._since(since))
        return self.query.diagnose(since=since)

    def debug(self, *, since: Since | None = None) -> PatternDebugger:
        """See `BoundQuery.debug`: of patterns alone, and none is read from SQL.

        Raises:
            SettingsError: Always.
        """
        return self.query.debug(since=since)

    def run(
        self,
        *,
        job: str | None = None,
        timeout: float = 1800,
        progress: Callable[[int, int], None] = lambda done, of: None,
        **options: Unpack[JobOptions],
    ) -> BoundQuery:
        """Keep it running under its name; see `BoundQuery.run`.

        Raises:
            SettingsError: When nothing could verify its rows: it has no definition.
            StatementError: When Flink refuses the text as it stands.
        """
        asked = self.query
        self.explain()
        return asked.run(job=job, timeout=timeout, progress=progress, **options)

    def _since(self, since: Since | None) -> Since | None:
        if since is None and self.source == LIVE:
            since = NEWEST_MS / 1000
        return None if since == "all" else since

    def _piece(self, since: Since | None) -> Piece:
        if self.reading is not None and self.reading.windowed:
            return previews.piece_for(self._context, self.query.query, self.source, since)
        return piece_of(self._context, self.source, self._since(since))

    def __repr__(self) -> str:
        return f"{self.name} on {self.source}: {self.statement}"

    def _repr_html_(self) -> str:
        says = escape(self.why_unread) or "the reference engine can check it: <code>.check()</code>"
        return f"<p><b>{escape(self.title or self.name)}</b> on {escape(self.source)}; {says}</p><pre>{escape(self.statement)}</pre>"


class Unchecked:
    """What Flink answered where there is no second opinion."""

    equal = False

    def __init__(self, name: str, found: Look, why: str) -> None:
        self.name = name
        self.look = found
        self.why = why

    @property
    def words(self) -> str:
        """The verdict in one sentence."""
        return f"no second opinion: {self.why}. Flink alone answers {len(self.look.answer):,} rows; {self.look.words}"

    def as_json(self) -> dict[str, object]:
        return {"query": self.name, "equal": False, "rows": len(self.look.answer), "second": None, "words": self.words}

    def __repr__(self) -> str:
        return self.words

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.words)}</p>"


def bind_sql(
    context: Context, text: str, name: str, source: str, title: str, on_note: Callable[[str], None]
) -> BoundSql:
    """A SQL text as a question in a lab.

    Raises:
        SettingsError: When it is not one query.
    """
    statements = sql.split(text)
    if len(statements) != 1:
        raise SettingsError(f"query: one SELECT is wanted, these are {len(statements)} statements")
    read = sql.read_statement(statements[0])
    if read.kind != "query" or read.limit is not None:
        raise SettingsError(
            "query: a SELECT without LIMIT is wanted", hint="of a look: .preview(rows=…); or lab.sql(…) for once"
        )
    return BoundSql(context, read.text, name, title, source, on_note)


def with_edges(statement: str, reading: Reading) -> tuple[str, dict[str, str]]:
    """A text that selects its window's edges, and under which names. Pure.

    Two rows of one key differ by their window alone: where the text leaves an edge out, it is put in front.
    """
    edges = dict(reading.edges)
    if reading.windowed:
        lacking = [each for each in ("window_start", "window_end") if each not in edges.values()]
        if lacking:
            statement = _SELECT.sub(f"SELECT {', '.join(lacking)},", statement, count=1)
            edges |= {each: each for each in lacking}
    else:
        edges = {}
    return statement, edges


def in_columns(row: Row, edges: dict[str, str]) -> Row:
    """A row of a text by its definition's columns. Pure."""
    from rtap_lab.queries.sql_text import ALL_TIME

    found = {name: value for name, value in row.items() if name not in edges}
    if not edges:
        return {"window_start": 0, "window_end": ALL_TIME.size_ms} | found
    # a window's edge is a TIMESTAMP of the session's zone, which is UTC
    return {of: f"{row[name]}Z" if isinstance(row[name], str) else row[name] for name, of in edges.items()} | found
