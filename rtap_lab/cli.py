"""`rtap`: the lab's verbs on the command line. Parses, calls `Lab`, prints; data on stdout, the rest on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rtap_lab.errors import RtapLabError, SettingsError

if TYPE_CHECKING:
    from rtap_lab.lab import Lab

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A lab for real-time website analytics: real Kafka and Flink, no Docker.",
)
sources_app = typer.Typer(no_args_is_help=True, help="The recorded sources.")
simulate_app = typer.Typer()
slices_app = typer.Typer(no_args_is_help=True, help="Recorded pieces of the event log.")
jobs_app = typer.Typer(no_args_is_help=True, help="The Flink jobs.")
bench_app = typer.Typer(no_args_is_help=True, help="Benchmark reports, made by papermill from notebooks.")
app.add_typer(simulate_app, name="simulate", rich_help_panel=None)
app.add_typer(sources_app, name="sources")
app.add_typer(slices_app, name="slices")
app.add_typer(jobs_app, name="jobs")
app.add_typer(bench_app, name="bench")

notes = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Source = Annotated[str, typer.Option(help='"live", or a recorded source.')]
Gap = Annotated[str | None, typer.Option(help='Session gap, such as "30min".')]
Within = Annotated[str | None, typer.Option(help="How far a purchase may follow an add to cart.")]
Bound = Annotated[str | None, typer.Option(help="How far an event may arrive behind its time.")]
Delivery = Annotated[str | None, typer.Option(help="exactly_once or low_latency.")]
Form = Annotated[str, typer.Option("--format", help="table, csv or json.")]


def _lab() -> Lab:
    from rtap_lab.lab import Lab

    return Lab()


def _print(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")


@contextmanager
def _counting(words: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr; on no terminal, nothing until the end."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done: bar.update(task, completed=done)


def _ports(values: list[str]) -> dict[str, int]:
    ports = {}
    for value in values:
        name, _, number = value.partition("=")
        if not number.isdigit() or not 0 < int(number) < 65536:
            raise SettingsError(f"--port {value!r}", hint="write a service and a port: --port hub=8765")
        ports[name] = int(number)
    return ports


class _Watcher:
    """Shows services as they come up: a live table on a terminal, else a line per change."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seen: dict[str, str] = {}
        self.live: Live | None = None

    def __enter__(self) -> _Watcher:
        if notes.is_terminal:
            self.live = Live(console=notes, transient=True, refresh_per_second=5)
            self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.live:
            self.live.__exit__(*error)

    def __call__(self, table: dict[str, dict[str, Any]]) -> None:
        if self.live:
            shown = Table(box=None, padding=(0, 2, 0, 0))
            for name, each in table.items():
                colour = {"ready": "green", "failed": "red"}.get(each["state"], "yellow")
                shown.add_row(name, f"[{colour}]{each['state']}", str(each.get("detail") or "")[:80])
            self.live.update(shown)
            return
        for name, each in table.items():
            if self.seen.get(name) != each["state"]:
                self.seen[name] = each["state"]
                if each["state"] in ("ready", "failed", "restarting"):
                    notes.print(f"{time.monotonic() - self.began:6.1f} s  {name}: {each['state']}")


# --- the stack -----------------------------------------------------------------------------------


def _fetch() -> None:
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


