"""A run as the verifier takes it, and waiting until the store has caught up with it."""

from __future__ import annotations

from rtap_lab.jobs.model import Run
from rtap_lab.lab.context import Context
from rtap_lab.recordings.sources import Source
from rtap_lab.store.port import Store
from rtap_lab.verification.report import Subject
from rtap_lab.verification.verifier import Verifier


def subject_of(context: Context, run: Run) -> Subject:
    """A run as the verifier takes it."""
    facts = context.sources.read().get(run.source, Source("jsonl"))
    return Subject(
        run.job,
        run.source,
        run.run,
        run.parameters,
        run.queries,
        run.topics,
        run.results_from,
        run.group,
        facts.refused_lines,
        facts.refused_from,
        {digest[:24]: each for digest, each in facts.files.items()},
        facts.format == "slice",
    )


def await_store(context: Context, store: Store, run: Run, patience: float = 60) -> None:
    """Wait until the store holds what a run has committed.

    Raises:
        JobError: When it does not within so many seconds.
    """
    Verifier(context.topics, store).await_store(subject_of(context, run), patience)
