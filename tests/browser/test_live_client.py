"""The browser's client of the hub, and its reductions, in a real browser on a plain page; real sockets, no stack."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from rtap_lab.dashboards import reductions
from rtap_lab.live.access import issue
from rtap_lab.live.checksum import row_hash
from rtap_lab.live.protocol import MODULE, Events, History, Row
from rtap_lab.queries.schema import Schema
from tests.hubs import SECRET, HubThread

SCHEMA = Schema(keys={"page": "text"}, measures={"n": "integer", "worth": "number"})
SEED = 20261127
DASHBOARDS = Path(reductions.__file__).parent / "browser"


def row(n: int) -> Row:
    return {"window_start": f"t{n}", "window_end": f"t{n + 1}", "page": f"/é{n % 5}", "n": n, "worth": n / 7 or None}


def rows(*places: int) -> list[tuple[int, Row]]:
    return [(n, row(n)) for n in places]


@pytest.fixture
def hub() -> Iterator[HubThread]:
    def past(asked: History | Events) -> dict[str, Any]:
        if isinstance(asked, Events):
            return {"events": [{"event_id": "e", "page": asked.row["page"]}], "found": 1, "complete": True}
        return {"rows": [row(asked.begin_ms), row(asked.end_ms)], "more": True, "upto": 7}

    made = HubThread(SCHEMA, past)
    made.start()
    yield made
    made.stop()


def follow(page: Page, hub: HubThread, asked: str = '{channel: "a"}', *, age_s: float = 0) -> None:
    """A page of this machine that follows the hub: its own client, imported from it, with a token of so many seconds ago."""
    page.goto(f"http://127.0.0.1:{hub.port}{MODULE}")  # any page of this machine will do
    page.evaluate(
        f"""async ([url, token]) => {{
          const {{ connect }} = await import("{MODULE}");
          globalThis.seen = [];
          globalThis.words = [];
          globalThis.hub = connect(url, token);
          globalThis.stop = hub.follow({asked}, {{
            rows(change) {{ globalThis.all = change.all(); seen.push([change.kind, change.rows.map(row => row.n)]); }},
            state(word) {{ words.push(word); }},
          }});
        }}""",
        [f"ws://127.0.0.1:{hub.port}", issue(SECRET, time.time() - age_s)],
    )


def test_a_page_stays_in_step_through_a_hub_that_dies_and_comes_back(page: Page, hub: HubThread) -> None:
    hub.publish(*rows(1, 2, 3))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    follow(page, hub)
    page.wait_for_function("globalThis.all?.length === 3")
    hub.publish(*rows(5, 6))
    page.wait_for_function("globalThis.all.length === 5")
    hub.stop()
    page.wait_for_function("words.at(-1) === 'away'")
    hub.topic += [(8, row(8))]  # what came while nobody looked
    hub.start()
    page.wait_for_function("globalThis.all.length === 6")
    hub.publish(*rows(9))
    page.wait_for_function("globalThis.all.length === 7")
    seen = page.evaluate("seen")
    assert [kind for kind, _ in seen].count("snapshot") == 1, "it went on from where it was"
    assert [n for _, rows in seen for n in rows] == [1, 2, 3, 5, 6, 8, 9], "no gap, no double"
    assert page.evaluate("globalThis.all") == [each for _, each in hub.topic]
    hub.stop()
    hub.topic, hub.epoch = [(100, row(100))], "run 2"
    hub.start()
    page.wait_for_function("globalThis.all.length === 1")
    assert page.evaluate("[seen.at(-1)[0], words.at(-1)]") == ["snapshot", "live"]
    assert errors == []


def test_a_filter_the_newest_by_key_and_the_past(page: Page, hub: HubThread) -> None:
    hub.publish(*rows(*range(1, 30)))
    follow(page, hub, '{channel: "a", latest_by: ["page"], columns: ["n"], where: {page: "/é3"}}')
    page.wait_for_function("globalThis.all?.length === 1")
    assert page.evaluate("globalThis.all") == [{"page": "/é3", "n": 28}]
    past = page.evaluate("hub.history({channel: 'a', begin_ms: 3, end_ms: 4})")
    assert ([each["n"] for each in past["rows"]], past["more"]) == ([3, 4], True)
    behind = page.evaluate("hub.events({channel: 'a', row: {page: '/x'}})")
    assert (behind["events"], behind["found"]) == ([{"event_id": "e", "page": "/x"}], 1)
    page.evaluate("hub.follow({channel: 'zzz'}, {rows() {}, state(word, why) { globalThis.why = why; }})")
    page.wait_for_function("globalThis.why === 'no job answers this query'")


def test_the_browser_hashes_and_reduces_as_python_does(page: Page, hub: HubThread) -> None:
    print("seed", SEED)
    dice = random.Random(SEED)
    page.goto(f"http://127.0.0.1:{hub.port}{MODULE}")
    values = [None, True, False, 0, -1, 2**53, 0.1, 1e-7, 1e300, "", "é", "𝄞", "\n", "a\x00b"]
    rows = [{name: dice.choice(values) for name in "abc"} for _ in range(300)]
    hashes = page.evaluate(
        f"async (rows) => {{ const m = await import('{MODULE}'); return rows.map(row => m.rowHash(row, ['a', 'b', 'c'])); }}",
        rows,
    )
    assert hashes == [row_hash(each, ["a", "b", "c"]) for each in rows]
    source = (DASHBOARDS / "reductions.js").read_text()
    for _ in range(150):
        rows = [
            {
                "t": dice.choice([dice.randrange(40) * 1000, "2026-11-27T18:00:00.500Z"])
                if dice.random() < 0.1
                else at * 1000,
                "key": dice.choice([None, "", "a", "b", "ü", "𝄞", "￿", True, 2, 2.5]),
                "n": dice.choice([None, dice.randrange(100), dice.random()]),
                "m": dice.randrange(5),
            }
            for at in [dice.randrange(60) for _ in range(dice.randrange(50))]
        ]
        span = dice.choice([None, [10_000, 45_000], [10_300, 44_800], [20_100, 20_900]])
        keep = dice.choice([3, 1000])
        asked: list[tuple[str, dict[str, Any]]] = [
            ("series", {"x": "t", "ys": ["n", "m"], "step": dice.choice([0, 1000]), "keep": keep}),
            ("series", {"x": "t", "ys": ["a", "b"], "step": 0, "keep": keep, "split": "key", "y": "m"}),
            (
                "top",
                {
                    "x": "t",
                    "key": "key",
                    "value": dice.choice(["m", None]),
                    "keep": keep,
                    "newest": dice.random() < 0.5,
                },
            ),
            ("count", {"x": "t", "step": 1000, "keep": keep}),
            ("lines", {"x": "t", "y": "m", "by": "key", "most": 3, "step": dice.choice([0, 1000]), "keep": keep}),
            ("heat", {"x": "t", "y": "key", "value": "m", "keep": 4}),
            ("total", {"x": "t", "ys": ["n", "m"]}),
            ("newest", {"x": "t", "columns": ["t", "key", "n"], "keep": keep}),
        ]
        for name, options in asked:
            if name == "count" and any(isinstance(each["t"], str) for each in rows):
                continue  # from 1970 to today by seconds
            found = page.evaluate(
                f"([rows, options, span]) => {{ {source}; return JSON.stringify(reductions.{name}(rows, options, span)); }}",
                [rows, options, span],
            )
            expected = reductions.REDUCTIONS[name](rows, **options, span=tuple(span) if span else None)
            assert json.loads(found) == json.loads(json.dumps(_without_nan(expected))), (name, options, span, rows)
            if name == "series":
                below = page.evaluate(
                    f"([rows, options, span]) => {{ {source}; return JSON.stringify(reductions.filled(reductions.series(rows, options, span))); }}",
                    [rows, options, span],
                )
                assert json.loads(below) == json.loads(json.dumps(_without_nan(reductions.filled(expected))))


def _without_nan(value: Any) -> Any:
    """As JSON.stringify writes it."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def test_a_connection_that_died_without_a_word_is_noticed(page: Page, hub: HubThread) -> None:
    hub.publish(*rows(1, 2))
    page.clock.install()
    follow(page, hub)
    page.wait_for_function("globalThis.all?.length === 2")
    hangs = threading.Event()
    hub._loop.call_soon_threadsafe(hangs.wait)
    try:
        for _ in range(4):
            page.clock.fast_forward(6_000)
        assert page.evaluate("words.at(-1)") == "live", "it is asked first"
        for _ in range(3):
            page.clock.fast_forward(6_000)
        page.wait_for_function("words.at(-1) === 'away'")
    finally:
        hangs.set()
    hub.publish(*rows(3))
    for _ in range(5):
        page.clock.fast_forward(1_000)
        page.wait_for_timeout(200)
    page.wait_for_function("words.at(-1) === 'live' && globalThis.all.length === 3")


