"""A Jupyter-centric lab for real-time website analytics.

Importing this package is cheap and starts nothing: names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtap_lab.errors import RtapLabError
    from rtap_lab.jupyter import load_ipython_extension
    from rtap_lab.lab import Lab
    from rtap_lab.lab.offline import OfflineLab
    from rtap_lab.settings import JobParameters, Settings

__version__ = "0.1.0"
__all__ = ["JobParameters", "Lab", "OfflineLab", "RtapLabError", "Settings", "load_ipython_extension"]

_HOME = {
    "JobParameters": "rtap_lab.settings",
    "Lab": "rtap_lab.lab",
    "OfflineLab": "rtap_lab.lab.offline",
    "RtapLabError": "rtap_lab.errors",
    "Settings": "rtap_lab.settings",
    "load_ipython_extension": "rtap_lab.jupyter",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'rtap_lab' has no attribute {name!r}")
