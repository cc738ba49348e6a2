"""Slices: recorded pieces of the event log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtap_lab.cli import completing
from rtap_lab.cli.app import HELP, AsJson, Source, counting, notes, open_lab, print_json
from rtap_lab.events.times import instant_text
from rtap_lab.waiting import until_interrupt

if TYPE_CHECKING:
    from rtap_lab.lab.slices import Slice

group = typer.Typer(no_args_is_help=True, context_settings=HELP, help="Recorded pieces of the event log.")

Name = Annotated[str, typer.Argument(help="The slice's name.", autocompletion=completing.slices)]


def register(app: typer.Typer) -> None:
    """Add this group's verbs."""
    app.add_typer(group, name="slices")


@group.command("record")
def record(
    name: Annotated[str | None, typer.Argument(help="The slice's name.")] = None,
    source: Source = "live",
    seconds: Annotated[float | None, typer.Option(help="Record what comes from now on, so long.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="First arrival, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Arrivals before this, RFC 3339.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record a piece of a source; all that is there when neither --seconds nor --from and --to are given."""
    with counting("records") as progress, until_interrupt() as stop:
        made = open_lab().record(source, seconds, begin=begin, end=end, name=name, stop=stop, progress=progress)
    _show(made, as_json)


def _show(of: Slice, as_json: bool) -> None:
    if as_json:
        print_json(of.as_json())
        return
    facts = of.about
    first, last = (instant_text(ms) if ms is not None else "-" for ms in (facts.first_ms, facts.last_ms))
    print(
        f"{of.name}: {facts.records} records of {facts.topic}, {first} to {last}, bound {facts.bound_ms / 1000:g} s, "
        f"{of.path.stat().st_size / 1e6:.2f} MB, digest {facts.digest[:16]}"
    )


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the recorded slices."""
    found = open_lab().slices()
    if as_json:
        print_json([each.as_json() for each in found.values()])
        return
    for each in found.values():
        _show(each, False)
    if not found:
        notes.print("no slices: `rtap slices record` makes one")


@group.command("show")
def show(
    name: Name, rows: Annotated[int, typer.Option(help="How many records.")] = 10, as_json: AsJson = False
) -> None:
    """Show a slice and its first records; checks its digest."""
    of = open_lab().slice(name)
    records = of.records()
    _show(of, as_json)
    if as_json:
        return
    for each in records[: max(rows, 0)]:
        value = (each.value or b"").decode("utf-8", "replace")
        print(f"  {each.partition}/{each.offset} {instant_text(each.timestamp_ms)} {value[:160]!r}")


@group.command("replay")
def replay(
    name: Name,
    into: Annotated[str | None, typer.Option(help="The fresh source's name; the slice's when left out.")] = None,
    speed: Annotated[str, typer.Option(help="max, or how much faster than it arrived: 1, 10.")] = "max",
    as_json: AsJson = False,
) -> None:
    """Play a slice into a fresh source: partitions, order, timestamps and bytes as they were."""
    of = open_lab().slice(name)
    with counting("records", of.about.records) as progress:
        done = of.replay(into, speed=speed, progress=progress)
    if as_json:
        print_json(vars(done))
        return
    print(f"{done.records} records into {done.source}, {done.rejected} of them rejected")
    notes.print(f"next: rtap jobs run standard --source {done.source}")


@group.command("export")
def export(name: Name, path: Annotated[Path, typer.Argument(help="A file or folder.")]) -> None:
    """Copy a slice's file, to share it."""
    notes.print(f"written to {open_lab().slice(name).export(path)}")


@group.command("import")
def import_(
    path: Path,
    name: Annotated[str | None, typer.Option(help="Its name here; its own when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take a slice's file into this lab; checks its digest."""
    _show(open_lab().import_slice(path, name), as_json)


@group.command("remove")
def remove(name: Name) -> None:
    """Delete a slice; sources that were made of it stay."""
    open_lab().slice(name).remove()
    notes.print(f"{name} is removed")
