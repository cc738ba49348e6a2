"""What all groups share: the application, options, progress bars, and printing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rtap_lab import __version__
from rtap_lab.cli import completing

if TYPE_CHECKING:
    from rtap_lab.lab import Lab
    from rtap_lab.stack.service import Statuses

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
    help="A lab for real-time website analytics: real Kafka and Flink, no Docker.",
)
notes = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Source = Annotated[str, typer.Option(help='"live", or a recorded source.', autocompletion=completing.sources)]
Gap = Annotated[str | None, typer.Option(help='Session gap, such as "30min".')]
Within = Annotated[str | None, typer.Option(help="How far a purchase may follow an add to cart.")]
Bound = Annotated[str | None, typer.Option(help="How far an event may arrive behind its time.")]
Delivery = Annotated[str | None, typer.Option(help="exactly_once or low_latency.")]
Backend = Annotated[
    str | None,
    typer.Option("--state-backend", help="hashmap or rocksdb; else rocksdb live, hashmap on a recorded source."),
]
Form = Annotated[str, typer.Option("--format", help="table, csv or json.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rtap {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A lab for real-time website analytics: real Kafka and Flink, no Docker."""


def open_lab() -> Lab:
    """The lab of `RTAP_STATE`, or of this folder."""
    from rtap_lab.lab import Lab

    return Lab()


def print_json(data: Any) -> None:
    """JSON on stdout."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


@contextmanager
def counting(words: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr; on no terminal, nothing."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done: bar.update(task, completed=done)


class Watcher:
    """Shows services as they come up: a live table on a terminal, else a line per change."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seen: dict[str, str] = {}
        self.live: Live | None = None

    def __enter__(self) -> Watcher:
        if notes.is_terminal:
            self.live = Live(console=notes, transient=True, refresh_per_second=5)
            self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.live:
            self.live.__exit__(*error)

    def __call__(self, table: Statuses) -> None:
        if self.live:
            shown = Table(box=None, padding=(0, 2, 0, 0))
            for name, each in table.items():
                colour = {"ready": "green", "failed": "red"}.get(each.state, "yellow")
                shown.add_row(name, f"[{colour}]{each.state}", each.detail[:80])
            self.live.update(shown)
            return
        for name, each in table.items():
            if self.seen.get(name) != each.state:
                self.seen[name] = each.state
                if each.state in ("ready", "failed", "restarting"):
                    notes.print(f"{time.monotonic() - self.began:6.1f} s  {name}: {each.state}")
