"""What is kept of a verification."""

from __future__ import annotations

from pathlib import Path

from rtap_lab.stack.state import State
from rtap_lab.verification.comparing import Compared
from rtap_lab.verification.report import RunReport
from rtap_lab.verification.verdicts import Verdict, verdicts_document

LEDGER = {"read": 3, "counted": 3, "duplicate": 0, "late": 0, "rejected": 0, "ticks": 9, "refused_lines": 0}


def report(*compared: Compared, problems: list[str] | None = None) -> RunReport:
    upto = "2026-11-27T10:00:00.000Z"
    return RunReport(
        "standard", "live", "run 1", "exactly_once", upto, dict(LEDGER), list(compared), list(problems or [])
    )


def test_a_verdict_says_of_each_query_what_was_found_anywhere(tmp_path: Path) -> None:
    found = report(Compared("a", "topic", 5), Compared("a", "store", 5, missing=1), Compared("b", "topic", 2))
    verdict = Verdict.of_report(found, at=2.5)
    assert verdict.of("a") == {"exact": False, "upto_ms": 1_795_773_600_000, "at_ms": 2500, "rows": 5, "differences": 1}
    assert verdict.of("b")["exact"]
    assert not verdict.exact
    document = verdicts_document(State(tmp_path))
    document.change(lambda verdicts: verdicts | {"standard/live": verdict})
    assert document.read() == {"standard/live": verdict}


def test_a_problem_of_the_run_is_one_of_each_of_its_queries() -> None:
    verdict = Verdict.of_report(report(Compared("a", "topic", 5), problems=["the store is behind"]))
    assert not verdict.of("a")["exact"]
    assert Verdict.of_report(report(Compared("a", "topic", 5))).of("a")["exact"]


def test_where_every_row_depends_on_what_the_log_forgot_nothing_is_called_proven_by_it() -> None:
    late, gone, open_ = Compared("late", "topic", 9), Compared("a", "topic", expired=4), Compared("b", "topic", open=2)
    found = report(late, gone, open_)
    assert not found.exact, "exit 1 where there is nothing to compare (contract, section 4)"
    assert not found.differs
    assert found.verdict.startswith("NOTHING TO COMPARE (no row of a query was compared: all 4 depend on records that")
    assert found.as_json()["unproven"] == found.unproven
    assert report(late, gone, Compared("b", "topic", 1)).unproven == ""
    assert report(late, open_).unproven == "", "nothing was due yet"


def test_a_verdict_says_nothing_of_a_query_whose_rows_could_not_be_compared() -> None:
    found = report(Compared("a", "topic", expired=4), Compared("b", "topic", 2), Compared("c", "topic"))
    verdict = Verdict.of_report(found)
    assert [verdict.tells_of(name) for name in ("a", "b", "c")] == [False, True, True]
    assert not verdict.unproven
    assert Verdict.of_report(report(Compared("a", "topic", expired=4))).unproven
    assert Verdict.of_report(report(Compared("a", "topic", expired=4), problems=["lost"])).tells_of("a")
