"""The dashboard and charts in a real browser, over a real hub and rows of the reference engine: what can be seen and done.

The stack is not needed: `test_dashboard` shows the same on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import panel as pn
import pytest
from playwright.sync_api import Page, WebSocket, expect

from rtap_lab.dashboards import app
from rtap_lab.dashboards.charts import LiveChart, event_feed
from rtap_lab.dashboards.control import routes
from rtap_lab.events.times import instant_ms, instant_text
from rtap_lab.queries.audience import AUDIENCE, FUNNEL
from rtap_lab.queries.builders import begin, count, field, tumble
from rtap_lab.queries.query import Query, query
from rtap_lab.queries.watchlist import BOTS
from rtap_lab.stack.process import free_port, listens
from rtap_lab.waiting import until
from tests.hubs import ShopHub
from tests.pages import shot


class Controls:
    """Facts that are told, and what was asked for."""

    def __init__(self, own: list[Query]) -> None:
        self.own = own
        self.asked: list[Any] = []
        self.working: list[str] = []
        self.acts = {"verify": self.verify, "keep_verifying": self.keep_verifying, "job_run": self.job_run}

    def verify(self) -> str:
        self.asked.append("verify")
        return "begun"

    def keep_verifying(self, on: bool) -> str:
        self.asked.append(("keep verifying", on))
        if on:
            self.working.append("keep verifying")
        else:
            self.working.remove("keep verifying")
        return "begun" if on else "stopped"

    def job_run(self, name: str) -> str:
        self.asked.append(name)
        self.working.append(f"run {name}")
        return "begun"

    def queries(self) -> list[Query]:
        return self.own

    def facts(self) -> dict[str, Any]:
        ledger = {"read": 1200, "counted": 1100, "duplicate": 20, "late": 30, "rejected": 50}
        verdict = {"exact": True, "upto_ms": 1_800_000_000_000, "ledger": ledger, "differences": {}, "problems": []}
        job = {"name": "standard", "source": "live", "state": "RUNNING", "watermark": "2026-11-27T10:00:00.000Z"}
        job |= {
            "lag": 3,
            "checkpoint_age_s": 1.5,
            "late_share": 0.01,
            "rejected_share": 0.02,
            "error": None,
            "note": None,
        }
        service = {"name": "kafka", "state": "ready", "rss_mb": 300.0, "uptime_s": 60, "restarts": 0, "detail": ""}
        return {
            "ok": True,
            "problems": [],
            "services": [service],
            "jobs": [job],
            "not_running": ["watchlist"],
            "simulator": None,
            "scenarios": ["brisk", "steady"],
            "verdicts": {"standard/live": verdict},
            "left_out": {"rejected: parse": 7, "late: late": 3},
            "working": self.working,
            "ended": {},
        }


OWN = [
    query("views_by_device", tumble("1m").by("device").agg(n=count()), title="Views by device"),
    query(
        "never",
        begin("a", field("name") == "no such thing")
        .followed_by("b", field("name") == "nor this")
        .within("30s")
        .by("visitor_id"),
    ),
]
"""Queries of one's own; the second one has no row."""


class Site:
    """A hub and a Panel server of our own process.

    Args:
        shop: The hub.
        pages: What is served, by name.
    """

    def __init__(self, shop: ShopHub) -> None:
        self.shop, self.control, self.port = shop, Controls(OWN), free_port()
        hub, queries = shop.endpoint, shop.queries

        def charts() -> pn.viewable.Viewable:
            pages, traffic = LiveChart(hub, queries["page_views_1m"]), LiveChart(hub, queries["traffic_hop"])
            audience = LiveChart(hub, queries[AUDIENCE])
            return pn.Column(
                pages.line("window_end", "views", by="page"),
                traffic.area(),
                pages.bars(),
                pages.heat(),
                audience.map(),
                LiveChart(hub, queries["checkout_abandoned"]).count("1m"),
                traffic.number(),
                LiveChart(hub, queries[FUNNEL]).funnel(),
                LiveChart(hub, queries["cart_to_purchase"]).table(),
                traffic.line().overlay("2min"),
                traffic.line().overlay(source="again"),
                traffic.number().overlay("2min"),
                traffic.number().overlay(source="again"),
                event_feed(hub, keep=5),
            )

        def first() -> pn.viewable.Viewable:
            """Charts with the rows that came with the page, as a report holds them."""
            rows = shop.rows["traffic_hop"][-50:]
            traffic = LiveChart(hub, queries["traffic_hop"], rows=rows)
            bought = LiveChart(hub, queries["cart_to_purchase"], rows=shop.rows["cart_to_purchase"][-20:])
            return pn.Column(traffic.area(), traffic.number(), bought.table())

        self.server = pn.serve(
            {"app": lambda: app.page(hub), "charts": charts, "first": first},
            port=self.port,
            address="127.0.0.1",
            threaded=True,
            show=False,
            verbose=False,
            extra_patterns=routes(self.control),
        )

    def open(self, page: Page, name: str = "app", words: str = "") -> None:
        page.goto("about:blank")
        page.goto(f"http://127.0.0.1:{self.port}/{name}{words}")
        page.wait_for_selector(".rtap-state[data-state=live]", state="attached", timeout=60_000)


