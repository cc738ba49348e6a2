"""Every shipped notebook runs unattended, and reports leave what they promise."""

from __future__ import annotations

import json
from pathlib import Path

import papermill
import pytest

from rtap_lab.bench.compare import compare
from rtap_lab.bench.measurements import read
from rtap_lab.bench.reports import run, templates
from rtap_lab.errors import SettingsError
from rtap_lab.lab import Lab

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def execute(name: str, tmp_path: Path, **parameters: object) -> dict[str, object]:
    out = tmp_path / name
    papermill.execute_notebook(
        str(NOTEBOOKS / name), str(out), parameters=parameters, kernel_name="python3", progress_bar=False,
        start_timeout=120, execution_timeout=300, cwd=str(tmp_path),
    )
    return dict(json.loads(out.read_text()))


def test_start_here_runs_and_verifies(stack: Lab, tmp_path: Path) -> None:
    done = execute("00_start_here.ipynb", tmp_path, state=str(stack.state.folder), traffic_seconds=25)
    assert "EXACT" in json.dumps(done)
    assert "equal, " in json.dumps(done)
    stack.query("views_by_page").remove()


def test_the_lesson_of_patterns_runs(stack: Lab, tmp_path: Path) -> None:
    done = execute("04_patterns.ipynb", tmp_path, state=str(stack.state.folder))
    text = json.dumps(done)
    assert "other events of the same visitor_id lie between" in text
    assert "equal, " in text
    assert "lesson_patterns" not in stack.sources()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("01_explore_events", "2999 records, 2995 counted events"),
        ("02_windows", "equal, "),
        ("03_sessions", "equal, "),
        ("05_late_data_and_watermarks", "'late': 240"),
        ("06_exactly_once", "new rows after"),
        ("09_pyflink_functions", "with a Python function"),
        ("10_live_pipelines", "✗ 10.1"),
    ],
)
def test_a_lesson_runs_and_marks_its_exercises(stack: Lab, tmp_path: Path, name: str, shown: str) -> None:
    """What a lesson says of its answers is asserted in it."""
    text = json.dumps(execute(f"{name}.ipynb", tmp_path, state=str(stack.state.folder)), ensure_ascii=False)
    assert shown in text
    assert f"✗ {name[:2]}." in text, "the first try is marked wrong"
    assert not [run for run in stack.runs() if run.startswith("lesson_")], "a lesson leaves no job behind"


def test_the_lesson_of_known_answers_runs_without_a_stack(tmp_path: Path) -> None:
    done = execute("07_known_answers.ipynb", tmp_path)
    text = json.dumps(done)
    assert "EXPLAINED: live against the simulator" in text
    assert "outage was shown after 60.0 s" in text


@pytest.mark.access_log
@pytest.mark.long  # the same lesson as below; the log itself is in test_answers
def test_the_lesson_on_a_real_log_runs_and_verifies(stack: Lab, tmp_path: Path, access_log: Path) -> None:
    done = execute("08_real_log.ipynb", tmp_path, state=str(stack.state.folder), path=str(access_log), source="lesson")
    text = json.dumps(done)
    assert "read 10000 = imported 9999 + rejected 1" in text
    assert "EXACT" in text
    stack.remove_source("lesson")


def test_without_a_log_the_lesson_on_logs_writes_one(stack: Lab, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    done = execute("08_real_log.ipynb", tmp_path, state=str(stack.state.folder), path=str(log), source="lesson")
    assert "read 2316 = imported 2315 + rejected 1" in json.dumps(done)
    assert "EXACT" in json.dumps(done)
    stack.remove_source("lesson")


def test_the_latency_report_leaves_notebook_page_and_figures(stack: Lab, tmp_path: Path) -> None:
    assert "latency" in templates()
    folder = run(stack.state.folder, "latency", tmp_path, quick=True, say=print)
    found = read(folder)
    assert found.verdict not in ("wrong", "void")
    assert found.proven > 0
    assert {f"created_to_client_200_per_s.{q}" for q in ("p50", "p95", "p99")} <= found.figures.keys()
    assert len(found.histograms["created_to_client_200_per_s"]) > 0
    html = (folder / "report.html").read_text()
    assert "Latency" in html
    assert "quick" in html
    assert len(html) < 1_000_000
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["cpus"]
    shown = (folder / "report.ipynb").read_text() + html
    assert str(NOTEBOOKS.parent) not in shown, "a report is published without the machine's paths"
    assert str(tmp_path) not in shown
    assert str(stack.state.folder) not in shown
    assert not [each for each in compare(found, found) if each.change in ("better", "worse")]


def test_what_is_no_report_or_no_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not known"):
        run(tmp_path / "state", "nothing", tmp_path, quick=True, say=print)
    with pytest.raises(SettingsError, match="takes no parameter speed"):
        run(tmp_path / "state", "latency", tmp_path, quick=True, say=print, parameters={"speed": 1})
    assert not list(tmp_path.iterdir()), "nothing was begun"


@pytest.mark.long  # test_agreement runs the same comparison
def test_the_agreement_report_compares_and_shows_the_engines_speed(stack: Lab, tmp_path: Path) -> None:
    folder = run(stack.state.folder, "agreement", tmp_path, quick=True, say=print)
    found = read(folder)
    assert found.details["cases"] == 48
    assert not found.wrong
    assert found.proven > 0
    assert found.figures["engine_tumbling_count"].value > 0
    assert "disagreements" in (folder / "report.html").read_text()
