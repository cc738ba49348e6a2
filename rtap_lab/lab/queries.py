"""The queries that a lab knows."""

from __future__ import annotations

from rtap_lab.lab.context import Context
from rtap_lab.lab.rows import Row


def describe(context: Context) -> list[Row]:
    """Every query: its name, title, columns, and where it runs."""
    running: dict[str, list[str]] = {}
    for run in context.runs.read().values():
        for query in run.queries:
            running.setdefault(query.name, []).append(run.key)
    return [
        {
            "name": query.name,
            "title": query.title or query.name,
            "columns": ", ".join(query.schema.columns),
            "runs": ", ".join(running.get(query.name, [])),
        }
        for query in context.catalog
    ]