@pytest.fixture(scope="module")
def site(page: Page) -> Iterator[Site]:
    # the outage begins at second 300: whatever the clock says, two whole minutes of it have ended
    shop = ShopHub("checkout_outage", 535, left_out=[BOTS], ahead_s=900, own=OWN)
    shop.start()
    made = Site(shop)

    until(lambda: listens(made.port), 30, lambda: AssertionError("panel does not listen"))
    yield made
    page.goto("about:blank")
    made.server.stop()
    shop.stop()


def tile(page: Page, label: str) -> Any:
    """A card by how its title begins."""
    title = page.locator("h3, .label, span").filter(has_text=re.compile(f"^{label}"))
    return page.locator(".tile").filter(has=title).first


def total(rows: list[dict[str, Any]], name: str) -> int:
    return sum(row[name] for row in rows)


def test_a_stranger_sees_what_stopped_and_all_sections_show_what_the_rows_say(
    site: Site, page: Page, errors: list[str], foreign: list[str]
) -> None:
    site.open(page)
    story = page.locator(".story")
    expect(story).to_contain_text("No purchase since", timeout=15_000)
    expect(story).to_contain_text("Traffic goes on")
    expect(page.locator(".rtap-proof").first).to_contain_text("✓ verified to")
    rows = site.shop.rows
    page.get_by_role("button", name="15 min", exact=True).click()
    countries: dict[str, int] = {}
    for row in rows[AUDIENCE]:
        countries[row["country"]] = countries.get(row["country"], 0) + row["views"]
    best = max(countries, key=lambda name: countries[name])
    expect(tile(page, "Countries").locator("tr").nth(1)).to_contain_text(f"{best}{countries[best]:,}", timeout=15_000)
    shot(page, "overview", settled_ms=1_500)
    page.get_by_role("tab", name="Visits and funnel").click()
    landing = tile(page, "Visitors by step").locator(".step").first
    expect(landing).to_contain_text(f"{total(rows[FUNNEL], 'landing'):,}", timeout=15_000)
    shot(page, "funnel", settled_ms=1_500)
    page.get_by_role("tab", name="Patterns").click()
    shown = tile(page, "Purchases after an add to cart").locator("tr.opens")
    expect(shown.first).to_be_visible(timeout=15_000)
    shot(page, "patterns", settled_ms=1_500)
    page.get_by_role("tab", name="My queries").click()
    expect(tile(page, "views_by_device")).to_contain_text("✓ verified", timeout=15_000)
    titles = [title for title, lengths in drawn(page) if lengths and min(lengths)]
    assert any(title.startswith("Views by device") for title in titles), titles
    none = tile(page, "never").locator(".fresh")
    expect(none).to_contain_text("the first one can be there at")
    expect(none).to_contain_text(re.compile(r"none to \d\d:\d\d:\d\d UTC"), timeout=10_000)
    shot(page, "own", settled_ms=1_500)
    assert "tab=4" in page.url, "a section can be shared"
    assert errors == []
    assert foreign == []


