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
    expired: dict[str, int] = {}
    """Rows in the topic that could not be compared, by query: the log has forgotten what they depend on."""
    unproven: str = ""
    """Why no row of a query was compared though there are some; empty where some were, or there are none."""

    @staticmethod
    def of_report(report: RunReport, at: float | None = None) -> Verdict:
        """What a report says; `at` is now when left out."""
        rows: dict[str, int] = {}
        differences: dict[str, int] = {}
        expired: dict[str, int] = {}
        for each in report.compared:
            differences[each.name] = differences.get(each.name, 0) + each.differences
            if each.where == "topic":
                rows[each.name], expired[each.name] = each.rows, each.expired
        return Verdict(
            run=report.run,
            at=time.time() if at is None else at,
            upto_ms=instant_ms(report.upto) if report.upto else None,
            exact=report.exact,
            ledger=dict(report.ledger),
            rows=rows,
            differences=differences,
            problems=list(report.problems),
            expired=expired,
            unproven=report.unproven,
        )

    def tells_of(self, query: str) -> bool:
        """Whether it says anything of a query: not where it has rows, and all of them could not be compared."""
        told = self.rows.get(query, 0) or self.differences.get(query, 0) or self.problems
        return bool(told) or not self.expired.get(query, 0)

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
