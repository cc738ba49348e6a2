"""Rows of a query for people: in order, as a DataFrame, as text. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from rtap_lab.errors import SettingsError
from rtap_lab.queries.schema import Schema
from rtap_lab.tables import Table

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
FORMS = ("table", "csv", "json")


def as_frame(schema: Schema, rows: list[Row]) -> pd.DataFrame:
    """Such rows as a DataFrame; instants are UTC timestamps."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(schema.columns))
    for name, kind in schema.columns.items():
        if kind == "time":
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


def as_text(columns: Sequence[str], rows: list[Row], form: str) -> str:
    """Rows as text.

    Args:
        columns: Their columns, in order.
        rows: The rows.
        form: "table", "csv" (a text that a spreadsheet would run has a `'` before it) or "json".

    Raises:
        SettingsError: When the form is none of these.
    """
    check_form(form)
    if form == "table":
        return str(Table.of(columns, rows, grouped=False))
    if form == "json":
        return orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode()
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return out.getvalue().rstrip("\n")


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula, as a text: an event's fields are whatever a visitor sent (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def check_form(form: str) -> None:
    """Refuse an unknown form.

    Raises:
        SettingsError: When it is none.
    """
    if form not in FORMS:
        raise SettingsError(f"--format {form!r}", hint=", ".join(FORMS))
