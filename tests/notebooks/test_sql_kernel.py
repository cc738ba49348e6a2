"""The kernel of Flink SQL and the magics, as Jupyter runs them, on the real stack."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from rtap_lab.jupyter import kernelspec
from rtap_lab.lab import Lab
from rtap_lab.waiting import until


class Cells:
    """A kernel, and what its cells answer."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str, *, timeout: float = 90, interrupt: bool = False) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The reply's content, and the messages of the cell."""
        sent = self.client.execute(code)
        messages: list[dict[str, Any]] = []
        deadline = time.monotonic() + timeout
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") != sent:
                continue
            messages.append(message)
            if interrupt and message["msg_type"] in ("display_data", "update_display_data"):
                self.manager.interrupt_kernel()
                interrupt = False
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return self._reply(sent), messages

    def _reply(self, sent: str) -> dict[str, Any]:
        """The reply to a cell; one that asked a slow kernel whether it is ready may still be before it."""
        while True:
            reply = self.client.get_shell_msg(timeout=10)
            if reply["parent_header"].get("msg_id") == sent:
                return dict(reply["content"])

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def shown(messages: list[dict[str, Any]], kind: str = "text/plain") -> str:
    """What stands there in the end."""
    places: dict[str, str] = {}
    for message in messages:
        if message["msg_type"] in ("display_data", "update_display_data", "execute_result"):
            place = message["content"].get("transient", {}).get("display_id", str(len(places)))
            places[place] = message["content"]["data"].get(kind, "")
    return "\n".join(places.values())


