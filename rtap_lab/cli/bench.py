"""Benchmark reports, and the demo."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from rtap_lab.cli import completing
from rtap_lab.cli.app import HELP, AsJson, notes, open_lab, print_json
from rtap_lab.cli.stack import fetch_components
from rtap_lab.errors import SettingsError

if TYPE_CHECKING:
    from rtap_lab.bench.compare import Difference

group = typer.Typer(
    no_args_is_help=True, context_settings=HELP, help="Benchmark reports, made by papermill from notebooks."
)

Reports = Annotated[Path, typer.Option(help="Where reports are.")]


def register(app: typer.Typer) -> None:
    """Add this group's verbs."""
    app.add_typer(group, name="bench")
    app.command(hidden=True)(demo)


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the benchmark reports there are, with what each takes."""
    from rtap_lab.bench.reports import parameters_of, templates

    found = templates()
    if as_json:
        print_json([{"name": name, "title": title, "parameters": parameters_of(name)} for name, title in found.items()])
        return
    for name, title in found.items():
        print(f"{name}: {title}")
        if words := " ".join(f"{key}={default}" for key, default in parameters_of(name).items()):
            print(f"    {words}")


@group.command("run")
def run(
    name: Annotated[str, typer.Argument(help="`rtap bench list` shows them.", autocompletion=completing.reports)],
    quick: Annotated[bool, typer.Option("--quick", help="A short run, to see that it works.")] = False,
    out: Reports = Path("reports"),
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Parameters of the report, as YAML.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="One of them: NAME=VALUE, as YAML. Repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Short for -p seed=N.")] = None,
    schedules: Annotated[int | None, typer.Option(min=1, help="Of `faults`: short for -p schedules=N.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Runs; the page shows medians, and all durations together.")] = 1,
    limit: Annotated[float, typer.Option(min=1, help="Seconds that all of it may take.")] = 4 * 3600,
    code: Annotated[bool, typer.Option("--code", help="The page shows the cells' code, too.")] = False,
) -> None:
    """Run a report: joins or starts the stack, and stops what it started; prints its folder."""
    from rtap_lab.bench import reports

    chosen: dict[str, Any] = reports.read_parameters(file) if file else {}
    for each in parameter or []:
        key, equals, value = each.partition("=")
        if not equals:
            raise SettingsError(f"-p {each!r}: NAME=VALUE is wanted", hint="-p rate=1000")
        chosen[key] = yaml.safe_load(value)
    chosen |= {key: value for key, value in {"seed": seed, "schedules": schedules}.items() if value is not None}
    fetch_components()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a `timeout` before it ends it as Ctrl-C does: in order
    folder = reports.run(
        open_lab().state.folder,
        name,
        out,
        quick=quick,
        say=notes.print,
        parameters=chosen,
        repeat=repeat,
        limit_s=limit,
        code=code,
        bar=sys.stderr.isatty() or bool(os.environ.get("CI")),
    )
    print(folder)


@group.command("compare")
def compare(baseline: Path, value: Path, as_json: AsJson = False) -> None:
    """Compare a report with a baseline; exit 3 where a figure is worse by more than the noise.

    In a CI job, the table also goes to its summary (`GITHUB_STEP_SUMMARY`).
    """
    from rtap_lab.bench.compare import compare as compared
    from rtap_lab.bench.measurements import read

    found = compared(read(baseline), read(value))
    _show(found, as_json)
    if any(each.change == "worse" for each in found):
        raise typer.Exit(3)


def _show(found: list[Difference], as_json: bool) -> None:
    """Print differences; in a CI job, to its summary too."""
    from rtap_lab.bench.compare import summary
    from rtap_lab.tables import Table

    if as_json:
        print_json([each.as_json() for each in found])
    else:
        heads = ("figure", "baseline", "now", "unit", "difference", "noise", "")
        rows = [
            [d.metric, d.baseline, d.value, d.unit, f"{d.difference:+.1%}", f"±{d.noise:.0%}", d.change] for d in found
        ]
        print(Table(heads, rows))
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(page).open("a", encoding="utf-8") as written:
            written.write(summary(found))


@group.command("continuous")
def continuous(
    commit: Annotated[str, typer.Argument(help="What it is held against: any name that git knows.")],
    turns: Annotated[int, typer.Option(min=3, help="Processes of each of the two.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Hold this checkout's code against an earlier commit's, in turn on this machine; exit 3 at a regression.

    What is measured are the contests of the report `ratios`. In a CI job, the table also goes to its summary.
    """
    from rich.progress import Progress

    from rtap_lab.bench.continuous import against, checkout, root

    with checkout(commit) as before, Progress(console=notes, transient=True) as bar:
        task = bar.add_task(f"against {commit}", total=turns)

        def played(turn: int) -> None:
            bar.update(task, completed=turn, total=-(-turn // turns) * turns)

        found = against(before, root(), turns=turns, progress=played)
    _show(found, as_json)
    if any(each.change == "worse" for each in found):
        raise typer.Exit(3)


@group.command("publish")
def publish(out: Reports = Path("reports")) -> None:
    """Write a static index of all reports, with the trend of each figure; prints its path."""
    from rtap_lab.bench.index import publish as published

    index, left_out = published(out)
    for words in left_out:
        notes.print(f"left out: {words}")
    print(index)


def demo(
    seconds: Annotated[float | None, typer.Option(envvar="DEMO_SECONDS", help="Ends by itself.")] = None,
    rate: Annotated[float, typer.Option(envvar="DEMO_RATE", help="Events a second.")] = 200,
    delivery: Annotated[str, typer.Option(envvar="DEMO_DELIVERY")] = "exactly_once",
) -> None:
    """Run the demo (`make demo`): start, simulate, show, drain, verify, down."""
    from rtap_lab.bench.demo import run as run_demo

    fetch_components()
    raise typer.Exit(run_demo(open_lab().state.folder, seconds=seconds, rate=rate, delivery=delivery, say=print))
