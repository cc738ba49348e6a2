"""The simulated website: same seed same bytes, however it is cut; scenarios, their errors, and the truth."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtap_lab.errors import SettingsError
from rtap_lab.events.codec import decode, unfit
from rtap_lab.lab.scenarios import list_scenarios, load_scenario
from rtap_lab.lab.simulator import pace_words
from rtap_lab.simulator.draws import kafka_partitions
from rtap_lab.simulator.encoding import Encoder, keys
from rtap_lab.simulator.parsing import parse_scenario, with_visitors
from rtap_lab.simulator.playback import Playback, replayed, written
from rtap_lab.simulator.scenario import START_MS, Change, Scenario
from rtap_lab.simulator.trace import MALFORMED, Trace
from rtap_lab.simulator.truth import Truth
from rtap_lab.simulator.visits import visitor_keys


def values(name: str, seed: int, events: int) -> list[bytes]:
    return [
        v
        for batch in written(Playback(load_scenario(name), seed, zero_ms=START_MS), events=events)
        for v in batch.values().to_pylist()
    ]


@pytest.mark.parametrize("name", list_scenarios())
def test_the_same_seed_gives_the_same_bytes(name: str) -> None:
    assert values(name, 7, 2000) == values(name, 7, 2000)
    assert values(name, 7, 200) != values(name, 8, 200)


def test_the_bytes_are_those_of_every_machine() -> None:
    import hashlib

    digest = hashlib.sha256(b"\n".join(values("bot_attack", 1, 30_000))).hexdigest()
    assert digest == "21a9b2a5fac3ce2a4ef4b2d0ebaa9c7310972f8f6289ac93c54d84bf6a0463f0"


def test_the_page_that_a_visit_lands_on_says_where_it_came_from() -> None:
    """Else views by referrer have none, as a website's log has one."""
    came: dict[str, list[tuple[str, str | None]]] = {}
    for value in values("steady", 3, 4000):
        try:
            event = json.loads(value)
        except ValueError:  # a broken one
            continue
        if isinstance(event, dict) and event.get("session_id") and isinstance(event.get("event_id"), str):
            step = int(event["event_id"].rpartition("-")[2])
            if step <= 2:
                came.setdefault(event["session_id"], [])
                came[event["session_id"]].append((str(step), event.get("referrer")))
    whole = [dict(steps) for steps in came.values() if {step for step, _ in steps} >= {"0", "1", "2"}]
    assert len(whole) > 50
    assert all(steps["0"] == steps["1"] and steps["2"] is None for steps in whole)
    assert len({steps["1"] for steps in whole}) == 4


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["brisk", "late_mobile", "sleepy_night", "bot_attack"]),
    st.lists(st.integers(1, 40_000), min_size=1, max_size=8),
    st.integers(0, 5),
)
def test_bytes_do_not_depend_on_how_time_is_cut(name: str, cuts: list[int], seed: int) -> None:
    whole, cut = Trace(load_scenario(name), seed), Trace(load_scenario(name), seed)
    encoders = Encoder(whole), Encoder(cut)
    columns = whole.until(sum(cuts))
    expected = encoders[0].encode(columns, columns["event"]).to_pylist()
    found: list[bytes] = []
    for length in cuts:
        columns = cut.until(cut.passed_ms + length)
        found += encoders[1].encode(columns, columns["event"]).to_pylist()
    assert found == expected


@pytest.mark.parametrize("name", list_scenarios())
def test_a_scenario_keeps_its_pace_and_its_order(name: str) -> None:
    scenario = load_scenario(name)
    until = min(scenario.lasts, 295) if name != "sleepy_night" else 3600
    columns = Trace(scenario, 1).until(round(until * 1000))
    assert (np.diff(columns["send"]) >= 0).all()
    assert len(columns["send"]) / until == pytest.approx(scenario.rate, rel=0.2)