@app.command()
def up(
    profile: Annotated[str | None, typer.Option(help="core (one broker) or full (three).")] = None,
    store: Annotated[str | None, typer.Option(help="sqlite or influxdb.")] = None,
    no_job: Annotated[bool, typer.Option("--no-job", help="Do not start the standard job.")] = False,
    gap: Gap = None,
    within: Within = None,
    bound: Bound = None,
    delivery: Delivery = None,
    java: Annotated[Path | None, typer.Option(help="A Java 17 to 21 to use.")] = None,
    port: Annotated[list[str], typer.Option(help="A port that must be this one: hub=8765.")] = [],  # noqa: B006
    timeout: Annotated[float, typer.Option(help="Seconds until it must be ready.")] = 180,
    as_json: AsJson = False,
) -> None:
    """Start the stack, or join it; ends with the standard job running on `events`."""
    from rtap_lab.lab import Lab

    began = time.monotonic()
    _fetch()
    with _Watcher() as told:
        lab = Lab.up(
            profile=profile,
            store=store,
            job=not no_job,
            gap=gap,
            within=within,
            bound=bound,
            delivery=delivery,
            java=java,
            ports=_ports(port),
            timeout=timeout,
            told=told,
        )
    notes.print(f"up in {time.monotonic() - began:.1f} s")
    _status(lab, as_json)
    if not as_json:
        notes.print("next: rtap simulate · rtap dash · rtap lab · rtap verify · rtap down")


