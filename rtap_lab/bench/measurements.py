"""What a report measured: figures with their goals, what was found, and whether the answers were right. Pure but for `write`.

A fast wrong run counts for nothing: where an answer differed from the reference, there is a verdict and no figure.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rtap_lab.bench.histogram import Histogram
from rtap_lab.errors import JobError

Better = Literal["lower", "higher", ""]
Verdict = Literal["wrong", "void", "floor missed", "goal missed", "met", "measured"]
"""`measured`: nothing was promised."""

SLIP_MS = 1.0
"""p99 of how much later than due messages leave, above which a run must say so (wrk2's rule: what leaves late hides what waits)."""

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass
class Figure:
    """One number of a report."""

    value: float
    unit: str = ""
    better: Better = ""
    floor: float | None = None
    """What must be reached."""
    goal: float | None = None
    """What is promised."""
    samples: list[float] = field(default_factory=list)
    """The same, measured several times; their spread is the noise."""
    words: str = ""
    """What a reader should know about it."""

    def reaches(self, mark: float | None) -> bool:
        """Whether it is as good as a mark, or there is none."""
        if mark is None:
            return True
        return self.value <= mark if self.better == "lower" else self.value >= mark

    @property
    def spread(self) -> float:
        """Twice the range of the samples' middle half, as a share of the value; NaN of fewer than two samples.

        One that was disturbed says nothing about the others.
        """
        if len(self.samples) < 2 or not self.value:
            return math.nan
        first, _, third = statistics.quantiles(self.samples, n=4, method="inclusive")
        return 2 * (third - first) / abs(self.value)


@dataclass
class Measurements:
    """What one run of a report found."""

    report: str
    figures: dict[str, Figure] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    """Sentences, the most important first."""
    flags: list[str] = field(default_factory=list)
    """What makes the figures less than they look: "quick", "noisy machine"."""
    wrong: list[str] = field(default_factory=list)
    """Where answers differed from the reference."""
    void: list[str] = field(default_factory=list)
    """Why the figures are no measure: the driver was late, or nothing came."""
    proven: int = 0
    """Rows that were compared with the reference, and equal."""
    histograms: dict[str, Histogram] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    """Whatever else a reader may want, as plain data."""

    def add(
        self,
        name: str,
        value: float,
        unit: str = "",
        better: Better = "",
        *,
        floor: float | None = None,
        goal: float | None = None,
        samples: Sequence[float] = (),
        words: str = "",
    ) -> Figure:
        """A figure; with samples, the value may be their median."""
        digits = max(0, 3 - math.ceil(math.log10(abs(value)))) if value and math.isfinite(value) else 0
        shown = round(value, digits)
        figure = Figure(shown, unit, better, floor, goal, [round(each, 6) for each in samples], words)
        self.figures[name] = figure
        return figure

    def median(self, name: str, samples: Sequence[float], unit: str = "", better: Better = "", **more: Any) -> Figure:
        """A figure that was measured several times.

        Raises:
            ValueError: When there is none.
        """
        return self.add(name, statistics.median(samples), unit, better, samples=samples, **more)

    def durations(
        self,
        name: str,
        values_ms: Iterable[float],
        *,
        floors: Mapping[str, float] | None = None,
        goals: Mapping[str, float] | None = None,
        words: str = "",
    ) -> None:
        """Durations, in milliseconds: their p50, p95 and p99 as figures, and all of them as a histogram.

        Args:
            name: Of the figures: `name.p50` and so on.
            values_ms: The durations; none at all makes the run void.
            floors, goals: By quantile.
            words: What a reader should know of them.
        """
        histogram = Histogram.of(values_ms)
        if not len(histogram):
            self.void.append(f"{name}: nothing was measured")
            return
        self.histograms[name] = histogram
        for quantile, share in QUANTILES.items():
            floor, goal = (floors or {}).get(quantile), (goals or {}).get(quantile)
            self.add(
                f"{name}.{quantile}", histogram.quantile_ms(share), "ms", "lower", floor=floor, goal=goal, words=words
            )

    def find(self, words: str) -> None:
        """Say something that the figures mean."""
        self.findings.append(words)

    def find_late(self, slips_ms: Mapping[str, float]) -> None:
        """Say where messages left later than they were due: what was measured from then on holds that lateness.

        Args:
            slips_ms: p99 of the slip, milliseconds, by what was sent.
        """
        late = [f"{slip:.1f} ms ({name})" for name, slip in slips_ms.items() if slip > SLIP_MS]
        if late:
            self.find(
                f"The driver shares the cores with what it drives: messages left late, p99 {', '.join(late)}. "
                "Times count from when a record was due, so this lateness is in them."
            )

    def prove(self, report: Any) -> None:
        """Take the verdict of a verification (`verification.report.Report`): rows compared, what differs, what is left unproven."""
        if not report.differs:
            self.proven += report.rows
            for run in report.runs:
                if run.unproven:
                    self.find(f"Not proven ({run.source}, run {run.run}): {run.unproven}.")
        else:
            self.wrong.append(str(report).splitlines()[-1])

    @property
    def verdict(self) -> Verdict:
        """The whole in a word."""
        if self.wrong:
            return "wrong"
        if self.void:
            return "void"
        if not all(each.reaches(each.floor) for each in self.figures.values()):
            return "floor missed"
        if not all(each.reaches(each.goal) for each in self.figures.values()):
            return "goal missed"
        promised = any(each.floor is not None or each.goal is not None for each in self.figures.values())
        return "met" if promised else "measured"

    def as_json(self) -> dict[str, Any]:
        """As plain data; of a wrong run without figures, and what was found by them."""
        figures = {} if self.wrong else {name: asdict(each) for name, each in self.figures.items()}
        measured = {} if self.wrong else self.histograms
        histograms = {name: each.as_json() for name, each in measured.items()}
        quantiles = {  # the contract, section 5
            f"{name}_ms": {q: each.quantile_ms(share) for q, share in QUANTILES.items()}
            for name, each in measured.items()
        }
        return quantiles | {
            "report": self.report,
            "verdict": self.verdict,
            "findings": [] if self.wrong else self.findings,
            "flags": self.flags,
            "wrong": self.wrong,
            "void": self.void,
            "proven": self.proven,
            "figures": figures,
            "details": {} if self.wrong else self.details,
            "histograms": histograms,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurements:
        """As `as_json` gave it.

        Raises:
            KeyError: When a part is missing.
        """
        figures = {name: Figure(**each) for name, each in data["figures"].items()}
        histograms = {name: Histogram.from_json(each) for name, each in data["histograms"].items()}
        kept = {name: data[name] for name in ("report", "findings", "flags", "wrong", "void", "proven", "details")}
        return cls(figures=figures, histograms=histograms, **kept)

    def write(self, out: str | Path) -> None:
        """Write `metrics.json` into a folder."""
        (Path(out) / "metrics.json").write_text(json.dumps(self.as_json(), indent=1, allow_nan=False) + "\n")


def read(path: Path) -> Measurements:
    """The measurements of a report.

    Args:
        path: Its folder, or its `metrics.json`.

    Raises:
        JobError: When there are none.
    """
    file = path / "metrics.json" if path.is_dir() else path
    try:
        return Measurements.from_json(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobError(f"{file} holds no figures: {type(error).__name__}: {error}", hint="rtap bench list") from error


def merged(runs: Sequence[Measurements]) -> Measurements:
    """Several runs of one report as one: medians of figures, quantiles of all durations together.

    Raises:
        ValueError: When there is none.
    """
    result = Measurements(runs[-1].report, details={"runs": [each.details for each in runs]})
    for each in runs:
        result.wrong += each.wrong
        result.void += each.void
        result.proven += each.proven
        result.flags += [flag for flag in each.flags if flag not in result.flags]
        for name, histogram in each.histograms.items():
            result.histograms.setdefault(name, Histogram()).merge(histogram)
    result.findings = [f"{len(runs)} runs; of each figure the median is shown", *runs[-1].findings]
    for name, figure in runs[-1].figures.items():
        values = [each.figures[name].value for each in runs if name in each.figures]
        of, _, quantile = name.rpartition(".")
        value = statistics.median(values)
        if quantile in QUANTILES and of in result.histograms:
            value = result.histograms[of].quantile_ms(QUANTILES[quantile])
        merged_figure = result.add(name, value, figure.unit, figure.better, samples=values, words=figure.words)
        merged_figure.floor, merged_figure.goal = figure.floor, figure.goal
    return result
