"""Flink's jobs: list, run, stop, savepoint, remove."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import typer

from rtap_lab.cli import completing
from rtap_lab.cli.app import (
    HELP,
    AsJson,
    Backend,
    Bound,
    Delivery,
    Gap,
    Source,
    Within,
    counting,
    notes,
    open_lab,
    print_json,
)

group = typer.Typer(no_args_is_help=True, context_settings=HELP, help="The Flink jobs.")
Name = Annotated[
    str,
    typer.Argument(
        help='The job: "standard", "audience", "watchlist", or a query of one\'s own.', autocompletion=completing.jobs
    ),
]


def register(app: typer.Typer) -> None:
    """Add this group's verbs."""
    app.add_typer(group, name="jobs")


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the jobs of this lab, and what else runs in its Flink."""
    lab = open_lab()
    facts = lab.status()["jobs"]
    others = lab.other_flink_jobs()
    if as_json:
        print_json(facts + others)
        return
    for j in facts:
        print(
            f"{j['name']} on {j['source']}: {j['state']}, run {j['run']}, lag {j['lag']}, watermark {j['watermark']}"
            + (f"\n  {j['error']}" if j["error"] else "")
        )
    for j in others:
        print(f"{j['name']}: {j['state']}, {j['job_id']}")


@group.command("run")
def run(
    name: Name,
    source: Source = "live",
    gap: Gap = None,
    within: Within = None,
    bound: Bound = None,
    delivery: Delivery = None,
    state_backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """Run a job; on a recorded source it ends by itself, every window closed."""
    began = time.monotonic()
    with counting("records") as progress:
        found = open_lab().run_job(
            name,
            source,
            gap=gap,
            within=within,
            bound=bound,
            delivery=delivery,
            state_backend=state_backend,
            progress=lambda done, of: progress(done),
            on_note=notes.print,
        )
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        print(f"{name} on {source}: {found.state}, run {found.run}, {time.monotonic() - began:.1f} s")


@group.command("stop")
def stop(
    name: Name,
    source: Source = "live",
    drain: Annotated[bool, typer.Option("--drain", help="Close every window first; ends the run.")] = False,
) -> None:
    """Stop a job, all results committed; `jobs run` goes on where it was."""
    print(f"{name} on {source}: {open_lab().stop_job(name, source, drain=drain).state}")


@group.command("savepoint")
def savepoint(name: Name, source: Source = "live") -> None:
    """Take a savepoint of a running job; prints its path."""
    print(open_lab().savepoint(name, source))


@group.command("remove")
def remove(name: Name) -> None:
    """End a job on every source, and remove its results; `standard` stays."""
    open_lab().remove_job(name)
    notes.print(f"{name} is removed")