def test_a_steady_day_has_all_that_visitors_do() -> None:
    events = [json.loads(v) for v in values("steady", 1, 30_000) if unfit_reason(v) is None]
    kinds = Counter((e["event_type"], e.get("name")) for e in events)
    for kind in (
        ("session_start", None),
        ("session_end", None),
        ("custom", "add_to_cart"),
        ("conversion", "purchase"),
        ("conversion", "sign_up"),
        ("conversion", "newsletter"),
        ("custom", "login"),
        ("custom", "login_failed"),
    ):
        assert kinds[kind] > 20, kind
    visits = Counter(e["visitor_id"] for e in events if e["event_type"] == "session_start")
    assert sum(n > 1 for n in visits.values()) > 100, "some come again"
    assert {e["device"] for e in events} == {"mobile", "desktop", "tablet"}
    assert len({e["country"] for e in events}) == 8


def unfit_reason(value: bytes) -> str | None:
    rows = decode(value)
    return unfit(rows[0], 2**53) if rows else "parse"


def test_spoilt_records_are_rejected_for_the_reason_that_the_truth_says() -> None:
    scenario, reasons = load_scenario("broken_tracker"), Counter[str]()
    for batch in written(Playback(scenario, 2, zero_ms=START_MS), seconds=540):
        for value, bad, event_ms in zip(
            batch.values().to_pylist(), batch.messages["bad"].tolist(), batch.event_ms.tolist(), strict=True
        ):
            rows = decode(value)
            found = unfit(rows[0], event_ms) if rows else "parse"
            assert found == (MALFORMED[bad - 1] if bad else None)
            reasons[found or ""] += 1
    assert all(reasons[each] > 50 for each in MALFORMED)


def test_what_is_injected_changes_nobody_else() -> None:
    plain, attacked = Playback(load_scenario("steady"), 3), Playback(load_scenario("steady"), 3)
    before, after = Counter[bytes](), Counter[bytes]()
    for number in range(30):
        before.update(plain.block(span_ms=2000).values().to_pylist())
        after.update(attacked.block(span_ms=2000).values().to_pylist())
        if number == 10:
            attacked.inject(Change("bots", 0, 20_000, 5.0))
    assert not before - after
    assert (after - before).total() > 500


def test_a_run_is_made_again_from_its_manifest() -> None:
    run = Playback(load_scenario("brisk"), 5, run="r", rate=400, zero_ms=START_MS)
    sent: list[bytes] = []

    def block() -> None:
        batch = run.block(wall_ns=10**9)
        batch.act.sent += len(batch)
        sent.extend(batch.values().to_pylist())

    for number in range(12):
        block()
        if number == 3:
            run.at_pace(100, run.due_ns)
        if number == 5:
            run.inject(Change("outage", 0, 3000))
            run.inject(Change("surge", 0, 3000, 20.0))
        if number == 7:
            run.play(load_scenario("late_mobile"), run.due_ns)
        if number == 9:
            run.at_pace(run.rate, run.due_ns + 10**9)  # a pause
        if number in (2, 8):
            run.clock_moved(600_000 if number == 2 else -900_000)
    manifest = json.loads(json.dumps(run.manifest(ended=True)))
    for block_ms in (None, 137):
        assert [v for b in replayed(manifest, block_ms) for v in b.values().to_pylist()] == sent
    truth = Truth(manifest)
    told = list(truth.messages())
    assert len(told) == truth.sent == len(sent)
    for value, said in zip(sent, told, strict=True):
        if said.malformed is None:
            event = decode(value)[0]
            assert (event.event_id, event.event_type, event.name, event.page, event.visitor_id, event.event_time) == (
                said.event_id,
                said.event_type,
                said.name,
                said.page,
                said.visitor_id,
                said.reported_ms,
            )
            assert (float(event.value) if event.value else None) == said.value
    assert {a.kind for a in truth.anomalies()} == {"outage", "surge"}
    assert len({(v.session_id, v.visitor_id) for v in truth.visits()}) > 100
    funnel = list(truth.funnel().values())
    assert funnel == sorted(funnel, reverse=True)
    assert funnel[0] > 100
    bought = sum(visit.purchases for visit in truth.visits())
    assert truth.conversions()["purchase"][0] == bought > 0
    assert sum(truth.fates(2_000).values()) == truth.sent


