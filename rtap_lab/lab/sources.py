"""Recorded sources: importing files into them, and removing them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from rtap_lab.errors import SettingsError
from rtap_lab.kafka.importer import Importer
from rtap_lab.kafka.names import REJECTED, events_topic, import_id
from rtap_lab.kafka.topics import source_topic
from rtap_lab.lab.context import Context
from rtap_lab.lab.truth import keep_truths, truth_files
from rtap_lab.recordings.imported import Imported
from rtap_lab.recordings.inputs import LineFormat
from rtap_lab.recordings.sources import Source
from rtap_lab.settings import LIVE, source_name
from rtap_lab.stack.disk import need_room, with_room


def import_files(
    context: Context,
    paths: list[str],
    form: LineFormat,
    source: str | None,
    speed: str,
    progress: Callable[[int], None],
) -> Imported:
    """Import files into a recorded source, or play them onto the live topic; see `Lab.import_jsonl`."""
    key = bytes.fromhex(context.state.secret("visitor.key"))
    need_room(context.state.folder)
    importer = Importer(context.topics, key, context.schema_id, with_room(context.state.folder, progress))
    if speed != "max":
        bound_ms = context.lateness_bound_ms(LIVE)
        return importer.retime(paths, form, speed=factor_of(speed), bound_ms=bound_ms)
    name = source or ("stdin" if paths[0] == "-" else Path(paths[0].removesuffix(".gz")).stem.lower())
    source_name(name, reserved=frozenset(context.catalog.names))
    with writing(context, name, "imported into"):
        if name not in context.sources.read():
            context.topics.delete([events_topic(name)])  # what a replay that was killed left is of no source
            context.topics.ensure([source_topic(name)])
            keep(context, name, Source(form, refused_from=refused_end(context)))
        try:
            done = importer.record(
                paths, form, name, lambda: context.source(name), lambda facts: keep(context, name, facts)
            )
            keep_truths(context.state, paths, name)
            return done
        finally:
            facts = context.source(name)
            if not facts.files and facts.pending is None:
                remove(context, name)  # nothing came of it: no empty source is left


def factor_of(speed: str | float, *, most: str = "live") -> float:
    """How much faster than it happened.

    Args:
        speed: A factor, or the word for 1.
        most: That word.

    Raises:
        SettingsError: When it is neither.
    """
    try:
        factor = 1.0 if speed == most else float(speed)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise SettingsError(f"--speed {speed!r}", hint='"max", "live" or a factor such as 60')
    return factor


def writing(context: Context, source: str, doing: str) -> AbstractContextManager[None]:
    """Hold a source for writing: one import or replay at a time."""
    return context.state.lock(f"source-{source}", timeout=1, busy=f"source {source!r} is being {doing}")


def keep(context: Context, name: str, facts: Source) -> None:
    """Write down what is known of one source; other sources' entries stay as they are."""
    context.sources.change(lambda table: table | {name: facts})


def refused_end(context: Context) -> int:
    """The end of `events.rejected`: rows of a source that is made now come after it."""
    return context.topics.ends([REJECTED])[REJECTED, 0]


def remove(context: Context, source: str) -> None:
    """Delete a recorded source: its events, results and points; its late and rejected rows follow (`jobs.refused`).

    Raises:
        SourceError: When there is none of that name.
    """
    context.source(source)
    for run in [run for run in context.runs.read().values() if run.source == source]:
        context.lifecycle.forget(run)
    context.topics.abort(lambda transaction: transaction.id == import_id(source))
    context.topics.delete([events_topic(source)])
    for path in truth_files(context.state, source):
        path.unlink()
    # what it is known by goes last: after a kill in between it can be removed again
    context.sources.change(lambda table: {name: facts for name, facts in table.items() if name != source})
