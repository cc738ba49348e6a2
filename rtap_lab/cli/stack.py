"""The stack: up, status, down, reset, logs, doctor, fetch; JupyterLab and the dashboard on it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from rtap_lab.cli import completing
from rtap_lab.cli.app import HELP, AsJson, Bound, Delivery, Gap, Watcher, Within, notes, open_lab, print_json
from rtap_lab.errors import SettingsError
from rtap_lab.settings import MOST_HUBS

if TYPE_CHECKING:
    from rtap_lab.lab import Lab


kernel = typer.Typer(no_args_is_help=True, context_settings=HELP, help="The Jupyter kernel of Flink SQL.")


@kernel.command("install")
def install_kernel(
    user: Annotated[bool, typer.Option("--user", help="For this user, not for this environment alone.")] = False,
) -> None:
    """Install the kernel, so that any JupyterLab offers it; `rtap lab` does so by itself."""
    from rtap_lab.jupyter import kernelspec

    print(kernelspec.install(user=user))


def register(app: typer.Typer) -> None:
    """Add this group's verbs."""
    for verb in (up, status, down, reset, logs, doctor, fetch, dash):
        app.command()(verb)
    app.command("lab")(lab_)
    app.add_typer(kernel, name="kernel")


def fetch_components() -> None:
    """Bring what is missing into the cache, with a progress bar."""
    from rtap_lab.stack import components

    wanted = components.missing(components.locked())
    if not wanted:
        return
    total = sum(each.size for each in wanted)
    notes.print(f"fetching {len(wanted)} components, {total / 1e6:.0f} MB, into {components.cache_folder()}")
    columns = [TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as bar:
        task = bar.add_task("components", total=total)
        components.fetch(
            components.locked(), progress=lambda name, size: bar.update(task, advance=size, description=name[:44])
        )
    notes.print("all components are here, their SHA-256 as locked")


def _ports(values: list[str]) -> dict[str, int]:
    ports = {}
    for value in values:
        name, _, number = value.partition("=")
        if not number.isdigit() or not 0 < int(number) < 65536:
            raise SettingsError(f"--port {value!r}", hint="write a service and a port: --port hub=8765")
        ports[name] = int(number)
    return ports


def up(
    profile: Annotated[str | None, typer.Option(help="core (one broker) or full (three).")] = None,
    store: Annotated[str | None, typer.Option(help="sqlite or influxdb.")] = None,
    no_job: Annotated[bool, typer.Option("--no-job", help="Do not start the standard job.")] = False,
    gap: Gap = None,
    within: Within = None,
    bound: Bound = None,
    delivery: Delivery = None,
    java: Annotated[Path | None, typer.Option(help="A Java 17 to 21 to use.")] = None,
    retention: Annotated[str | None, typer.Option(help="How long `events` keeps a record, 1min or more.")] = None,
    hubs: Annotated[int | None, typer.Option(min=1, max=MOST_HUBS, help="Processes that serve live clients.")] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            help="How browsers reach a port here through a proxy: https://hub.example.org/user/me/proxy/{port}"
        ),
    ] = None,
    port: Annotated[list[str], typer.Option(help="A port that must be this one: hub=8765.")] = [],  # noqa: B006
    timeout: Annotated[float, typer.Option(help="Seconds until it must be ready.")] = 180,
    as_json: AsJson = False,
) -> None:
    """Start the stack, or join it; ends with the standard job running on `events`."""
    from rtap_lab.lab import Lab

    began = time.monotonic()
    fetch_components()
    with Watcher() as watcher:
        lab = Lab.up(
            profile=profile,
            store=store,
            job=not no_job,
            gap=gap,
            within=within,
            bound=bound,
            delivery=delivery,
            java=java,
            retention=retention,
            hubs=hubs,
            proxy=proxy,
            ports=_ports(port),
            timeout=timeout,
            on_status=watcher,
            on_note=notes.print,
        )
    notes.print(f"up in {time.monotonic() - began:.1f} s")
    _show(lab, as_json)
    if not as_json:
        for line in lab.next_steps():
            notes.print(line)


