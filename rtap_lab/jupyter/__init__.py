"""What a notebook gets: the extension, widgets, and JupyterLab itself.

The only package that imports IPython and ipywidgets. `%load_ext rtap_lab` puts a `lab` into the notebook. No module here
has the name of a function that this page exports: the later one would hide the other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtap_lab.jupyter.authoring import author
    from rtap_lab.jupyter.extension import load_ipython_extension, setup
    from rtap_lab.jupyter.live_view import follow
    from rtap_lab.jupyter.result_panel import explorer
    from rtap_lab.jupyter.simulator_panel import simulator

__all__ = ["author", "explorer", "follow", "load_ipython_extension", "setup", "simulator"]

_HOME = {
    "author": "authoring",
    "explorer": "result_panel",
    "follow": "live_view",
    "load_ipython_extension": "extension",
    "setup": "extension",
    "simulator": "simulator_panel",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
