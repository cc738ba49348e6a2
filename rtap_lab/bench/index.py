"""All reports of a folder as one static page: the newest of each, and how its figures went. Pure but for reading and writing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rtap_lab.bench.measurements import Measurements, read
from rtap_lab.errors import JobError

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1000px; margin: 32px auto; padding: 0 20px; }
h1 { font-size: 26px; } h2 { font-size: 18px; margin: 28px 0 4px; } table { border-collapse: collapse; font-size: 14px; }
th { text-align: left; border-bottom: 1px solid #999; } th, td { padding: 3px 16px 3px 0; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.old { color: #666; } polyline { fill: none; stroke: #0072B2; stroke-width: 1.5; }
"""


@dataclass
class Published:
    """One run of a report."""

    folder: Path
    time: str
    commit: str
    found: Measurements


def published(root: Path) -> tuple[dict[str, list[Published]], list[str]]:
    """The runs that there are, by report, the oldest first; and what holds no figures, with the reason."""
    runs: dict[str, list[Published]] = {}
    left_out = []
    for folder in sorted(each for each in root.glob("*/*") if each.is_dir()):
        try:
            found = read(folder)
            stamp = json.loads((folder / "environment.json").read_text())
        except (JobError, OSError, ValueError) as error:
            left_out.append(f"{folder.relative_to(root)}: {error}")
            continue
        runs.setdefault(folder.parent.name, []).append(Published(folder, stamp["time"], stamp.get("commit", ""), found))
    for each in runs.values():
        each.sort(key=lambda run: run.time)
    return runs, left_out


def publish(root: Path) -> tuple[Path, list[str]]:
    """Write `index.html` into a folder of reports.

    Returns:
        Its path, and what was left out because it holds no figures.

    Raises:
        JobError: When there is no report at all.
    """
    runs, left_out = published(root)
    if not runs:
        raise JobError(f"{root} holds no report", hint="rtap bench run NAME makes one")
    parts = [section for name, each in runs.items() for section in _section(root, name, each)]
    index = root / "index.html"
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>rtap_lab: reports</title><style>{_STYLE}</style>"
    index.write_text(
        f"<!doctype html><html lang='en'><head>{head}</head><body><h1>Reports</h1>{''.join(parts)}</body></html>\n"
    )
    return index, left_out


def _section(root: Path, name: str, runs: Sequence[Published]) -> list[str]:
    newest = runs[-1]
    link = (newest.folder / "report.html").relative_to(root).as_posix()
    parts = [
        f"<h2><a href='{escape(link)}'>{escape(name)}</a>: {escape(newest.found.verdict)}</h2>",
        f"<p class='old'>{escape(newest.time)}, commit {escape(newest.commit)}{''.join(f', {escape(flag)}' for flag in newest.found.flags)}</p>",
    ]
    if newest.found.figures:
        parts.append("<table><tr><th>figure</th><th>newest</th><th>before</th><th>trend</th></tr>")
        for figure, each in newest.found.figures.items():
            past = [run.found.figures[figure].value for run in runs if figure in run.found.figures]
            before = f"{past[-2]:,.6g}" if len(past) > 1 else ""
            parts.append(
                f"<tr><td>{escape(figure.replace('_', ' '))}</td><td class='n'>{each.value:,.6g} {escape(each.unit)}</td>"
                f"<td class='n'>{before}</td><td>{_trend(past)}</td></tr>"
            )
        parts.append("</table>")
    if len(runs) > 1:
        links = " ".join(
            f"<a href='{escape((run.folder / 'report.html').relative_to(root).as_posix())}'>{escape(run.time)}</a>"
            for run in runs[:-1]
        )
        parts.append(f"<p class='old'>earlier: {links}</p>")
    return parts


def _trend(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    most = max(values) or 1
    points = " ".join(
        f"{n * 90 / (len(values) - 1):.1f},{22 - 20 * max(value, 0) / most:.1f}" for n, value in enumerate(values)
    )
    return f"<svg width='92' height='24'><polyline points='{points}'/></svg>"