@pytest.fixture(scope="module")
def sql(stack: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    place = kernelspec.write(tmp_path_factory.mktemp("jupyter"))
    specs = KernelSpecManager(kernel_dirs=[str(place.parent)])
    manager = KernelManager(kernel_name=kernelspec.NAME, kernel_spec_manager=specs)
    manager.start_kernel(env={**os.environ, "RTAP_STATE": str(stack.state.folder)})
    cells = Cells(manager)
    stack.simulate(rate=100, seconds=3, seed=41)
    yield cells
    cells.close()


def test_cells_are_sql_several_statements_each(stack: Lab, sql: Cells) -> None:
    reply, messages = sql.run("%since 5m\nSHOW TABLES; SELECT visitor_id, event_time FROM events LIMIT 3;")
    assert reply["status"] == "ok", reply
    text = shown(messages)
    assert "events_raw" in text
    assert "3 rows" in text
    assert "<table" in shown(messages, "text/html")
    assert sql.run("%help")[0]["status"] == "ok"
    reply, messages = sql.run("SELECT COUNT(*) AS n FROM events")
    assert "complete" in shown(messages)
    assert stack.other_flink_jobs() == []


WINDOW = """window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR({column}), INTERVAL '{size}' SECOND))
GROUP BY window_start, window_end"""
MATCH = """MATCH_RECOGNIZE (PARTITION BY visitor_id ORDER BY {order} MEASURES A.page AS p PATTERN (A {last})
DEFINE A AS A.page = '/') AS m"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("SELECT pgae FROM events", "pgae"),
        ("SELECT * FROM evnets", "did you mean events?"),
        ("SELCT 1", "SELECT, WITH, SHOW"),
        ("SELECT COUNT(* FROM events", "FROM"),
        ("SELECT cuont(page) FROM events", "did you mean COUNT?"),
        ("SELECT CONT(*) FROM events", "did you mean COUNT?"),
        ("SELECT page,\n  evnt_type FROM events", "    evnt_type FROM events\n    ^\n  -> did you mean event_type?"),
        ("SELECT page FROM events ORDER BY page", "ORDER BY rowtime"),
        (f"SELECT {WINDOW.format(column='event_time', size=10)}", "DESCRIPTOR(rowtime)"),
        (f"SELECT {WINDOW.format(column='rowtime', size=0)}", "size to be positive"),
        (f"SELECT * FROM events {MATCH.format(order='event_time', last='B')}", "ORDER BY rowtime"),
        (f"SELECT * FROM events {MATCH.format(order='rowtime', last='B+')}", "reluctant"),
        ("%sinc 5m", "%help"),
        ("%rows many", "no number"),
        ("%source nowhere\nSELECT 1", "nowhere"),
    ],
)
def test_a_mistake_takes_six_lines_at_most(sql: Cells, code: str, words: str) -> None:
    reply, _ = sql.run(code)
    sql.run("%source live")
    assert reply["status"] == "error"
    assert words in "\n".join(reply["traceback"]), reply["traceback"]
    assert len(reply["traceback"]) <= 6
    assert "\tat " not in "\n".join(reply["traceback"])


def test_words_tables_and_columns_are_completed(sql: Cells) -> None:
    def matches(code: str) -> tuple[list[str], float]:
        began = time.monotonic()
        sent = sql.client.complete(code, len(code))
        while (message := sql.client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != sent:
            pass
        return message["content"]["matches"], time.monotonic() - began

    assert "SELECT" in matches("SEL")[0]
    matches("SELECT * FROM ev")  # the session is made
    found, seconds = matches("SELECT * FROM ev")
    print(f"completion after {seconds * 1000:.0f} ms: {found}")
    assert "events" in found, found
    assert "page" in matches("SELECT pa")[0]


def test_a_temporary_view_is_there_for_the_cells_after_it(stack: Lab, sql: Cells) -> None:
    view = "CREATE TEMPORARY VIEW seen (p, visitor) AS SELECT page, visitor_id FROM events WHERE event_type = 'page_view'"
    reply, messages = sql.run(view)
    assert reply["status"] == "ok", reply
    assert "visitor" in shown(messages), "its columns are shown"
    assert sql.run(view)[0]["status"] == "ok", "a cell may be run again"
    reply, messages = sql.run("%since 5m\nSELECT p, COUNT(*) AS n FROM seen GROUP BY p; SHOW VIEWS")
    assert reply["status"] == "ok", reply
    assert "rows; complete; saw all of" in shown(messages)
    assert "seen" in shown(messages)
    sent = sql.client.inspect("SELECT visitor FROM seen", 22)
    while (message := sql.client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != sent:
        pass
    assert "visitor" in message["content"]["data"]["text/plain"]
    for refused, words in (
        ("CREATE TEMPORARY VIEW v AS SELECT pgae FROM events", "did you mean page?"),
        ("CREATE TEMPORARY VIEW v AS SELECT 1 AS x; CREATE TEMPORARY VIEW views AS SELECT 1 AS x", "a word of SQL"),
        ("CREATE TEMPORARY VIEW t AS SELECT * FROM nowhere", "'nowhere' not found"),
        ("DROP TEMPORARY VIEW t", "there is no temporary view t"),
        ("SET 'table.optimizer.agg-phase-strategy' = 'many'", "cannot be 'many'"),
    ):
        reply, _ = sql.run(refused)
        assert words in "\n".join(reply["traceback"]), (refused, reply)
    assert sql.run("DROP TEMPORARY VIEW seen")[0]["status"] == "ok"
    assert "'seen' not found" in "\n".join(sql.run("SELECT * FROM seen")[0]["traceback"])
    assert stack.other_flink_jobs() == []


def test_stop_keeps_the_rows_and_leaves_no_job(stack: Lab, sql: Cells) -> None:
    stack.simulate(rate=200, seconds=6, seed=42)
    began = time.monotonic()
    code = "%seconds 60\n%rows 1000000\nSELECT a.event_id FROM events AS a JOIN events AS b ON a.page = b.page"
    reply, messages = sql.run(code, interrupt=True)
    assert reply["status"] == "aborted", (reply, shown(messages)[-300:])
    assert "interrupted" in shown(messages) or "no answer" in shown(messages)
    print(f"stopped after {time.monotonic() - began:.1f} s in all")
    until(lambda: stack.other_flink_jobs() == [], 10, lambda: AssertionError(str(stack.other_flink_jobs())))
    assert sql.run("%seconds 10\n%rows 100\nSELECT 1 AS x")[0]["status"] == "ok", "the session survives"


@pytest.mark.long
def test_the_job_of_a_killed_kernel_ends_within_a_minute(stack: Lab, tmp_path: Path) -> None:
    specs = KernelSpecManager(kernel_dirs=[str(kernelspec.write(tmp_path).parent)])
    manager = KernelManager(kernel_name=kernelspec.NAME, kernel_spec_manager=specs)
    manager.start_kernel(env={**os.environ, "RTAP_STATE": str(stack.state.folder)})
    cells = Cells(manager)
    stop = threading.Event()
    shop = threading.Thread(target=stack.simulate, kwargs={"rate": 300, "seconds": 20, "seed": 44, "stop": stop})
    shop.start()
    shop.join()
    cells.client.execute(
        "%seconds 600\n%rows 100000000\nSELECT a.event_id FROM events AS a, events AS b, events AS c WHERE a.page = b.page"
    )
    until(lambda: stack.other_flink_jobs(), 60, lambda: AssertionError("the look does not run"))
    manager.shutdown_kernel(now=True)
    began = time.monotonic()
    until(lambda: stack.other_flink_jobs() == [], 90, lambda: AssertionError(str(stack.other_flink_jobs())))
    print(f"the job ended {time.monotonic() - began:.0f} s after its kernel was killed")


def test_magics_ask_preview_check_and_run(stack: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, "RTAP_STATE": str(stack.state.folder)}, cwd=str(tmp_path))
    cells = Cells(manager)
    try:
        assert cells.run("%load_ext rtap_lab")[0]["status"] == "ok"
        for verb, told in (("status", "job standard on live: RUNNING"), ("doctor", "OK       python")):
            reply, messages = cells.run(f"%rtap {verb}")
            assert reply["status"] == "ok"
            assert told in shown(messages), "in text, too: a terminal has no HTML"
        stack.simulate(rate=100, seconds=8, seed=43)
        reply, messages = cells.run("%%flink --since 5m --into found\nSELECT page FROM events LIMIT 2; SELECT 1 AS x")
        assert reply["status"] == "ok", reply
        assert "2 rows" in shown(messages)
        assert cells.run("assert found.frame().x.tolist() == [1]")[0]["status"] == "ok"
        text = 'tumble("2s")\n  .by("page")\n  .agg(n=count())'
        reply, messages = cells.run(f"%%query magic_pages --since 1m --into pages\n{text}")
        assert reply["status"] == "ok", reply
        assert "complete" in shown(messages)
        reply, messages = cells.run(f"%%query --check --since 1m\n{text}")
        assert "equal" in shown(messages), (reply, shown(messages))
        reply, messages = cells.run(f"%%query magic_pages --run\n{text}")
        assert reply["status"] == "ok", reply
        assert cells.run("assert pages.is_running; pages.remove()")[0]["status"] == "ok"
        count = "SELECT event_type, COUNT(*) AS n FROM events GROUP BY event_type"
        reply, messages = cells.run(f"%%flink --since 1m --seconds 60 --rows 9999 --view changelog\n{count}")
        assert reply["status"] == "ok", reply
        assert "+I" in shown(messages)
        assert "rows; complete" in shown(messages)
        reply, messages = cells.run("%%flink --since 5m --rows 7 --view single\nSELECT page FROM events")
        assert "… and 6 more" in shown(messages), (reply, shown(messages))
        assert "7 rows; ended after 7 rows" in shown(messages), "what is shown does not change what there is"
        reply, messages = cells.run(
            "%%pattern --since 1m --into carts\n"
            'begin("cart", field("name") == "add_to_cart").then_not(field("name") == "purchase", within="1s").by("visitor_id")'
        )
        assert reply["status"] == "ok", reply
        assert "attempts" in shown(messages)
        assert "<svg" in shown(messages, "text/html")
        reply, messages = cells.run(
            "%%flink --name magic_sql --into named\nSELECT window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE("
            "TABLE events, DESCRIPTOR(rowtime), INTERVAL '2' SECOND)) GROUP BY window_start, window_end"
        )
        assert reply["status"] == "ok", reply
        assert cells.run("assert named.is_running; named.remove()")[0]["status"] == "ok"
        reply, _ = cells.run("%%query\ntumble('1m').agg(n=cuont())")
        assert reply["status"] == "error"
        assert "did you mean count?" in "\n".join(reply["traceback"])
        assert len(reply["traceback"]) <= 6
    finally:
        cells.close()