def _show(lab: Lab, as_json: bool) -> dict[str, Any]:
    from rtap_lab.lab.status import as_lines

    facts = lab.status()
    if as_json:
        print_json(facts)
    else:
        for line in as_lines(facts, lab.state.folder):
            print(line)
    return facts


def status(as_json: AsJson = False) -> None:
    """Show services and jobs; exit 0 only if all are ready and the jobs run."""
    if not _show(open_lab(), as_json)["ok"]:
        raise typer.Exit(1)


def down() -> None:
    """Stop everything; data are kept."""
    began = time.monotonic()
    with Watcher() as watcher:
        was_up = open_lab().down(on_status=watcher)
    notes.print(f"down in {time.monotonic() - began:.1f} s" if was_up else "nothing is up")


def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop everything and delete the lab's data."""
    lab = open_lab()
    if not lab.state.folder.exists():
        notes.print("there is nothing to delete")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise SettingsError("reset asks before it deletes, and nobody is there to answer", hint="rtap reset --yes")
        typer.confirm(f"Stop the lab and delete all data in {lab.state.folder}?", abort=True)
    lab.reset()
    notes.print(f"{lab.state.folder} is deleted")


def logs(
    service: Annotated[
        str, typer.Argument(help="A service's name, or supervisor.", autocompletion=completing.services)
    ],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("-n", help="How many of the last lines.")] = 50,
) -> None:
    """Show a service's log."""
    for line in open_lab().state.log_lines(service, lines, follow=follow):
        print(line, flush=follow)


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="End the open transactions that belong to nobody.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check Python, Java, memory, disk, ports, locale, clock, the lock, and open transactions of a lab that is up."""
    findings = open_lab().doctor(repair=repair)
    if as_json:
        print_json([vars(each) for each in findings])
    else:
        for each in findings:
            print(f"{each.verdict:<5}{each.what:<13}{each.found}" + (f"\n      -> {each.fix}" if each.fix else ""))
    if any(each.verdict == "FAIL" for each in findings):
        raise typer.Exit(1)


def fetch(what: Annotated[str, typer.Argument(help="Nothing more, or influxdb.")] = "") -> None:
    """Bring everything that the stack needs onto this machine, for use without a network."""
    from rtap_lab.stack import components
    from rtap_lab.stack.influxd import fetch_influxd
    from rtap_lab.stack.java import base_archive, find_java

    if what not in ("", "influxdb"):
        raise SettingsError(f"fetch {what!r} is not known", hint="`rtap fetch` or `rtap fetch influxdb`")
    fetch_components()
    components.check_all()
    base_archive(find_java(None))
    if what == "influxdb":
        with notes.status("influxd …") as shown:
            path = fetch_influxd(lambda words: shown.update(words) if notes.is_terminal else notes.print(words))
        notes.print(f"influxd: {path}")
    notes.print("ready for use without a network")


def dash(
    flink: Annotated[bool, typer.Option("--flink", help="Flink's own web UI instead, read only.")] = False,
    view: Annotated[bool, typer.Option("--view", help="An address for others: who comes by it may only look.")] = False,
) -> None:
    """Open the live dashboard; its address, with the token that opens it, is printed."""
    from rtap_lab.lab.browsing import open_page

    lab = open_lab()
    if view:
        print(lab.dashboard_to_view)
        return
    address = lab.flink_ui if flink else lab.dashboard
    print(address)
    open_page(lab.state, address)


def lab_(
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="A port; a free one when left out.")] = None,
) -> None:
    """Open JupyterLab on a copy of the notebooks in this folder."""
    from rtap_lab.jupyter.server import run

    run(open_lab().state, Path.cwd(), port=port, browser=not no_browser)