def _status(lab: Lab, as_json: bool) -> dict[str, Any]:
    facts = lab.status()
    if as_json:
        _print(facts)
        return facts
    if not facts["services"]:
        print(f"nothing is up in {lab.state.folder}")
        return facts
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    shown = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("service", "state", "pid", "port", "MB", "uptime", "restarts", "link"):
        shown.add_column(name, justify="right" if name in ("pid", "port", "MB", "uptime") else "left")
    for s in facts["services"]:
        uptime = f"{s['uptime_s']:.0f} s" if s["uptime_s"] is not None else ""
        words = [
            s["name"],
            s["state"],
            s["pid"],
            s["port"],
            s["rss_mb"],
            uptime,
            s["restarts"] or "",
            " ".join(s["links"]) or s["detail"],
        ]
        shown.add_row(*("" if w is None else str(w) for w in words))
    out.print(shown)
    for problem in facts["problems"]:
        out.print(f"[red]{problem}[/red]")
    total = sum(s["rss_mb"] or 0 for s in facts["services"])
    out.print(f"{total:,.0f} MB resident; kafka at {facts['addresses']['kafka']}")
    for j in facts["jobs"]:
        shares = "".join(
            f", {name} {j[f'{name}_share']:.2%}" for name in ("late", "rejected") if j[f"{name}_share"] is not None
        )
        out.print(
            f"job {j['name']} on {j['source']}: {j['state']}, watermark {j['watermark'] or 'none yet'}, "
            f"lag {j['lag']}{shares}" + (f"\n  {j['error']}" if j["error"] else "")
        )
    return facts


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show services and jobs; exit 0 only if all are ready and the job runs."""
    if not _status(_lab(), as_json)["ok"]:
        raise typer.Exit(1)


@app.command()
def down() -> None:
    """Stop everything; data are kept."""
    began = time.monotonic()
    with _Watcher() as told:
        was_up = _lab().down(told=told)
    notes.print(f"down in {time.monotonic() - began:.1f} s" if was_up else "nothing is up")


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop everything and delete the lab's data."""
    lab = _lab()
    if not lab.state.folder.exists():
        notes.print("there is nothing to delete")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise SettingsError("reset asks before it deletes, and nobody is there to answer", hint="rtap reset --yes")
        typer.confirm(f"Stop the lab and delete all data in {lab.state.folder}?", abort=True)
    lab.reset()
    notes.print(f"{lab.state.folder} is deleted")


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="A service's name, or supervisor.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("-n", help="How many of the last lines.")] = 50,
) -> None:
    """Show a service's log."""
    lab = _lab()
    path = lab.state.log(service)
    if not path.is_file():
        there = sorted(p.stem for p in lab.state.logs.glob("*.log")) if lab.state.logs.is_dir() else []
        raise SettingsError(
            f"there is no log of {service!r}",
            hint=f"one of {', '.join(there)}" if there else "nothing has run in this lab yet: rtap up",
        )
    for line in lab.state.log_tail(service, lines):
        print(line)
    if follow:
        with path.open(errors="replace") as file:
            file.seek(0, os.SEEK_END)
            while True:
                line = file.readline()
                if line:
                    print(line, end="", flush=True)
                else:
                    time.sleep(0.2)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check Python, Java, memory, disk, ports, locale, clock and the lock."""
    from rtap_lab.monitoring.doctor import examine

    findings = examine(_lab().state)
    if as_json:
        _print([each.__dict__ for each in findings])
    else:
        for each in findings:
            print(f"{each.verdict:<5}{each.what:<12}{each.found}" + (f"\n      -> {each.fix}" if each.fix else ""))
    if any(each.verdict == "FAIL" for each in findings):
        raise typer.Exit(1)


@app.command()
def fetch(what: Annotated[str, typer.Argument(help="Nothing more, or influxdb.")] = "") -> None:
    """Bring everything that the stack needs onto this machine, for use without a network."""
    from rtap_lab.stack import components
    from rtap_lab.stack.influxdb import fetch_influxd
    from rtap_lab.stack.java import base_archive, find_java

    if what not in ("", "influxdb"):
        raise SettingsError(f"fetch {what!r} is not known", hint="`rtap fetch` or `rtap fetch influxdb`")
    _fetch()
    components.flink_home()
    components.jars("kafka")
    components.jars("flink")
    components.unpacked("registry")
    base_archive(find_java(None))
    if what == "influxdb":
        with notes.status("influxd …") as shown:
            path = fetch_influxd(lambda words: shown.update(words) if notes.is_terminal else notes.print(words))
        notes.print(f"influxd: {path}")
    notes.print("ready for use without a network")


# --- events --------------------------------------------------------------------------------------


@simulate_app.callback(invoke_without_command=True)
def simulate(
    context: typer.Context,
    scenario: Annotated[
        str, typer.Option(help="The website's story (`rtap simulate scenarios` lists them), or a YAML file.")
    ] = "brisk",
    rate: Annotated[float | None, typer.Option(help="Messages a second; the scenario's own when left out.")] = None,
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
    if out is not None:
        _simulate_to(out, scenario, seed, seconds, events)
        return
    import threading

    stop = threading.Event()
    lab = _lab()
    notes.print(f"scenario {scenario}, seed {seed}")
    total = events or (seconds * rate if seconds and rate else None)
    with _counting("messages", total) as progress, _until_interrupt(stop):
        fed = lab.simulate(scenario, rate=rate, seed=seed, seconds=seconds, events=events, stop=stop, progress=progress)
    notes.print(
        f"{fed.sent} messages in {fed.seconds:.1f} s ({fed.sent / max(fed.seconds, 1e-9):.0f}/s), "
        f"slip p50 {fed.slip_ms(0.5):.2f} ms, p99 {fed.slip_ms(0.99):.2f} ms"
    )


def _simulate_to(out: Path, scenario: str, seed: int, seconds: float | None, events: int | None) -> None:
    """Write a scenario's messages as JSON Lines, and what really happened beside them."""
    import orjson

    from rtap_lab.lab.simulating import beside
    from rtap_lab.simulator.reading import scenario_named
    from rtap_lab.simulator.run import Run, written
    from rtap_lab.simulator.scenario import START_MS

    website = scenario_named(scenario)
    notes.print(f"scenario {scenario}, seed {seed}")
    if seconds is None and events is None:
        seconds = website.lasts
    run, began, count = Run(website, seed, zero_ms=START_MS), time.monotonic(), 0
    try:
        with (
            _counting("messages", events or (seconds or 0) * website.rate) as progress,
            nullcontext(sys.stdout.buffer) if str(out) == "-" else out.open("wb") as file,
        ):
            for batch in written(run, events=events, seconds=seconds):
                file.writelines(line + b"\n" for line in batch.values().to_pylist())
                count += len(batch)
                progress(count)
            file.flush()
        if str(out) == "-":
            return
        beside(out).write_bytes(orjson.dumps(run.manifest(ended=True)))
    except OSError as error:
        raise SettingsError(f"--out {out}: {error.strerror or error}") from error
    passed = max(time.monotonic() - began, 1e-9)
    notes.print(f"{count} messages written to {out} ({count / passed:,.0f}/s); what really happened: {beside(out)}")


