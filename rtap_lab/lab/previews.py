"""Looking at what a query would answer, and whether the answer is right, over a piece of a source, before it runs.

A preview lets Flink answer over what is there now; a check lets the reference engine answer the same and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from rtap_lab.flink.gateway import Session
from rtap_lab.flink.properties import look_properties
from rtap_lab.flink.statements import query_sql
from rtap_lab.lab.context import Context
from rtap_lab.lab.looks import SHOWN, Look, explained, look, source_statements
from rtap_lab.lab.pieces import Piece, Since, counted_of, piece_of
from rtap_lab.lab.rows import Row, as_frame
from rtap_lab.queries.query import Query, WindowQuery
from rtap_lab.queries.windows import SessionWindow
from rtap_lab.reference.engine import rows_of
from rtap_lab.tables import Table
from rtap_lab.verification.comparing import Compared, compare, identity

if TYPE_CHECKING:
    import pandas as pd

NEWEST_MS = 5 * 60_000
"""What a preview of the live source reads when nobody says: so much of the newest, and twice the query's own span."""

MOST_CHECKED = 200_000
"""Rows that a check compares at most."""


@dataclass
class Preview:
    """What a query answers over a piece of a source.

    Every row is final: rows of windows that began before the piece, or are still open, are left out and counted.
    """

    query: Query
    look: Look
    rows: list[Row]
    """In order; instants are RFC 3339 texts."""

    @property
    def columns(self) -> list[str]:
        """The columns of its rows, in order."""
        return list(self.query.schema.columns)

    @property
    def answer(self) -> list[Row]:
        """Its rows: each of them is final."""
        return self.rows

    @property
    def ended_by(self) -> str:
        """Why it ended: "complete", "rows", "seconds" or "interrupted"."""
        return self.look.ended_by

    @property
    def words(self) -> str:
        """What was seen, why it ended, and what was left out."""
        words = f"{len(self.rows):,} rows; {self.look.words}"
        if self.look.left_out:
            words += (
                f"; {self.look.left_out:,} rows at its edges left out: their windows began before it or are still open"
            )
        return words

    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame; instants are UTC timestamps."""
        return as_frame(self.query.schema, self.rows)

    def as_json(self) -> dict[str, Any]:
        return {
            "query": self.query.name,
            "rows": self.rows,
            "ended_by": self.ended_by,
            "records_read": self.look.read,
            "records": self.look.piece.records,
            "left_out": self.look.left_out,
            "words": self.words,
        }

    def _table(self) -> Table:
        return Table.of(list(self.query.schema.columns), self.rows[:SHOWN])

    def __str__(self) -> str:
        more = f"\n… and {len(self.rows) - SHOWN:,} more" if len(self.rows) > SHOWN else ""
        return f"{self._table()}{more}\n{self.words}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        more = f"<p>… and {len(self.rows) - SHOWN:,} more: <code>.frame()</code></p>" if len(self.rows) > SHOWN else ""
        return f"{self._table()._repr_html_()}{more}<p>{escape(self.words)}</p>"


@dataclass
class Checked:
    """Whether Flink and a second opinion answer the same over a piece of a source."""

    query: Query
    compared: Compared
    look: Look
    second: str = "the reference engine"
    """Who gave the second opinion."""

    @property
    def equal(self) -> bool:
        """Whether there were rows to compare, over all of the piece, and none differs."""
        return self.look.complete and self.compared.rows > 0 and not self.compared.differences

    @property
    def words(self) -> str:
        """The verdict in one sentence."""
        rows, piece = self.compared.rows, self.look.piece
        if not self.look.complete:
            return f"not checked: {self.look.words}"
        if self.equal:
            return f"equal, {rows:,} rows: Flink and {self.second}, over {piece}"
        if not rows and not self.compared.differences:
            return f"nothing to compare: neither Flink nor {self.second} has a row, over {piece}"
        counts = ", ".join(
            f"{n} {what}" for what in ("missing", "extra", "wrong") if (n := getattr(self.compared, what))
        )
        return f"NOT EQUAL: {counts} of {rows:,} rows, over {piece}; what is expected is what {self.second} says"

    def as_json(self) -> dict[str, Any]:
        return {
            "query": self.query.name,
            "equal": self.equal,
            "rows": self.compared.rows,
            "first": self.compared.first,
            "second": self.second,
            "words": self.words,
        }

    def _table(self) -> Table | None:
        if not self.compared.first:
            return None
        return Table.of(["what", "expected", "found"], self.compared.first)

    def __str__(self) -> str:
        table = self._table()
        return f"{table}\n{self.words}" if table else self.words

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        table = self._table()
        return f"{table._repr_html_() if table else ''}<p>{escape(self.words)}</p>"


def span_ms(query: Query) -> int:
    """How much time one row of a query is about, milliseconds."""
    definition = query.definition
    if isinstance(definition, WindowQuery):
        window = definition.window
        return window.gap_ms if isinstance(window, SessionWindow) else window.size_ms
    return query.schema.span_ms + query.schema.absent_ms


def piece_for(context: Context, query: Query, source: str, since: Since | None) -> Piece:
    """What was asked for; else the newest of what goes on, and all of a recorded source."""
    if since is None and source == "live":
        since = (NEWEST_MS + 2 * span_ms(query)) / 1000
    return piece_of(context, source, None if since == "all" else since)


def preview(
    context: Context,
    query: Query,
    source: str,
    *,
    since: Since | None = None,
    seconds: float = 10,
    rows: int = 1000,
    on_rows: Callable[[Look], None] = lambda so_far: None,
) -> Preview:
    """Let Flink answer a query over what is there now; see `BoundQuery.preview`."""
    compiled = query_sql(query)
    return preview_statement(
        context,
        query,
        compiled.select,
        piece_for(context, query, source, since),
        views=compiled.views,
        seconds=seconds,
        rows=rows,
        on_rows=on_rows,
    )


def preview_statement(
    context: Context,
    query: Query,
    statement: str,
    piece: Piece,
    *,
    views: Sequence[str] = (),
    columns: Callable[[Row], Row] = lambda row: row,
    seconds: float,
    rows: int,
    on_rows: Callable[[Look], None],
) -> Preview:
    """Let Flink answer a statement that asks what a query asks; only its final rows are kept.

    Args:
        context: The lab.
        query: What it asks.
        statement: A SELECT.
        piece: What it reads.
        views: Statements that come before.
        columns: A row of the statement by the query's columns.
        seconds: How long at most.
        rows: How many rows at most.
        on_rows: Called with what there is whenever rows came.
    """
    schema, bound_ms = query.schema, context.lateness_bound_ms(piece.source)

    def final(row: Row) -> bool:
        normal = schema.normal(columns(row))
        if piece.since_ms is not None and schema.begin_ms(normal) < piece.since_ms:
            return False
        return piece.taken_ms is None or schema.row_time_ms(normal) < piece.taken_ms - bound_ms

    found = look(
        context,
        statement,
        piece,
        views=views,
        seconds=seconds,
        rows=rows,
        wanted=final,
        name=f"preview {query.name}",
        on_rows=on_rows,
    )
    return Preview(query, found, schema.written([schema.normal(columns(row)) for row in found.rows]))


def explain(context: Context, query: Query, source: str) -> str:
    """Flink's plan of a query on a source, as it would run."""
    compiled = query_sql(query)
    return explain_statement(context, compiled.select, source, views=compiled.views)


