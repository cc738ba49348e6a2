"""What a person asked for, as a query in a lab: a name, builders' words, SQL, a file, or a definition."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import yaml

from rtap_lab.errors import SettingsError
from rtap_lab.lab.bound import BoundQuery
from rtap_lab.lab.bound_sql import BoundSql, bind_sql, is_sql
from rtap_lab.lab.context import Context
from rtap_lab.queries.expression import parse
from rtap_lab.queries.query import Definition, PatternQuery, Query, WindowQuery
from rtap_lab.queries.query import query as make_query


def bind(
    context: Context,
    asked: str | Path | Definition | Query,
    definition: Definition | str | None,
    source: str,
    title: str,
    on_note: Callable[[str], None],
) -> BoundQuery | BoundSql:
    """What was asked for, as a query in a lab; see `Lab.query`."""
    context.check_source(source)
    if definition is not None:
        if not isinstance(asked, str):
            raise SettingsError("query: before a definition there is its name", hint='lab.query("views", definition)')
        if isinstance(definition, str):
            if is_sql(definition):
                return bind_sql(context, definition, asked, source, title, on_note)
            definition = parse(definition)
        found = make_query(asked, definition, title)
    elif isinstance(asked, str) and is_sql(asked):
        return bind_sql(context, asked, "", source, title, on_note)
    elif isinstance(asked, Path | str) and str(asked).endswith(".sql"):
        return bind_sql(context, read_text(Path(asked)), Path(asked).stem, source, title, on_note)
    elif isinstance(asked, Query):
        found = asked
    elif isinstance(asked, Path) or (isinstance(asked, str) and asked.endswith((".yaml", ".yml"))):
        found = read_query(Path(asked))
    elif isinstance(asked, str) and "(" in asked:
        definition = parse(asked)
        found = make_query(name_of(definition), definition, title)
    elif isinstance(asked, str):
        found = context.query(asked, source)
    elif isinstance(asked, WindowQuery | PatternQuery):
        found = make_query(name_of(asked), asked, title)
    else:
        raise SettingsError(
            f"query: {asked!r} is neither a name nor a query", hint="end a window with .agg(…), a pattern with .by(…)"
        )
    return BoundQuery(context, found, source, on_note)


def read_query(path: Path) -> Query:
    """A query from a YAML file: `query:` has builders' words; `name:` (else the file's stem) and `title:` may be there.

    Raises:
        SettingsError: When it cannot be read, or is no query.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    wanted = {"name", "title", "query"}
    if not isinstance(content, dict) or not isinstance(content.get("query"), str) or set(content) - wanted:
        raise SettingsError(
            f"{path} is no query: it has name, title and query, all texts",
            hint='query: tumble("1m").by("page").agg(views=count())',
        )
    name, title = str(content.get("name", path.stem)), str(content.get("title", ""))
    return make_query(name, parse(content["query"]), title)


def name_of(definition: Definition) -> str:
    """A name for a query that nobody named: the same for the same question."""
    kind = "window" if isinstance(definition, WindowQuery) else "pattern"
    return f"{kind}_{hashlib.sha256(msgspec.json.encode(definition)).hexdigest()[:8]}"


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        SettingsError: When it cannot be read.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
