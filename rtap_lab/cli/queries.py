"""Queries of one's own: preview, check, run, as SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rtap_lab.cli import completing
from rtap_lab.cli.app import HELP, AsJson, Backend, Bound, Delivery, Form, Source, counting, notes, open_lab, print_json

if TYPE_CHECKING:
    from rtap_lab.lab.bound import BoundQuery
    from rtap_lab.lab.bound_sql import BoundSql

group = typer.Typer(no_args_is_help=True, context_settings=HELP, help="Queries of one's own: look, check, run.")
Asked = Annotated[
    str,
    typer.Argument(
        help="A query's name, a YAML file (query:, name:, title:), a .sql file, builders' words: "
        "'tumble(\"1m\").agg(n=count())', or a SELECT.",
        autocompletion=completing.queries,
    ),
]
Since = Annotated[str | None, typer.Option(help='From when on: "5m", an instant, or "all".')]
Name = Annotated[str | None, typer.Option(help="Its name, where the argument does not say.")]


def register(app: typer.Typer) -> None:
    """Add this group's verbs."""
    app.add_typer(group, name="query")


def _query(asked: str, source: str, name: str | None = None) -> BoundQuery | BoundSql:
    lab = open_lab()
    found = lab.query(asked, source=source)
    return lab.query(name, found.text(), source=source, title=found.title) if name else found


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the queries that the lab knows, and where they run."""
    from rtap_lab.tables import Table

    found = open_lab().queries()
    if as_json:
        print_json(found)
    else:
        print(Table.of(["name", "title", "columns", "runs"], found))


@group.command("show")
def show(asked: Asked, source: Source = "live") -> None:
    """Print a query as builders say it."""
    print(_query(asked, source).text())


@group.command("sql")
def sql(asked: Asked, source: Source = "live") -> None:
    """Print a query as Flink SQL."""
    print(_query(asked, source).sql())


@group.command("explain")
def explain(asked: Asked, source: Source = "live") -> None:
    """Print how Flink would answer a query: its plan."""
    print(_query(asked, source).explain())


@group.command("preview")
def preview(
    asked: Asked,
    source: Source = "live",
    since: Since = None,
    seconds: Annotated[float, typer.Option(help="How long at most.")] = 10,
    rows: Annotated[int, typer.Option(help="How many rows at most.")] = 1000,
    form: Form = "table",
    as_json: AsJson = False,
) -> None:
    """Let Flink answer over what is there now; says how much it saw and why it ended."""
    from rtap_lab.lab.rows import as_text, check_form

    check_form(form)
    found = _query(asked, source).preview(since=since, seconds=seconds, rows=rows)
    if as_json:
        print_json(found.as_json())
        return
    print(as_text(found.columns, found.answer, form))
    notes.print(found.words)


@group.command("check")
def check(asked: Asked, source: Source = "live", since: Since = None, as_json: AsJson = False) -> None:
    """Let Flink and the reference engine answer the same, and compare; exit 0 only if equal."""
    found = _query(asked, source).check(since=since)
    if as_json:
        print_json(found.as_json())
    else:
        print(found)
    if not found.equal:
        raise typer.Exit(1)


@group.command("diagnose")
def diagnose(asked: Asked, source: Source = "live", since: Since = None, as_json: AsJson = False) -> None:
    """Say why a query has no rows, and what to do."""
    found = _query(asked, source).diagnose(since=since)
    if as_json:
        print_json(found.as_json())
    else:
        print(found)


@group.command("debug")
def debug(
    asked: Asked,
    source: Source = "live",
    since: Since = None,
    key: Annotated[str | None, typer.Option(help="Tell the story of this key, such as a visitor_id.")] = None,
    nearest: Annotated[bool, typer.Option("--nearest", help="Tell the story of the nearest miss.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how far attempts of a pattern come, where they end and why."""
    found = _query(asked, source).debug(since=since)
    if key is not None or nearest:
        told = found.nearest_miss() if key is None else found.visitor(key)
        print_json(told.lines) if as_json else print(told)
    elif as_json:
        print_json(found.as_json())
    else:
        print(found)


@group.command("run")
def run(
    asked: Asked,
    source: Source = "live",
    name: Name = None,
    job: Annotated[str | None, typer.Option(help="The job that it joins; one of its own when left out.")] = None,
    bound: Bound = None,
    delivery: Delivery = None,
    state_backend: Backend = None,
    as_json: AsJson = False,
) -> None:
    """Keep a query running under its name; `rtap jobs stop|run|remove NAME` ends it."""
    query = _query(asked, source, name)
    with counting("records") as progress:
        running = query.run(
            job=job,
            bound=bound,
            delivery=delivery,
            state_backend=state_backend,
            progress=lambda done, of: progress(done),
        )
    if as_json:
        print_json(running.status())
    else:
        print(f"{query.name} on {source} runs; rtap results {query.name} · rtap watch {query.name} · rtap verify")
