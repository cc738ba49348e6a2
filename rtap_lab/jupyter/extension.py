"""`%load_ext rtap_lab`."""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """Make charts show in this notebook, put the lab of this folder into it as `lab`, and its magics."""
    from rtap_lab.jupyter.magics import LabMagics
    from rtap_lab.lab import Lab

    setup()
    shell.register_magics(LabMagics)
    shell.push({"lab": Lab()})


def setup() -> None:
    """Load what live charts need into this notebook; nothing comes from the network."""
    from rtap_lab.dashboards.notebook import load_extension

    load_extension()