def test_a_clock_that_is_set_moves_the_visitors_clocks_and_nothing_else() -> None:
    plain, moved = (Playback(load_scenario("brisk"), 5, rate=400, zero_ms=START_MS) for _ in range(2))
    for number in range(6):
        ours, theirs = plain.block(wall_ns=10**9), moved.block(wall_ns=10**9)
        shift = (0, 600_000, 600_000, -60_000, -60_000, -60_000)[number]
        assert (theirs.event_ms - ours.event_ms).tolist() == [shift] * len(ours)
        assert theirs.due_ns.tolist() == ours.due_ns.tolist()
        assert theirs.zero_ms == ours.zero_ms + shift
        if number == 0:
            moved.clock_moved(600_000)
        if number == 2:
            moved.clock_moved(-660_000)


def test_where_a_visit_lands_depends_on_campaign_and_referrer() -> None:
    text = GOOD + (
        "landings: {/blog: 1}\n"
        "landings_by_campaign: {newsletter: {/products: 1}}\n"
        'landings_by_referrer: {"https://search.example/": {/search: 1}}\n'
    )
    visits = Trace(parse_scenario(text, "x"), 1).visitors
    columns = visits.arriving(0, 600)
    for campaign, referrer, landing in zip(
        columns["campaign"].tolist(), columns["referrer"].tolist(), columns["landing"].tolist(), strict=True
    ):
        newsletter = visits.campaigns[campaign] == "newsletter"
        search = visits.referrers[referrer] == "https://search.example/"
        assert visits.nodes[landing] == ("/products" if newsletter else "/search" if search else "/blog")


def test_a_partition_is_chosen_as_kafkas_clients_do() -> None:
    # the Java client's own test vectors (org.apache.kafka.common.utils.UtilsTest.testMurmur2)
    for text, hashed in (
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"abc", 479470107),
    ):
        key = np.frombuffer(text, dtype=np.uint8)[None, :]
        assert kafka_partitions(key, 2**31)[0] == hashed & 0x7FFFFFFF
    columns = Trace(load_scenario("sleepy_night"), 1).until(600_000)
    assert 3 not in set(kafka_partitions(visitor_keys(columns["visitor"]), 12).tolist())
    assert keys(columns)[0].encode() == visitor_keys(columns["visitor"])[0].tobytes()


