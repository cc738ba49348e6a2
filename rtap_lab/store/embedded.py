"""The embedded store: SQLite in WAL mode. One writer, any number of readers in other processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rtap_lab.errors import StoreError
from rtap_lab.queries.query import Query
from rtap_lab.queries.schema import Kind, Schema
from rtap_lab.settings import LIVE
from rtap_lab.store.points import Point, key_text, key_value
from rtap_lab.store.port import RETENTION_MS, ROLLUP_MS

_TYPES: dict[Kind, str] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "number": "REAL",
    "boolean": "INTEGER",
    "time": "INTEGER",
}
_READY = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000;"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _columns(query: Query) -> dict[str, str]:
    return {"source": "TEXT", "point_time": "INTEGER"} | {n: _TYPES[k] for n, k in query.schema.columns.items()}


def _rollup_columns(query: Query) -> dict[str, str]:
    schema = query.schema
    if not schema.additive:
        return {}
    kept = (*schema.keys, *schema.additive)
    return {"window_start": "INTEGER"} | {n: _TYPES[schema.columns[n]] for n in kept}


def _table(name: str, columns: dict[str, str], identity: list[str], certain: Iterable[str]) -> list[str]:
    """The statements that make a table with one row an identity.

    Args:
        name: The table's.
        columns: Columns and their types.
        identity: What no two rows have in common. Texts are never NULL in it (`key_text`).
        certain: Further columns that are never NULL; any other one is compared with NULL taken for a value.
    """
    present = {n for n in identity if columns[n] == "TEXT"} | set(certain)
    listed = ", ".join(f'"{n}" {kind}{" NOT NULL" if n in present else ""}' for n, kind in columns.items())
    if set(identity) <= present:
        return [
            f'CREATE TABLE IF NOT EXISTS "{name}" ({listed}, PRIMARY KEY ({_quoted(identity)})) STRICT, WITHOUT ROWID'
        ]
    parts = ", ".join(f'"{n}"' if n in present else f"ifnull(\"{n}\", '')" for n in identity)
    return [
        f'CREATE TABLE IF NOT EXISTS "{name}" ({listed}) STRICT',
        f'CREATE UNIQUE INDEX IF NOT EXISTS "{name}_identity" ON "{name}" ({parts})',
    ]


Layout = list[tuple[str, str, int, int]]
"""Name, type, whether NOT NULL, and place in the primary key, of each column."""


def _layouts(query: Query) -> dict[str, Layout]:
    """What a query's tables look like when they are there, as SQLite tells it."""
    found: dict[str, Layout] = {}
    for table, statements in ((query.name, _statements(query)), (f"{query.name}_rollup", _statements(query))):
        made = [each for each in statements if each.startswith(f'CREATE TABLE IF NOT EXISTS "{table}" ')]
        if made:
            with closing(sqlite3.connect(":memory:")) as scratch:
                scratch.execute(made[0])
                rows = scratch.execute(f'PRAGMA table_info("{table}")').fetchall()
            found[table] = [(*row[1:4], row[5]) for row in rows]
        else:
            found[table] = []
    return found


def _statements(query: Query) -> list[str]:
    """What makes a query's tables."""
    schema = query.schema
    certain = {"source", "point_time", schema.time_column} | ({"window_start"} if schema.windowed else set())
    made = _table(query.name, _columns(query), ["source", *schema.identity], certain)
    made.append(f'CREATE INDEX IF NOT EXISTS "{query.name}_time" ON "{query.name}" (source, point_time)')
    if schema.additive:
        keys = ["window_start", *schema.keys]
        made += _table(f"{query.name}_rollup", _rollup_columns(query), keys, {"window_start"})
    return made


