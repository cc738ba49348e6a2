"""Which texts are run as SQL, before any Flink is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rtap_lab.errors import JobError, SettingsError
from rtap_lab.lab import sql
from rtap_lab.lab.context import SqlSession
from rtap_lab.lab.sql import read_statement, split

CONNECTORS = [
    "'connector'='filesystem', 'path'='/tmp/x', 'format'='csv'",
    "'connector'='kafka', 'topic'='events', 'properties.bootstrap.servers'='127.0.0.1:1'",
    "'connector'='print'",
    "'connector'='blackhole'",
    "'connector'='datagen'",
]
NAMES = ["t", "`t`", "events", "results.sessions", "default_catalog.default_database.t"]
HOSTILE = [
    *(f"CREATE {kind}TABLE {name} (x INT) WITH ({with_})" for kind in ("", "TEMPORARY ") for name in NAMES for with_ in CONNECTORS),
    *(f"CREATE TABLE {name} WITH ({with_}) AS SELECT * FROM events" for name in NAMES for with_ in CONNECTORS),
    *(f"{verb} {name} SELECT * FROM events" for verb in ("INSERT INTO", "INSERT OVERWRITE", "REPLACE TABLE") for name in NAMES),
    *(f"DROP {kind} {name}" for kind in ("TABLE", "VIEW", "TEMPORARY TABLE", "DATABASE", "CATALOG", "FUNCTION") for name in NAMES),
    *(f"ALTER {kind} {name} RENAME TO u" for kind in ("TABLE", "VIEW", "DATABASE", "FUNCTION") for name in NAMES),
    *(f"{verb} JAR '{path}'" for verb in ("ADD", "REMOVE") for path in ("/tmp/x.jar", "http://127.0.0.1/x.jar", "file:///x.jar")),
    *(f"CREATE {kind}FUNCTION f AS 'x.Y' USING JAR '{path}'" for kind in ("", "TEMPORARY ", "TEMPORARY SYSTEM ") for path in ("/x.jar", "hdfs://x/y.jar")),
    *(f"SET '{key}' = 'x'" for key in ("table.local-time-zone", "table.exec.mini-batch.enabled", "execution.target", "rest.address", "pipeline.jars", "state.savepoints.dir", "python.executable", "env.java.opts.all")),
    *(f"{verb} x" for verb in ("RESET", "USE", "USE CATALOG", "LOAD MODULE", "UNLOAD MODULE", "ANALYZE TABLE", "TRUNCATE TABLE", "CALL", "STOP JOB", "BEGIN STATEMENT SET", "EXECUTE STATEMENT SET BEGIN", "EXECUTE PLAN", "COMPILE PLAN", "COMPACT", "DELETE FROM", "UPDATE", "MERGE INTO", "CLEAR", "QUIT", "HELP", "SOURCE")),
    *(f"CREATE {kind} x" for kind in ("CATALOG", "DATABASE", "MODEL", "CONNECTION", "MATERIALIZED TABLE", "VIEW v AS SELECT 1")),
    *(f"CREATE TEMPORARY VIEW {name} AS SELECT 1" for name in ("events", "`events_raw`", "Events", "a.b.v", "`a b`", "v; DROP TABLE events; --", "v (x) WITH ('connector'='print')")),
    *(f"CREATE TEMPORARY VIEW v AS {text}" for text in ("INSERT INTO t SELECT 1", "DROP TABLE events", "CREATE TABLE t (x INT)", "")),
    "SET table.optimizer.join-reorder-enabled = true", "SET 'a' = 'b', 'c' = 'd'", "RESET 'pipeline.jars'", "SET 'table.optimizer.join-reorder-enabled' = 'true'; DROP TABLE events",
    *(f"{before}INSERT INTO t SELECT 1" for before in ("-- SELECT\n", "/* SELECT */ ", "\t\n ", "/* a */ -- b\n", "/**/")),
    *(f"{before}DROP TABLE events" for before in (";", " ; ", "--\n", "(-- x\n", "'SELECT' ", "`SELECT` ")),
    "SELECTED", "WITHIN x", "SHOWS", "EXPLAINER", "DESCRIBED x", "🦆", "\x00SELECT 1", "1", "(((", "'", "/* SELECT",
    "rm -rf /", "import os", "!ls", "<script>alert(1)</script>", "VALUESX", "TABLE events",
]  # fmt: skip


def test_the_corpus_is_large_enough() -> None:
    assert len(set(HOSTILE)) > 200


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_query_is_refused_in_two_lines(text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_statement(text)
    assert len(str(raised.value).splitlines()) <= 2


@pytest.mark.parametrize("text", ["", "  ", ";", "-- nothing\n", "/* nothing */", "LIMIT 3"])
def test_nothing_is_told(text: str) -> None:
    with pytest.raises(SettingsError):
        read_statement(text)


@pytest.mark.parametrize(
    ("text", "kind", "limit"),
    [
        ("SELECT * FROM events", "query", None),
        ("select 1;", "query", None),
        ("-- why\nSELECT 1", "query", None),
        ("SELECT 1 -- LIMIT 3", "query", None),
        ("SELECT '-- no comment' AS x, `LIMIT 3` FROM events;", "query", None),
        ("WITH v AS (SELECT 1) SELECT * FROM v", "query", None),
        ("(SELECT 1) UNION ALL (SELECT 2)", "query", None),
        ("VALUES (1)", "query", None),
        ("SELECT * FROM events LIMIT 3", "query", 3),
        ("SELECT * FROM events WHERE page = ' ORDER BY ' limit 12 ;", "query", 12),
        ("SELECT page, COUNT(*) AS n FROM events GROUP BY page ORDER BY n DESC LIMIT 3", "query", None),
        ("SELECT 1 UNION ALL SELECT 2 LIMIT 1", "query", None),
        ("SHOW TABLES", "about", None),
        ("describe events", "about", None),
        ("EXPLAIN SELECT 1", "about", None),
        ("CREATE TEMPORARY VIEW v AS SELECT * FROM events LIMIT 3", "view", None),
        ("create temporary view if not exists `v` (a, `b`) comment 'it''s' AS (SELECT 1, 2);", "view", None),
        ("CREATE TEMPORARY VIEW v AS -- why\nWITH w AS (SELECT 1) SELECT * FROM w", "view", None),
        ("DROP TEMPORARY VIEW IF EXISTS v", "drop", None),
        ("SET", "set", None),
        ("SET 'table.optimizer.agg-phase-strategy' = 'ONE_PHASE'", "set", None),
        ("RESET 'table.optimizer.agg-phase-strategy';", "reset", None),
    ],
)
def test_what_is_run(text: str, kind: str, limit: int | None) -> None:
    found = read_statement(text)
    assert (found.kind, found.limit) == (kind, limit)
    assert not found.text.endswith(";")
    assert "why" not in found.text


def test_a_view_is_its_name_its_columns_and_its_query() -> None:
    found = read_statement("CREATE TEMPORARY VIEW `v` (a, `b`) AS SELECT page, 'x AS y' FROM events")
    assert (found.name, found.columns, found.text) == ("v", "(a, `b`)", "SELECT page, 'x AS y' FROM events")


def test_statements_are_split_where_sql_ends_them() -> None:
    text = "SELECT ';' AS x; -- a; b\nSHOW TABLES;; /* ; */ SELECT `;` FROM t\n;"
    assert [each.strip() for each in split(text)] == [
        "SELECT ';' AS x",
        "-- a; b\nSHOW TABLES",
        "/* ; */ SELECT `;` FROM t",
    ]
    assert split(" ; -- nothing\n") == []


class Asked:
    """A gateway's session, and a gateway that may be away."""

    away = False

    def __init__(self, *_: object) -> None:
        if Asked.away:
            raise JobError("the gateway does not answer")
        self.closed = False

    def complete(self, before: str, _: int) -> list[str]:
        if self.closed or Asked.away:
            raise RuntimeError("closed") if self.closed else JobError("the gateway does not answer")
        return [f"default_catalog.default_database.{before}"]

    def close(self) -> None:
        self.closed = True


def test_completion_comes_back_with_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "Session", Asked)
    monkeypatch.setattr(sql, "source_statements", lambda *_: [])
    monkeypatch.setattr(sql, "_completions", sql._Completions())
    endpoints = SimpleNamespace(gateway=SimpleNamespace(address="127.0.0.1:1"))
    context: Any = SimpleNamespace(endpoints=endpoints, sql_session=SqlSession())
    assert sql.complete(context, "live", "ev") == ["ev"]
    monkeypatch.setattr(Asked, "away", True)
    for _ in range(2):
        with pytest.raises(JobError):
            sql.complete(context, "live", "ev")
    monkeypatch.setattr(Asked, "away", False)
    assert sql.complete(context, "live", "ev") == ["ev"]
