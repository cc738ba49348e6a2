"""Pure: what is verified, and the outcome of a verification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from rtap_lab.events.times import instant_text
from rtap_lab.kafka.names import events_topic
from rtap_lab.queries.query import Query
from rtap_lab.queries.standard import JOB
from rtap_lab.recordings.sources import ImportedFile
from rtap_lab.settings import JobParameters
from rtap_lab.tables import Table
from rtap_lab.verification.comparing import Compared


@dataclass(frozen=True)
class Subject:
    """What is verified: one run of a job on a source."""

    job: str
    source: str
    run: str
    parameters: JobParameters
    queries: Sequence[Query]
    results: Mapping[str, str]
    """Topic of each query."""
    begins: Mapping[str, int]
    """Where the run's rows begin in each of these topics."""
    group: str = ""
    """The consumer group in which the job's checkpoints show their offsets."""
    refused_lines: int = 0
    refused_from: int = 0
    """Where rows about the source begin in `events.rejected`: before it they are of an earlier source of its name."""
    files: Mapping[str, ImportedFile] = field(default_factory=dict)
    """What each imported file gave, by its digest as headers and rejected rows name it."""
    is_slice: bool = False
    """Whether it is a recorded slice: its records are as they were, and say nothing of its file."""

    @property
    def events(self) -> str:
        """The source's topic."""
        return events_topic(self.source)

    @property
    def key(self) -> str:
        """What the store keeps the run under."""
        return f"{self.job}/{self.source}"

    def file_of(self, headers: Iterable[tuple[str, str | bytes | None]] | None) -> str:
        """Of which of its files a record is; empty: of none."""
        if self.is_slice:
            return next(iter(self.files))
        file = dict(headers or ()).get("file")
        return file.decode("ascii", "replace") if isinstance(file, bytes) else ""


@dataclass(frozen=True)
class Upto:
    """How far a run is compared."""

    offsets: Mapping[tuple[str, int], int]
    whole: bool
    """Whether it has ended; a run that goes on is compared up to the watermark that these offsets allow."""


@dataclass
class RunReport:
    """The outcome for one run."""

    job: str
    source: str
    run: str
    delivery: str
    upto: str | None
    """W, an instant; None when the run was compared whole."""
    ledger: dict[str, int]
    """read = counted + duplicate + late + rejected; ticks and lines refused at import beside it."""
    compared: list[Compared]
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    before: str | None = None
    """Rows up to this instant were compared by the verification before, and not again; None: all were."""

    @property
    def differences(self) -> int:
        return sum(each.differences for each in self.compared)

    @property
    def differs(self) -> bool:
        """Whether anything is not as it should be."""
        return bool(self.problems or self.differences)

    @property
    def exact(self) -> bool:
        """Whether rows were compared, and all are right."""
        return not self.differs and self.ledger["read"] > 0 and not self.unproven

    def as_json(self) -> dict[str, Any]:
        table = [vars(each) | {"differences": each.differences} for each in self.compared]
        about = {"exact": self.exact, "differences": self.differences, "unproven": self.unproven}
        return vars(self) | about | {"compared": table}

    @property
    def unproven(self) -> str:
        """Why no row of a query was compared though there are some; empty where some were, or there are none.

        Rows that depend on records which the log has forgotten cannot be recomputed; that is no proof.
        """
        of_queries = [each for each in self.compared if each.where == "topic" and each.name not in ("late", "rejected")]
        expired = sum(each.expired for each in of_queries)
        if not expired or any(each.rows for each in of_queries):
            return ""
        return f"no row of a query was compared: all {expired:,} depend on records that the log has forgotten"

    @property
    def table(self) -> Table:
        """What was compared."""
        names = ("rows", "missing", "extra", "wrong", "repeated", "open", "expired")
        rows = [[c.name, c.where, *(getattr(c, name) for name in names)] for c in self.compared]
        return Table(("rows of", "in", "expected", *names[1:]), rows)

    @property
    def notes(self) -> list[str]:
        """The ledger, the first differences, the problems."""
        led = self.ledger
        lines = [
            f"read {led['read']} = counted {led['counted']} + duplicate {led['duplicate']} + late {led['late']}"
            f" + rejected {led['rejected']}   (ticks {led['ticks']}, lines refused at import {led['refused_lines']})"
        ]
        for c in self.compared:
            lines += [
                f"  {c.name} in {c.where}, {each['what']}: expected {_shown(each['expected'])}, "
                f"found {_shown(each['found'])}"
                for each in c.first
            ]
        return lines + [f"  {problem}" for problem in self.problems]

    @property
    def verdict(self) -> str:
        """One line."""
        upto = f"up to {self.upto}" if self.upto else "whole"
        words = "EXACT" if self.exact else "NOT EXACT" if self.differs else "NOTHING TO COMPARE"
        words += f" ({self.unproven})" if self.unproven else ""
        job = "" if self.job == JOB else f"job {self.job} on "
        again = f"; rows up to {self.before} were compared before (--full: again)" if self.before else ""
        return f"{words}: {job}{self.source}, run {self.run}, {upto}, {self.seconds:.1f} s{again}"