def test_filters_act_on_what_knows_the_column_and_the_rest_says_so(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=900000")
    country = next(row["country"] for row in site.shop.rows[AUDIENCE] if row["country"])
    of_country = [row for row in site.shop.rows[AUDIENCE] if row["country"] == country]
    page.get_by_role("button", name=country, exact=True).click()
    assert f"country={country}" in page.url
    bought = tile(page, "Purchases").locator(".value")
    expect(bought).to_have_text(f"{total(of_country, 'purchases'):,}", timeout=15_000)
    expect(tile(page, "Visitors in the last minute").locator(".change")).to_have_text("of every country")
    devices: dict[str, int] = {}
    for row in of_country:
        devices[row["device"]] = devices.get(row["device"], 0) + row["views"]
    best = max(devices, key=lambda name: devices[name])
    expect(tile(page, "Devices").locator("tr").nth(1)).to_contain_text(f"{best}{devices[best]:,}")
    expect(page.get_by_text("of every country").first).to_be_visible()
    page.get_by_title("no filter").click()
    assert "country=" not in page.url
    everybody = [row for row in site.shop.rows["conversions_1m"] if row["goal"] == "purchase"]
    expect(bought).to_have_text(f"{total(everybody, 'conversions'):,}", timeout=15_000)
    assert errors == []


def test_a_page_narrows_the_traffic_too(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=900000")
    rows = site.shop.rows["page_views_1m"]
    best = max({row["page"] for row in rows}, key=lambda name: total([r for r in rows if r["page"] == name], "views"))
    page.get_by_role("button", name=best, exact=True).click(timeout=15_000)
    newest = max(row["window_end"] for row in rows)
    shown = total([row for row in rows if row["page"] == best and row["window_end"] == newest], "views")
    views = tile(page, "Views in the last minute")
    expect(views.locator(".value")).to_have_text(f"{shown:,}", timeout=15_000)
    expect(views.locator(".change")).not_to_contain_text("of every page")
    expect(tile(page, "Visitors in the last minute").locator(".change")).to_have_text("of every page")
    page.get_by_title("no filter").click()
    assert errors == []


def test_big_numbers_say_how_they_changed_and_that_they_are_proven(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=300000")
    for label in ("Visitors in the last minute", "Purchases", "Purchases per visit", "Carts left behind"):
        expect(tile(page, label).locator(".label span")).to_have_text("✓", timeout=15_000)
        expect(tile(page, label).locator(".label span")).to_have_attribute("title", re.compile("✓ verified to"))
    expect(tile(page, "Visitors in the last minute").locator(".change")).to_contain_text(
        re.compile(r"[▲▼] [\d,]+ % against the mean of the 5 min before")
    )
    expect(tile(page, "Purchases").locator(".change")).to_contain_text(re.compile(r"▼ \d+ % against the 5 min before"))
    page.get_by_role("button", name="15 min", exact=True).click()
    bought = [row for row in site.shop.rows["conversions_1m"] if row["goal"] == "purchase"]
    sold, visits = total(bought, "conversions"), len(site.shop.rows["sessions"])
    rate = tile(page, "Purchases per visit")
    expect(rate.locator(".change")).to_contain_text(f"{sold:,} of {visits:,}", timeout=15_000)
    expect(rate.locator(".value")).to_have_text(f"{100 * sold / visits:.1f} %")
    assert errors == []


def test_it_can_be_rewound_and_comes_back(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=300000")
    expect(page.locator(".story")).to_be_visible(timeout=15_000)
    earlier = page.get_by_title("earlier", exact=True).first
    earlier.click()
    earlier.click()
    assert "end=" in page.url
    expect(page.locator(".rtap-state").first).to_contain_text("shown to")
    bought = tile(page, "Purchases").locator(".value")
    end_ms = int(page.url.split("end=")[1].split("&")[0])
    before = sum(
        row["conversions"]
        for row in site.shop.rows["conversions_1m"]
        if row["goal"] == "purchase" and end_ms - 300_000 < page_ms(page, row["window_end"]) <= end_ms
    )
    expect(bought).to_have_text(f"{before:,}", timeout=15_000)
    page.get_by_title("back to now").first.click()
    assert "end=" not in page.url
    assert errors == []


def test_a_zoom_into_one_chart_moves_the_whole_page_and_live_goes_back(
    site: Site, page: Page, errors: list[str]
) -> None:
    site.open(page, words="#range=900000")
    figures = ["Traffic: views and visitors of the last minute", "Conversions by the minute"]
    until(
        lambda: waited(page) and all(x_range(page, title) for title in figures),
        20,
        lambda: AssertionError("no figures"),
    )
    whole = x_range(page, figures[0])
    bought = tile(page, "Purchases").locator(".value")
    expect(bought).to_have_text(re.compile(r"\d"), timeout=15_000)
    chart = page.locator(".bk-Figure").first.bounding_box()
    assert chart is not None
    y = chart["y"] + chart["height"] / 2
    page.mouse.move(chart["x"] + chart["width"] * 0.7, y)
    page.mouse.down()
    page.mouse.move(
        chart["x"] + chart["width"] * 0.5, y, steps=5
    )  # the whole is dragged to the left: later times go out of sight
    page.mouse.up()
    page.wait_for_function("new URLSearchParams(location.hash.slice(1)).has('end')", timeout=10_000)
    until(
        lambda: waited(page) and x_range(page, figures[1]) == x_range(page, figures[0]) != whole,
        20,
        lambda: AssertionError(f"{[x_range(page, title) for title in figures]}, {whole}"),
    )
    begin_ms, end_ms = x_range(page, figures[0])
    before = sum(
        row["conversions"]
        for row in site.shop.rows["conversions_1m"]
        if row["goal"] == "purchase" and begin_ms <= page_ms(page, row["window_end"]) < end_ms
    )
    expect(bought).to_have_text(f"{before:,}", timeout=15_000)
    page.get_by_title("back to now").first.click()
    assert "end=" not in page.url
    until(lambda: waited(page) and x_range(page, figures[1]) == whole, 20, lambda: AssertionError("it stays zoomed"))
    page.get_by_title("stop here, all of the page").click()
    assert "end=" in page.url
    page.get_by_title("back to now").first.click()
    assert errors == []


def test_a_zoom_moves_a_page_without_a_range_too(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, "charts")
    area = "Views and visitors of the last minute, every 10 s"
    until(lambda: waited(page) and len(x_range(page, area)) >= 2, 20, lambda: AssertionError("no figure"))
    whole = x_range(page, area)
    chart = page.locator(".bk-Figure").nth(1).bounding_box()
    assert chart is not None
    y = chart["y"] + chart["height"] / 2
    page.mouse.move(chart["x"] + chart["width"] * 0.7, y)
    page.mouse.down()
    page.mouse.move(chart["x"] + chart["width"] * 0.5, y, steps=5)
    page.mouse.up()
    page.wait_for_function("new URLSearchParams(location.hash.slice(1)).has('end')", timeout=10_000)
    shown = x_range(page, area)
    assert shown[:2] != whole[:2]
    minutes = "Adds to cart that led to nothing, by 60 s"
    until(
        lambda: waited(page) and abs(x_range(page, minutes)[0] - shown[0]) < 61_000,
        20,
        lambda: AssertionError(f"{x_range(page, minutes)}, {shown}"),
    )
    page.get_by_title("back to now").nth(1).click()
    assert "end=" not in page.url
    assert "range=" not in page.url, "all that is held is shown again"
    until(lambda: waited(page) and x_range(page, area)[0] <= whole[0], 20, lambda: AssertionError("it stays zoomed"))
    assert errors == []


def x_range(page: Page, title: str) -> list[float]:
    """What a figure shows, [begin, end) in milliseconds; empty before it is there."""
    script = """title => Bokeh.documents.flatMap(d => [...d._all_models.values()].filter(m => m.type === 'Figure' && m.title.text === title)
      .map(m => [m.x_range.start, m.x_range.end])).flat().filter(Number.isFinite)"""
    found: list[float] = page.evaluate(script, title)
    return found


def test_events_are_seen_as_they_arrive_and_not_while_it_is_rewound(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=900000&tab=5")
    feed = tile(page, "Events as they arrive")
    expect(feed.locator("tr.opens")).to_have_count(30, timeout=15_000)
    expect(feed).to_contain_text("40 ms")
    country = site.shop.events[-1].country
    newest = feed.locator("tr.opens").first
    expect(newest).to_contain_text(site.shop.events[-1].visitor_id)
    newest.click()
    dialog = page.locator("dialog.rtap-events")
    expect(dialog).to_contain_text(site.shop.events[-1].event_id)
    shot(page, "feed", settled_ms=1_500)
    page.get_by_role("button", name="close").click()
    page.evaluate("name => globalThis.__rtapPage.filter('country', name)", country)
    expect(feed.locator("tr.opens").first.locator("td").nth(5)).to_have_text(str(country))
    page.get_by_title("no filter").click()
    page.get_by_title("earlier", exact=True).first.click()
    expect(feed).to_contain_text("stopped: the page does not show now")
    page.get_by_title("back to now").first.click()
    expect(feed).to_contain_text("the newest came at")
    assert errors == []


def test_the_pipeline_says_where_the_time_goes(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=900000&tab=3")
    line = tile(page, "Answers").locator("tr").filter(has_text="page_views_1m")
    expect(line).to_contain_text("final to", timeout=15_000)
    end_ms = site.shop.now_ms + 60_000
    row = site.shop.rows["page_views_1m"][-1] | {
        "window_start": instant_text(end_ms - 60_000),
        "window_end": instant_text(end_ms),
    }
    site.shop.publish("page_views_1m", [row], appended_ms=end_ms + 5_123, received_ms=end_ms + 5_130)
    expect(line.locator("td").nth(3)).to_have_text("123, 123 ms", timeout=15_000)
    expect(line.locator("td").nth(4)).to_have_text("7, 7 ms")
    shot(page, "pipeline_stages", settled_ms=1_500)
    assert errors == []


def page_ms(page: Page, instant: str) -> int:
    return int(page.evaluate("text => Date.parse(text)", instant))


def test_a_row_opens_the_events_behind_it_by_mouse_and_keyboard(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=900000&tab=2")
    row = tile(page, "Purchases after an add to cart").locator("tr.opens").first
    row.click(timeout=15_000)
    dialog = page.locator("dialog.rtap-events")
    expect(dialog).to_contain_text("counted events")
    expect(dialog).to_contain_text("add_to_cart")
    expect(dialog).to_contain_text("purchase")
    shot(page, "events", settled_ms=1_500)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    row.focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog.rtap-events")).to_contain_text("counted events")
    page.get_by_role("button", name="close").click()
    assert errors == []


def test_the_pipeline_shows_the_ledger_and_does_what_it_is_told(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=900000&tab=3")
    ledger = tile(page, "Every number recomputed")
    expect(ledger).to_contain_text("1,200", timeout=15_000)
    expect(ledger).to_contain_text("✓ exact")
    expect(ledger).to_contain_text("rejected: parse7")
    ledger.get_by_role("button", name="verify now").click()
    expect(ledger).to_contain_text("begun")
    ledger.get_by_role("button", name="verify every minute").click()
    ledger.get_by_role("button", name="stop verifying").click()
    expect(ledger.get_by_role("button", name="verify every minute")).to_be_visible()
    tile(page, "Jobs").get_by_role("button", name="run watchlist").click()
    expect(tile(page, "Jobs")).to_contain_text("begun")
    page.get_by_role("tab", name="Patterns").click()
    expect(tile(page, "Bots, failed logins and rage clicks are on their way")).to_be_visible(timeout=15_000)
    assert site.control.asked == ["verify", ("keep verifying", True), ("keep verifying", False), "watchlist"]
    assert errors == []


def test_nothing_looks_alive_while_the_hub_is_away(site: Site, page: Page) -> None:
    site.open(page)  # what the console says of connections that fail is no error of ours
    chart, number = page.locator(".rtap-state").first, tile(page, "Visitors in the last minute")
    expect(number).not_to_have_class(re.compile("stale"), timeout=15_000)
    site.shop.away()
    try:
        expect(chart).to_contain_text(re.compile(r"stale since \d\d:\d\d:\d\d UTC"), timeout=20_000)
        expect(chart).to_have_attribute("data-state", "away")
        expect(number).to_have_class(re.compile("stale"))
        expect(page.locator(".story")).to_be_hidden()
        shot(page, "away", settled_ms=1_500)
    finally:
        site.shop.back()
    expect(chart).to_have_attribute("data-state", "live", timeout=30_000)
    expect(number).not_to_have_class(re.compile("stale"))
    expect(page.locator(".story")).to_be_visible(timeout=15_000)


def test_a_chart_that_is_paused_stands_still(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, "charts")
    until(
        lambda: waited(page) and all(lengths and min(lengths) > 0 for _, lengths in drawn(page)),
        20,
        lambda: AssertionError(str(drawn(page))),
    )
    pause = page.get_by_title("stop and go on").nth(1)  # of the area
    pause.click()
    expect(pause).to_have_text("go on")
    expect(page.locator(".rtap-state").nth(1)).to_contain_text("paused")
    before = drawn(page)
    page.get_by_title("earlier", exact=True).nth(1).click()
    until(lambda: waited(page) and drawn(page)[2:] != before[2:], 20, lambda: AssertionError("the others go on"))
    assert drawn(page)[1] == before[1]
    pause.click()
    until(lambda: waited(page) and drawn(page)[1] != before[1], 20, lambda: AssertionError("it does not go on"))
    page.get_by_title("back to now", exact=True).first.click()
    assert errors == []


def test_in_the_dark_and_on_a_phone(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=900000&theme=dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    shot(page, "dark", settled_ms=1_500)
    page.get_by_title("dark or light").click()
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    page.set_viewport_size({"width": 360, "height": 780})
    page.wait_for_timeout(1_000)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no scrolling sideways"
    shot(page, "phone", settled_ms=1_500)
    page.set_viewport_size({"width": 1280, "height": 1100})
    assert errors == []


def waited(page: Page) -> bool:
    """A moment passes in which the page goes on."""
    page.wait_for_timeout(250)
    return True


def drawn(page: Page) -> list[tuple[str, list[int]]]:
    """How long the columns of each chart's source are, by the title of its figure; without what it is not held against."""
    script = """() => JSON.stringify(Bokeh.documents.flatMap(d => [...d._all_models.values()]
      .filter(m => m.type === 'Figure').map(m => [m.title.text, m.renderers.map(r => [r.data_source.name, Object.values(r.data_source.data)[0].length])])))"""
    found = json.loads(page.evaluate(script))
    return [(title, [n for name, n in each if n or not str(name).endswith("-behind")]) for title, each in found]


def test_every_kind_of_chart_is_drawn_from_the_hub(
    site: Site, page: Page, errors: list[str], foreign: list[str]
) -> None:
    site.open(page, "charts")
    expect(tile(page, "Visitors who saw a page").locator(".step")).to_have_count(4, timeout=15_000)
    expect(tile(page, "Purchases after an add to cart").locator("tr.opens").first).to_be_visible(timeout=15_000)
    until(
        lambda: waited(page) and all(lengths and min(lengths) > 0 for _, lengths in drawn(page)),
        20,
        lambda: AssertionError(str(drawn(page))),
    )
    beside = [lengths for title, lengths in drawn(page) if title.startswith("Views and visitors of the last minute")]
    assert [len(each) for each in beside] == [3, 3, 3], "the area, and two courses behind which another lies"
    assert len(drawn(page)) == 8
    expect(tile(page, "Events as they arrive").locator("tr.opens")).to_have_count(5)
    charts = page.locator(".rtap-state")
    expect(charts.first).to_contain_text("final to")
    back = page.get_by_title("earlier", exact=True).first
    back.click()
    expect(charts.first).to_contain_text("shown to")
    page.get_by_title("back to now", exact=True).first.click()
    expect(charts.first).not_to_contain_text("shown to")
    until(
        lambda: waited(page) and all(lengths and min(lengths) > 0 for _, lengths in drawn(page)),
        20,
        lambda: AssertionError(f"nothing is drawn after a rewind: {drawn(page)}"),
    )
    views = {row["window_end"]: row["views"] for row in site.shop.rows["traffic_hop"]}
    newest = max(views)
    earlier = views[instant_text((instant_ms(newest) or 0) - 120_000)]
    percent = f"{abs(views[newest] / earlier - 1) * 100:.0f} % against the same 2 min before ({earlier:,})"
    overlaid = page.locator(".tile .change").filter(has_text="against")
    expect(overlaid.nth(0)).to_contain_text(percent, timeout=15_000)
    expect(overlaid.nth(1)).to_contain_text(f"0 % against again ({views[newest]:,})")
    legend = page.locator(".rtap-legend button")
    expect(legend).to_have_count(6)
    legend.first.click()
    expect(legend.first).to_have_attribute("aria-pressed", "false")
    shot(page, "charts", settled_ms=1_500)
    assert errors == []
    assert foreign == []


def test_a_modules_text_comes_once_and_not_with_each_card(site: Site, page: Page, errors: list[str]) -> None:
    asked: list[str] = []
    frames: list[int] = []
    page.on("request", lambda request: asked.append(request.url))

    def note(socket: WebSocket) -> None:
        if "/app/ws" in socket.url:  # Bokeh's, not the hub's
            socket.on("framereceived", lambda frame: frames.append(len(frame)))

    page.on("websocket", note)
    site.open(page)
    for name in ("chart", "cards"):
        assert len([url for url in asked if f"/control/module/{name}-" in url]) == 1, asked
    print(f"the largest message to the page: {max(frames) / 1000:.0f} KB")
    assert max(frames) < 450_000
    assert errors == []


SOURCE = """(suffix) => {
  for (const document of Bokeh.documents) for (const model of document._all_models.values())
    if (String(model.name ?? "").endsWith(suffix) && (model.data?.x?.length ?? 0) > 0) return model.data.x.length;
  return 0;
}"""
"""How many points a data source holds, by how its name ends."""


def test_the_whole_page_is_held_against_what_was_so_long_before(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, words="#range=120000&overlay=120000")
    change = tile(page, "Views in the last minute").locator(".change")
    expect(change).to_contain_text(re.compile(r"[▲▼] \d+ % against the same 2 min before"), timeout=15_000)
    page.wait_for_function(SOURCE.replace("(suffix)", "(suffix = '-behind')"), timeout=15_000)
    choice = page.get_by_label("compare with")
    choice.select_option("day before")
    assert "overlay=86400000" in page.url
    expect(change).to_contain_text("nothing is held of the same 24 h before", timeout=15_000)
    choice.select_option("compare …")
    expect(change).not_to_contain_text("the same", timeout=15_000)
    assert "overlay" not in page.url
    assert errors == []


def test_what_came_with_the_page_stays_while_the_hub_was_never_heard(site: Site, page: Page, errors: list[str]) -> None:
    """A report is opened long after its lab went down."""
    site.shop.away()
    try:
        page.goto(f"http://127.0.0.1:{site.port}/first")
        badge = page.locator(".rtap-state").first
        expect(badge).to_contain_text("not live: the hub is away", timeout=30_000)
        assert page.evaluate(SOURCE, "-area") > 10
        expect(page.locator(".tile .value").first).not_to_have_text("–")
        expect(page.locator(".tile tr.opens")).to_have_count(12)
    finally:
        site.shop.back()
    expect(badge).to_have_attribute("data-state", "live", timeout=30_000)
    expect(page.locator(".change").first).not_to_contain_text("not live", timeout=15_000)


def test_a_click_on_a_bar_shows_the_rows_and_events_behind_it(site: Site, page: Page, errors: list[str]) -> None:
    site.open(page, "charts")
    place = page.wait_for_function(
        """() => {
          for (const document of Bokeh.documents) for (const model of document._all_models.values()) {
            if (model.type !== "HBar" ) continue;
            const plot = [...document._all_models.values()].find((each) => Array.isArray(each.renderers) && each.renderers.some((one) => one.glyph === model));
            const view = plot && Bokeh.index.find_one(plot);
            const source = plot?.renderers.find((one) => one.glyph === model).data_source;
            if (!view || !source.data.key.length) return null;
            view.canvas_view.el.scrollIntoView({ block: "center" });
            const box = view.canvas_view.el.getBoundingClientRect();
            const [right, key] = [source.data.value[0], source.data.key[0]];
            return { key, x: box.x + view.frame.x_scale.compute(right / 2), y: box.y + view.frame.y_scale.compute(key) };
          }
          return null;
        }""",
        timeout=30_000,
    ).json_value()
    page.wait_for_timeout(500)  # it has scrolled
    page.mouse.click(place["x"], place["y"])
    dialog = page.locator("dialog.rtap-events")
    expect(dialog).to_contain_text(place["key"], timeout=15_000)
    line = dialog.locator("button").nth(1)
    if line.count():
        line.click()
    expect(page.locator("dialog.rtap-events").last).to_contain_text("counted events", timeout=15_000)
    assert errors == []


def test_a_lab_without_an_event_says_when_something_can_be_there(page: Page, errors: list[str]) -> None:
    page.goto("about:blank")
    shop = ShopHub("steady", 5, own=OWN)
    shop.rows = {name: [] for name in shop.rows}
    shop._times = {name: [] for name in shop.rows}
    shop.start()
    empty = Site(shop)
    try:
        until(lambda: listens(empty.port), 30, lambda: AssertionError("panel does not listen"))
        empty.open(page)
        expect(tile(page, "Visitors in the last minute").locator(".change")).to_contain_text("none to", timeout=15_000)
        expect(tile(page, "Countries").locator(".fresh")).to_contain_text("the first one can be there at")
        expect(page.locator(".story")).to_be_hidden()
        shot(page, "empty", settled_ms=1_500)
        assert errors == []
    finally:
        page.goto("about:blank")
        empty.server.stop()
        shop.stop()
