"""One thing on a page of its own, served from this process: what a report looks at with a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import panel as pn

from rtap_lab.errors import LiveError
from rtap_lab.stack.process import listens
from rtap_lab.waiting import until


@contextmanager
def served(make: Callable[[], pn.viewable.Viewable], port: int) -> Iterator[str]:
    """Serve it on 127.0.0.1, to whoever asks.

    Args:
        make: Makes it, once for each session.
        port: A free one.

    Yields:
        The page's address, once it can be asked for.

    Raises:
        LiveError: When nothing listens there within 30 s.
    """
    server = pn.serve({"page": make}, port=port, address="127.0.0.1", threaded=True, show=False, verbose=False)
    try:
        until(lambda: listens(port), 30, lambda: LiveError(f"the page's server does not listen on port {port}"))
        yield f"http://127.0.0.1:{port}/page"
    finally:
        server.stop()
