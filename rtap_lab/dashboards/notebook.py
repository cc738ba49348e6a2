"""Charts in a notebook."""

from __future__ import annotations

import panel as pn


def load_extension() -> None:
    """Load what live charts need into this notebook; nothing comes from the network."""
    pn.extension(inline=True)
