"""The checkpointer: rows of `exactly_once` jobs are committed by checkpoints, so it asks Flink for one as soon as a row waits.

Without it, Flink's own interval commits.
"""

from __future__ import annotations

import time

from rtap_lab.jobs.commits import Commits
from rtap_lab.jobs.documents import runs_document
from rtap_lab.jobs.model import Run
from rtap_lab.kafka.auditor import late_row
from rtap_lab.kafka.names import LATE, REJECTED
from rtap_lab.kafka.reader import TopicReader
from rtap_lab.services.process import ServiceProcess, own_service
from rtap_lab.services.site import Site
from rtap_lab.settings import LIVE
from rtap_lab.stack.service import Service

LOOK_S = 0.2
"""Seconds between two looks at the runs."""


def declare(site: Site) -> list[Service]:
    return [own_service(site, "checkpointer", depends=(*site.kafka_names, "jobmanager"))]


class _Follower:
    """Follows what the jobs write before it is committed."""

    def __init__(self, process: ServiceProcess) -> None:
        site = process.site
        self.stop = process.stop
        self.topics = site.topics_at_a_glance
        self.runs = runs_document(process.state)
        self.commits = Commits(site.flink.checkpoint, site.flink.is_checkpoint_complete)
        self.reader = TopicReader(site.endpoints.kafka, "rtap-checkpointer", committed=False)
        self.followed: dict[str, Run] = {}
        self.positions: dict[str, int] = {}
        self.of_topic: dict[str, str] = {}
        self.of_run: dict[str, str] = {}
        self.looked = 0.0
        self.wait = 0.0

    def step(self) -> None:
        if time.monotonic() - self.looked > LOOK_S:
            self._refresh()
            self.looked = time.monotonic()
        if not self.followed:
            self.stop.wait(LOOK_S)
            return
        arrived = self.reader.poll(min(self.wait, LOOK_S))
        self.positions.update(arrived.positions)
        for topic, _, value, _ in arrived.rows:
            job = self.of_topic.get(topic) or self._refused(value)
            if job:
                self.commits.came(job)
        self.wait = self.commits.step()

    def _refused(self, value: bytes) -> str | None:
        """The job that tells of a late or rejected record; the auditor's rows, which have its content, wait for nothing."""
        row = late_row(value)
        return self.of_run.get(row["run"]) if row and row.get("sha256") is None else None

    def _refresh(self) -> None:
        wanted = {
            key: run
            for key, run in self.runs.read().items()
            if run.source == LIVE
            and run.parameters.delivery == "exactly_once"
            and (run.desired, run.state) == ("running", "running")
            and run.job_id
        }
        if {key: run.job_id for key, run in wanted.items()} == {key: run.job_id for key, run in self.followed.items()}:
            return
        self.of_run = {run.run: str(run.job_id) for run in wanted.values()}
        self.of_topic = {topic: str(run.job_id) for run in wanted.values() for topic in run.topics.values()}
        topics = {*self.of_topic, LATE, REJECTED} if wanted else set()
        new = topics - self.positions.keys()
        ends = {topic: end for (topic, _), end in self.topics.ends(new).items()} if new else {}
        self.positions = {topic: self.positions.get(topic, ends.get(topic, 0)) for topic in topics}
        self.reader.follow(self.positions)
        self.commits.follow(self.of_run.values())
        self.followed = wanted


def main(process: ServiceProcess) -> None:
    """Ask for checkpoints, until the stop."""
    follower = _Follower(process)
    process.repeat(follower.step)
    follower.commits.finish(3)
    follower.reader.close()
