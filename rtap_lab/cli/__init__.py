"""`rtap`: the lab's verbs on the command line. Parses, calls `Lab`, prints; data on stdout, the rest on stderr.

One file a group of verbs; `app` holds what they share. No logic belongs here: what is computed is a verb of the lab.
"""

from __future__ import annotations

import sys

from rich.markup import escape

from rtap_lab.cli import answers, bench, jobs, queries, simulate, slices, sources, stack
from rtap_lab.cli.app import app, notes
from rtap_lab.errors import RtapLabError, SettingsError

for group in (stack, simulate, sources, slices, queries, jobs, answers, bench):
    group.register(app)


def main() -> None:
    """Entry point: errors become one message and an exit code (2: usage, 1: failed)."""
    try:
        app(standalone_mode=True)
    except RtapLabError as error:
        notes.print(f"[red]error:[/] {escape(str(error))}")
        sys.exit(2 if isinstance(error, SettingsError) else 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
