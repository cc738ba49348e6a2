"""The files that jobs are kept in, and what they need to know of the sources."""

from __future__ import annotations

from rtap_lab.jobs.model import Jobs, Replaced, Runs
from rtap_lab.recordings.sources import Sources
from rtap_lab.stack.state import Document, State


def runs_document(state: State) -> Document[Runs]:
    """The current run of each job on each source, by `run_key`; changed by `Lifecycle` alone."""
    return Document(state, "runs", Runs, dict)


def jobs_document(state: State) -> Document[Jobs]:
    """The lab's own jobs by name; changed by `Lifecycle` alone."""
    return Document(state, "jobs", Jobs, dict)


def replaced_document(state: State) -> Document[dict[str, tuple[Replaced, ...]]]:
    """The questions that `evolve` replaced, by `QUERY/SOURCE`, the last one last; each call changes its own entry."""
    return Document(state, "replaced", dict[str, tuple[Replaced, ...]], dict)


def sources_document(state: State) -> Document[Sources]:
    """The recorded sources by name; changed by who imports, replays or removes one, each its own entry."""
    return Document(state, "sources", Sources, dict)