def test_a_page_gets_a_token_that_is_good_for_longer(page: Page, hub: HubThread) -> None:
    page.clock.install()
    follow(page, hub, age_s=60)
    page.wait_for_function("words.at(-1) === 'live'")
    before = page.evaluate("parseInt(globalThis.hub.token)")
    for _ in range(2):
        page.clock.fast_forward(1_830_000)
    page.wait_for_function(f"parseInt(globalThis.hub.token) > {before}")


STORY = [
    # minutes with purchases, how far the answers reach, views in the last minute, since when they stopped
    (range(1, 13), 12, 500, None),
    (range(1, 13), 13.9, 500, None),
    (range(1, 13), 14.1, 500, 12),
    (range(1, 13), 14.1, 3, None),
    (range(10, 13), 14.1, 500, 12),
    (range(1, 13), 90, 500, 12),
    ([], 14, 500, None),
]


@pytest.mark.parametrize(("minutes", "now", "views", "since"), STORY)
def test_what_stopped_is_told_and_only_that(
    page: Page, hub: HubThread, minutes: range, now: float, views: int, since: int | None
) -> None:
    page.goto(f"http://127.0.0.1:{hub.port}{MODULE}")
    shared = (DASHBOARDS / "reductions.js").read_text()
    cards = (DASHBOARDS / "cards.js").read_text().replace("export ", "")
    sold = [{"window_end": minute * 60_000, "conversions": 10} for minute in minutes]
    found = page.evaluate(
        f"([traffic, sold, now]) => {{ {shared}; {cards}; return stopped(traffic, sold, now); }}",
        [[{"window_end": round(now * 60_000), "views": views}], sold, round(now * 60_000)],
    )
    assert (found and found["since"] // 60_000) == since
    if found:
        assert found["usual"] == pytest.approx(10)
