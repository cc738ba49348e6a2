"""Bringing the state folder of an earlier version to this one; nothing is up meanwhile.

Version 1 knew one job: its runs were kept by source alone, and the files were not typed. Version 2 had the same files; its
services asked for no certificate and no token, so that they must be stopped before this version's can talk to them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rtap_lab.errors import SettingsError
from rtap_lab.jobs.documents import runs_document, sources_document
from rtap_lab.jobs.model import Run
from rtap_lab.queries.standard import JOB, standard_queries
from rtap_lab.recordings.sources import ImportedFile, Pending, Source
from rtap_lab.settings import JobParameters
from rtap_lab.stack.state import VERSION, State


def migrate(state: State) -> bool:
    """Bring a state folder to this version, each step so that it can be repeated; whether there was anything to do.

    Raises:
        SettingsError: When a file is not what the earlier version wrote.
    """
    if state.version == VERSION:
        return False
    try:
        if state.version == "1":
            _sources(state)
            _runs(state)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"{state.folder} cannot be brought to this version: {error!r}",
            hint="use another RTAP_STATE, or the version that made it",
        ) from error
    state.path("simulator").unlink(missing_ok=True)
    state.migrated()
    return True


def _raw(state: State, name: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(state.read(name) or b"{}")
    return found


def _source(facts: dict[str, Any]) -> Source:
    files = {digest: ImportedFile(**counts) for digest, counts in facts["files"].items()}
    pending = facts.get("pending")
    return Source(
        format=facts["format"],
        latest_ms=facts["latest_ms"],
        disorder_ms=facts["disorder_ms"],
        files=files,
        pending=Pending(_source(pending["after"]), pending["starts"]) if pending else None,
    )


def _sources(state: State) -> None:
    sources_document(state).write({name: _source(facts) for name, facts in _raw(state, "sources").items()})


def _runs(state: State) -> None:
    runs = {}
    for source, facts in _raw(state, "runs").items():
        if "/" in source:  # this step was done before
            return
        if "run" not in facts:  # half an entry: it was asked for and never begun
            continue
        known = {name: facts["parameters"][name] for name in ("gap_ms", "within_ms", "bound_ms", "delivery")}
        parameters = JobParameters(**known)
        kept = ("run", "desired", "state", "job_id", "results_from", "failures", "error", "started")
        run = Run(
            job=JOB,
            source=source,
            parameters=parameters,
            queries=standard_queries(parameters),
            ends=facts.get("ends") or {},
            restored=facts.get("restored"),
            **{name: facts[name] for name in kept},
        )
        runs[run.key] = run
        _link(state.folder / "flink" / "runs", source)
    runs_document(state).write(runs)


def _link(runs: Path, source: str) -> None:
    """Checkpoints name their files by absolute paths, so they stay where they are, under a new name."""
    link = runs / JOB / source
    if (runs / source).is_dir() and not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("..") / source, target_is_directory=True)
