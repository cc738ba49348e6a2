"""Tables for people, on a terminal and in a notebook: the one place where rows become text or HTML. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


def cell(value: Any) -> str:
    """A value as text that cannot drive a terminal: what a visitor wrote is shown, not obeyed."""
    text = "" if value is None else f"{value:,}" if type(value) is int and abs(value) >= 10_000 else str(value)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def plain(value: Any) -> str:
    """The same, numbers without separators: for what is copied or read by a program."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


@dataclass(frozen=True, repr=False)
class Table:
    """Rows under headings; numbers stand to the right.

    Args:
        columns: The headings.
        rows: The values of each row, in the order of the headings.
        grouped: Whether large numbers have separators.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    grouped: bool = True

    @classmethod
    def of(cls, columns: Sequence[str], rows: Iterable[dict[str, Any]], *, grouped: bool = True) -> Table:
        """A table of rows by column."""
        return cls(columns, [[row.get(name) for name in columns] for row in rows], grouped)

    def _cells(self) -> list[list[str]]:
        show = cell if self.grouped else plain
        return [[show(value) for value in row] for row in self.rows]

    def _numeric(self) -> list[bool]:
        return [
            any(isinstance(row[n], (int, float)) for row in self.rows)
            and all(
                row[n] is None or (isinstance(row[n], (int, float)) and not isinstance(row[n], bool))
                for row in self.rows
            )
            for n in range(len(self.columns))
        ]

    def __str__(self) -> str:
        cells = [list(self.columns), *self._cells()]
        widths = [max(len(row[n]) for row in cells) for n in range(len(self.columns))]
        right = self._numeric()
        lines = (
            "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
            for row in cells
        )
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        right = self._numeric()
        style = ["text-align:right" if r else "text-align:left" for r in right]
        head = "".join(f'<th style="{s}">{escape(name)}</th>' for name, s in zip(self.columns, style, strict=True))
        body = "".join(
            "<tr>" + "".join(f'<td style="{s}">{escape(c)}</td>' for c, s in zip(row, style, strict=True)) + "</tr>"
            for row in self._cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, repr=False)
class Text:
    """A text of several lines, such as a plan: each line is shown as a table's cell would be."""

    text: str

    def __str__(self) -> str:
        return "\n".join(plain(line) for line in self.text.split("\n"))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f'<pre style="overflow-x:auto">{escape(str(self))}</pre>'
