"""SQL of one's own: a query over a piece of a source, a question about the catalog, a temporary view, a harmless setting.

Nothing else is let through. What a text is Flink's own parser decides (it is explained before it runs), never what it begins
with alone.
"""

from __future__ import annotations

import difflib
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rtap_lab.errors import JobError, SettingsError, StatementError
from rtap_lab.flink.gateway import Session
from rtap_lab.flink.properties import look_properties
from rtap_lab.jobs.owned import owned_name
from rtap_lab.lab.context import Context, SqlSession
from rtap_lab.lab.looks import Look, explained, look, source_statements
from rtap_lab.lab.pieces import Piece, Since, piece_of
from rtap_lab.stack.components import jars

_COMMENT = re.compile(r"--[^\n]*|/\*(?!\+).*?\*/", re.DOTALL)
_QUERY = re.compile(r"\(*\s*(SELECT|WITH|VALUES)\b", re.IGNORECASE)
_ABOUT = re.compile(r"(SHOW|DESCRIBE|DESC|EXPLAIN)\b", re.IGNORECASE)
_LIMIT = re.compile(r"\s+LIMIT\s+(\d{1,9})\s*$", re.IGNORECASE)
_ORDERED = re.compile(r"\b(ORDER|UNION|INTERSECT|EXCEPT)\b", re.IGNORECASE)
_LEXEMES = re.compile(r"('(?:[^']|'')*'|`[^`]*`|--[^\n]*|/\*.*?\*/|;)", re.DOTALL)
_NAME = r"`?([A-Za-z_]\w{0,99})`?"
_VIEW = re.compile(
    rf"CREATE\s+TEMPORARY\s+VIEW\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}\s*(\([\w\s,`]*\))?\s*"
    r"(?:COMMENT\s+'(?:[^']|'')*'\s*)?\bAS\b\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_DROP = re.compile(rf"DROP\s+TEMPORARY\s+VIEW\s+(IF\s+EXISTS\s+)?{_NAME}", re.IGNORECASE)
_SET = re.compile(r"SET(?:\s+'([^']+)'\s*=\s*'([^']*)')?", re.IGNORECASE)
_RESET = re.compile(r"RESET(?:\s+'([^']+)')?", re.IGNORECASE)
RUN_HERE = ("SELECT", "WITH", "SHOW", "DESCRIBE", "EXPLAIN", "CREATE TEMPORARY VIEW")
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


SETTINGS = (
    "table.optimizer.agg-phase-strategy",
    "table.optimizer.distinct-agg.split.enabled",
    "table.optimizer.join-reorder-enabled",
)
"""Flink's settings that may be set: how a query is planned, not what it may reach or use, nor what its rows say. (With another
local time zone the gateway's instants are local times with a Z behind them: CONVERT_TZ in the query does not lie. With mini-batches
an aggregate over a bounded piece gave no row at all, and called it complete.)"""

_OURS = ("events", "events_raw", "arrived_events", "judged_events", "unique_events")
"""Names of the catalog, which no view may hide."""


@dataclass(frozen=True)
class Statement:
    """A statement that may be run here."""

    kind: Literal["query", "about", "view", "drop", "set", "reset"]
    """A query of events; a question about the catalog or a plan; a temporary view that is made or dropped; a setting."""
    text: str
    """Of a view: its query; of a setting: its value."""
    limit: int | None = None
    """Of a query: it asked for so many rows, whichever."""
    name: str = ""
    """Of the view or the setting; empty: all settings."""
    columns: str = ""
    """Of a view: its columns' names, in parentheses."""


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
    if (view := _VIEW.fullmatch(plain)) and _QUERY.match(view[3]):
        return Statement("view", view[3], name=_free(view[1]), columns=view[2] or "")
    if drop := _DROP.fullmatch(plain):
        return Statement("drop", drop[1] or "", name=drop[2])
    if setting := _SET.fullmatch(plain):
        return Statement("set", setting[2] or "", name=_allowed(setting[1] or ""))
    if reset := _RESET.fullmatch(plain):
        return Statement("reset", "", name=_allowed(reset[1] or ""))
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


def _free(name: str) -> str:
    if name.lower() in _OURS:
        raise SettingsError(f"a view cannot be named {name}", hint=f"the lab has {', '.join(_OURS)}")
    return name


def _allowed(setting: str) -> str:
    if setting and setting not in SETTINGS:
        raise SettingsError(f"'{setting[:100]}' is not set here", hint=f"what may be set: {', '.join(SETTINGS)}")
    return setting


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
    if statement.kind in ("set", "reset"):
        return _setting(context, statement, piece)
    if statement.kind in ("view", "drop"):
        return _view(context, statement, piece)
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


def _session(context: Context, piece: Piece, kept: SqlSession) -> Session:
    """A session with the catalog over a piece, and what was kept."""
    session = Session(context.endpoints.gateway, look_properties() | kept.settings)
    for each in [*source_statements(context, piece.source, piece), *kept.views.values()]:
        session.configure(each)
    return session


def _about(context: Context, statement: str, piece: Piece) -> Look:
    """What the catalog, or Flink's plan, says."""
    with _session(context, piece, context.sql_session) as session:
        return _said(session, statement, piece)


def _said(session: Session, statement: str, piece: Piece) -> Look:
    found = Look(piece, kind="catalog", ended_by="complete")
    for page in session.pages(session.start(statement), statement):
        if page is None:
            time.sleep(0.03)
            continue
        found.columns, found.types = page.columns, page.types
        found.rows += [dict(zip(page.columns, row, strict=True)) for row in page.rows]
    return found


def _view(context: Context, statement: Statement, piece: Piece) -> Look:
    """Make a temporary view, or drop one; its columns. One of the same name is replaced: cells are run again."""
    name, kept = statement.name, context.sql_session
    if statement.kind == "drop":
        if name not in kept.views and not statement.text:
            there = ", ".join(kept.views) or "none"
            raise SettingsError(f"there is no temporary view {name}", hint=f"temporary views: {there}")
        kept.views.pop(name, None)
        return _table(piece, ["view"], [{"view": each} for each in kept.views])
    others = SqlSession({each: made for each, made in kept.views.items() if each != name}, kept.settings)
    made = f"CREATE TEMPORARY VIEW `{name}` {statement.columns} AS\n{statement.text}"
    with _session(context, piece, others) as session:
        explained(session, statement.text)  # Flink's parser says that it is a query, and where it is none
        session.configure(made)
        found = _said(session, f"DESCRIBE `{name}`", piece)
        try:
            explained(session, f"SELECT * FROM {name}")
        except StatementError as error:
            raise SettingsError(f"{name} is a word of SQL: a view needs another name") from error
    kept.views[name] = made
    return found


def _setting(context: Context, statement: Statement, piece: Piece) -> Look:
    """Set, reset or list settings; those that are set."""
    name, settings = statement.name, dict(context.sql_session.settings)
    if statement.kind == "reset":
        settings = {key: value for key, value in settings.items() if name and key != name}
    elif name:
        settings[name] = statement.text
        try:
            with _session(context, piece, SqlSession(settings=settings)) as session:
                explained(session, "SELECT page, COUNT(DISTINCT visitor_id) FROM events GROUP BY page")
        except StatementError as error:
            reason = error.message.removeprefix("flink: ").splitlines()[0]
            raise SettingsError(f"'{name}' cannot be '{statement.text[:100]}': {reason}") from error
    context.sql_session.settings = settings
    rows = [{"key": key, "value": value} for key, value in sorted(settings.items())]
    return _table(piece, ["key", "value"], rows)


def _table(piece: Piece, columns: list[str], rows: list[dict[str, Any]]) -> Look:
    return Look(piece, kind="catalog", ended_by="complete", columns=columns, types=["STRING"] * len(columns), rows=rows)


def complete(context: Context, source: str, before: str) -> list[str]:
    """What may follow a text, as Flink's parser proposes it.

    Raises:
        JobError: When the gateway does not answer.
    """
    try:
        return _completions.ask(context, source, before)
    except JobError:  # a session that nobody asks for a while ends
        return _completions.ask(context, source, before, anew=True)


class _Completions:
    """One session for completions: it is asked with each key."""

    def __init__(self) -> None:
        self._of: Any = None
        self._session: Session | None = None
        self._lock = threading.Lock()  # a kernel makes it while its first cell runs

    def ask(self, context: Context, source: str, before: str, *, anew: bool = False) -> list[str]:
        """What may follow a text, in the session of a lab, a source and its views."""
        views = tuple(context.sql_session.views.values())
        of = (context.endpoints.gateway.address, source, views)
        with self._lock:
            if self._session is None or self._of != of or anew:
                if self._session is not None:
                    self._session.close()
                    self._session = None  # also where no new one can be made
                session = Session(context.endpoints.gateway, look_properties())
                for each in [*source_statements(context, source, None), *views]:
                    session.configure(each)
                self._session, self._of = session, of
            found = self._session.complete(before, len(before))
        return [each.removeprefix(_HERE) for each in found]


_HERE = "default_catalog.default_database."

_completions = _Completions()
