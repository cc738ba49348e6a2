"""SQL of one's own: a query over a piece of a source, or a question about the catalog. Nothing else is let through.

What a text is Flink's own parser decides (it is explained before it runs), never what it begins with alone.
"""

from __future__ import annotations

import difflib
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rtap_lab.errors import JobError, SettingsError
from rtap_lab.flink.gateway import Session
from rtap_lab.flink.properties import look_properties
from rtap_lab.jobs.owned import owned_name
from rtap_lab.lab.context import Context
from rtap_lab.lab.looks import Look, look, source_statements
from rtap_lab.lab.pieces import Piece, Since, piece_of
from rtap_lab.stack.components import jars

_COMMENT = re.compile(r"--[^\n]*|/\*(?!\+).*?\*/", re.DOTALL)
_QUERY = re.compile(r"\(*\s*(SELECT|WITH|VALUES)\b", re.IGNORECASE)
_ABOUT = re.compile(r"(SHOW|DESCRIBE|DESC|EXPLAIN)\b", re.IGNORECASE)
_LIMIT = re.compile(r"\s+LIMIT\s+(\d{1,9})\s*$", re.IGNORECASE)
_ORDERED = re.compile(r"\b(ORDER|UNION|INTERSECT|EXCEPT)\b", re.IGNORECASE)
_LEXEMES = re.compile(r"('(?:[^']|'')*'|`[^`]*`|--[^\n]*|/\*.*?\*/|;)", re.DOTALL)
RUN_HERE = ("SELECT", "WITH", "SHOW", "DESCRIBE", "EXPLAIN")
_TEXT = re.compile(r"'(?:[^']|'')*'|`[^`]*`")


def table_environment(context: Context, source: str, *, follow: bool) -> Any:
    """A PyFlink `TableEnvironment` on the lab's cluster; see `Lab.table_environment`."""
    from rtap_lab.flink.session import table_environment as make  # it imports pyflink

    context.check_source(source)
    connector: list[Path] = [path for path in jars("flink") if "connector" in path.name]
    # pandas gets maps by Arrow, whose keys are never missing; JSON's are not either
    tables = [
        each.replace("MAP<STRING, STRING>", "MAP<STRING NOT NULL, STRING>")
        for each in source_statements(context, source, None if follow else piece_of(context, source, None))
    ]
    return make(
        context.endpoints.flink,
        tables,
        java=context.site.java,
        jars=connector,
        python=sys.executable,
        name=owned_name(),
    )


@dataclass(frozen=True)
class Statement:
    """A statement that may be run here."""

    kind: Literal["query", "about"]
    """A query of events, or a question about the catalog or a plan."""
    text: str
    limit: int | None = None
    """Of a query: it asked for so many rows, whichever."""


def read_statement(text: str) -> Statement:
    """A text as a statement. Pure.

    What passes here begins like a query; that it is one, and nothing that writes, is for Flink's parser to say: it explains
    it before it runs.

    Raises:
        SettingsError: When it is empty, or of another kind.
    """
    plain = _plain(text)
    if not plain:
        raise SettingsError("the statement is empty", hint='for example: rtap sql "SELECT * FROM events"')
    if _ABOUT.match(plain):
        return Statement("about", plain)
    if not _QUERY.match(plain):
        word = plain.split(None, 1)[0].upper()[:20]
        near = difflib.get_close_matches(word, RUN_HERE, 1, 0.75)
        raise SettingsError(
            f"{word} is not run here: {', '.join(RUN_HERE[:-1])} and {RUN_HERE[-1]} are",
            hint=f"did you mean {near[0]}?"
            if near and near[0] != word
            else "what is to keep running: lab.query(…).run(); a program of its own: lab.table_environment()",
        )
    # Flink keeps a LIMIT as a ranking that does not end before its input does
    limit = _LIMIT.search(plain)
    if limit and not _ORDERED.search(_TEXT.sub("", plain)):
        if int(limit[1]) == 0:
            raise SettingsError("LIMIT 0 asks for nothing")
        return Statement("query", plain[: limit.start()], int(limit[1]))
    return Statement("query", plain)


def run(
    context: Context,
    text: str,
    *,
    source: str,
    since: Since | None,
    seconds: float,
    rows: int,
    on_rows: Callable[[Look], None],
    changelog: bool = False,
) -> Look:
    """See `Lab.sql`."""
    statement = read_statement(text)
    if rows < 1 or seconds <= 0:
        raise SettingsError(f"rows ({rows}) must be 1 or more, seconds ({seconds:g}) above 0")
    piece = piece_of(context, source, since)
    if statement.kind == "about":
        return _about(context, statement.text, piece)
    wanted = min(rows, statement.limit or rows)
    return look(
        context,
        statement.text,
        piece,
        seconds=seconds,
        rows=wanted,
        revised=None,
        changelog=changelog,
        name="query",
        on_rows=on_rows,
    )


def split(text: str) -> list[str]:
    """The statements of a text: a semicolon outside of texts, names and comments ends one. Pure."""
    found, statement = [], ""
    for part in _LEXEMES.split(text):
        if part == ";":
            found.append(statement)
            statement = ""
        else:
            statement += part or ""
    return [each for each in [*found, statement] if _plain(each)]


def _plain(statement: str) -> str:
    """A statement without comments and the last semicolon; what is in texts stays."""
    parts = re.split(r"('(?:[^']|'')*'|`[^`]*`)", statement)
    text = "".join(part if n % 2 else _COMMENT.sub(" ", part) for n, part in enumerate(parts))
    return text.strip().rstrip(";").strip()


def _about(context: Context, statement: str, piece: Piece) -> Look:
    """What the catalog, or Flink's plan, says."""
    found = Look(piece, kind="catalog", ended_by="complete")
    with Session(context.endpoints.gateway, look_properties()) as session:
        for each in source_statements(context, piece.source, piece):
            session.configure(each)
        for page in session.pages(session.start(statement), statement):
            if page is None:
                time.sleep(0.03)
                continue
            found.columns, found.types = page.columns, page.types
            found.rows += [dict(zip(page.columns, row, strict=True)) for row in page.rows]
    return found


def complete(context: Context, source: str, before: str) -> list[str]:
    """What may follow a text, as Flink's parser proposes it.

    Raises:
        JobError: When the gateway does not answer.
    """
    try:
        return _completions.session(context, source).complete(before, len(before))
    except JobError:  # a session that nobody asks for a while ends
        return _completions.session(context, source, anew=True).complete(before, len(before))


class _Completions:
    """One session for completions: it is asked with each key."""

    def __init__(self) -> None:
        self._of: tuple[str, str] | None = None
        self._session: Session | None = None

    def session(self, context: Context, source: str, *, anew: bool = False) -> Session:
        """The session of a lab and a source."""
        of = (context.endpoints.gateway.address, source)
        if self._session is None or self._of != of or anew:
            if self._session is not None:
                self._session.close()
            session = Session(context.endpoints.gateway, look_properties())
            for each in source_statements(context, source, None):
                session.configure(each)
            self._session, self._of = session, of
        return self._session


_completions = _Completions()
