"""Flink's cluster REST API: the little of it that the lab needs."""

from __future__ import annotations

import re
import ssl
from functools import lru_cache
from typing import Any

import httpx

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import JobError
from rtap_lab.flink.properties import TERMINAL


def verifying(endpoint: Endpoint) -> ssl.SSLContext | bool:
    """What httpx takes to verify a service and to show our certificate to it."""
    return endpoint.tls.context() if endpoint.tls else True


@lru_cache(maxsize=8)
def _client(flink: Endpoint, patience_s: float) -> httpx.Client:
    """One connection pool for each JobManager of this process."""
    return httpx.Client(base_url=flink.address, timeout=patience_s, trust_env=False, verify=verifying(flink))


class FlinkRest:
    """A client of the JobManager.

    Args:
        flink: Where the JobManager's REST API is.
        patience_s: Seconds that an answer may take.
    """

    def __init__(self, flink: Endpoint, patience_s: float = 10.0) -> None:
        self._http = _client(flink, patience_s)

    def _call(self, method: str, path: str, *, accepted: int | None = None, **arguments: Any) -> Any:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise JobError(
                f"flink: the JobManager does not answer ({type(error).__name__})",
                hint="`rtap status` shows it; it is restarted by itself",
            ) from error
        if answer.is_error and answer.status_code != accepted:
            raise JobError(f"flink: {method} {path}: {answer.status_code} {cause(answer.text)}")
        return answer.json() if answer.content else None

    def slots(self, *, of: str | None = None, patience: float = 10) -> int:
        """How many task slots are registered, asked for so many seconds at most.

        Args:
            of: Only those of the TaskManager with this resource id: one that died stays registered for some seconds.
            patience: Seconds.
        """
        if of is None:
            return int(self._call("GET", "/overview", timeout=patience)["slots-total"])
        found = self._call("GET", "/taskmanagers", timeout=patience)["taskmanagers"]
        return sum(int(each["slotsNumber"]) for each in found if each["id"] == of)

    def free_slots(self) -> tuple[int, int]:
        """How many task slots no job has, and how many are registered."""
        found = self._call("GET", "/overview")
        return int(found["slots-available"]), int(found["slots-total"])

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs the JobManager knows: `jid`, `name`, `state`, `start-time` and more."""
        return list(self._call("GET", "/jobs/overview")["jobs"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self._call("GET", f"/jobs/{job_id}"))

    def active(self, name: str) -> list[str]:
        """The ids of the jobs of a name that have not ended."""
        return [j["jid"] for j in self.jobs() if j["name"] == name and j["state"] not in TERMINAL]

    def is_running(self, job_id: str) -> bool:
        """Whether every task of a job runs: only then can it take a checkpoint."""
        job = self.job(job_id)
        return job["state"] == "RUNNING" and all(v["status"] == "RUNNING" for v in job["vertices"])

    def root_exception(self, job_id: str) -> str:
        """The first line that says why a job failed."""
        return cause(self.trace(job_id))

    def trace(self, job_id: str) -> str:
        """The Java frames of a job's newest failure; empty when it had none."""
        found = self._call("GET", f"/jobs/{job_id}/exceptions")
        history = found.get("exceptionHistory", {}).get("entries", [])
        return str(history[0]["stacktrace"]) if history else ""

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        return dict(self._call("GET", f"/jobs/{job_id}/checkpoints"))

    def checkpoint(self, job_id: str) -> str:
        """Ask for a checkpoint now; the request's id."""
        return str(self._call("POST", f"/jobs/{job_id}/checkpoints", json={}, timeout=4)["request-id"])

    def is_checkpoint_complete(self, job_id: str, request: str) -> bool:
        """Whether a checkpoint that was asked for is there.

        Raises:
            JobError: When it failed, or the job knows nothing of it (any more).
        """
        found = self._call("GET", f"/jobs/{job_id}/checkpoints/{request}", timeout=4)
        if found["status"]["id"] != "COMPLETED":
            return False
        failure = found["operation"].get("failureCause")
        if failure:
            raise JobError(f"flink: the checkpoint failed: {cause(failure['stack-trace'])}")
        return True

    def records_read(self, job_id: str) -> int:
        """How many records the sources of a job have read so far, by their own count."""
        total = 0
        for vertex in self.job(job_id)["vertices"]:
            if not vertex["name"].startswith("Source:"):
                continue
            path = f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics"
            known = [str(each["id"]) for each in self._call("GET", path)]
            names = [name for name in known if name.startswith("Source__") and name.endswith(".numRecordsIn")]
            if names:
                found = self._call("GET", path, params={"get": ",".join(names), "agg": "sum"})
                total += sum(int(each["sum"]) for each in found)
        return total

    def watermark_ms(self, job_id: str) -> int | None:
        """The least watermark that a sink-side vertex has seen, milliseconds; None before the first."""
        least: int | None = None
        for vertex in self.job(job_id)["vertices"]:
            for each in self._call("GET", f"/jobs/{job_id}/vertices/{vertex['id']}/watermarks"):
                value = int(each["value"])
                if value > -(2**62):
                    least = value if least is None else min(least, value)
        return least

    def cancel(self, job_id: str) -> None:
        """End a job; one that has ended already is none to end (409), whatever was said of it: that may be seconds old."""
        self._call("PATCH", f"/jobs/{job_id}", params={"mode": "cancel"}, accepted=409)

    def stop(self, job_id: str, *, drain: bool, directory: str) -> str:
        """Ask for a stop with a savepoint; the request's id."""
        body = {"drain": drain, "targetDirectory": directory, "formatType": "NATIVE"}
        return str(self._call("POST", f"/jobs/{job_id}/stop", json=body)["request-id"])

    def savepoint(self, job_id: str, directory: str) -> str:
        """Ask for a savepoint while the job runs; the request's id."""
        body = {"target-directory": directory, "cancel-job": False, "formatType": "CANONICAL"}
        return str(self._call("POST", f"/jobs/{job_id}/savepoints", json=body)["request-id"])

    def savepoint_status(self, job_id: str, request: str) -> str | None:
        """The savepoint's path once it is there; None while it is made.

        Raises:
            JobError: When it failed.
        """
        found = self._call("GET", f"/jobs/{job_id}/savepoints/{request}")
        if found["status"]["id"] != "COMPLETED":
            return None
        failure = found["operation"].get("failure-cause")
        if failure:
            raise JobError(f"flink: the savepoint failed: {cause(failure['stack-trace'])}")
        return str(found["operation"]["location"])


_PLACE = re.compile(r"(?:From|At) line \d+, column \d+(?: to line \d+, column \d+)?: ")
_FRAME = re.compile(r"\n\s*(?:at |\.\.\. \d+ (?:more|common)|End of exception)")


def cause(trace: str) -> str:
    """The last cause of a Java trace, one line, without frames; before it the place in the SQL, if it is told."""
    trace = trace.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    texts = []
    for part in trace.split("Caused by: "):
        text = " ".join(_FRAME.split(part, maxsplit=1)[0].split())
        first, separator, rest = text.partition(": ")
        if separator and "." in first and " " not in first:  # the exception's class
            text = rest
        texts.append(text)
    place = next((m[0] for m in map(_PLACE.match, reversed(texts)) if m), "")
    said = texts[-1].partition(" Was expecting")[0]  # what follows is the whole grammar
    return (place + said.removeprefix(place))[:600]