def explain_statement(context: Context, statement: str, source: str, *, views: Sequence[str] = ()) -> str:
    """Flink's plan of a SELECT on a source; `views` are statements that come before."""
    with Session(context.endpoints.gateway, look_properties()) as session:
        for each in [*source_statements(context, source, None), *views]:
            session.configure(each)
        return explained(session, statement)


def check(context: Context, query: Query, source: str, *, since: Since | None = None, seconds: float = 120) -> Checked:
    """Let Flink and the reference engine answer a query over the same piece; see `BoundQuery.check`."""
    piece = piece_for(context, query, source, since)
    compiled = query_sql(query)
    found = look(
        context,
        compiled.select,
        piece,
        views=compiled.views,
        seconds=seconds,
        rows=MOST_CHECKED,
        name=f"check {query.name}",
    )
    return compared_with_reference(context, query, found, found.rows)


def compared_with_reference(context: Context, query: Query, found: Look, rows: Sequence[Row]) -> Checked:
    """What Flink answered over a piece, against what the reference engine says of the same records.

    Args:
        context: The lab.
        query: What was asked.
        found: The look.
        rows: Its rows, by the query's columns.
    """
    piece, schema = found.piece, query.schema
    counted = counted_of(context, piece)
    expected = {identity(schema, row): row for row in map(schema.normal, rows_of(query.definition, counted))}
    compared = compare(
        query,
        "preview",
        expected,
        [schema.normal(row) for row in rows],
        delivery="exactly_once",
        w_ms=None,
        since_ms=-(2**62),
    )
    return Checked(query, compared, found)