class EmbeddedStore:
    """A store in one file.

    Args:
        path: The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._declared: set[Query] = set()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._connection is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = sqlite3.connect(self.path, check_same_thread=False)
                self._connection.executescript(_READY)
            with self._connection:
                yield self._connection
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"store: {self.path}: {error}", hint="is the disk full? `rtap doctor` looks") from error

    def prepare(self) -> None:
        with self._open() as db:
            db.executescript(
                "CREATE TABLE IF NOT EXISTS offsets (topic TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT;"
                "CREATE TABLE IF NOT EXISTS runs (source TEXT PRIMARY KEY, run TEXT NOT NULL) STRICT;"
            )

    def _declare(self, db: sqlite3.Connection, query: Query) -> None:
        """Make a query's tables. One left by an earlier query of that name with other columns goes."""
        for table, wanted in _layouts(query).items():
            found = [(*row[1:4], row[5]) for row in db.execute(f'PRAGMA table_info("{table}")')]
            if found and found != wanted:
                db.execute(f'DROP TABLE "{table}"')
        for statement in _statements(query):
            db.execute(statement)
        self._declared.add(query)

    @staticmethod
    def _has(db: sqlite3.Connection, table: str) -> bool:
        found = db.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,))
        return found.fetchone() is not None

    def write(self, points: Iterable[Point], offsets: Mapping[str, int]) -> None:
        grouped: dict[Query, list[list[Any]]] = {}
        for each in points:
            schema = each.query.schema
            identity = set(schema.identity)
            values = [each.source, each.time_ms]
            for name, kind in schema.columns.items():
                value = each.row[name]
                values.append(key_text(value) if kind == "text" and name in identity else value)
            grouped.setdefault(each.query, []).append(values)
        with self._open() as db:
            for query, rows in grouped.items():
                if query not in self._declared:
                    self._declare(db, query)
                marks = ", ".join("?" * len(rows[0]))
                db.executemany(f'INSERT OR REPLACE INTO "{query.name}" VALUES ({marks})', rows)
            db.executemany("INSERT OR REPLACE INTO offsets VALUES (?, ?)", offsets.items())

    def offsets(self) -> dict[str, int]:
        with self._open() as db:
            return dict(db.execute("SELECT topic, next FROM offsets"))

    def begin(self, key: str, run: str, source: str, queries: Sequence[Query], offsets: Mapping[str, int]) -> None:
        with self._open() as db:
            for query in queries:
                self._declare(db, query)
                db.execute(f'DELETE FROM "{query.name}" WHERE source = ?', (source,))
            db.executemany("INSERT OR REPLACE INTO offsets VALUES (?, ?)", offsets.items())
            db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (key, run))

    def runs(self) -> dict[str, str]:
        with self._open() as db:
            return dict(db.execute("SELECT source, run FROM runs"))

    def remove(self, key: str, source: str, queries: Sequence[Query], topics: Iterable[str]) -> None:
        with self._open() as db:
            for query in queries:
                if self._has(db, query.name):
                    db.execute(f'DELETE FROM "{query.name}" WHERE source = ?', (source,))
                    if source == LIVE and query.schema.additive and self._has(db, f"{query.name}_rollup"):
                        db.execute(f'DELETE FROM "{query.name}_rollup"')
            db.execute("DELETE FROM runs WHERE source = ?", (key,))
            db.executemany("DELETE FROM offsets WHERE topic = ?", [(topic,) for topic in topics])

    def rows(
        self, query: Query, source: str, *, between: tuple[int, int] | None = None, most: int | None = None
    ) -> list[dict[str, Any]]:
        chosen = f'SELECT {_quoted(query.schema.columns)} FROM "{query.name}" WHERE source = ?'
        asked: list[str | int] = [source]
        if between is not None:
            chosen += " AND point_time >= ? AND point_time < ?"
            asked += between
        if most is not None:
            chosen += " ORDER BY point_time DESC LIMIT ?"
            asked.append(most)
        with self._open() as db:
            if not self._has(db, query.name):
                return []
            return [self._row(query.schema, found) for found in db.execute(chosen, asked)]

    @staticmethod
    def _row(schema: Schema, values: tuple[Any, ...]) -> dict[str, Any]:
        row = dict(zip(schema.columns, values, strict=True))
        identity = schema.identity
        for name, kind in schema.columns.items():
            if kind == "boolean" and row[name] is not None:
                row[name] = bool(row[name])
            elif kind == "text" and name in identity:
                row[name] = key_value(row[name])
        return row

    def maintain(self, queries: Iterable[Query], now_ms: int) -> None:
        with self._open() as db:
            for query in queries:
                if not self._has(db, query.name):
                    continue
                if query.schema.additive:
                    since = (now_ms - RETENTION_MS) // ROLLUP_MS * ROLLUP_MS + ROLLUP_MS
                    hour = f"(window_start / {ROLLUP_MS}) * {ROLLUP_MS}"
                    keys = [f'"{name}"' for name in query.schema.keys]
                    sums = [f'sum("{name}")' for name in query.schema.additive]
                    # whole hours anew: a run with other keys leaves none of the earlier ones behind
                    db.execute(
                        f'DELETE FROM "{query.name}_rollup" WHERE window_start IN (SELECT DISTINCT {hour} '
                        f'FROM "{query.name}" WHERE source = ? AND window_start >= ?)',
                        (LIVE, since),
                    )
                    db.execute(
                        f'INSERT INTO "{query.name}_rollup" SELECT {", ".join([hour, *keys, *sums])} '
                        f'FROM "{query.name}" WHERE source = ? AND window_start >= ? '
                        f"GROUP BY {', '.join([hour, *keys])}",
                        (LIVE, since),
                    )
                db.execute(
                    f'DELETE FROM "{query.name}" WHERE source = ? AND point_time < ?', (LIVE, now_ms - RETENTION_MS)
                )

    def rollup(self, query: Query) -> list[dict[str, Any]]:
        schema = query.schema
        names = ["window_start", *schema.keys, *schema.additive]
        with self._open() as db:
            if not self._has(db, f"{query.name}_rollup"):
                return []
            found = db.execute(f'SELECT {_quoted(names)} FROM "{query.name}_rollup"').fetchall()
        rows = [dict(zip(names, values, strict=True)) for values in found]
        for row in rows:
            row["window_end"] = row["window_start"] + ROLLUP_MS
            row.update({name: key_value(row[name]) for name, kind in schema.keys.items() if kind == "text"})
        return rows

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
