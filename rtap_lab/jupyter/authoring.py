"""The authoring panel: a window or a pattern put together by hand; its SQL, picture, preview and diagnosis follow."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from IPython.display import Javascript, display

from rtap_lab.dashboards.pictures import picture_of
from rtap_lab.errors import RtapLabError
from rtap_lab.jupyter.draft import MEASURES, OPERATORS, Comparison, Draft, Measured, Stepped
from rtap_lab.queries.conditions import FIELDS
from rtap_lab.settings import LIVE

if TYPE_CHECKING:
    from rtap_lab.lab import Lab
    from rtap_lab.lab.bound import BoundQuery

_log = logging.getLogger(__name__)

IDLE_S = 0.8
"""Seconds without a change after which a preview is asked for."""

_INSERT = """(async () => {
  const app = window.jupyterapp;  // `rtap lab` exposes it
  if (!app) return navigator.clipboard.writeText(%(code)s);
  await app.commands.execute('notebook:insert-cell-below');
  await app.commands.execute('notebook:replace-selection', {text: %(code)s});
})()"""


def author(lab: Lab, *, source: str | None = None) -> Any:
    """An ipywidgets panel in which a query is put together: source, filter, keys, windows or a pattern's steps.

    Its SQL and picture follow each change at once, the preview and, where that is empty, the diagnosis a moment later. "insert"
    writes it as a cell, "run" keeps it running under its name.

    Args:
        lab: A lab that is up.
        source: Chosen at first; "live" when left out.
    """
    return Panel(lab, source or LIVE).box


class _Rows:
    """Rows of a form that can be added and removed."""

    def __init__(self, make: Callable[[], widgets.HBox], label: str, changed: Callable[[], None]) -> None:
        self._make, self._changed = make, changed
        self.rows: list[widgets.HBox] = []
        self._inner = widgets.VBox()
        more = widgets.Button(description=label, icon="plus", layout=widgets.Layout(width="auto"))
        more.on_click(lambda _: self.add())
        self.box = widgets.VBox([self._inner, more], layout=widgets.Layout(align_items="flex-start"))

    def add(self) -> widgets.HBox:
        row = self._make()
        less = widgets.Button(icon="trash", tooltip="remove", layout=widgets.Layout(width="38px"))
        less.on_click(lambda _: self._remove(row))
        row.children = (*row.children, less)
        for each in row.children[:-1]:
            each.observe(lambda _: self._changed(), names="value")
        self.rows.append(row)
        self._show()
        return row

    def _remove(self, row: widgets.HBox) -> None:
        self.rows.remove(row)
        self._show()

    def _show(self) -> None:
        self._inner.children = tuple(self.rows)
        self._changed()


def _field(placeholder: str = "field") -> widgets.Combobox:
    return widgets.Combobox(
        options=[*FIELDS, 'properties["…"]'], placeholder=placeholder, layout=widgets.Layout(width="150px")
    )


def _test_widgets() -> list[Any]:
    operator = widgets.Dropdown(options=OPERATORS, layout=widgets.Layout(width="110px"))
    return [_field(), operator, widgets.Text(placeholder="value", layout=widgets.Layout(width="150px"))]


def _test(row: list[Any] | tuple[Any, ...]) -> Comparison:
    name, operator, value = (each.value for each in row)
    return Comparison(name.strip(), operator, value)


class Panel:
    """The panel's widgets, and what they do.

    Args:
        lab: A lab.
        source: Chosen at first.
        clock: For waiting until nobody types any more.
    """

    def __init__(self, lab: Lab, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._lab, self._clock = lab, clock
        self._changed_at, self._previewed_at, self._quiet = 0.0, -1.0, True
        self._previewing = threading.Lock()
        self._of_visitors = False
        self.source = widgets.Dropdown(options=_sources(lab, source), value=source, description="source")
        self.name = widgets.Text(value="my_query", description="name")
        self.kind = widgets.Dropdown(
            options=["tumble", "hop", "cumulate", "session", "pattern"], value="tumble", description="kind"
        )
        self.size = widgets.Text(value="10s", description="size")
        self.step = widgets.Text(value="5s", description="every")
        self.keys = widgets.TagsInput(value=["page"], allow_duplicates=False, placeholder="fields")
        self.filters = _Rows(lambda: widgets.HBox(_test_widgets()), "condition", self.changed)
        self.measures = _Rows(self._measure_row, "measure", self.changed)
        self.steps = _Rows(self._step_row, "step", self.changed)
        self.within = widgets.Text(value="1m", description="within")
        self.absent = widgets.HBox(_test_widgets())
        self.absent_within = widgets.Text(value="20s", layout=widgets.Layout(width="70px"))
        self.said = widgets.HTML()
        self.picture, self.sql = widgets.HTML(), widgets.HTML()
        self.preview, self.fares = widgets.HTML(), widgets.HTML()
        self.code = widgets.Textarea(layout=widgets.Layout(width="100%", height="90px"), disabled=True)
        self._texts = widgets.Accordion(
            [self.sql, self.code], titles=("SQL", "code"), layout=widgets.Layout(align_self="stretch")
        )
        self._scripts = widgets.Output(layout=widgets.Layout(display="none"))
        self.insert = widgets.Button(description="insert as code", icon="code")
        self.run = widgets.Button(description="run", icon="play", button_style="primary")
        self.insert.on_click(self._on_insert)
        self.run.on_click(self._on_run)
        self._windows = widgets.VBox(
            [widgets.HBox([self.size, self.step]), widgets.Label("measures"), self.measures.box]
        )
        self._pattern = widgets.VBox(
            [
                widgets.Label("steps"),
                self.steps.box,
                self.within,
                widgets.Label("then not (leave the field empty when nothing is forbidden)"),
                widgets.HBox([self.absent, widgets.Label("within"), self.absent_within]),
            ]
        )
        simple = (self.source, self.name, self.kind, self.size, self.step, self.keys, self.within, self.absent_within)
        for each in (*simple, *self.absent.children):
            each.observe(lambda _: self.changed(), names="value")
        self.measures.add()
        self.steps.add()
        self._quiet = False
        self.box = widgets.VBox(
            [
                widgets.HBox([self.source, self.name]),
                widgets.Label("only events for which all of this holds"),
                self.filters.box,
                widgets.HBox([widgets.Label("by"), self.keys]),
                self.kind,
                self._windows,
                self._pattern,
                self.said,
                self.picture,
                widgets.HBox([self.insert, self.run, self.fares]),
                self._texts,
                widgets.Box([self.preview], layout=widgets.Layout(max_height="320px", overflow="auto")),
                self._scripts,
            ],
            layout=widgets.Layout(align_items="flex-start"),
        )
        self.changed()

    def _measure_row(self) -> widgets.HBox:
        name = widgets.Text(
            value="" if self.measures.rows else "events", placeholder="name", layout=widgets.Layout(width="130px")
        )
        function = widgets.Dropdown(options=MEASURES, layout=widgets.Layout(width="110px"))
        return widgets.HBox([name, function, _field("of field")])

    def _step_row(self) -> widgets.HBox:
        first = not self.steps.rows
        relation = widgets.Dropdown(
            options=["begin"] if first else ["followed by", "next"], layout=widgets.Layout(width="110px")
        )
        taken = {row.children[1].value for row in self.steps.rows}
        free = next((letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in taken), "")
        name = widgets.Text(value=free, layout=widgets.Layout(width="90px"))
        times = widgets.BoundedIntText(value=1, min=1, max=1000, layout=widgets.Layout(width="60px"))
        return widgets.HBox([relation, name, *_test_widgets(), widgets.Label("times"), times])

    # --- what it says ----------------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        """What stands in the form."""
        return Draft(
            kind=self.kind.value,
            size=self.size.value,
            step=self.step.value,
            keys=tuple(self.keys.value),
            where=tuple(_test(row.children[:3]) for row in self.filters.rows),
            measures=tuple(
                Measured(name.value.strip(), function.value, of.value.strip())
                for name, function, of in (row.children[:3] for row in self.measures.rows)
            ),
            steps=tuple(
                Stepped(
                    row.children[1].value.strip(),
                    row.children[0].value,
                    _test(row.children[2:5]),
                    row.children[6].value,
                )
                for row in self.steps.rows
            ),
            within=self.within.value,
            absent=_test(self.absent.children),
            absent_within=self.absent_within.value,
        )

    def query(self) -> BoundQuery:
        """The query that the form says.

        Raises:
            SettingsError: When something is missing, or does not fit.
        """
        return self._lab.query(self.name.value.strip(), self.draft.definition(), source=self.source.value)

    def changed(self) -> None:
        """Show what the form says now; ask for a preview when nobody types any more."""
        if self._quiet:
            return
        of_visitors = self.kind.value in ("pattern", "session")
        if list(self.keys.value) == (["page"] if of_visitors else ["visitor_id"]) and of_visitors != self._of_visitors:
            self._of_visitors = of_visitors
            self.keys.value = ["visitor_id"] if of_visitors else ["page"]  # comes back here
            return
        self._of_visitors = of_visitors
        pattern = self.kind.value == "pattern"
        self._windows.layout.display = "none" if pattern else ""
        self._pattern.layout.display = "" if pattern else "none"
        self.step.layout.display = "" if self.kind.value in ("hop", "cumulate") else "none"
        self.size.description = "gap" if self.kind.value == "session" else "size"
        self.step.description = "every" if self.kind.value == "hop" else "step"
        self._changed_at = self._clock()
        try:
            asked = self.query()
            sql, code = asked.sql(), self.draft.code(asked.name, self.source.value)
        except RtapLabError as error:
            self.said.value = f"<b>{escape(str(error))}</b>"
            self.picture.value = self.sql.value = self.code.value = self.preview.value = ""
            return
        self.said.value = f"<code>{escape(asked.text())}</code>"
        self.picture.value = picture_of(asked.definition)
        self.sql.value = f"<pre style='white-space:pre-wrap'>{escape(sql)}</pre>"
        self.code.value = code
        threading.Thread(target=self._preview, daemon=True, name="preview").start()

    def _preview(self) -> None:
        """Wait until nobody types any more, then preview what the form says; the last change has the last word."""
        while (left := self._changed_at + IDLE_S - self._clock()) > 0:
            time.sleep(left)
        with self._previewing:
            while self._previewed_at != self._changed_at:
                self._previewed_at = self._changed_at
                self.preview.value = "<i>Flink answers …</i>"
                self.preview.value = self._previewed()

    def _previewed(self) -> str:
        try:
            asked = self.query()
            found = asked.preview(seconds=20, rows=200)
            return found._repr_html_() if found.rows else found._repr_html_() + asked.diagnose()._repr_html_()
        except Exception as error:  # a thread that ended would leave "Flink answers …" for ever
            return self._trouble(error)

    def _trouble(self, error: Exception) -> str:
        if not isinstance(error, RtapLabError):
            _log.exception("the authoring panel")
        return f"<p><b>{escape(str(error) or type(error).__name__)}</b></p>"

    # --- what it does ----------------------------------------------------------------------------

    def _on_insert(self, _: Any) -> None:
        try:
            self.query()
        except RtapLabError as error:
            self.fares.value = escape(str(error))
            return
        with self._scripts:
            self._scripts.clear_output()
            display(Javascript(_INSERT % {"code": json.dumps(self.code.value)}))
        self._texts.selected_index = 1  # where JupyterLab was not started by `rtap lab`, it can be taken from there
        self.fares.value = (
            "in the cell below (in a JupyterLab that <code>rtap lab</code> did not start: in the clipboard)"
        )

    def _on_run(self, _: Any) -> None:
        try:
            asked = self.query()
        except RtapLabError as error:
            self.fares.value = escape(str(error))
            return
        self.fares.value = f"<i>{escape(asked.name)} starts …</i>"
        threading.Thread(target=self._run, args=(asked,), daemon=True, name=f"run {asked.name}").start()

    def _run(self, asked: BoundQuery) -> None:
        try:
            asked.run()
        except Exception as error:  # else "starts …" would stand there for ever
            self.fares.value = self._trouble(error)
            return
        name = escape(asked.name)
        self.fares.value = (
            f"<b>{name} runs</b> on {escape(asked.source)}: <code>lab.query({name!r}).chart()</code>, "
            f"<code>.rows()</code>, <code>.verify()</code>, <code>.remove()</code>"
        )


def _sources(lab: Lab, chosen: str) -> list[str]:
    known = [LIVE, *sorted(lab.sources())] if lab.state.exists else [LIVE]
    return known if chosen in known else [*known, chosen]
