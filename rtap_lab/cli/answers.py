"""Answers: results, sql, watch, hub; and whether they are right: verify, score."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rtap_lab.cli import completing
from rtap_lab.cli.app import AsJson, Form, Source, counting, notes, open_lab, print_json
from rtap_lab.errors import SettingsError, StatementError
from rtap_lab.events.times import instant_text
from rtap_lab.tables import plain
from rtap_lab.waiting import until_interrupt

if TYPE_CHECKING:
    from rtap_lab.lab import Lab
    from rtap_lab.lab.answers import Asking

Query = Annotated[str, typer.Argument(help="The query's name.", autocompletion=completing.queries)]


def register(app: typer.Typer) -> None:
    """Add this group's verbs."""
    for verb in (results, sql, verify, score, watch, hub):
        app.command()(verb)


def results(
    query: Query,
    source: Source = "live",
    form: Form = "table",
    limit: Annotated[int | None, typer.Option(help="Only the first so many rows.")] = None,
    tail: Annotated[int | None, typer.Option(help="Only the last so many rows.")] = None,
) -> None:
    """Print every row of a query from the store, sorted by time, then keys."""
    from rtap_lab.lab.rows import as_text, check_form

    check_form(form)
    for name, value in (("limit", limit), ("tail", tail)):
        if value is not None and value < 1:
            raise SettingsError(f"--{name} {value}: must be 1 or more")
    lab = open_lab()
    columns = list(lab.known_query(query, source).schema.columns)
    rows = lab.rows(query, source)
    shown = rows[:limit] if tail is None else rows[-tail:]
    print(as_text(columns, shown, form))
    if not rows:
        notes.print(f"no rows yet: {lab.why_empty(query, source)}")
    elif len(shown) < len(rows):
        notes.print(f"{len(shown)} of {len(rows)} rows")
    if not lab.is_up:
        notes.print("nothing is up: the store as it was when the stack went down")


def sql(
    statement: str,
    source: Source = "live",
    form: Form = "table",
    since: Annotated[str | None, typer.Option(help='From when on: "5m", or an instant; all when left out.')] = None,
    seconds: Annotated[float, typer.Option(help="How long at most.")] = 10,
    rows: Annotated[int, typer.Option(help="How many rows at most.")] = 100,
) -> None:
    """Run SQL on `events` (counted) or `events_raw` as they are now: queries, SHOW, DESCRIBE, EXPLAIN, temporary views."""
    from rtap_lab.lab.rows import as_text, check_form
    from rtap_lab.lab.sql import split

    check_form(form)
    lab = open_lab()
    for each in split(statement) or [statement]:
        found = lab.sql(each, source=source, since=since, seconds=seconds, rows=rows)
        if found.withheld:
            raise StatementError(f"no answer: {found.words}")
        print(found.text if found.text and form == "table" else as_text(found.columns, found.rows, form))
        notes.print(f"{len(found.rows)} rows; {found.words}")
        if found.ended_by == "interrupted":
            break


def verify(
    source: Source = "live",
    full: Annotated[
        bool, typer.Option("--full", help="From the beginning; else live goes on where the verification before ended.")
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(min=1, help="Again and again, so many seconds apart, until Ctrl-C: a line each time."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every query and compare all rows of topics and store; exit 0 only if equal."""
    lab = open_lab()
    if every is not None:
        raise typer.Exit(_keep_verifying(lab, source, full, every, as_json))
    with counting("records") as progress:
        report = lab.verify(source, full=full, progress=progress)
    if as_json:
        print_json(report.as_json())
    else:
        print(report)
    if not report.exact:
        raise typer.Exit(1)


def _keep_verifying(lab: Lab, source: str, full: bool, every: float, as_json: bool) -> int:
    """Verify until Ctrl-C; 0 if it was exact each time."""
    exact = True
    try:
        while True:
            report = lab.verify(source, full=full)
            exact = exact and report.exact
            if as_json:
                print(json.dumps(report.as_json(), default=str), flush=True)
            elif report.exact:
                print("\n".join(run.verdict for run in report.runs), flush=True)
            else:
                print(report, flush=True)
            time.sleep(every)
    except KeyboardInterrupt:
        return 0 if exact else 1


def score(source: Source = "live", as_json: AsJson = False) -> None:
    """Compare every answer with what the simulated visitors really did; exit 0 if all differences are explained."""
    with counting("records") as progress:
        result = open_lab().score(source, progress=progress)
    if as_json:
        print_json(result.as_json())
    else:
        print(result)
    if not result.exact:
        raise typer.Exit(1)


def watch(
    query: Query,
    source: Source = "live",
    where: Annotated[
        list[str] | None, typer.Option(help="Only rows whose column has this value: COLUMN=VALUE; may come again.")
    ] = None,
    columns: Annotated[str, typer.Option(help="Only these columns, a comma between two.")] = "",
    latest_by: Annotated[str, typer.Option(help="Only the newest row of each value of these columns.")] = "",
    rate: Annotated[float, typer.Option(help="Updates a second at most; 0: each as it comes.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Follow a query's rows as the hub sends them, until Ctrl-C."""
    lab = open_lab()
    asked: Asking = {
        "where": dict(_condition(lab, query, source, each) for each in where or ()),
        "columns": _names(columns),
        "latest_by": _names(latest_by),
        "rate": rate,
    }
    with until_interrupt() as stop:
        for message in lab.watch(query, source=source, stop=stop, **asked):
            if as_json:
                print(json.dumps(message), flush=True)
                continue
            rows = message["rows"][-5:] if message["type"] == "snapshot" else message["rows"]
            if message.get("reason"):
                words = f"{message['channel']} begins anew: {message['reason']}; what came before may come again"
                typer.echo(words, err=True)
            if len(rows) < len(message["rows"]):
                typer.echo(f"the newest {len(rows)} of {len(message['rows'])} rows that are there", err=True)
            for row in rows:
                print("  ".join(f"{k}={plain(v)}" for k, v in row.items()), flush=True)


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _condition(lab: Lab, query: str, source: str, text: str) -> tuple[str, object]:
    """`page=/cart` as a column and its value, of the column's kind."""
    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"--where {text!r}: COLUMN=VALUE is wanted")
    kind = lab.known_query(query, source).schema.columns.get(name)
    if value == "" or kind in (None, "text", "time"):  # of a column that there is not, the hub's words are better
        return name, value or None
    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise SettingsError(f"--where {text!r}: {name} is {kind}", hint="a number, true or false") from error


def hub(as_json: AsJson = False) -> None:
    """Where a page or program of your own reaches the hub, and a token for it (docs/live-protocol.md)."""
    access = open_lab().hub_access()
    if as_json:
        print_json(asdict(access))
        return
    expires = instant_text(int(access.expires * 1000))
    print(f"websocket  {access.url}\nmodule     {access.module}\ntoken      {access.token}\nexpires    {expires}")
