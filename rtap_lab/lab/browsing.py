"""Opening a page for a person, its token kept from the machine's other users."""

from __future__ import annotations

import os
import sys
from html import escape

from rtap_lab.stack.state import State, write_private


def open_page(state: State, address: str) -> bool:
    """Open an address in the browser, where there is a display; whether there is.

    The browser is started with the name of a file that only its owner can read: arguments can be read by everybody.
    """
    if not (os.environ.get("DISPLAY") or sys.platform == "darwin"):
        return False
    import webbrowser

    page = state.folder / "secrets" / "open.html"
    write_private(page, f'<meta http-equiv="refresh" content="0; url={escape(address)}">'.encode())
    return webbrowser.open(page.as_uri())
