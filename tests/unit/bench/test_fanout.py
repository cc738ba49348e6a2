"""Fan-out, small: real sockets, a hub in a process of its own."""

from __future__ import annotations

import asyncio

from rtap_lab.bench.fanout import measure


def test_no_client_misses_a_row() -> None:
    found = measure(clients=45, hertz=25, seconds=1)
    assert (found.sent, found.received, found.missing, found.doubled, found.lost_clients) == (25, 45 * 25, 0, 0, 0)
    assert 0 < found.push_ms["p50"] <= found.push_ms["p99"] <= found.push_ms["max"]
    assert found.push_ms["n"] == 3 * 25, "three clients are timed"
    assert found.hub_cpu > 0


def test_it_measures_where_a_loop_runs_already_as_in_a_notebook() -> None:
    async def cell() -> int:
        return measure(clients=1, hertz=10, seconds=0.5).missing

    assert asyncio.run(cell()) == 0
