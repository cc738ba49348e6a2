"""Benchmark reports, and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtap_lab.cli.app import HELP, AsJson, notes, open_lab, print_json
from rtap_lab.cli.stack import fetch_components

group = typer.Typer(
    no_args_is_help=True, context_settings=HELP, help="Benchmark reports, made by papermill from notebooks."
)


def register(app: typer.Typer) -> None:
    """Add this group's verbs."""
    app.add_typer(group, name="bench")
    app.command(hidden=True)(demo)


@group.command("list")
def list_() -> None:
    """List the benchmark reports there are."""
    from rtap_lab.bench.reports import templates

    for name, title in templates().items():
        print(f"{name}: {title}")


@group.command("run")
def run(
    name: str,
    quick: Annotated[bool, typer.Option("--quick", help="A short run, to see that it works.")] = False,
    out: Annotated[Path, typer.Option(help="Where reports go.")] = Path("reports"),
    schedules: Annotated[int | None, typer.Option(min=1, help="Of `faults`: how many schedules.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of `faults`, `agreement`: the first seed.")] = None,
    only: Annotated[str | None, typer.Option(help="Of `faults`: draw from these alone, a comma between two.")] = None,
    faults_each: Annotated[
        int | None, typer.Option(min=1, help="Of `faults`: how many a schedule has; left out: one or two.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Of `faults`: core (one broker) or full (three).")] = None,
) -> None:
    """Run a report: joins or starts the stack, and stops what it started."""
    from rtap_lab.bench import reports

    fetch_components()
    options = {"schedules": schedules, "seed": seed, "only": only, "faults_each": faults_each, "profile": profile}
    chosen = {name: value for name, value in options.items() if value is not None}
    print(reports.run(open_lab().state.folder, name, out, quick=quick, say=notes.print, parameters=chosen))


@group.command("compare")
def compare(a: Path, b: Path, as_json: AsJson = False) -> None:
    """Compare two reports; exit 3 where B is slower than A by more than 25 %."""
    from rtap_lab.bench import reports
    from rtap_lab.tables import Table

    rows, worse = reports.compare(a, b)
    if as_json:
        print_json(rows)
    else:
        print(Table.of(("metric", "a", "b", "ratio"), rows, grouped=False))
    if worse:
        raise typer.Exit(3)


def demo(
    seconds: Annotated[float | None, typer.Option(envvar="DEMO_SECONDS", help="Ends by itself.")] = None,
    rate: Annotated[float, typer.Option(envvar="DEMO_RATE", help="Events a second.")] = 200,
    delivery: Annotated[str, typer.Option(envvar="DEMO_DELIVERY")] = "exactly_once",
) -> None:
    """Run the demo (`make demo`): start, simulate, show, drain, verify, down."""
    from rtap_lab.bench.demo import run as run_demo

    fetch_components()
    raise typer.Exit(run_demo(open_lab().state.folder, seconds=seconds, rate=rate, delivery=delivery, say=print))
