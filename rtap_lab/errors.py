"""The exception tree; the two leaves of queries are defined there.

Every message says what, where, and what to do; every class whether it may pass by itself.

RtapLabError
  SettingsError            a setting or option has no usable value (exit 2)
    UnknownMethodError     a builder has no such method (an AttributeError, too)
    NoDefinitionError      SQL text that is no window or pattern of the builders
  ComponentError           a jar, wheel or binary is missing or not the pinned one
  ServiceError             a service of the stack does not run
    ServiceNotReadyError   it did not become ready in time
    NotRunningError        nothing is up in this state folder
  JobError                 Flink refused, lost or failed a job
    StatementError         Flink refused a SQL statement
  SourceError              a recorded source is missing, or an input file cannot be read
  StoreError               the store refused or does not answer
  LiveError                the live hub refused or does not answer
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

_PLACE = re.compile(r"\bline (\d+), column (\d+)")


class RtapLabError(Exception):
    """Base of all errors of this package.

    Args:
        message: What went wrong, and where.
        hint: What to do about it; shown on a line of its own.
    """

    temporary: ClassVar[bool] = False
    """Whether trying again later may work: a peer is away, a disk is full. Else it stays until somebody acts."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines instead of a stack of frames."""
        return [f"{type(self).__name__}: {self}"]


class SettingsError(RtapLabError):
    """A setting or option has no usable value."""


class ComponentError(RtapLabError):
    """A jar, wheel or binary is missing, or its bytes are not the pinned ones."""


class ServiceError(RtapLabError):
    """A service of the stack does not run.

    Args:
        message: What went wrong.
        service: The service's name.
        log_tail: The last lines of its log.
        hint: What to do.
    """

    temporary = True

    def __init__(
        self, message: str, *, service: str = "", log_tail: Sequence[str] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.service = service
        self.log_tail = tuple(log_tail)

    def __str__(self) -> str:
        lines = [self.message]
        if self.log_tail:
            lines.append(f"  last lines of {self.service}'s log:")
            lines += [f"  | {line}" for line in self.log_tail]
        if self.hint:
            lines.append(f"  -> {self.hint}")
        return "\n".join(lines)


class ServiceNotReadyError(ServiceError):
    """A service did not become ready in time."""


class NotRunningError(ServiceError):
    """Nothing is up in this state folder."""


class JobError(RtapLabError):
    """Flink refused, lost or failed a job, or does not answer."""

    temporary = True


class StatementError(JobError):
    """Flink refused a SQL statement.

    Args:
        message: Flink's root cause, without its Java frames.
        sql: The statement.
        hint: What to do.
        trace: Its Java frames.
    """

    temporary = False

    def __init__(self, message: str, *, sql: str = "", hint: str | None = None, trace: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sql = sql
        self.trace = trace

    def __str__(self) -> str:
        """What, where (with a caret under it), and what to do: five lines at most."""
        lines = [*self.message.splitlines()[:2], *self._where()]
        return "\n".join([*lines, f"  -> {self.hint}"] if self.hint else lines)

    def _where(self) -> list[str]:
        place = _PLACE.search(self.message) or _PLACE.search(self.trace)
        text = self.sql.splitlines()
        if not place or not 1 <= int(place[1]) <= len(text):
            return []
        column = int(place[2]) - 1
        begin = max(0, column - 60)  # a long line is shown around the place
        return [f"  {text[int(place[1]) - 1][begin : begin + 100]}", f"  {' ' * (column - begin)}^"]


class SourceError(RtapLabError):
    """A recorded source is missing, or an input file cannot be read."""


class RowError(RtapLabError):
    """What is in a result topic is no row of its query: somebody else wrote it."""


class StoreError(RtapLabError):
    """The store refused a write or a query, or does not answer."""

    temporary = True


class LiveError(RtapLabError):
    """The live hub refused a request or does not answer."""

    temporary = True