@simulate_app.command("scenarios")
def simulate_scenarios(as_json: AsJson = False) -> None:
    """The packaged scenarios and their stories."""
    from rtap_lab.simulator.reading import names, scenario_named

    found = [scenario_named(name) for name in names()]
    if as_json:
        _print([{"name": s.name, "story": s.story, "rate": s.rate, "lasts": s.lasts} for s in found])
        return
    for each in found:
        print(f"{each.name:<17}{each.story}")


@simulate_app.command("status")
def simulate_status(as_json: AsJson = False) -> None:
    """What the running simulator does."""
    facts = _lab().simulator.status()
    if as_json:
        _print(facts)
        return
    paused = ", paused" if facts["paused"] else ""
    print(
        f"{facts['scenario']} at {facts['rate']:g}/s, seed {facts['seed']}: {facts['sent']} messages, "
        f"{facts['scenario_seconds']:g} s of the scenario{paused}"
    )


@simulate_app.command("set")
def simulate_set(
    rate: Annotated[float | None, typer.Option(help="Messages a second.")] = None,
    scenario: Annotated[str | None, typer.Option(help="Another scenario.")] = None,
) -> None:
    """Change the running simulator's rate or scenario."""
    if rate is None and scenario is None:
        raise SettingsError("nothing to set", hint="give --rate or --scenario")
    controls = _lab().simulator
    if scenario is not None:
        controls.scenario(scenario)
    if rate is not None:
        controls.rate(rate)


@simulate_app.command("inject")
def simulate_inject(
    kind: Annotated[str, typer.Argument(metavar="outage|surge|bots", help="What happens now.")],
    seconds: Annotated[float, typer.Option(help="How long, in the scenario's own time.")] = 60,
    size: Annotated[float | None, typer.Option(help="Further visits a second of the scenario.")] = None,
) -> None:
    """Let something happen now, in the running simulator."""
    _lab().simulator.inject(kind, seconds=seconds, size=size)


@simulate_app.command("pause")
def simulate_pause() -> None:
    """Let the running simulator send nothing until `resume`."""
    _lab().simulator.pause()


@simulate_app.command("resume")
def simulate_resume() -> None:
    """Let the running simulator go on."""
    _lab().simulator.resume()


@simulate_app.command("stop")
def simulate_stop() -> None:
    """End the running simulator."""
    _lab().simulator.stop()


@contextmanager
def _until_interrupt(stop: Any) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `stop`, so that what runs ends in order."""
    import signal

    before = {n: signal.signal(n, lambda *_: stop.set()) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command("import")
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
    lab = _lab()
    with _counting("lines") as progress:
        call = lab.import_access_log if form == "access-log" else lab.import_jsonl
        done = call(*files, source=source, speed=speed, progress=progress)
    if as_json:
        _print(done.as_json())
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


@sources_app.command("list")
def sources_list(as_json: AsJson = False) -> None:
    """List the recorded sources."""
    table = _lab().sources()
    if as_json:
        _print({n: {**s, "bound_ms": s["disorder_ms"] + 1} for n, s in table.items()})
        return
    for name, facts in table.items():
        files = facts["files"].values()
        print(
            f"{name}: {sum(f['imported'] for f in files)} events of {len(files)} file(s), "
            f"{sum(f['rejected'] for f in files)} lines refused, disorder {facts['disorder_ms'] / 1000:g} s"
        )
    if not table:
        notes.print("no recorded sources: `rtap import` makes one")


@sources_app.command("remove")
def sources_remove(source: str) -> None:
    """Delete a recorded source: events, results and points."""
    _lab().remove_source(source)
    notes.print(f"{source} is removed")


# --- slices --------------------------------------------------------------------------------------


@slices_app.command("record")
def slices_record(
    name: Annotated[str | None, typer.Argument(help="The slice's name.")] = None,
    source: Source = "live",
    seconds: Annotated[float | None, typer.Option(help="Record what comes from now on, so long.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="First arrival, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Arrivals before this, RFC 3339.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record a piece of a source; all that is there when neither --seconds nor --from and --to are given."""
    import threading

    lab, stop = _lab(), threading.Event()
    with _counting("records") as progress, _until_interrupt(stop):
        made = lab.record(source, seconds, begin=begin, end=end, name=name, stop=stop, progress=progress)
    _slice_shown(made, as_json)


