"""What a card shows where no browser feeds it: a big number, a funnel, a table, as HTML for executed reports. Pure."""

from __future__ import annotations

from html import escape
from typing import Any

from rtap_lab.dashboards.plans import ChartPlan


def still_html(plan: ChartPlan, data: dict[str, list[Any]]) -> str:
    """A plan's reduced rows as HTML; every text is escaped."""
    title = f"<h4 style='margin:4px 0'>{escape(plan.title)}</h4>"
    if plan.kind == "number":
        values = [value for value in data[plan.options["y"]] if value == value]
        shown = (sum(values) if plan.options["how"] == "sum" else values[-1]) if values else "–"
        return f"{title}<div style='font-size:32px'>{_text(shown)}</div>"
    if plan.kind == "funnel":
        return title + "".join(
            _step(*each) for each in zip(data["name"], data["value"], _shares(data["value"]), strict=True)
        )
    head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in data)
    rows = zip(*data.values(), strict=True)
    body = "".join(f"<tr>{''.join(f'<td>{escape(_text(value))}</td>' for value in row)}</tr>" for row in rows)
    return f"{title}<table><tr>{head}</tr>{body}</table>"


def _shares(values: list[float]) -> list[float]:
    return [value / values[0] if values[0] else 0.0 for value in values]


def _step(name: str, value: float, share: float) -> str:
    bar = f"<div style='background:#0072B2;opacity:.35;height:14px;width:{min(100.0, 100 * share):.1f}%'></div>"
    return f"<div>{escape(name)}: {_text(value)} ({share:.1%})</div>{bar}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.2f}".rstrip("0").rstrip(".")
