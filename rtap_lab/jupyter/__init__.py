"""What a notebook gets: the extension, live charts for cells, and JupyterLab itself.

The only package that imports IPython. `%load_ext rtap_lab` puts a `lab` into the notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtap_lab.dashboards.charts import LiveChart
    from rtap_lab.lab import Lab


def load_ipython_extension(shell: Any) -> None:
    """Make charts show in this notebook, and put the lab of this folder into it as `lab`."""
    from rtap_lab.lab import Lab

    setup()
    shell.push({"lab": Lab()})


def setup() -> None:
    """Load what live charts need into this notebook; nothing comes from the network."""
    import panel as pn

    pn.extension(inline=True)


def chart(lab: Lab, query: str, *, source: str = "live", live: bool = True) -> LiveChart:
    """The live chart of a standard query, its first picture drawn from the store.

    It goes on moving while the kernel is busy: the browser talks to the hub itself.

    Args:
        lab: A lab that is up.
        query: A query's name.
        source: "live" or a recorded source.
        live: Whether it should follow the hub; else it is a static picture.

    Raises:
        SettingsError: When the query has no chart.
    """
    from rtap_lab.dashboards.charts import standard_charts
    from rtap_lab.errors import SettingsError

    rows = {query: lab.rows(query, source)}
    charts = standard_charts(lab.addresses.hub if live else "", source=source, rows=rows)
    if query not in charts:
        raise SettingsError(f"{query} has no chart", hint=f"one of {', '.join(charts)}")
    return charts[query]


def stream(lab: Lab, query: str, *, source: str = "live") -> Any:
    """A `streamz.Stream` of a query's rows, fed from the hub by a thread of its own.

    Its `stop` attribute is an event that ends the thread.
    """
    import threading

    from streamz import Stream

    out, stop = Stream(), threading.Event()

    def run() -> None:
        for message in lab.watch(query, source=source, stop=stop):
            for row in message["rows"]:
                out.emit(row)

    threading.Thread(target=run, daemon=True, name=f"stream {query}").start()
    out.stop = stop
    return out


def explorer(lab: Lab) -> Any:
    """An ipywidgets panel: choose a query and see its newest rows."""
    import ipywidgets as widgets
    from IPython.display import display

    from rtap_lab.streams.queries import STANDARD

    choice = widgets.Dropdown(options=list(STANDARD), description="query")
    again = widgets.Button(description="refresh", icon="refresh")
    out = widgets.Output()

    def show(_: Any = None) -> None:
        frame = lab.results(choice.value)
        with out:
            out.clear_output(wait=True)
            print(f"{len(frame)} rows: {STANDARD[choice.value].title}")
            display(frame.tail(10))

    choice.observe(show, names="value")
    again.on_click(show)
    show()
    return widgets.VBox([widgets.HBox([choice, again]), out])


def simulator(lab: Lab) -> Any:
    """An ipywidgets panel that starts a simulated website and controls it while it runs."""
    from rtap_lab.jupyter.simulator import panel

    return panel(lab)