@dataclass(repr=False)
class Report:
    """The outcome of a verification: every run on a source."""

    source: str
    runs: list[RunReport]
    not_compared: list[str] = field(default_factory=list)
    """Runs of which nothing could be compared, and why: they are neither right nor wrong."""

    @property
    def problems(self) -> list[str]:
        """What is wrong beside differing rows; more can be added to the first run's."""
        return [problem for run in self.runs for problem in run.problems]

    @property
    def run(self) -> str:
        """The first run's id."""
        return self.runs[0].run

    @property
    def upto(self) -> str | None:
        """How far the first run was compared: an instant; None: whole."""
        return self.runs[0].upto

    @property
    def compared(self) -> list[Compared]:
        return [each for run in self.runs for each in run.compared]

    @property
    def ledger(self) -> dict[str, int]:
        """The first run's: the packaged job's where it runs."""
        return self.runs[0].ledger

    @property
    def seconds(self) -> float:
        return sum(run.seconds for run in self.runs)

    @property
    def differences(self) -> int:
        return sum(run.differences for run in self.runs)

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.compared if each.where == "topic")

    @property
    def differs(self) -> bool:
        """Whether anything is not as it should be."""
        return not self.runs or any(run.differs for run in self.runs)

    @property
    def exact(self) -> bool:
        """Whether rows of every run were compared, and all are right."""
        return bool(self.runs) and all(run.exact for run in self.runs)

    @property
    def words(self) -> str:
        """The verdict on all runs, in two or three words."""
        return "EXACT" if self.exact else "NOT EXACT" if self.differs else "NOTHING TO COMPARE"

    def as_json(self) -> dict[str, Any]:
        """The first run's facts, the rows of all, and each run by itself."""
        runs = [run.as_json() for run in self.runs]
        return runs[0] | {
            "source": self.source,
            "exact": self.exact,
            "differences": self.differences,
            "seconds": self.seconds,
            "problems": self.problems,
            "compared": [each for run in runs for each in run["compared"]],
            "runs": runs,
            "not_compared": self.not_compared,
        }

    def __str__(self) -> str:
        parts = []
        for run in self.runs:
            parts += [str(run.table), *run.notes, run.verdict]
        return "\n".join(parts + [f"not compared: {words}" for words in self.not_compared])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = []
        for run in self.runs:
            colour = "#1a7f37" if run.exact else "#b3261e"
            notes = "<br>".join(escape(line) for line in run.notes)
            parts.append(
                f"{run.table._repr_html_()}<p>{notes}</p><p><b style='color:{colour}'>{escape(run.verdict)}</b></p>"
            )
        return "".join(parts) + "".join(f"<p>not compared: {escape(words)}</p>" for words in self.not_compared)


def _shown(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    return str({k: instant_text(v) if isinstance(v, int) and v > 10**11 else v for k, v in row.items()})