def _slice_shown(of: Any, as_json: bool) -> None:
    if as_json:
        _print(of.as_json())
        return
    from rtap_lab.events.times import instant_text

    facts = of.about
    first, last = (instant_text(ms) if ms is not None else "-" for ms in (facts.first_ms, facts.last_ms))
    print(
        f"{of.name}: {facts.records} records of {facts.topic}, {first} to {last}, bound {facts.bound_ms / 1000:g} s, "
        f"{of.path.stat().st_size / 1e6:.2f} MB, digest {facts.digest[:16]}"
    )


@slices_app.command("list")
def slices_list(as_json: AsJson = False) -> None:
    """List the recorded slices."""
    found = _lab().slices()
    if as_json:
        _print([each.as_json() for each in found.values()])
        return
    for each in found.values():
        _slice_shown(each, False)
    if not found:
        notes.print("no slices: `rtap slices record` makes one")


@slices_app.command("show")
def slices_show(
    name: str, rows: Annotated[int, typer.Option(help="How many records.")] = 10, as_json: AsJson = False
) -> None:
    """Show a slice and its first records; checks its digest."""
    from rtap_lab.events.times import instant_text
    from rtap_lab.kafka.slice_files import read

    of = _lab().slice(name)
    _, records = read(of.path)
    _slice_shown(of, as_json)
    if as_json:
        return
    for each in records[: max(rows, 0)]:
        value = (each.value or b"").decode("utf-8", "replace")
        print(f"  {each.partition}/{each.offset} {instant_text(each.timestamp_ms)} {value[:160]!r}")


@slices_app.command("replay")
def slices_replay(
    name: str,
    into: Annotated[str | None, typer.Option(help="The fresh source's name; the slice's when left out.")] = None,
    speed: Annotated[str, typer.Option(help="max, or how much faster than it arrived: 1, 10.")] = "max",
    as_json: AsJson = False,
) -> None:
    """Play a slice into a fresh source: partitions, order, timestamps and bytes as they were."""
    of = _lab().slice(name)
    with _counting("records", of.about.records) as progress:
        done = of.replay(into, speed=speed, progress=progress)
    if as_json:
        _print(vars(done))
        return
    print(f"{done.records} records into {done.source}, {done.rejected} of them rejected")
    notes.print(f"next: rtap jobs run standard --source {done.source}")


@slices_app.command("export")
def slices_export(name: str, path: Annotated[Path, typer.Argument(help="A file or folder.")]) -> None:
    """Copy a slice's file, to share it."""
    notes.print(f"written to {_lab().slice(name).export(path)}")


