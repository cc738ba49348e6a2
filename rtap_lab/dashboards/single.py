"""One thing on a page of its own, served from this process: what a report looks at with a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import panel as pn


@contextmanager
def served(make: Callable[[], pn.viewable.Viewable], port: int) -> Iterator[str]:
    """Serve it on 127.0.0.1, to whoever asks.

    Args:
        make: Makes it, once for each session.
        port: A free one.

    Yields:
        The page's address.
    """
    server = pn.serve({"page": make}, port=port, address="127.0.0.1", threaded=True, show=False, verbose=False)
    try:
        yield f"http://127.0.0.1:{port}/page"
    finally:
        server.stop()
