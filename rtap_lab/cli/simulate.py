"""The simulator: start one, and control the one that runs."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rtap_lab.cli import completing
from rtap_lab.cli.app import HELP, AsJson, counting, notes, open_lab, print_json
from rtap_lab.errors import SettingsError
from rtap_lab.waiting import until_interrupt

group = typer.Typer(context_settings=HELP)


def register(app: typer.Typer) -> None:
    """Add this group's verbs."""
    app.add_typer(group, name="simulate", rich_help_panel=None)


@group.callback(invoke_without_command=True)
def simulate(
    context: typer.Context,
    scenario: Annotated[
        str,
        typer.Option(
            help="The website's story (`rtap simulate scenarios` lists them), or a YAML file.",
            autocompletion=completing.scenarios,
        ),
    ] = "brisk",
    rate: Annotated[
        float | None, typer.Option(help="Messages a second: the story then passes faster or slower than it is told.")
    ] = None,
    visitors: Annotated[
        float | None, typer.Option(help="So many times the visitors; the story keeps its time.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes every choice.")] = 1,
    seconds: Annotated[float | None, typer.Option(help="How long.")] = None,
    events: Annotated[int | None, typer.Option(help="How many messages.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write JSON Lines to a file instead (standard output when it is -); needs no stack."),
    ] = None,
) -> None:
    """Let a simulated website send events; without an end, until Ctrl-C.

    While it runs, the commands below control it from another terminal.
    """
    if context.invoked_subcommand is not None:
        return
    if seconds is not None and not seconds > 0:
        raise SettingsError(f"--seconds {seconds:g}: must be above 0")
    if events is not None and events < 1:
        raise SettingsError(f"--events {events}: must be 1 or more")
    from rtap_lab.lab.simulator import chosen_scenario, pace_words

    website = chosen_scenario(scenario, visitors)
    pace = f", {pace_words(website, None)}" if out is not None or rate is None else ""  # another one is said by the lab
    notes.print(f"scenario {scenario}, seed {seed}{pace}")
    if out is not None:
        _to_file(out, scenario, visitors, seed, seconds, events)
        return
    lab = open_lab()
    total = events or (seconds * (rate or website.rate) if seconds else None)
    with counting("messages", total) as progress, until_interrupt() as stop:
        fed = lab.simulate(
            scenario,
            rate=rate,
            visitors=visitors,
            seed=seed,
            seconds=seconds,
            events=events,
            stop=stop,
            progress=progress,
            on_note=notes.print,
        )
    notes.print(
        f"{fed.sent} messages in {fed.seconds:.1f} s ({fed.sent / max(fed.seconds, 1e-9):.0f}/s), "
        f"slip p50 {fed.slip_ms(0.5):.2f} ms, p99 {fed.slip_ms(0.99):.2f} ms"
    )


def _to_file(
    out: Path, scenario: str, visitors: float | None, seed: int, seconds: float | None, events: int | None
) -> None:
    from rtap_lab.lab.simulator import chosen_scenario, write_file
    from rtap_lab.lab.truth import beside

    website, began = chosen_scenario(scenario, visitors), time.monotonic()
    total = events or (seconds or website.lasts) * website.rate
    try:
        with (
            counting("messages", total) as progress,
            nullcontext(sys.stdout.buffer) if str(out) == "-" else out.open("wb") as file,
        ):
            count = write_file(out, file, website, seed, seconds=seconds, events=events, progress=progress)
    except OSError as error:
        raise SettingsError(f"--out {out}: {error.strerror or error}") from error
    if str(out) == "-":
        return
    passed = max(time.monotonic() - began, 1e-9)
    notes.print(f"{count} messages written to {out} ({count / passed:,.0f}/s); what really happened: {beside(out)}")


@group.command("scenarios")
def scenarios(as_json: AsJson = False) -> None:
    """The packaged scenarios and their stories."""
    from rtap_lab.lab.scenarios import list_scenarios, load_scenario

    found = [load_scenario(name) for name in list_scenarios()]
    if as_json:
        print_json([{"name": s.name, "story": s.story, "rate": s.rate, "lasts": s.lasts} for s in found])
        return
    for each in found:
        print(f"{each.name:<17}{each.story}")


@group.command("status")
def status(as_json: AsJson = False) -> None:
    """What the running simulator does."""
    facts = open_lab().simulator.status()
    if as_json:
        print_json(facts)
        return
    paused = ", paused" if facts["paused"] else ""
    pace = f", {facts['pace']:g}x story time" if facts["pace"] != 1 else ""
    print(
        f"{facts['scenario']} at {facts['rate']:g}/s{pace}, seed {facts['seed']}: {facts['sent']} messages, "
        f"{facts['scenario_seconds']:g} s of the scenario{paused}"
    )


@group.command("set")
def set_(
    rate: Annotated[float | None, typer.Option(help="Messages a second.")] = None,
    scenario: Annotated[str | None, typer.Option(help="Another scenario.", autocompletion=completing.scenarios)] = None,
) -> None:
    """Change the running simulator's rate or scenario."""
    if rate is None and scenario is None:
        raise SettingsError("nothing to set", hint="give --rate or --scenario")
    controls = open_lab().simulator
    if scenario is not None:
        controls.scenario(scenario)
    if rate is not None:
        controls.rate(rate)
        facts = controls.status()
        notes.print(f"{rate:g} messages a second, {rate / facts['rate'] * facts['pace']:.2g}x story time")


@group.command("inject")
def inject(
    kind: Annotated[str, typer.Argument(metavar="outage|surge|bots", help="What happens now.")],
    seconds: Annotated[float, typer.Option(help="How long, in the scenario's own time.")] = 60,
    size: Annotated[float | None, typer.Option(help="Further visits a second of the scenario.")] = None,
) -> None:
    """Let something happen now, in the running simulator."""
    open_lab().simulator.inject(kind, seconds=seconds, size=size)


@group.command("pause")
def pause() -> None:
    """Let the running simulator send nothing until `resume`."""
    open_lab().simulator.pause()


@group.command("resume")
def resume() -> None:
    """Let the running simulator go on."""
    open_lab().simulator.resume()


@group.command("stop")
def stop() -> None:
    """End the running simulator."""
    open_lab().simulator.stop()
