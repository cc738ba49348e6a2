"""From a question to a checked, running, charted query, and SQL that never gives a part for the whole, on the real stack."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from rtap_lab.errors import SettingsError, StatementError
from rtap_lab.lab import Lab
from rtap_lab.queries.builders import begin, count, distinct, field, properties, tumble
from rtap_lab.waiting import until
from tests.integration.test_answers import rtap

VIEWS = (
    tumble("5s")
    .by("page")
    .where(field("event_type") == "page_view")
    .agg(views=count(), visitors=distinct("visitor_id"))
)
ABANDONED = (
    begin("view", field("page").starts_with("/product/"))
    .then_not(field("name") == "add_to_cart", within="5s")
    .by("visitor_id")
)
LOGINS = (
    begin("failed", field("name") == "login_failed", times=3).within("1m").where(field("event_type") == "custom")
).by("visitor_id")
SOURCE = "asked"
SEED = 20261127


@pytest.fixture(scope="module")
def shop(stack: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A recorded source with known content: a simulated run, and one visitor who fails to log in three times."""
    lines = tmp_path_factory.mktemp("asked") / "shop.jsonl"
    assert rtap(stack, "simulate", "--out", str(lines), "--events", "6000", "--seed", "9").returncode == 0
    last = json.loads(lines.read_text().splitlines()[-1])["event_time"]
    at = pd.Timestamp(last)
    with lines.open("a") as file:
        for number in range(3):
            moment = (at + pd.Timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
            event = {"event_id": f"fail-{number}", "event_type": "custom", "name": "login_failed", "event_time": moment}
            file.write(json.dumps(event | {"visitor_id": "mallory", "properties": {"plan": "pro"}}) + "\n")
    stack.import_jsonl(lines, source=SOURCE)
    yield stack
    stack.remove_source(SOURCE)


def looks(lab: Lab) -> list[str]:
    """Jobs that are nobody's."""
    return [each["name"] for each in lab.other_flink_jobs()]


@pytest.mark.parametrize("asked", [VIEWS, ABANDONED, LOGINS], ids=["views", "abandoned", "logins"])
def test_a_question_is_previewed_and_checked_over_a_recorded_source(shop: Lab, asked: object) -> None:
    query = shop.query(asked, source=SOURCE)  # type: ignore[arg-type]
    checked = query.check()
    assert checked.equal, str(checked)
    assert checked.compared.rows > 0
    assert "equal" in checked._repr_html_()
    seen = query.preview(rows=100_000)
    assert seen.ended_by == "complete"
    assert len(seen.rows) == checked.compared.rows
    assert seen.look.read == seen.look.piece.records
    (moment,) = [name for name, kind in query.schema.columns.items() if kind == "time"][:1]
    assert str(seen.frame()[moment].dtype) == "datetime64[ns, UTC]"
    few = query.preview(rows=1)
    assert (len(few.rows), few.ended_by) == (1, "rows")
    assert "ended after 1 rows" in few.words
    assert "ended after 1 rows" in few._repr_html_()
    assert looks(shop) == []


def test_a_preview_of_the_live_source_shows_final_rows_only(stack: Lab) -> None:
    stack.simulate(rate=100, seconds=14, seed=21)
    query = stack.query("live_views", VIEWS)
    seen = query.preview(since="1m")
    assert seen.ended_by == "complete"
    assert seen.rows, seen.words
    assert seen.look.left_out > 0, "the windows that are still open"
    frame = seen.frame()
    assert frame.window_end.max() < pd.Timestamp.now("UTC")
    assert query.check(since="1m").equal
    assert not query.is_running
    assert "not running" in query._repr_html_()
    query.run()
    try:
        assert query.is_running
        until(lambda: len(query.rows()) >= len(seen.rows), 30, lambda: AssertionError(query.why_empty()))
        kept = {(row["window_start"], row["page"]): row for row in query.rows()}
        assert all(kept[row["window_start"], row["page"]] == row for row in seen.rows), (
            "what was previewed is what runs"
        )
        assert query.status()["state"] == "RUNNING"
        assert query.chart(live=False).figure is not None
        report = query.verify()
        assert report.exact, str(report)
        assert {c.name for c in report.compared} >= {"live_views"}
        assert stack.query("live_views").text() == query.text()
    finally:
        query.remove()


def test_a_part_of_the_input_is_never_given_for_the_answer(shop: Lab) -> None:
    whole = shop.sql("SELECT COUNT(*) AS n FROM events", source=SOURCE, seconds=60)
    assert whole.complete
    (row,) = whole.answer
    assert 5_900 < row["n"] <= 6_003
    assert whole.revised
    assert shop.frame("SELECT COUNT(*) AS n FROM events", source=SOURCE, seconds=60)["n"].tolist() == [row["n"]]
    cut = shop.sql("SELECT event_id, COUNT(*) AS n FROM events GROUP BY event_id", source=SOURCE, seconds=0.001)
    if not cut.complete:  # a fast machine may have read it all
        assert cut.withheld
        assert cut.answer == []
        assert "no answer yet" in str(cut)
        assert "no answer yet" in cut._repr_html_()
        with pytest.raises(StatementError, match="no answer"):
            cut.frame()
    assert looks(shop) == []


def test_sql_gives_times_as_times_and_ends_when_it_has_what_was_asked(shop: Lab) -> None:
    began = time.monotonic()
    found = shop.sql("SELECT event_time, visitor_id FROM events LIMIT 3", source=SOURCE)
    print(f"LIMIT 3 after {time.monotonic() - began:.1f} s")
    assert len(found.answer) == 3
    assert str(found.frame()["event_time"].dtype) == "datetime64[ns, UTC]"
    assert "events_raw" in str(shop.sql("SHOW TABLES", source=SOURCE))
    assert {row["name"] for row in shop.sql("DESCRIBE events", source=SOURCE).answer} >= {"event_id", "rowtime"}
    assert "Physical" in str(shop.sql("EXPLAIN SELECT * FROM events", source=SOURCE).rows)
    pro = shop.sql("SELECT visitor_id FROM events WHERE properties['plan'] = 'pro'", source=SOURCE, seconds=60)
    assert [row["visitor_id"] for row in pro.answer] == ["mallory"] * 3


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO events SELECT * FROM events",
        "CREATE TABLE t WITH ('connector'='filesystem','path'='/tmp/rtap-never','format'='csv') AS SELECT 1 AS x",
        "ADD JAR '/tmp/x.jar'",
        "SET 'pipeline.jars' = 'x'",
        "SELECT * FROM events_raw /*+ OPTIONS('topic'='results.sessions') */",
        "SELECT 1; DROP TABLE events",
        "EXPLAIN SELECT 1; DROP VIEW events",
        "WITH v AS (SELECT 1) INSERT INTO events_raw SELECT * FROM v",
    ],
)
def test_what_is_no_query_is_refused_and_leaves_nothing(shop: Lab, statement: str) -> None:
    with pytest.raises((SettingsError, StatementError)) as raised:
        shop.sql(statement, source=SOURCE)
    assert len(str(raised.value).splitlines()) <= 6
    assert looks(shop) == []
    assert not Path("/tmp/rtap-never").exists()


