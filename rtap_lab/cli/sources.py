"""Real input: importing it, and the recorded sources that it makes."""

from __future__ import annotations

from typing import Annotated

import typer

from rtap_lab.cli import completing
from rtap_lab.cli.app import HELP, AsJson, counting, notes, open_lab, print_json
from rtap_lab.errors import SettingsError

group = typer.Typer(no_args_is_help=True, context_settings=HELP, help="The recorded sources.")


def register(app: typer.Typer) -> None:
    """Add this group's verbs."""
    app.command("import")(import_)
    app.add_typer(group, name="sources")


def import_(
    form: Annotated[str, typer.Argument(metavar="access-log|jsonl", help="The files' format.")],
    files: Annotated[list[str], typer.Argument(help='Files; .gz too, "-" is standard input.')],
    source: Annotated[str | None, typer.Option(help="The source's name; else the first file's stem.")] = None,
    speed: Annotated[str, typer.Option(help="max records; live or a factor plays onto the live topic.")] = "max",
    as_json: AsJson = False,
) -> None:
    """Read real input into a recorded source, or play it live."""
    if form not in ("access-log", "jsonl"):
        raise SettingsError(f"import {form!r} is not known", hint="access-log or jsonl")
    lab = open_lab()
    with counting("lines") as progress:
        call = lab.import_access_log if form == "access-log" else lab.import_jsonl
        done = call(*files, source=source, speed=speed, progress=progress)
    if as_json:
        print_json(done.as_json())
        return
    for path in done.already:
        notes.print(f"{path} is in source {done.source} already: nothing was written again")
    why = "".join(f", {n} {reason}" for reason, n in sorted(done.reasons.items()))
    print(f"read {done.read} = imported {done.imported} + rejected {done.rejected}{why}")
    if speed == "max":
        print(f"disorder {done.disorder_ms / 1000:g} s, so the bound of {done.source} is {done.bound_ms / 1000:g} s")
        if done.imported or done.already:
            notes.print(f"next: rtap jobs run standard --source {done.source}")
        else:
            notes.print(f"no line was an event: is this really {form}?")
    else:
        share = done.late / done.imported if done.imported else 0.0
        print(
            f"disorder {done.disorder_ms / 1000:g} s at this speed; {done.late} events ({share:.1%}) are late: "
            "they stand behind later ones in the file, by the live bound or more"
        )


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the recorded sources."""
    table = open_lab().sources()
    if as_json:
        print_json({name: each.as_json() for name, each in table.items()})
        return
    for name, each in table.items():
        print(
            f"{name}: {each.events} events of {len(each.files)} file(s), "
            f"{each.refused_lines} lines refused, disorder {each.disorder_ms / 1000:g} s"
        )
    if not table:
        notes.print("no recorded sources: `rtap import` makes one")


@group.command("remove")
def remove(source: Annotated[str, typer.Argument(autocompletion=completing.recorded)]) -> None:
    """Delete a recorded source: events, results and points."""
    open_lab().remove_source(source)
    notes.print(f"{source} is removed")
