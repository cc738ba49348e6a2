"""A query's rows as a `streamz.Stream`: for small pipelines of one's own, in this process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from streamz import Stream

from rtap_lab.errors import SettingsError
from rtap_lab.lab.context import Context
from rtap_lab.lab.rows import Row
from rtap_lab.live.client import watch

REMEMBERED = 20_000
"""Rows that are recognized when the hub shows them again: after a long absence it begins with what it keeps."""


class RowStream(Stream):  # type: ignore[misc]
    """Emits each row of a query once, from a thread of its own, until `stop`.

    It begins with what the hub keeps, the newest 2,000 rows of a query, and after an absence goes on from where it was; an absence
    of more rows than that loses some. What a sink raises ends it, and is kept as `error`. Connect the pipeline first, then `start`:

        with lab.stream("page_views_1m") as rows:
            rows.map(lambda row: row["views"]).sliding_window(5).map(sum).sink(print)
            rows.start()
            time.sleep(60)

    Args:
        name: The query's.
        messages: Gives the hub's messages until its event is set.
        identity: The columns that make a row this row.
        history: Whether it begins with the rows that are there already.
    """

    def __init__(
        self,
        name: str,
        messages: Callable[[threading.Event], Iterator[dict[str, Any]]],
        identity: Sequence[str],
        *,
        history: bool = True,
    ) -> None:
        super().__init__(stream_name=name)
        self.error: Exception | None = None
        self._messages = messages
        self._identity = list(identity)
        self._history = history
        self._seen: OrderedDict[tuple[Any, ...], Row] = OrderedDict()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; while it runs, again changes nothing.

        Raises:
            SettingsError: When it was stopped: make another.
        """
        if self._ended.is_set():
            raise SettingsError(f"the stream of {self.name} was stopped", hint="lab.stream(…) makes another")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name=f"stream {self.name}")
            self._thread.start()

    def stop(self) -> None:
        """End; no row is emitted afterwards."""
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)

    @property
    def running(self) -> bool:
        """Whether rows may still come."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> RowStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self) -> None:
        first = not self._history
        try:
            for message in self._messages(self._ended):
                for row in message["rows"]:
                    if self._is_new(row) and not first:
                        if self._ended.is_set():
                            return
                        self.emit(row)
                first = False
        except Exception as error:  # whatever a sink raises: it is told, and ends this stream alone
            self.error = error
            raise

    def _is_new(self, row: Row) -> bool:
        of = tuple(row[name] for name in self._identity)
        known = self._seen.get(of)
        self._seen[of] = row
        self._seen.move_to_end(of)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return known != row


def stream(context: Context, name: str, source: str, *, history: bool) -> RowStream:
    """See `Lab.stream`."""
    query = context.query(name, source)

    def messages(ended: threading.Event) -> Iterator[dict[str, Any]]:
        return watch(context.endpoints.hub, [name], source=source, stop=ended)

    return RowStream(name, messages, query.schema.identity, history=history)