def test_an_interrupted_preview_keeps_its_rows_and_leaves_no_job(stack: Lab) -> None:
    """Ctrl-C while rows come: the rows so far, and nothing goes on. The kernel's test sends a real signal."""
    stack.simulate(rate=100, seconds=8, seed=23)

    def interrupt(so_far: object) -> None:
        raise KeyboardInterrupt

    seen = stack.query(VIEWS).preview(since="2m", seconds=60, on_rows=interrupt)
    assert seen.ended_by == "interrupted"
    assert seen.rows
    assert "interrupted" in seen.words
    until(lambda: looks(stack) == [], 10, lambda: AssertionError(str(looks(stack))))


@pytest.mark.long
def test_a_hundred_interrupts_at_any_moment_end_within_two_seconds_and_leave_no_job(shop: Lab) -> None:
    """A real signal: while a statement is planned, starts, reads, or has its rows."""
    print("seed", SEED)
    dice = random.Random(SEED)
    took, kept = list[float](), 0
    while len(took) < 100:
        sent = list[float]()

        def stop(sent: list[float] = sent) -> None:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        timer = threading.Timer(dice.uniform(0.05, 4.0), stop)
        try:
            timer.start()
            seen = shop.sql("SELECT * FROM events", source=SOURCE, seconds=120, rows=1_000_000)
            timer.cancel()
            if seen.ended_by != "interrupted":  # it was there first
                continue
            kept += bool(seen.rows)
        except KeyboardInterrupt:  # before there was anything to keep
            pass
        took.append(time.monotonic() - sent[0])
        until(lambda: looks(shop) == [], 5, lambda: AssertionError(str(looks(shop))))
    took.sort()
    print(f"interrupted to returned: p50 {took[50]:.2f} s, max {took[-1]:.2f} s; {kept} had rows")
    assert kept > 5
    assert took[-1] < 2.0


