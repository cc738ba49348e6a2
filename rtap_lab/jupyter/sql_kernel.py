"""A Jupyter kernel whose cells are Flink SQL on a lab: `python -m rtap_lab.jupyter.sql_kernel -f CONNECTION_FILE`.

Several statements a cell, each bounded and ended; results grow in one place. Lines that begin with `%` set what the looks
after them read: `%since 5m`, `%source weblog`, `%seconds 20`, `%rows 500`; `%help` tells.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

from rtap_lab import __version__
from rtap_lab.errors import RtapLabError, SettingsError
from rtap_lab.flink.advice import WORDS
from rtap_lab.lab.looks import Look
from rtap_lab.lab.sql import split
from rtap_lab.queries.conditions import FIELDS

if TYPE_CHECKING:
    from rtap_lab.lab import Lab

HELP = """Cells are Flink SQL: SELECT, WITH, SHOW, DESCRIBE, EXPLAIN; several statements with semicolons.
`events`: the counted events of the source; `events_raw`: its topic as it is.
CREATE TEMPORARY VIEW v AS SELECT …: for the cells after it; DROP TEMPORARY VIEW v. SET tells what is set.
%source NAME   "live" (as it is now), or a recorded source
%since 5m      from when on: a duration, an instant, or "all"
%seconds 10    how long a look may take
%rows 100      how many rows it may have
%help          this"""
THROTTLE_S = 0.25
_WORD = re.compile(r"[\w.]*$")
_COLUMNS = (*FIELDS, "rowtime")
"""Of `events`."""


class FlinkSqlKernel(Kernel):
    """Cells of Flink SQL."""

    implementation = "flink_sql"
    implementation_version = __version__
    language = "sql"
    language_version = "2.3"
    language_info = {  # noqa: RUF012 - as ipykernel declares it
        "name": "sql",
        "mimetype": "text/x-sql",
        "file_extension": ".sql",
        "codemirror_mode": "sql",
        "pygments_lexer": "sql",
    }
    banner = f"Flink SQL on a lab of rtap_lab {__version__}. %help tells what cells may say."

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._options: dict[str, Any] = {"source": "live", "since": None, "seconds": 10.0, "rows": 100}

    @cached_property
    def _lab(self) -> Lab:
        from rtap_lab.lab import Lab

        return Lab()  # one: it keeps the temporary views

    def start(self) -> None:
        """Begin; what completes is made ready meanwhile, so that the first key does not wait for it."""
        super().start()
        threading.Thread(target=self._warm, daemon=True, name="completion").start()

    def _warm(self) -> None:
        with suppress(RtapLabError):  # nothing is up yet
            self._lab.complete("SELECT ")

    def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: Any = None,
        allow_stdin: bool = False,
        *,
        cell_meta: Any = None,
        cell_id: Any = None,
    ) -> dict[str, Any]:
        """Run a cell."""
        try:
            for line in self._set(code):
                self._print(line, silent)
            for statement in split(_without_settings(code)):
                look = self._show(statement, silent)
                if look.ended_by == "interrupted":
                    return {"status": "aborted", "execution_count": self.execution_count}
        except RtapLabError as error:
            lines = str(error).splitlines()[:6]
            content = {"ename": type(error).__name__, "evalue": lines[0], "traceback": lines}
            if not silent:
                self.send_response(self.iopub_socket, "error", content)
            return {"status": "error", "execution_count": self.execution_count, **content}
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}

    def _set(self, code: str) -> list[str]:
        """Take the settings of a cell; what is to be printed."""
        said = []
        for line in code.splitlines():
            if not line.lstrip().startswith("%"):
                continue
            name, _, value = line.strip()[1:].partition(" ")
            value = value.strip()
            if name == "help":
                said.append(HELP)
            elif name not in self._options or not value:
                raise SettingsError(f"%{name} {value}".rstrip(), hint="%help tells what there is")
            elif name in ("seconds", "rows"):
                try:
                    self._options[name] = float(value) if name == "seconds" else int(value)
                except ValueError as error:
                    raise SettingsError(f"%{name} {value!r} is no number") from error
            else:
                self._options[name] = None if value == "all" else value
        return said

    def _print(self, text: str, silent: bool) -> None:
        if not silent:
            self.send_response(self.iopub_socket, "stream", {"name": "stdout", "text": f"{text}\n"})

    def _show(self, statement: str, silent: bool) -> Look:
        """Run a statement; its result grows in one place."""
        shown = f"rtap-{time.monotonic_ns()}"
        last, begun = 0.0, False

        def put(look: Look) -> None:
            nonlocal begun
            if silent:
                return
            content = {
                "data": {"text/plain": str(look), "text/html": look._repr_html_()},
                "metadata": {},
                "transient": {"display_id": shown},
            }
            self.send_response(self.iopub_socket, "update_display_data" if begun else "display_data", content)
            begun = True

        def grow(look: Look) -> None:
            nonlocal last
            if time.monotonic() - last >= THROTTLE_S:
                last = time.monotonic()
                put(look)

        look: Look = self._lab.sql(statement, on_rows=grow, **self._options)
        put(look)
        return look

    def do_complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """Keywords, tables, columns and functions: Flink's own, and the language's words."""
        before = code[:cursor_pos]
        word = (_WORD.search(before) or [""])[0]
        # Flink's parser knows the columns once it has read the FROM; they are typed before it
        found = [each for each in _COLUMNS if word and each.startswith(word.lower())]
        found += [each for each in WORDS if word and each.startswith(word.upper())]
        try:
            found += [each for each in self._lab.complete(before, self._options["source"]) if each not in found]
        except RtapLabError as error:  # nothing is up: the language's words are what there is
            self.log.debug("completion: %s", error)
        return {
            "status": "ok",
            "matches": found,
            "cursor_start": cursor_pos - len(word),
            "cursor_end": cursor_pos,
            "metadata": {},
        }

    def do_inspect(self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()) -> dict[str, Any]:
        """The columns of the table or view under the cursor, or the type of the column."""
        name = next((m[0] for m in re.finditer(r"\w+", code) if m.start() <= cursor_pos <= m.end()), "")
        data: dict[str, str] = {}
        table = "events" if name in _COLUMNS else name
        if table in ("events", "events_raw") or table in self._lab.temporary_views:
            try:
                found = self._lab.sql(f"DESCRIBE {table}", source=self._options["source"])
                if table != name:
                    found.rows = [row for row in found.rows if row["name"] == name]
                data = {"text/plain": str(found)}
            except RtapLabError as error:
                data = {"text/plain": str(error)}
        return {"status": "ok", "found": bool(data), "data": data, "metadata": {}}

    def do_is_complete(self, code: str) -> dict[str, str]:
        """A cell is complete when its last statement has its semicolon, or it is one line."""
        done = code.rstrip().endswith(";") or "\n" not in code.strip() or code.lstrip().startswith("%")
        return {"status": "complete"} if done else {"status": "incomplete", "indent": ""}


def _without_settings(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if not line.lstrip().startswith("%"))


if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=FlinkSqlKernel)
