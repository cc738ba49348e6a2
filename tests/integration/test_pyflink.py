"""PyFlink on the lab's cluster: a Python function over the counted events."""

from __future__ import annotations

import os
import subprocess
import sys

from rtap_lab.lab import Lab

PROGRAM = """
from pyflink.table import DataTypes
from pyflink.table.expressions import col
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