def test_the_command_line_asks_the_same(shop: Lab, tmp_path: Path) -> None:
    file = tmp_path / "plans.yaml"
    text = tumble("10s").by(plan=properties["plan"]).agg(n=count())
    file.write_text(f"title: Plans\nquery: >\n  {shop.query(text, source=SOURCE).text()}\n")
    checked = json.loads(rtap(shop, "query", "check", str(file), "--source", SOURCE, "--json").stdout)
    assert checked["equal"]
    assert checked["query"] == "plans"
    shown = rtap(shop, "query", "preview", str(file), "--source", SOURCE, "--format", "csv")
    assert shown.stdout.splitlines()[0] == "window_start,window_end,plan,n"
    assert "complete" in shown.stderr
    assert "properties['plan']" in rtap(shop, "query", "sql", str(file)).stdout
    assert "WindowAggregate" in rtap(shop, "query", "explain", str(file), "--source", SOURCE).stdout
    wrong = rtap(shop, "query", "preview", "tumble('1m').agg(n=cuont())")
    assert wrong.returncode == 2
    assert "did you mean count?" in wrong.stderr
    assert rtap(shop, "sql", "DROP TABLE events").returncode == 2
    child = subprocess.run(
        [sys.executable, "-m", "rtap_lab.cli", "query", "list", "--json"],
        env={**os.environ, "RTAP_STATE": str(shop.state.folder)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert {each["name"] for each in json.loads(child.stdout)} >= {"sessions"}


SAID_IN_SQL = {
    "windowed": "SELECT window_end, page AS p, COUNT(*) AS `views`, COUNT(DISTINCT visitor_id) AS visitors, AVG(`value`) AS mean "
    "FROM TABLE(HOP(TABLE events, DESCRIPTOR(rowtime), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) "
    "WHERE page NOT LIKE '/product/%' AND event_type IN ('page_view', 'conversion') GROUP BY page, window_start, window_end",
    "sessions": "SELECT window_start AS begun, window_end AS ended, visitor_id, COUNT(*) AS events, MAX(page) AS page "
    "FROM TABLE(SESSION(TABLE events PARTITION BY visitor_id, DESCRIPTOR(rowtime), INTERVAL '20' SECOND)) "
    "GROUP BY visitor_id, window_start, window_end",
    "cumulated": "SELECT window_start, window_end, SUM(COALESCE(`value`, 0)) FILTER (WHERE event_type = 'conversion') AS worth "
    "FROM TABLE(CUMULATE(TABLE events, DESCRIPTOR(rowtime), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) "
    "GROUP BY window_start, window_end",
    "without": "SELECT device, COUNT(*) AS n, COUNT(CASE WHEN name = 'purchase' THEN 1 END) AS bought FROM events GROUP BY device",
}


@pytest.mark.parametrize("kind", SAID_IN_SQL)
def test_a_text_in_sql_is_checked_by_the_reference_engine(shop: Lab, kind: str) -> None:
    found = shop.query(kind, SAID_IN_SQL[kind], source=SOURCE).check(since="all")
    assert found.equal, found.words
    assert found.as_json()["second"] == "the reference engine"


def test_a_text_in_sql_that_flink_reads_otherwise_is_not_equal(shop: Lab) -> None:
    """The check asks Flink the text itself: a definition that says something else must show."""
    asked = shop.query("other", SAID_IN_SQL["windowed"], source=SOURCE)
    assert asked.check(since="all").equal
    asked.statement = asked.statement.replace("NOT LIKE", "LIKE")
    found = asked.check(since="all")
    assert not found.equal
    assert found.words.startswith("NOT EQUAL")


def test_without_a_second_opinion_it_says_so_and_does_not_run(shop: Lab) -> None:
    text = SAID_IN_SQL["without"] + " HAVING COUNT(*) > 1"
    asked = shop.query(text, source=SOURCE)
    found = asked.check(since="all")
    assert not found.equal
    assert found.words.startswith("no second opinion: HAVING")
    with pytest.raises(SettingsError, match="cannot be kept running: HAVING"):
        asked.run()
    with pytest.raises(SettingsError, match="without a window"):
        shop.query(SAID_IN_SQL["without"], source=SOURCE).run()


def test_a_text_in_sql_runs_and_is_verified(shop: Lab, tmp_path: Path) -> None:
    file = tmp_path / "said_in_sql.sql"
    file.write_text(f"-- views by page\n{SAID_IN_SQL['windowed']};\n")
    checked = rtap(shop, "query", "check", str(file), "--source", SOURCE, "--since", "all", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["equal"]
    ran = rtap(shop, "query", "run", str(file), "--source", SOURCE)
    assert ran.returncode == 0, ran.stderr
    report = shop.verify(SOURCE)
    assert report.exact
    assert next(each.rows for each in report.compared if each.name == "said_in_sql") > 20
    shop.remove_job("said_in_sql")


def test_a_changelog_shows_each_change_and_a_part_of_it_is_no_answer_withheld(shop: Lab) -> None:
    text = "SELECT device, COUNT(*) AS n FROM events GROUP BY device"
    found = shop.sql(text, source=SOURCE, changelog=True, rows=100_000, seconds=60)
    assert found.complete, found.words
    assert found.columns == ["op", "device", "n"]
    left: dict[str, int] = {}
    for change in found.rows:
        if change["op"] in ("+I", "+U"):
            left[change["device"]] = change["n"]
    assert left == {row["device"]: row["n"] for row in shop.sql(text, source=SOURCE, seconds=60).rows}
    assert {"+I", "-U", "+U"} == {change["op"] for change in found.rows}


def test_another_question_under_the_same_name_and_back(shop: Lab) -> None:
    asked = shop.query("evolving", VIEWS, source=SOURCE).run(delivery="low_latency")
    before = asked.rows()
    longer = msgspec.structs.replace(VIEWS, window=tumble("10s").window)
    said: list[str] = []
    asked._on_note = said.append
    other = asked.evolve(longer)
    assert any("begins anew" in words for words in said)
    assert other.rows() != before
    assert shop.runs()[f"evolving/{SOURCE}"].parameters.delivery == "low_latency"
    elsewhere = Lab(shop.state.folder).query("evolving", source=SOURCE)
    assert elsewhere.rollback().rows() == before, "also from another kernel"
    assert shop.verify(SOURCE).exact
    with pytest.raises(SettingsError, match="replaced none"):
        asked.rollback()
    asked.remove()


def test_how_far_attempts_of_a_pattern_come(shop: Lab) -> None:
    asked = shop.query(ABANDONED, source=SOURCE)
    found = asked.debug()
    totals = found.totals
    assert totals.matches == len(asked.preview(rows=100_000, seconds=60).rows) > 0
    assert totals.begun == totals.matches + totals.spoilt + totals.failed + totals.timed_out
    assert (totals.open, totals.pending) == (0, 0)
    assert "<svg" in found._repr_html_()
    logins = shop.query(LOGINS, source=SOURCE).debug()
    assert logins.totals.matches == len(shop.query(LOGINS, source=SOURCE).preview(seconds=60).rows) > 0
    assert "a match" in str(logins.visitor("mallory"))
    told = rtap(
        shop, "query", "debug", shop.query(LOGINS, source=SOURCE).text(), "--source", SOURCE, "--key", "mallory"
    )
    assert told.stdout.count("  failed: ") == 3, told.stdout + told.stderr
    with pytest.raises(SettingsError, match="no pattern"):
        shop.query(VIEWS, source=SOURCE).debug()
