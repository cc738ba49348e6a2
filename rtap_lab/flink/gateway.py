"""The SQL Gateway's REST API (v3): sessions, statements, pages of rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from rtap_lab.endpoints import Endpoint
from rtap_lab.errors import JobError, StatementError
from rtap_lab.flink.advice import advice
from rtap_lab.flink.rest import cause, verifying


@dataclass(frozen=True)
class Rows:
    """One page of a statement's result."""

    columns: list[str]
    types: list[str]
    """Of each column, as SQL names them: "BIGINT", "TIMESTAMP_LTZ"."""
    kinds: list[str]
    """Of each row: INSERT, UPDATE_BEFORE, UPDATE_AFTER or DELETE."""
    rows: list[list[Any]]
    job_id: str | None


class Session:
    """One session of the gateway; use it as a context manager.

    Args:
        gateway: Where the SQL Gateway is.
        properties: Flink configuration of all statements of this session.

    Raises:
        JobError: When the gateway does not answer.
    """

    def __init__(self, gateway: Endpoint, properties: Mapping[str, str] | None = None) -> None:
        self._http = httpx.Client(base_url=f"{gateway}/v3", timeout=120, trust_env=False, verify=verifying(gateway))
        body = {"properties": dict(properties or {})}
        self.handle = str(self._call("POST", "/sessions", json=body)["sessionHandle"])

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session; jobs it submitted go on."""
        try:
            self._call("DELETE", f"/sessions/{self.handle}")
        except JobError:
            pass  # the gateway is gone, and the session with it
        finally:
            self._http.close()

    def _call(self, method: str, path: str, sql: str = "", **arguments: Any) -> Any:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise _silent(error) from error
        if answer.is_error:
            why = cause(answer.text)
            raise StatementError(f"flink: {why}", sql=sql, hint=advice(why, sql), trace=answer.text)
        return answer.json()

    @staticmethod
    def end_of(gateway: Endpoint, handle: str) -> None:
        """End the session of somebody who is gone: what it had begun and not yet handed to the JobManager ends with it.

        Raises:
            JobError: When the gateway is there and does not answer.
        """
        with httpx.Client(base_url=f"{gateway}/v3", timeout=30, trust_env=False, verify=verifying(gateway)) as http:
            try:
                http.request("DELETE", f"/sessions/{handle}")  # one that is not known has ended
            except httpx.ConnectError:
                return  # its process is gone, and all sessions with it
            except httpx.HTTPError as error:
                raise _silent(error) from error

    def configure(self, sql: str) -> None:
        """Run a statement that starts no job: CREATE, USE, SET, DROP.

        Raises:
            StatementError: With Flink's reason.
        """
        body = {"statement": sql}
        self._call("POST", f"/sessions/{self.handle}/configure-session", sql, json=body)

    def start(self, sql: str) -> str:
        """Start a statement; its operation handle."""
        body = {"statement": sql}
        found = self._call("POST", f"/sessions/{self.handle}/statements", sql, json=body)
        return str(found["operationHandle"])

    def pages(self, operation: str, sql: str = "") -> Iterator[Rows | None]:
        """Yield the pages of a result, None while there is nothing new, until its end."""
        path = f"/sessions/{self.handle}/operations/{operation}/result/0"
        while True:
            found = self._call("GET", path, sql, params={"rowFormat": "JSON"})
            if found["resultType"] == "NOT_READY":
                yield None
                continue
            data = found["results"]
            yield Rows(
                [column["name"] for column in data["columns"]],
                [str(column["logicalType"]["type"]) for column in data["columns"]],
                [row["kind"] for row in data["data"]],
                [row["fields"] for row in data["data"]],
                found.get("jobID"),
            )
            following = found.get("nextResultUri")
            if not following or found["resultType"] == "EOS":
                return
            path = following.removeprefix("/v3")

    def complete(self, statement: str, position: int) -> list[str]:
        """What may stand at a place of a statement."""
        body = {"statement": statement, "position": position}
        found = self._call("GET", f"/sessions/{self.handle}/complete-statement", statement, json=body)
        return [str(each) for each in found["candidates"]]

    def submit(self, sql: str, *, timeout: float = 120) -> str:
        """Run a statement that submits a job; the job's id.

        Raises:
            StatementError: When Flink refuses it.
            JobError: When it takes too long.
        """
        operation = self.start(sql)
        deadline = time.monotonic() + timeout
        for page in self.pages(operation, sql):
            if page is not None and page.job_id:
                return page.job_id
            if page is not None and page.rows:
                return str(page.rows[0][0])
            if time.monotonic() > deadline:
                raise JobError(f"flink: a statement was not accepted within {timeout:.0f} s")
            time.sleep(0.05)
        raise JobError("flink: the statement started no job")

    def end(self, operation: str) -> None:
        """End a statement before its end; the gateway cancels the job behind it."""
        self._call("DELETE", f"/sessions/{self.handle}/operations/{operation}/close")


def _silent(error: httpx.HTTPError) -> JobError:
    words = f"flink: the SQL Gateway does not answer ({type(error).__name__})"
    return JobError(words, hint="`rtap status` shows it; it is restarted by itself")
