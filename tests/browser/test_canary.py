"""What a visitor wrote is shown, never run: script in every field of events and in every name, in a real browser."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Page

from rtap_lab.events.times import instant_text
from rtap_lab.kafka.clients import producer
from rtap_lab.lab import Lab
from rtap_lab.queries.aggregates import count
from rtap_lab.queries.query import WindowQuery
from rtap_lab.queries.windows import TumbleWindow
from rtap_lab.recordings import slices

CANARIES = (
    "<img src=x onerror='globalThis.canary=1'>",
    "</script><script>globalThis.canary=1</script>",
    '"><svg onload=globalThis.canary=1>',
    "{{constructor.constructor('globalThis.canary=1')()}}",
    "javascript:globalThis.canary=1",
    "@page{safe}<iframe srcdoc='<script>parent.canary=1</script>'>",
    "=cmd|' /C calc'!A0",
    "\x1b]0;canary\x07\u202e",
)


def send(lab: Lab, seconds: float) -> None:
    """Events with a canary in every text, so that they show in every answer."""
    out = producer(lab.endpoints.kafka)
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        for canary in CANARIES:
            number += 1
            who = f"{canary} {number % 40}"
            event = {
                "event_id": f"{canary} {number} {time.time_ns()}",
                "event_type": ("page_view", "custom", "conversion")[number % 3],
                "event_time": instant_text(time.time_ns() // 1_000_000),
                "visitor_id": who,
                "name": (canary, "add_to_cart", "purchase")[number % 3] if number % 3 else canary,
                "session_id": canary,
                "page": f"/{canary}" if number % 2 else canary,
                "referrer": canary,
                "campaign": canary,
                "device": canary,
                "country": canary,
                "value": 1,
                "properties": {canary: canary},
            }
            out.produce("events", json.dumps(event).encode(), key=who.encode())
        out.produce("events", json.dumps({"event_id": CANARIES[0], "event_type": CANARIES[1]}).encode(), key=b"bad")
        out.poll(0)
        # 90 a second at most: as fast as it goes, a few visitors have so many events within a pattern's time that
        # MATCH_RECOGNIZE takes minutes for them
        time.sleep(0.1)
    assert out.flush(20) == 0


def run(page: Page) -> int:
    """How many canaries the page's scripts let sing."""
    inner = "Array.from({length: frames.length}, (_, n) => { try { return Number(frames[n].canary ?? 0) } catch { return 0 } })"
    return int(page.evaluate(f"(globalThis.canary ?? 0) + {inner}.reduce((a, b) => a + b, 0)"))


def test_no_canary_sings_in_dashboard_notebook_or_report(stack: Lab, page: Page, tmp_path: Path) -> None:
    from bokeh.embed import file_html

    from rtap_lab.dashboards.charts import chart_of

    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    stack.run("canaries", WindowQuery(TumbleWindow(5_000), {"views": count()}, {"page": "page"}), title=CANARIES[1])
    sender = threading.Thread(target=send, args=(stack, 30))
    sender.start()
    try:
        page.goto(stack.dashboard)
        page.wait_for_selector(".rtap-state[data-state=live]", timeout=120_000)
        for section in ("Overview", "Visits and funnel", "Patterns", "Pipeline", "My queries", "Events"):
            page.get_by_role("tab", name=section).click()
            page.wait_for_timeout(1_500)  # it is drawn
        page.locator(".tile tr.opens").locator("visible=true").first.click()  # all fields of an event
        page.locator("dialog.rtap-events").get_by_role("button", name="close").click()
        page.get_by_role("tab", name="My queries").click()
        shown = page.locator(".tile :text('canary')").locator("visible=true")  # the dashboard shows them, as text
        shown.first.wait_for(timeout=150_000)
        shown.first.click()  # and the events behind them
        page.locator("dialog.rtap-events").wait_for()
        page.wait_for_timeout(3_000)
    finally:
        sender.join()
    assert run(page) == 0
    page.goto("about:blank")  # a page that draws takes a core from the job that is verified

    report = stack.verify()
    assert report.exact, str(report)
    part = stack.record("live", "20s", name="canaries")
    about = replace(part.about, name=CANARIES[0], topic=CANARIES[1], digest=part.about.digest)
    slices.write(tmp_path / "evil.parquet", about, part.records())  # its texts come from whoever sent the file
    evil = stack.import_slice(tmp_path / "evil.parquet", name="evil")
    assert CANARIES[1] not in evil._repr_html_()
    frames = [stack.results(name) for name in ("page_views_1m", "sessions", "conversions_1m", "canaries")]
    assert any(frame.map(lambda value: "canary" in str(value)).any(axis=None) for frame in frames)
    looked = stack.frame("SELECT * FROM events_raw", seconds=10, rows=30)
    html = [each._repr_html_() for each in (stack, report, part, evil, *frames, looked)]
    chart = chart_of(None, stack.query("canaries").query, rows=stack.rows("canaries"))
    for name, text in (
        ("cells.html", f"<!doctype html><meta charset=utf-8>{''.join(html)}"),
        ("chart.html", file_html(chart.figure, title=CANARIES[1])),
    ):
        (tmp_path / name).write_text(text)
        page.goto((tmp_path / name).as_uri())
        page.wait_for_timeout(1_000)
        assert run(page) == 0, name
    for words in (str(report), str(stack.status()), *(str(p) for p in report.problems)):
        assert "\x1b" not in words, "nor does a terminal obey it"
    assert dialogs == []
    stack.remove_job("canaries")
    part.remove()
    evil.remove()
