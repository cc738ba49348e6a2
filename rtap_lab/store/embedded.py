"""The embedded store: SQLite in WAL mode. One writer, any number of readers in other processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rtap_lab.errors import StoreError
from rtap_lab.store.points import Point, key_text, key_value
from rtap_lab.store.port import LIVE, RETENTION_MS, ROLLUP_MS
from rtap_lab.streams.queries import STANDARD, Kind, Query

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


def _schema(query: Query) -> str:
    columns = ["source TEXT NOT NULL", "point_time INTEGER NOT NULL"]
    for name, kind in query.columns.items():
        needed = " NOT NULL" if name in query.identity else ""
        columns.append(f'"{name}" {_TYPES[kind]}{needed}')
    keys = _quoted(["source", *query.identity])
    return (
        f'CREATE TABLE IF NOT EXISTS "{query.name}" ({", ".join(columns)}, PRIMARY KEY ({keys}))'
        " STRICT, WITHOUT ROWID;"
        f'CREATE INDEX IF NOT EXISTS "{query.name}_time" ON "{query.name}" (source, point_time);'
    )


def _rollup_schema(query: Query) -> str:
    columns = [f'"{n}" TEXT NOT NULL' for n in query.keys]
    columns += [f'"{n}" {_TYPES[query.measures[n]]}' for n in query.additive]
    keys = _quoted(["window_start", *query.keys])
    return (
        f'CREATE TABLE IF NOT EXISTS "{query.name}_rollup" (window_start INTEGER NOT NULL, '
        f"{', '.join(columns)}, PRIMARY KEY ({keys})) STRICT, WITHOUT ROWID;"
    )


class EmbeddedStore:
    """A store in one file.

    Args:
        path: The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

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
                + "".join(_schema(query) for query in STANDARD.values())
                + "".join(_rollup_schema(query) for query in STANDARD.values() if query.additive)
            )

    def write(self, points: Iterable[Point], offsets: Mapping[str, int]) -> None:
        grouped: dict[str, list[list[Any]]] = {}
        for each in points:
            query = STANDARD[each.query]
            values = [each.source, each.time_ms]
            for name, kind in query.columns.items():
                value = each.row[name]
                is_key = kind == "text" and name in query.identity
                values.append(key_text(value) if is_key else value)
            grouped.setdefault(each.query, []).append(values)
        with self._open() as db:
            for name, rows in grouped.items():
                marks = ", ".join("?" * len(rows[0]))
                db.executemany(f'INSERT OR REPLACE INTO "{name}" VALUES ({marks})', rows)
            db.executemany("INSERT OR REPLACE INTO offsets VALUES (?, ?)", offsets.items())

    def offsets(self) -> dict[str, int]:
        with self._open() as db:
            return dict(db.execute("SELECT topic, next FROM offsets"))

    def begin(self, source: str, run: str) -> None:
        with self._open() as db:
            self._delete(db, source)
            db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (source, run))

    def runs(self) -> dict[str, str]:
        with self._open() as db:
            return dict(db.execute("SELECT source, run FROM runs"))

    def remove(self, source: str) -> None:
        with self._open() as db:
            self._delete(db, source)
            db.execute("DELETE FROM runs WHERE source = ?", (source,))
            db.execute("DELETE FROM offsets WHERE topic LIKE ?", (f"results.{source}.%",))

    @staticmethod
    def _delete(db: sqlite3.Connection, source: str) -> None:
        for name in STANDARD:
            db.execute(f'DELETE FROM "{name}" WHERE source = ?', (source,))

    def rows(self, query: str, source: str) -> list[dict[str, Any]]:
        shape = STANDARD[query]
        with self._open() as db:
            found = db.execute(f'SELECT {_quoted(shape.columns)} FROM "{query}" WHERE source = ?', (source,))
            return [self._row(shape, values) for values in found]

    @staticmethod
    def _row(shape: Query, values: tuple[Any, ...]) -> dict[str, Any]:
        row = dict(zip(shape.columns, values, strict=True))
        for name, kind in shape.columns.items():
            if kind == "boolean" and row[name] is not None:
                row[name] = bool(row[name])
            elif kind == "text" and name in shape.identity:
                row[name] = key_value(row[name])
        return row

    def maintain(self, now_ms: int) -> None:
        with self._open() as db:
            for query in STANDARD.values():
                if query.additive:
                    since = (now_ms - RETENTION_MS) // ROLLUP_MS * ROLLUP_MS + ROLLUP_MS
                    hour = f"(window_start / {ROLLUP_MS}) * {ROLLUP_MS}"
                    keys = _quoted(query.keys)
                    sums = ", ".join(f'sum("{name}")' for name in query.additive)
                    db.execute(
                        f'INSERT OR REPLACE INTO "{query.name}_rollup" SELECT {hour}, {keys}, {sums} '
                        f'FROM "{query.name}" WHERE source = ? AND window_start >= ? GROUP BY {hour}, {keys}',
                        (LIVE, since),
                    )
                db.execute(
                    f'DELETE FROM "{query.name}" WHERE source = ? AND point_time < ?', (LIVE, now_ms - RETENTION_MS)
                )

    def rollup(self, query: str) -> list[dict[str, Any]]:
        shape = STANDARD[query]
        names = ["window_start", *shape.keys, *shape.additive]
        with self._open() as db:
            found = db.execute(f'SELECT {_quoted(names)} FROM "{query}_rollup"').fetchall()
        rows = [dict(zip(names, values, strict=True)) for values in found]
        for row in rows:
            row["window_end"] = row["window_start"] + ROLLUP_MS
            row.update({name: key_value(row[name]) for name in shape.keys})
        return rows

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