GOOD = "name: x\nstory: y\nrate: 10\nvisits_per_second: 2\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "the file is empty"),
        ("name: [", 1, "not YAML"),
        ("- a\n", 1, "must be a mapping"),
        ("name: x\n", 1, "story is missing"),
        (GOOD + "dwel: 3\n", 5, "dwell?"),
        (GOOD + "dwell: soon\n", 5, "'soon'"),
        (GOOD + "bounce: 1.5\n", 5, "a share from 0 to 1"),
        (GOOD + "rate: 10\n", 5, "twice"),
        (GOOD + "devices: {}\n", 5, "above 0"),
        (GOOD + "curve: [[0, 1], [0, 2]]\n", 5, "growing"),
        (GOOD + "curve: [[0, 1, 2]]\n", 5, "two numbers"),
        (GOOD + "landings:\n  /nowhere: 1\n", 6, "/nowhere"),
        (GOOD + "site:\n  /: {/nowhere: 1}\n", 6, "no links of its own"),
        (GOOD + "site:\n  /: {buy: 1}\n", 6, "a node is a page"),
        (GOOD + "disorder:\n  skew: {fridge: [0, 1]}\n", 6, "fridge"),
        (GOOD + "disorder:\n  late_between: [5, 1]\n", 6, "must not be above"),
        (GOOD + "disorder:\n  idle_partition: 12\n", 6, "from 0 to 11"),
        (GOOD + "changes:\n  - flood: {from: 3}\n", 6, "flood"),
        (GOOD + "changes:\n  - surge: {from: 3}\n", 6, "visits_per_second is missing"),
        (GOOD + "changes:\n  - outage: {from: 3, to: 2}\n", 6, "after from"),
        (GOOD + "changes:\n  - broken: {from: 3, share: .5, devices: [fridge]}\n", 6, "fridge"),
    ],
)
def test_a_bad_scenario_has_one_error_with_its_line(text: str, line: int | None, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_scenario(text, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml" + (f", line {line}:" if line else ":"))
    assert words in str(caught.value)


def test_an_unknown_scenario_names_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match="steady"):
        load_scenario("stedy")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_scenario("no/such/file.yaml")


def test_the_command_line_writes_the_same_bytes_to_a_file_and_to_standard_output(tmp_path: Path) -> None:
    rtap = [
        sys.executable,
        "-m",
        "rtap_lab.cli",
        "simulate",
        "--scenario",
        "steady",
        "--events",
        "500",
        "--seed",
        "3",
        "--out",
    ]
    out = tmp_path / "shop.jsonl"
    subprocess.run([*rtap, str(out)], check=True, capture_output=True)
    piped = subprocess.run([*rtap, "-"], check=True, capture_output=True)
    assert piped.stdout == out.read_bytes() == b"".join(v + b"\n" for v in values("steady", 3, 500))
    assert Truth(json.loads((tmp_path / "shop.jsonl.truth.json").read_bytes())).sent == 500
    failed = subprocess.run([*rtap, str(tmp_path / "no" / "x")], capture_output=True, text=True)
    assert failed.returncode == 2
    assert "No such file" in failed.stderr


def test_more_visitors_leave_story_time_alone() -> None:
    told = load_scenario("black_friday")
    crowd = with_visitors(told, 2.5)
    assert (crowd.rate, crowd.lasts, crowd.dwell) == (told.rate * 2.5, told.lasts, told.dwell)
    assert [(c.kind, c.from_ms, c.to_ms) for c in crowd.changes] == [(c.kind, c.from_ms, c.to_ms) for c in told.changes]

    def lines(scenario: Scenario) -> list[bytes]:
        batches = written(Playback(scenario, 3, zero_ms=START_MS), seconds=60)
        return [line for batch in batches for line in batch.values().to_pylist()]

    once = lines(crowd)
    assert once == lines(with_visitors(load_scenario("black_friday"), 2.5)), "the same seed and F, the same bytes"
    assert len(once) == pytest.approx(2.5 * len(lines(told)), rel=0.1)
    again = with_visitors(with_visitors(told, 5), 0.5)
    assert again.visitors == 2.5
    assert lines(again) == once
    for wrong in (0, -1, 1e9):
        with pytest.raises(SettingsError, match="visitors"):
            with_visitors(told, wrong)


def test_a_run_of_more_visitors_is_made_again_from_its_manifest() -> None:
    run = Playback(with_visitors(load_scenario("bot_attack"), 0.5), 3, run="r", zero_ms=START_MS)
    sent = [line for batch in written(run, seconds=30) for line in batch.values().to_pylist()]
    made = [line for batch in replayed(run.manifest(ended=True)) for line in batch.values().to_pylist()]
    assert made == sent


def test_a_pace_that_is_not_the_storys_own_is_said() -> None:
    outage = load_scenario("checkout_outage")
    assert pace_words(outage, None) == "55 messages a second, outage at +300 s"
    words = pace_words(outage, 209)
    assert "3.8x story time" in words
    assert "outage at +79 s" in words
    assert "--visitors 3.8" in words