@slices_app.command("import")
def slices_import(
    path: Path,
    name: Annotated[str | None, typer.Option(help="Its name here; its own when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take a slice's file into this lab; checks its digest."""
    _slice_shown(_lab().import_slice(path, name), as_json)


@slices_app.command("remove")
def slices_remove(name: str) -> None:
    """Delete a slice; sources that were made of it stay."""
    _lab().slice(name).remove()
    notes.print(f"{name} is removed")


# --- jobs and answers ----------------------------------------------------------------------------

StandardName = Annotated[str, typer.Argument(metavar="standard", help="The job.")]


def _standard(name: str) -> None:
    if name != "standard":
        raise SettingsError(f"job {name!r} is not known", hint="standard")


@jobs_app.command("list")
def jobs_list(as_json: AsJson = False) -> None:
    """List the jobs of this lab, and what else runs in its Flink."""
    lab = _lab()
    lab.addresses  # noqa: B018  (refuses when nothing is up)
    facts = lab.status()["jobs"]
    known = {job["job_id"] for job in facts}
    others = [
        {"name": j["name"], "job_id": j["jid"], "state": j["state"]}
        for j in lab.runs.rest.jobs()
        if j["jid"] not in known and j["state"] == "RUNNING"
    ]
    if as_json:
        _print(facts + others)
        return
    for j in facts:
        print(f"standard on {j['source']}: {j['state']}, run {j['run']}, lag {j['lag']}, watermark {j['watermark']}")
    for j in others:
        print(f"{j['name']}: {j['state']}, {j['job_id']}")


@jobs_app.command("run")
def jobs_run(
    name: StandardName,
    source: Source = "live",
    gap: Gap = None,
    within: Within = None,
    bound: Bound = None,
    delivery: Delivery = None,
    as_json: AsJson = False,
) -> None:
    """Run the standard job; on a recorded source it ends by itself, every window closed."""
    _standard(name)
    began = time.monotonic()
    with _counting("records") as progress:
        run = _lab().run_standard(
            source, gap=gap, within=within, bound=bound, delivery=delivery, progress=lambda done, of: progress(done)
        )
    if as_json:
        _print(run)
    else:
        print(f"standard on {source}: {run['state']}, run {run['run']}, {time.monotonic() - began:.1f} s")


@jobs_app.command("stop")
def jobs_stop(
    name: StandardName,
    source: Source = "live",
    drain: Annotated[bool, typer.Option("--drain", help="Close every window first; ends the run.")] = False,
) -> None:
    """Stop the standard job, all results committed; `jobs run` goes on where it was."""
    _standard(name)
    run = _lab().runs.stop(source, drain=drain)
    print(f"standard on {source}: {run['state']}")


@jobs_app.command("savepoint")
def jobs_savepoint(name: StandardName, source: Source = "live") -> None:
    """Take a savepoint of the running job; prints its path."""
    _standard(name)
    print(_lab().runs.savepoint(source))


def _show(columns: list[str], rows: list[dict[str, Any]], form: str) -> None:
    if form not in ("table", "csv", "json"):
        raise SettingsError(f"--format {form!r}", hint="table, csv or json")
    if form != "table":
        from rtap_lab.lab.core import as_text

        print(as_text(columns, rows, form))
        return
    widths = [max([len(c), *(len(_cell(r[c])) for r in rows)]) for c in columns]
    print("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())
    for row in rows:
        print("  ".join(_cell(row[c]).ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    # what a visitor wrote must not drive the terminal
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


@app.command()
def results(query: str, source: Source = "live", form: Form = "table") -> None:
    """Print every row of a query from the store, sorted by time, then keys."""
    from rtap_lab.streams.queries import query_named

    if form not in ("table", "csv", "json"):
        raise SettingsError(f"--format {form!r}", hint="table, csv or json")
    shape = query_named(query)
    _show(list(shape.columns), _lab().rows(query, source), form)


@app.command()
def sql(
    statement: str,
    source: Source = "live",
    form: Form = "table",
    seconds: Annotated[float, typer.Option(help="How long at most.")] = 10,
    rows: Annotated[int, typer.Option(help="How many rows at most.")] = 100,
) -> None:
    """Run a SQL query on `events` (counted) or `events_raw`; always ends."""
    columns, found, why = _lab().sql(statement, source=source, seconds=seconds, rows=rows)
    _show(columns, found, form)
    notes.print(f"{len(found)} rows; ended by {why}")


@app.command()
def verify(source: Source = "live", as_json: AsJson = False) -> None:
    """Recompute every query and compare all rows of topics and store; exit 0 only if equal."""
    lab = _lab()
    with _counting("records") as progress:
        report = lab.verify(source, progress=progress)
    if as_json:
        _print(report.as_json())
    else:
        print(report)
    if not report.exact:
        raise typer.Exit(1)


@app.command()
def score(source: Source = "live", as_json: AsJson = False) -> None:
    """Compare every answer with what the simulated visitors really did; exit 0 if all differences are explained."""
    lab = _lab()
    with _counting("records") as progress:
        result = lab.score(source, progress=progress)
    if as_json:
        _print(result.as_json())
    else:
        print(result)
    if not result.exact:
        raise typer.Exit(1)


@app.command()
def watch(query: str, source: Source = "live", as_json: AsJson = False) -> None:
    """Follow a query's rows as the hub sends them, until Ctrl-C."""
    import threading

    stop = threading.Event()
    with _until_interrupt(stop):
        for message in _lab().watch(query, source=source, stop=stop):
            if as_json:
                print(json.dumps(message), flush=True)
                continue
            rows = message["rows"][-5:] if message["type"] == "snapshot" else message["rows"]
            for row in rows:
                print("  ".join(f"{k}={_cell(v)}" for k, v in row.items()), flush=True)


@app.command()
def dash() -> None:
    """Open the live dashboard; where there is no display, its address is printed."""
    address = _lab().dashboard
    print(address)
    if os.environ.get("DISPLAY") or sys.platform == "darwin":
        import webbrowser

        webbrowser.open(address)


@app.command("lab")
def lab_(
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    port: Annotated[int | None, typer.Option(help="A port; a free one when left out.")] = None,
) -> None:
    """Open JupyterLab on the notebooks."""
    from rtap_lab.jupyter.server import run

    raise typer.Exit(run(_lab().state, port=port, browser=not no_browser))


# --- benchmarks ----------------------------------------------------------------------------------


@bench_app.command("list")
def bench_list() -> None:
    """List the benchmark reports there are."""
    from rtap_lab.bench.reports import templates

    for name, title in templates().items():
        print(f"{name}: {title}")


@bench_app.command("run")
def bench_run(
    name: str,
    quick: Annotated[bool, typer.Option("--quick", help="A short run, to see that it works.")] = False,
    out: Annotated[Path, typer.Option(help="Where reports go.")] = Path("reports"),
) -> None:
    """Run a report: joins or starts the stack, and stops what it started."""
    from rtap_lab.bench.reports import run

    _fetch()
    print(run(_lab().state.folder, name, out, quick=quick, say=notes.print))


@bench_app.command("compare")
def bench_compare(a: Path, b: Path, as_json: AsJson = False) -> None:
    """Compare two reports; exit 3 where B is slower than A by more than 25 %."""
    from rtap_lab.bench.reports import compare

    rows, worse = compare(a, b)
    if as_json:
        _print(rows)
    else:
        _show(["metric", "a", "b", "ratio"], rows, "table")
    if worse:
        raise typer.Exit(3)


@app.command(hidden=True)
def demo(
    seconds: Annotated[float | None, typer.Option(envvar="DEMO_SECONDS", help="Ends by itself.")] = None,
    rate: Annotated[float, typer.Option(envvar="DEMO_RATE", help="Events a second.")] = 200,
    delivery: Annotated[str, typer.Option(envvar="DEMO_DELIVERY")] = "exactly_once",
) -> None:
    """Run the demo (`make demo`): start, simulate, show, drain, verify, down."""
    from rtap_lab.bench.demo import run

    _fetch()
    raise typer.Exit(run(_lab().state.folder, seconds=seconds, rate=rate, delivery=delivery, say=print))


def main() -> None:
    """Entry point: errors become one message and an exit code (2: usage, 1: failed)."""
    try:
        app(standalone_mode=True)
    except SettingsError as error:
        notes.print(f"[red]error:[/] {_escaped(error)}")
        sys.exit(2)
    except RtapLabError as error:
        notes.print(f"[red]error:[/] {_escaped(error)}")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _escaped(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))


if __name__ == "__main__":
    main()
