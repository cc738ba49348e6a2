"""`%rtap`, `%%flink`, `%%query` and `%%pattern`: the lab's verbs, SQL and queries as cells. Loaded by `%load_ext rtap_lab`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import display

from rtap_lab.errors import SettingsError
from rtap_lab.lab.looks import SHOWN
from rtap_lab.lab.sql import split
from rtap_lab.tables import Table

if TYPE_CHECKING:
    from rtap_lab.lab import Lab

THROTTLE_S = 0.25
"""Seconds between two pictures of a result that grows."""

_VERBS = ("up", "status", "down", "doctor", "verify")


@magics_class
class LabMagics(Magics):
    """Magics on the notebook's `lab`."""

    @property
    def _lab(self) -> Lab:
        from rtap_lab.lab import Lab

        found = self.shell.user_ns.get("lab") if self.shell else None
        if not isinstance(found, Lab):
            raise SettingsError("there is no lab in this notebook", hint="%load_ext rtap_lab, or lab = Lab()")
        return found

    @line_magic
    def rtap(self, line: str) -> Any:
        """`%rtap up|status|down|doctor|verify`: what the command of that name does, on this notebook's lab."""
        words = shlex.split(line)
        if len(words) != 1 or words[0] not in _VERBS:
            raise SettingsError(f"%rtap {line}".rstrip(), hint=f"one of {', '.join(_VERBS)}")
        lab = self._lab
        match words[0]:
            case "up":
                return type(lab).up(lab.state.folder)
            case "status":
                return lab
            case "down":
                print("down" if lab.down() else "nothing was up")
            case "doctor":
                return Table.of(["verdict", "what", "found", "fix"], [vars(each) for each in lab.doctor()])
            case "verify":
                return lab.verify()
        return None

    @magic_arguments()
    @argument("--source", default="live", help='"live", or a recorded source')
    @argument("--since", default=None, help='from when on: "5m", or an instant; all when left out')
    @argument("--seconds", type=float, default=10, help="how long at most")
    @argument("--rows", type=int, default=100, help="how many rows at most")
    @argument("--into", default="", help="a variable for the result")
    @argument(
        "--view",
        default="table",
        choices=("table", "append", "changelog", "single"),
        help="table: rows as the changes leave them; append: the last rows that came; changelog: each change; single: the last row",
    )
    @argument("--name", default="", help="keep it running under this name, and show its chart: one SELECT over windows")
    @cell_magic
    def flink(self, line: str, cell: str) -> None:
        """SQL over what is there now: one statement, or several with semicolons."""
        options = parse_argstring(self.flink, line)
        _check_variable(options.into)
        if options.name:
            running = self._lab.query(options.name, cell, source=options.source).run()
            self._keep(options.into, running)
            display(running.chart())
            return
        for statement in split(cell):
            with _Growing(view=options.view) as show:
                found = self._lab.sql(
                    statement,
                    source=options.source,
                    since=options.since,
                    seconds=options.seconds,
                    rows=options.rows,
                    changelog=options.view == "changelog",
                    on_rows=show.grow,
                )
                show.end(found)
            self._keep(options.into, found)
            if found.ended_by == "interrupted":
                break

    @magic_arguments()
    @argument("name", nargs="?", default="", help="its name")
    @argument("--source", default="live", help='"live", or a recorded source')
    @argument("--title", default="", help="for people")
    @argument("--since", default=None, help='of a look: "5m", an instant, or "all"')
    @argument("--check", action="store_true", help="compare with the reference engine instead of a preview")
    @argument("--run", action="store_true", help="keep it running under its name, and show its chart")
    @argument("--into", default="", help="a variable for the query")
    @cell_magic
    def query(self, line: str, cell: str) -> None:
        """A query in builders' words, or a SELECT: previewed, or checked, or run."""
        options = parse_argstring(self.query, line)
        _check_variable(options.into)
        asked = self._lab.query(cell.strip(), source=options.source, title=options.title)
        if options.name:
            title = options.title or asked.title
            asked = self._lab.query(options.name, asked.text(), source=options.source, title=title)
        self._keep(options.into, asked)
        if options.run:
            if not options.name:
                raise SettingsError("%%query --run: what runs needs a name", hint="%%query views_by_page --run")
            display(asked.run().chart())
        elif options.check:
            display(asked.check(since=options.since))
        else:
            with _Growing() as show:
                show.end(asked.preview(since=options.since, on_rows=show.grow))

    @magic_arguments()
    @argument("--source", default="live", help='"live", or a recorded source')
    @argument("--since", default=None, help='which events are looked at: "5m", an instant, or "all"')
    @argument("--into", default="", help="a variable for the query")
    @cell_magic
    def pattern(self, line: str, cell: str) -> None:
        """A pattern in builders' words: its state machine with counts, its matches, or why there are none."""
        options = parse_argstring(self.pattern, line)
        _check_variable(options.into)
        asked = self._lab.query(cell.strip(), source=options.source)
        display(asked.debug(since=options.since))
        self._keep(options.into, asked)
        with _Growing() as show:
            found = asked.preview(since=options.since, on_rows=show.grow)
            show.end(found)
        if not found.answer:
            display(asked.diagnose(since=options.since))

    def _keep(self, variable: str, value: Any) -> None:
        if variable and self.shell:
            self.shell.push({variable: value})


class _Growing:
    """A result that is shown in one place while it grows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, view: str = "table") -> None:
        self._clock = clock
        self._view = view
        self._handle: Any = None
        self._shown = 0.0

    def __enter__(self) -> _Growing:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None and self._handle is not None:
            self._handle.update({"text/plain": "no result"}, raw=True)

    def grow(self, so_far: Any) -> None:
        """Show it, now and then."""
        if self._clock() - self._shown >= THROTTLE_S:
            self._shown = self._clock()
            self._put(so_far)

    def end(self, result: Any) -> None:
        """Show it as it is in the end."""
        self._put(result)

    def _put(self, value: Any) -> None:
        if self._view in ("append", "single"):
            value = replace(value, newest=1 if self._view == "single" else SHOWN)
        if self._handle is None:
            self._handle = display(value, display_id=True)
        else:
            self._handle.update(value)


def _check_variable(name: str) -> None:
    if name and not name.isidentifier():
        raise SettingsError(f"--into {name!r}: a variable's name is wanted")
