"""A panel that shows a query's newest rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from IPython.display import display

from rtap_lab.errors import RtapLabError

if TYPE_CHECKING:
    from rtap_lab.lab import Lab


def explorer(lab: Lab) -> Any:
    """An ipywidgets panel: choose a query and see its newest rows."""
    choice = widgets.Dropdown(options=lab.catalog.names, description="query")
    again = widgets.Button(description="refresh", icon="refresh")
    out = widgets.Output()

    def show(_: Any = None) -> None:
        with out:
            out.clear_output(wait=True)
            try:
                frame = lab.results(choice.value)
            except RtapLabError as error:
                print(error)
                return
            print(f"{len(frame)} rows: {lab.catalog[choice.value].title or choice.value}")
            if frame.empty:
                print(lab.why_empty(choice.value))
            display(frame.tail(10))

    choice.observe(show, names="value")
    again.on_click(show)
    show()
    return widgets.VBox([widgets.HBox([choice, again]), out])
