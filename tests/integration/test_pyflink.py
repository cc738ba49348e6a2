"""PyFlink on the lab's cluster: a Python function over the counted events."""

from __future__ import annotations

import os
import subprocess
import sys

from rtap_lab.lab import Lab
from rtap_lab.waiting import until

PROGRAM = """
from pyflink.table import DataTypes
from pyflink.table.expressions import call, col
from pyflink.table.udf import udf
from rtap_lab import Lab

lab = Lab()
env = lab.table_environment("py")

@udf(result_type=DataTypes.STRING())
def section(page):
    return (page or "/").split("/")[1] or "home"

env.create_temporary_function("section", section)
table = env.sql_query("SELECT section(page) AS part, event_id FROM events WHERE event_type = 'page_view'")
with table.execute().collect() as rows:
    found = sorted(row[0] for row in rows)
print("PARTS", found)

frame = env.sql_query(
    "SELECT rowtime, event_time, `value`, properties, campaign_kind(page) AS kind FROM events"
).to_pandas()
print("TYPES", frame.rowtime.dtype, frame.rowtime.iloc[0].isoformat(), frame["value"].iloc[0], dict(frame.properties.iloc[0]))
kinds = env.from_path("events").select(call("campaign_kind", col("page")).alias("kind")).to_pandas()
print("KINDS", sorted(kinds.kind))
counts = env.sql_query("SELECT user_agent_family(name) AS family, COUNT(*) AS n FROM events GROUP BY user_agent_family(name)")
print("COUNTS", counts.to_pandas().to_dict("list"))
live = lab.table_environment().sql_query("SELECT COUNT(*) AS n FROM events_raw").to_pandas()
print("LIVE ENDS", list(live.columns))
"""

LEFT = """
import os, signal
from rtap_lab import Lab

env = Lab().table_environment(follow=True)
env.execute_sql("SELECT event_id FROM events").collect()
print("RUNS", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_python_function_runs_on_the_cluster(stack: Lab, tmp_path: object) -> None:
    import json
    from pathlib import Path

    path = Path(str(tmp_path)) / "py.jsonl"
    events = [
        {
            "event_id": f"p{n}",
            "event_type": "page_view",
            "event_time": "2023-01-01T00:00:00.000Z",
            "visitor_id": "v",
            "page": page,
            "value": 1.5,
            "properties": {"plan": "pro"},
        }
        for n, page in enumerate(["/", "/blog/a", "/blog/b", "/shop"])
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    stack.import_jsonl(path, source="py")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "RTAP_STATE": str(stack.state.folder)},
    )
    assert "PARTS ['blog', 'blog', 'home', 'shop']" in done.stdout, done.stdout[-500:] + done.stderr[-3000:]
    assert "TYPES datetime64[ms, UTC] 2023-01-01T00:00:00+00:00 1.5 {'plan': 'pro'}" in done.stdout, (
        done.stdout[-500:] + done.stderr[-3000:]
    )
    assert "KINDS ['other', 'other', 'other', 'other']" in done.stdout, done.stdout[-500:]
    assert "COUNTS {'family': ['none'], 'n': [4]}" in done.stdout, done.stdout[-500:]
    assert "LIVE ENDS ['n']" in done.stdout, "what is there now, not for ever"
    assert stack.other_flink_jobs() == []


def test_a_job_of_a_process_that_was_killed_ends(stack: Lab) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "RTAP_STATE": str(stack.state.folder)},
    )
    assert "RUNS" in done.stdout, done.stderr[-3000:]
    until(lambda: not stack.other_flink_jobs(), 60, lambda: AssertionError(str(stack.other_flink_jobs())), every=0.5)
