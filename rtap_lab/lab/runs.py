"""Runs: the histories of the standard job on each source, kept alive and never doubled.

A run is parameters, where its results begin, and a folder of checkpoints. What should run is written
down first and then made true, so that a kill between the two is put right by whoever looks next: the
command that asked, or the supervisor, which looks every second.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rtap_lab.errors import JobError, SourceError
from rtap_lab.flink.gateway import Session
from rtap_lab.flink.rest import TERMINAL, FlinkRest
from rtap_lab.flink.savepoints import read_offsets
from rtap_lab.flink.standard import catalog, session_properties, standard
from rtap_lab.kafka.topics import LATE, REJECTED, Topic, Topics, events_topic, results_topic
from rtap_lab.lab.addresses import Addresses
from rtap_lab.settings import JobParameters
from rtap_lab.stack.state import State
from rtap_lab.streams.queries import STANDARD

LIVE = "live"
_TRIES = 5
"""Submissions of one run that may fail in a row before it counts as failed."""

Run = dict[str, Any]
"""source, run, parameters, desired, state, job_id, results_from, failures, error, started"""


def group(source: str) -> str:
    """The consumer group in which a source's job shows the offsets of its checkpoints."""
    return f"rtap-standard-{source}"


class Runs:
    """Starts, stops and keeps the runs of one lab.

    Args:
        state: The lab.
        addresses: Where its services listen.
    """

    def __init__(self, state: State, addresses: Addresses) -> None:
        self.state = state
        self.addresses = addresses
        self.rest = FlinkRest(addresses.url("flink"))

    def all(self) -> dict[str, Run]:
        """The current run of each source."""
        return dict(self.state.read("runs") or {})

    def get(self, source: str) -> Run:
        """The current run of a source.

        Raises:
            JobError: When the standard job never ran on it.
        """
        run = self.all().get(source)
        if run is None:
            option = "" if source == LIVE else f" --source {source}"
            raise JobError(
                f"the standard job has not run on {source!r}", hint=f"run it: rtap jobs run standard{option}"
            )
        return run

    def _save(self, source: str, **changes: Any) -> Run:
        with self.state.lock("runs"):
            runs = self.all()
            runs[source] = runs.get(source, {}) | changes | {"source": source}
            self.state.write("runs", runs)
            return dict(runs[source])

    def forget(self, source: str) -> None:
        """Drop a source's run and its checkpoints."""
        with self.state.lock("runs"):
            runs = self.all()
            runs.pop(source, None)
            self.state.write("runs", runs)
        shutil.rmtree(self.state.folder / "flink" / "runs" / source, ignore_errors=True)
        self._renew_resumed_by(source, False)

    @staticmethod
    def name(run: Run) -> str:
        return f"standard {run['source']} {run['run']}"

    def folder(self, run: Run) -> Path:
        return self.state.folder / "flink" / "runs" / str(run["source"]) / str(run["run"])

    def topics(self, source: str) -> dict[str, str]:
        of = None if source == LIVE else source
        return {name: results_topic(name, of) for name in STANDARD}

    # --- wishes ----------------------------------------------------------------------------------

    def wish(self, source: str, changes: dict[str, Any] | None = None, *, anew: bool = False) -> Run:
        """Write down that a run of the standard job should be running.

        It goes on with the current run, unless that was drained or has other parameters; then a new
        run begins at the earliest record, and the earlier run's rows leave the topics (and, through
        the writer, the store).

        Args:
            source: "live", or a recorded source.
            changes: Parameters that must be so; the others stay as they were.
            anew: Whether a new run must begin.

        Raises:
            SourceError: When there is no such source.
        """
        with self.state.lock("jobs", timeout=120):
            current = self.all().get(source)
            base = JobParameters.from_json(current["parameters"]) if current else JobParameters()
            if source != LIVE:
                known = (self.state.read("sources") or {}).get(source)
                if known is None:
                    raise SourceError(
                        f"there is no recorded source {source!r}",
                        hint="`rtap sources list` shows them; `rtap import` makes one",
                    )
                base = replace(JobParameters(), bound_ms=known["disorder_ms"] + 1)
            wanted = replace(base, **(changes or {}))
            if (
                current
                and not anew
                and source == LIVE
                and wanted.as_json() == current["parameters"]
                and current["state"] != "drained"
            ):
                return self._save(source, desired="running", failures=0, error="")
            if current:
                self._end(current)
            topics = Topics(self.addresses.kafka)
            moment = datetime.now(UTC)
            ends = topics.ends([self._events(source)], committed=True) if source != LIVE else {}
            return self._save(
                source,
                run=f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
                parameters=wanted.as_json(),
                desired="running",
                state="submitting",
                job_id=None,
                results_from=topics.empty(self.topics(source).values()),
                failures=0,
                error="",
                started=moment.timestamp(),
                ends={str(p): end for (_, p), end in ends.items()},
            )

    def _end(self, run: Run) -> None:
        """End what still runs of a run, and forget its checkpoints."""
        for job_id in self.rest.active(self.name(run)):
            try:  # a stop closes its transactions; one left open would hide what comes after it
                self._await(partial(self.rest.runs, job_id), 10, "waiting for the job")
                request = self.rest.stop(job_id, drain=False, directory=self.folder(run).as_uri())
                self._await_savepoint(job_id, request, 30)
                self._await_end(job_id, 30, "stop")
            except JobError:
                self.rest.cancel(job_id)
                self._await_end(job_id, 60, "cancel")
        shutil.rmtree(self.folder(run), ignore_errors=True)

    @staticmethod
    def _events(source: str) -> str:
        return events_topic(None if source == LIVE else source)

    def _await_savepoint(self, job_id: str, request: str, seconds: float) -> str:
        path: str | None = None

        def made() -> bool:
            nonlocal path
            path = self.rest.savepoint_status(job_id, request)
            return path is not None

        self._await(made, seconds, "the savepoint")
        return str(path)

    def _await_end(self, job_id: str, seconds: float, what: str) -> None:
        self._await(lambda: self.rest.job(job_id)["state"] in TERMINAL, seconds, what)

    @staticmethod
    def _await(condition: Callable[[], object], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise JobError(f"flink: {what} took more than {seconds:.0f} s")
            time.sleep(0.05)

    # --- making it so ----------------------------------------------------------------------------

    def keep(self) -> None:
        """Make every wish true; called about once a second by the supervisor."""
        for source, run in self.all().items():
            if run["desired"] == "running" and run["state"] not in ("failed", "finished", "drained"):
                self.ensure(source)

    def ensure(self, source: str) -> Run:
        """Make sure that a source's run is running, exactly once; resubmit it where it is not.

        Raises:
            JobError: When Flink refuses it, or it failed for good.
        """
        with self.state.lock("jobs", timeout=120):
            run = self.get(source)
            if run["desired"] != "running":
                return run
            mine = sorted((j for j in self.rest.jobs() if j["name"] == self.name(run)), key=lambda j: j["start-time"])
            if mine:
                newest = mine[-1]
                if newest["state"] not in TERMINAL:
                    if run["state"] != "running" or run["job_id"] != newest["jid"]:
                        run = self._save(source, state="running", job_id=newest["jid"])
                    return run
                # stopped with a savepoint is FINISHED too
                if newest["state"] == "FINISHED" and source != LIVE and run["state"] != "stopped":
                    self._renew_resumed_by(source, False)
                    return self._save(source, state="finished", job_id=newest["jid"])
                if newest["state"] == "FAILED":
                    reason = self.rest.root_exception(newest["jid"])
                    failures = run["failures"] + (newest["jid"] == run["job_id"])
                    run = self._save(source, failures=failures, error=reason)
                    if failures >= _TRIES:
                        self._save(source, state="failed")
                        raise JobError(f"flink: the standard job on {source} failed: {reason}")
            return self._submit(run)

    def restore_point(self, run: Run) -> str | None:
        """The newest complete checkpoint or savepoint of a run."""
        found = list(self.folder(run).glob("*/*/_metadata"))
        newest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
        return newest.parent.as_uri() if newest else None

    def _submit(self, run: Run) -> Run:
        source = run["source"]
        parameters = JobParameters.from_json(run["parameters"])
        recorded = None if source == LIVE else source
        folder = self.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        restore = self.restore_point(run)
        for old in folder.iterdir():  # working sets of earlier jobs of this run
            if restore is None or f"/{old.name}/" not in restore:
                shutil.rmtree(old, ignore_errors=True)
        properties = session_properties(
            parameters,
            name=self.name(run),
            bounded=recorded is not None,
            checkpoints=folder.as_uri(),
            restore=restore,
            parallelism=run.get("parallelism"),
        )
        resumed_by = self._renew_resumed_by(source, bool(recorded and restore))
        *tables, job = [
            *catalog(
                topic=events_topic(recorded),
                bootstrap=self.addresses.kafka,
                group=group(source),
                bound_ms=parameters.bound_ms,
                # what a later import adds belongs to a later run
                ends={int(p): end for p, end in run["ends"].items()} if recorded else None,
                resumed_by=resumed_by,
            ),
            *standard(
                source=source,
                run=run["run"],
                bootstrap=self.addresses.kafka,
                topics=self.topics(source) | {"late": LATE, "rejected": REJECTED},
                parameters=parameters,
            ),
        ]
        with Session(self.addresses.url("gateway"), properties) as session:
            for statement in tables:
                session.configure(statement)
            job_id = session.submit(job)
        return self._save(source, state="running", job_id=job_id, restored=restore)

    def _renew_resumed_by(self, source: str, wanted: bool) -> str | None:
        """A new empty topic for a bounded job that goes on (see `catalog`); the earlier ones go."""
        topics, prefix = Topics(self.addresses.kafka), f"resume.{source}."
        if source != LIVE:
            topics.delete(name for name in topics.names() if name.startswith(prefix))
        if not wanted:
            return None
        topic = Topic(f"{prefix}{secrets.token_hex(4)}", 1)
        topics.ensure([topic])
        return topic.name

    # --- ending ----------------------------------------------------------------------------------

    def stop(self, source: str, *, drain: bool = False, keep_wish: bool = False) -> Run:
        """Stop a source's job with a savepoint, all results committed.

        Args:
            source: Whose.
            drain: Close every window first; then the run is over.
            keep_wish: The job is to be resumed when the stack is up again.

        Raises:
            JobError: When there is no job to stop, or draining fails.
        """
        with self.state.lock("jobs", timeout=120):
            run = self.get(source)
            if not keep_wish:
                run = self._save(source, desired="stopped")
            active = self.rest.active(self.name(run))
            if not active:
                if drain:
                    raise JobError(f"the standard job on {source} is not running: nothing to drain")
                return self._save(source, state=run["state"] if run["state"] in ("drained", "finished") else "stopped")
            job_id = active[0]
            folder = (self.folder(run) / "savepoints").as_uri()
            try:
                patience = 5 if keep_wish else 60  # a job that is recovering has its checkpoint
                self._await(lambda: self.rest.runs(job_id), patience, "waiting for the job")
                request = self.rest.stop(job_id, drain=drain, directory=folder)
                path = self._await_savepoint(job_id, request, 60)
                self._await_end(job_id, 30, "the stop")
            except JobError:
                if drain:
                    raise
                self.rest.cancel(job_id)  # the newest checkpoint is kept
                self._await_end(job_id, 30, "the cancel")
            if not drain:
                return self._save(source, state="stopped")
            metadata = Path(path.removeprefix("file:")) / "_metadata"
            offsets = read_offsets(metadata.read_bytes(), self._events(source))
            if not offsets:
                raise JobError(f"flink: the savepoint {path} does not say how far it has read")
            return self._save(source, state="drained", ends=offsets)

    def savepoint(self, source: str) -> str:
        """Take a savepoint of a running job; its path."""
        run = self.get(source)
        active = self.rest.active(self.name(run))
        if not active:
            raise JobError(f"the standard job on {source} is not running")
        request = self.rest.savepoint(active[0], (self.state.folder / "flink" / "savepoints").as_uri())
        return self._await_savepoint(active[0], request, 120)
