"""The live path on the stack: the past from the store, and a client through a hub's death."""

from __future__ import annotations

import signal
import threading
from typing import Any

from rtap_lab.lab import Lab
from rtap_lab.live.client import ask, snapshots
from rtap_lab.live.protocol import History
from rtap_lab.queries.standard import standard_queries
from rtap_lab.stack.supervisor import find_services
from rtap_lab.waiting import until


def test_the_past_is_the_stores_rows_of_a_range_and_joins_the_live_ones(stack: Lab) -> None:
    stack.simulate(rate=40, seconds=15, seed=41)
    for name in ("page_views_1m", "cart_to_purchase", "checkout_abandoned"):
        run = stack.runs()["standard/live"]
        schema = next(query for query in run.queries if query.name == name).schema
        rows = [schema.normal(row) for row in stack.rows(name)]
        times = sorted({schema.point_time_ms(row) for row in rows})
        assert times, name
        begin, end = times[0], times[-1] + 1
        found = ask(stack.endpoints.hub, History(name, begin, end))
        past = [schema.normal(row) for row in found["rows"]]
        assert [row for row in rows if row not in past] == [], name
        later = [row for row in past if row not in rows]
        assert all(schema.point_time_ms(row) == times[-1] for row in later), (
            "but for one of the same moment that just came"
        )
        assert not found["more"]
        newest = ask(stack.endpoints.hub, History(name, begin, end, limit=1))
        assert newest["more"] is (len(rows) > 1)
        assert schema.point_time_ms(schema.normal(newest["rows"][0])) == times[-1]
        shown = [schema.normal(row) for row in snapshots(stack.endpoints.hub, [name], "live")[name]]
        assert rows[-1] in shown, "what the store has, clients were shown"


def test_a_client_goes_on_where_it_was_after_the_hub_was_killed(stack: Lab) -> None:
    names, stop = [query.name for query in standard_queries()], threading.Event()
    shop = threading.Thread(target=stack.simulate, kwargs={"rate": 40, "seconds": 45, "seed": 42})
    collected: list[dict[str, Any]] = []

    def collect() -> None:
        for message in stack.watch(*names, stop=stop):
            collected.append(message)

    reader = threading.Thread(target=collect)
    reader.start()
    shop.start()
    try:
        until(lambda: len(collected) > len(names) + 2, 60, lambda: AssertionError("nothing came"))
        before = len(collected)
        assert find_services(stack.state.folder)["hub"].signal(signal.SIGKILL)
        until(lambda: stack.status()["ok"], 60, lambda: AssertionError(str(stack.status()["problems"])))
        until(lambda: len(collected) > before + 3, 60, lambda: AssertionError("nothing came any more"))
    finally:
        stop.set()
        shop.join()
        reader.join()
    snaps = [message for message in collected if message["type"] == "snapshot"]
    assert len(snaps) == len(names), "it went on from where it was: no second snapshot"
    for name in names:
        places = [seq for message in collected if message["channel"] == name for seq in message["seqs"]]
        assert places == sorted(set(places)), f"{name}: a step back, or a row twice"
    verified = stack.verify()
    assert verified.exact, str(verified)
