"""PyFlink's session, without starting its JVM."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtap_lab.flink.gateway import reserved_word
from rtap_lab.flink.session import _java_for_the_gateway


def test_the_environment_of_the_process_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    before = dict(os.environ)

    def start() -> None:
        with _java_for_the_gateway(Path("/jdk/bin/java")):
            assert os.environ["JAVA_HOME"] == "/jdk"
            assert os.environ["PATH"].startswith(f"/jdk/bin{os.pathsep}")
            raise RuntimeError("the JVM did not start")

    with pytest.raises(RuntimeError):
        start()
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("why", "sql", "meant"),
    [
        ('Encountered "views" at line 1, column 80.', "SELECT COUNT(*) AS views FROM events", "`views`"),
        ('Encountered "AS value" at line 1, column 80.', "SELECT COUNT(*) AS value FROM events", "`value`"),
        ('Encountered "FROM" at line 1, column 8.', "SELECT FROM events", None),
        ("Object 'event' not found", "SELECT * FROM event", None),
    ],
)
def test_a_name_that_is_a_word_of_sql_is_told_how_to_be_written(why: str, sql: str, meant: str | None) -> None:
    found = reserved_word(why, sql)
    assert meant in found if meant and found else found is meant
