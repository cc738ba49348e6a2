"""A query's rows as a stream: each once, through reconnects, until it is stopped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rtap_lab.errors import SettingsError
from rtap_lab.lab.streams import RowStream
from rtap_lab.waiting import until


class Hub:
    """What a hub sends, put in by a test."""

    def __init__(self) -> None:
        self.sent: queue.Queue[list[dict[str, Any]]] = queue.Queue()

    def messages(self, ended: threading.Event) -> Iterator[dict[str, Any]]:
        while not ended.is_set():
            try:
                yield {"rows": self.sent.get(timeout=0.02)}
            except queue.Empty:
                continue


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"window_end": n, "n": n * 10} for n in numbers]


def test_each_row_comes_once_through_a_reconnect() -> None:
    hub, found = Hub(), list[int]()
    with RowStream("q", hub.messages, ["window_end"]) as stream:
        stream.map(lambda row: row["n"]).sink(found.append)
        stream.start()
        stream.start()
        for sent in (rows(1, 2), rows(3), rows(1, 2, 3, 4), [{"window_end": 4, "n": 41}]):
            hub.sent.put(sent)
        assert until(lambda: len(found) >= 5, 5)
    assert found == [10, 20, 30, 40, 41]
    assert not stream.running
    with pytest.raises(SettingsError, match="was stopped"):
        stream.start()


def test_without_history_it_begins_with_what_comes() -> None:
    hub, found = Hub(), list[int]()
    with RowStream("q", hub.messages, ["window_end"], history=False) as stream:
        stream.sink(lambda row: found.append(row["n"]))
        stream.start()
        hub.sent.put(rows(1, 2))
        hub.sent.put(rows(2, 3))
        assert until(lambda: found, 5)
    assert found == [30]


def test_a_pipeline_with_a_pace_and_windows() -> None:
    hub, found = Hub(), list[tuple[int, ...]]()
    with RowStream("q", hub.messages, ["window_end"]) as stream:
        stream.map(lambda row: row["n"]).sliding_window(2, return_partial=False).rate_limit(0.01).sink(found.append)
        stream.start()
        hub.sent.put(rows(1, 2, 3))
        assert until(lambda: len(found) == 2, 5)
    assert found == [(10, 20), (20, 30)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_sink_raises_is_kept() -> None:
    hub = Hub()
    stream = RowStream("q", hub.messages, ["window_end"])
    stream.sink(lambda row: row["nothing"])
    stream.start()
    hub.sent.put(rows(1))
    assert until(lambda: not stream.running, 5)
    assert isinstance(stream.error, KeyError)
