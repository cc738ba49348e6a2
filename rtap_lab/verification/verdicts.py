"""The newest verdict on each run, kept for who shows it: charts, the dashboard, the status."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from rtap_lab.events.times import instant_ms
from rtap_lab.stack.state import Document, State
from rtap_lab.verification.report import RunReport


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest verification of a run found."""

    run: str
    at: float
    """When it was found, seconds since the epoch."""
    upto_ms: int | None
    """Up to when rows were compared, milliseconds since the epoch; None: all of them."""
    exact: bool
    ledger: dict[str, int]
    """read = counted + duplicate + late + rejected."""
    rows: dict[str, int]
    """Rows that were compared in the topic, by query."""
    differences: dict[str, int]
    """Differing rows anywhere, by query."""
    problems: list[str] = []
    """What is wrong beside differing rows."""

    @staticmethod
    def of_report(report: RunReport, at: float | None = None) -> Verdict:
        """What a report says; `at` is now when left out."""
        rows: dict[str, int] = {}
        differences: dict[str, int] = {}
        for each in report.compared:
            differences[each.name] = differences.get(each.name, 0) + each.differences
            if each.where == "topic":
                rows[each.name] = each.rows
        return Verdict(
            run=report.run,
            at=time.time() if at is None else at,
            upto_ms=instant_ms(report.upto) if report.upto else None,
            exact=report.exact,
            ledger=dict(report.ledger),
            rows=rows,
            differences=differences,
            problems=list(report.problems),
        )

    def of(self, query: str) -> dict[str, Any]:
        """What it says of one query, as the hub tells it. A problem of the run is one of each of its queries."""
        differing = self.differences.get(query, 0)
        return {
            "exact": not differing and not self.problems,
            "upto_ms": self.upto_ms,
            "at_ms": int(self.at * 1000),
            "rows": self.rows.get(query, 0),
            "differences": differing,
        }


Verdicts = dict[str, Verdict]


def verdicts_document(state: State) -> Document[Verdicts]:
    """The newest verdict by run key (`JOB/SOURCE`); changed by who verifies, each its own entries."""
    return Document(state, "verdicts", Verdicts, dict)
