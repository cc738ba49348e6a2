"""The page of a report: what one would send to one's boss. Pure.

The verdict and the findings first, then the figures beside their goals, the pictures, the method, and the machine. It asks no
other host for anything and holds no script; printed, it is a PDF.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from nbconvert.filters import markdown2html

from rtap_lab.bench.measurements import Figure, Measurements

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 860px; margin: 32px auto; padding: 0 20px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; } h2 { font-size: 18px; margin: 32px 0 8px; } h3 { font-size: 15px; }
.stamp { color: #666; margin: 0 0 16px; } .anchor-link { display: none; }
.verdict { display: inline-block; padding: 4px 12px; border-radius: 14px; font-weight: 600; color: #fff; background: #555; }
.verdict.met, .verdict.measured { background: #00734f; } .verdict.goal { background: #8a5a00; } .verdict.floor, .verdict.wrong, .verdict.void { background: #b00020; }
.flag { display: inline-block; margin-left: 8px; padding: 3px 10px; border: 1px solid #8a5a00; border-radius: 14px; color: #8a5a00; font-size: 13px; }
table { border-collapse: collapse; margin: 8px 0 16px; font-size: 14px; } th { text-align: left; border-bottom: 1px solid #999; }
th, td { padding: 3px 14px 3px 0; vertical-align: top; } td:first-child, td.n { white-space: nowrap; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
td.missed { color: #b00020; } pre { white-space: pre-wrap; font-size: 12.5px; background: #f6f6f6; padding: 8px 12px; border-radius: 6px; }
svg { max-width: 100%; height: auto; } .environment { color: #555; font-size: 13px; }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } svg, table, pre { break-inside: avoid; } }
"""

_WORDS = {
    "met": "all goals met",
    "measured": "measured",
    "goal missed": "floors met, a goal missed",
    "floor missed": "a floor missed",
    "wrong": "wrong: the answers differ from the reference, so there are no figures",
    "void": "void: this run measures nothing",
}


def page(
    notebook: Mapping[str, Any], found: Measurements, environment: Mapping[str, Any], *, code: bool = False
) -> str:
    """A report as one HTML page.

    Args:
        notebook: The executed notebook, as JSON.
        found: What it measured.
        environment: The machine and the versions.
        code: Whether the cells' code is shown.
    """
    title, lead, cells = _parts(notebook)
    stamp = [environment.get("time", ""), f"{environment.get('cpus', '?')} cores, {environment.get('system', '')}"]
    stamp += [f"commit {environment['commit']}"] if environment.get("commit") else []
    stamp += [f"{name} {value}" for name, value in environment.get("parameters", {}).items()]
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class='stamp'>{escape(' · '.join(map(str, stamp)))}</p>",
        f"<p><span class='verdict {found.verdict.split()[0]}'>{escape(_WORDS[found.verdict])}</span>{''.join(_flags(found))}</p>",
        lead,
        *_findings(found),
        *_figures(found),
        *(part for cell in cells for part in _cell(cell, code, shows=not (found.wrong or found.void))),
        "<h2>Machine</h2>",
        f"<p class='environment'>{escape('. '.join(_machine(environment)))}.</p>",
    ]
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
    return f"<!doctype html><html lang='en'><head>{head}<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"


def _parts(notebook: Mapping[str, Any]) -> tuple[str, str, list[Mapping[str, Any]]]:
    """The title, what is said below it, and the other cells."""
    first, *cells = notebook["cells"]
    heading, _, rest = "".join(first["source"]).partition("\n")
    return heading.lstrip("# ").strip(), markdown2html(rest), cells


def _machine(environment: Mapping[str, Any]) -> Iterator[str]:
    """What is known of it: older reports noted less."""
    if versions := environment.get("versions"):
        yield ", ".join(f"{name} {version}" for name, version in versions.items())
    if "load_after" in environment:
        yield f"Load before {environment.get('load_before')}, after {environment['load_after']}"
    if "loop_after_s" in environment:
        loops = f"{environment.get('loop_before_s')} s before and {environment['loop_after_s']} s after"
        yield f"A fixed loop of Python took {loops}"
    if "seed" in environment:
        yield f"Seed {environment['seed']}"


def _flags(found: Measurements) -> Iterator[str]:
    proven = [f"{found.proven:,} rows proven"] if found.proven and not found.wrong else []
    for each in [*found.flags, *proven]:
        yield f"<span class='flag'>{escape(each)}</span>"


def _findings(found: Measurements) -> Iterator[str]:
    said = [*found.wrong, *found.void, *(() if found.wrong or found.void else found.findings)]
    if said:
        yield f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in said)}</ul>"


def _figures(found: Measurements) -> Iterator[str]:
    if found.wrong or found.void or not found.figures:
        return
    heads = ("figure", "value", "floor", "goal", "from, to", "")
    yield "<h2>Figures</h2><table><tr>" + "".join(f"<th>{each}</th>" for each in heads) + "</tr>"
    for name, each in found.figures.items():
        yield f"<tr><td>{escape(name.replace('_', ' '))}</td>{_value(each)}{_mark(each, each.floor)}{_mark(each, each.goal)}"
        seen = f"{min(each.samples):,.4g} to {max(each.samples):,.4g}" if len(each.samples) > 1 else ""
        yield f"<td class='n'>{seen}</td><td>{escape(each.words)}</td></tr>"
    yield "</table>"


def _value(each: Figure) -> str:
    return f"<td class='n'>{each.value:,.10g} {escape(each.unit)}</td>"


def _mark(each: Figure, mark: float | None) -> str:
    if mark is None:
        return "<td></td>"
    reached = each.reaches(mark)
    sign = "≤" if each.better == "lower" else "≥"
    return f"<td class='n{'' if reached else ' missed'}'>{sign} {mark:,.10g} {'✓' if reached else '✗'}</td>"


def _cell(cell: Mapping[str, Any], code: bool, *, shows: bool) -> Iterator[str]:
    """A cell's text, and what it `shows`: pictures and tables are figures, too."""
    tags = cell["metadata"].get("tags", [])
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield markdown2html(source)
        return
    if code and "injected-parameters" not in tags:
        yield f"<pre>{escape(source)}</pre>"
    for output in cell.get("outputs", []) if shows else ():
        yield _output(output)


def _output(output: Mapping[str, Any]) -> str:
    if output["output_type"] == "stream":
        return f"<pre>{escape(''.join(output['text']))}</pre>" if output["name"] == "stdout" else ""
    if output["output_type"] == "error":
        return f"<pre>{escape(output['ename'])}: {escape(output['evalue'])}</pre>"
    data = output.get("data", {})
    for kind in ("image/svg+xml", "text/html"):
        if kind in data:
            return f"<div>{''.join(data[kind])}</div>"
    return f"<pre>{escape(''.join(data.get('text/plain', '')))}</pre>"
