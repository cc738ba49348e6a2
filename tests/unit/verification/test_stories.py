"""Every packaged scenario tells its story in the answers, and its score explains every difference."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from rtap_lab import Lab
from rtap_lab.lab.offline import OfflineLab
from rtap_lab.lab.scenarios import list_scenarios, load_scenario
from rtap_lab.lab.truth import beside
from rtap_lab.reference.fates import Place
from rtap_lab.simulator.playback import Playback, written
from rtap_lab.simulator.scenario import START_MS
from rtap_lab.simulator.truth import Truth
from rtap_lab.verification.scoring import Score

BEGIN = pd.Timestamp(START_MS, unit="ms", tz="UTC")


@cache
def told(name: str) -> tuple[OfflineLab, Score]:
    lab = Lab.offline()
    lab.run_standard(gap="2min", within="2min")
    lab.simulate(name, seconds=load_scenario(name).lasts)
    return lab, lab.score()


def minute(lab: OfflineLab, query: str, at: int, column: str, **where: str) -> float:
    """What a query says of the window of a minute that begins so many minutes after the beginning."""
    frame = lab.results(query)
    frame = frame[frame.window_start == BEGIN + pd.Timedelta(minutes=at)]
    for key, value in where.items():
        frame = frame[frame[key] == value]
    return float(frame[column].sum())


@pytest.mark.parametrize("name", list_scenarios())
def test_every_difference_from_the_truth_is_explained(name: str) -> None:
    lab, score = told(name)
    assert score.exact
    assert score.unexplained == 0
    for query in score.queries:
        assert query.true == query.exact + query.wrong + query.missing
        assert query.found == query.exact + query.wrong + query.extra
    ledger = lab.ledger()
    assert sum(c["arrived"] for c in score.fates.values()) == ledger["read"]
    assert sum(c["sent"] for c in score.fates.values()) == ledger["read"]
    assert score.fates["malformed"]["sent"] == score.fates["malformed"]["arrived"] == ledger["rejected"]
    assert abs(score.fates["late"]["sent"] - score.fates["late"]["arrived"]) <= 5  # a copy may come in time


def test_steady_is_close_to_the_truth() -> None:
    score = told("steady")[1]
    assert score.sessions is not None
    assert score.sessions.precision is not None
    assert score.sessions.precision > 0.95
    assert abs(score.funnel_error or 0) < 0.01
    assert score.detections == []
    assert score.bots is None


def test_black_friday_multiplies_the_traffic() -> None:
    lab = told("black_friday")[0]
    assert minute(lab, "page_views_1m", 6, "views") > 3 * minute(lab, "page_views_1m", 2, "views")
    assert minute(lab, "conversions_1m", 7, "value", goal="purchase") > 3 * minute(
        lab, "conversions_1m", 2, "value", goal="purchase"
    )


def test_a_checkout_outage_stops_purchases_and_nothing_else() -> None:
    lab, score = told("checkout_outage")
    assert minute(lab, "conversions_1m", 3, "conversions", goal="purchase") > 10
    for during in (5, 6, 7, 8):
        assert minute(lab, "conversions_1m", during, "conversions", goal="purchase") == 0
        assert minute(lab, "conversions_1m", during, "conversions", goal="newsletter") > 0
    assert minute(lab, "conversions_1m", 10, "conversions", goal="purchase") > 10
    abandoned = lab.results("checkout_abandoned")
    times = pd.to_datetime(abandoned.cart_time, utc=True) - BEGIN
    before = times.between("1min", "3min").sum()
    assert times.between("6min", "8min").sum() > 1.3 * before
    (found,) = score.detections
    assert found.delay_s is not None
    assert found.delay_s <= 60


def test_a_bot_attack_is_seen_and_its_machines_are_found() -> None:
    lab, score = told("bot_attack")
    assert minute(lab, "page_views_1m", 6, "views") > 1.5 * minute(lab, "page_views_1m", 3, "views")
    assert score.bots is not None
    assert (score.bots.precision or 0) > 0.9
    assert (score.bots.recall or 0) > 0.9
    assert score.detections[0].delay_s is not None
    assert score.detections[0].delay_s <= 60


def test_a_broken_tracker_fills_the_rejected_records_and_empties_the_answers() -> None:
    lab, score = told("broken_tracker")
    assert lab.ledger()["rejected"] > 1500
    reasons = {each.reason for each in lab._judged("live") if each.fate == "rejected"}
    assert reasons == {"parse", "missing", "type", "event_type", "time", "future"}
    assert minute(lab, "page_views_1m", 7, "views") < 0.9 * minute(lab, "page_views_1m", 3, "views")
    assert score.detections[0].anomaly.kind == "broken"
    assert score.detections[0].delay_s == 60
    assert b'"properties":{"tracker_version":"2.0"}' in b"".join(v for v, _ in lab._sources["live"].records)


def test_a_new_campaign_brings_sign_ups() -> None:
    lab, score = told("new_campaign")
    assert minute(lab, "page_views_1m", 3, "views", page="/sale") == 0
    assert minute(lab, "page_views_1m", 7, "views", page="/sale") > 200
    assert minute(lab, "conversions_1m", 8, "conversions", goal="sign_up") > 3 * minute(
        lab, "conversions_1m", 3, "conversions", goal="sign_up"
    )
    assert "winter_sale" in set(lab.events().campaign.dropna())
    assert score.detections[0].anomaly.name == "winter_sale"


def test_late_phones_lose_what_the_bound_does_not_wait_for() -> None:
    lab, score = told("late_mobile")
    ledger = lab.ledger()
    assert 0.05 < ledger["late"] / ledger["read"] < 0.15
    steady = told("steady")[1]
    assert score.sessions is not None
    assert steady.sessions is not None
    assert (score.sessions.recall or 1) < 0.7 < (steady.sessions.recall or 0)
    views = {q.name: q for q in score.queries}["traffic_hop"]
    assert views.exact == 0


def test_a_sleepy_night_still_closes_its_windows() -> None:
    lab, _ = told("sleepy_night")
    frame = lab.results("traffic_hop")
    assert 1 <= frame.views.median() <= 30
    assert len(lab.results("sessions")) > 100


def test_an_imported_run_brings_its_truth_along(tmp_path: Path) -> None:
    import orjson

    out = tmp_path / "shop.jsonl"
    run = Playback(load_scenario("broken_tracker"), 4, zero_ms=START_MS)
    with out.open("wb") as file:
        for batch in written(run, seconds=400):
            file.writelines(line + b"\n" for line in batch.values().to_pylist())
    beside(out).write_bytes(orjson.dumps(run.manifest(ended=True)))
    lab = Lab.offline()
    done = lab.import_jsonl(out)
    assert done.rejected > 300
    lab.run_standard("shop", gap="2min", within="2min")
    score = lab.score("shop")
    assert score.exact
    assert score.fates["malformed"] == {"sent": done.rejected, "arrived": done.rejected}
    assert score.fates["late"]["arrived"] == 0
    assert score.truth == "the simulator's truth"


def test_of_other_input_the_accepted_records_are_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text(
        "\n".join(
            f'{{"event_id":"{n}","event_type":"page_view","event_time":"2026-01-01T10:{t:02d}:00.000Z","visitor_id":"a","page":"/"}}'
            for n, t in enumerate([0, 5, 1, 9, 8])
        )
        + "\nnonsense\n"
    )
    lab = Lab.offline()
    lab.import_jsonl(path)
    score = lab.score("few")
    assert score.exact
    assert all(q.exact == q.true == q.found for q in score.queries)
    assert score.sessions is None


def test_a_score_shows_what_is_not_explained() -> None:
    lab = Lab.offline()
    lab.run_standard(gap="2min", within="2min")
    lab.simulate("steady", seconds=120)
    whole = lab.rows

    def altered(query: str, source: str = "live") -> list[dict[str, object]]:
        rows = whole(query, source)
        if query == "traffic_hop":
            rows[3]["views"] += 1
        return rows[1:] if query == "sessions" else rows

    lab.rows = altered  # type: ignore[method-assign]
    score = lab.score()
    assert not score.exact
    assert {q.name: q.unexplained for q in score.queries if q.unexplained} == {"traffic_hop": 1, "sessions": 1}
    assert "NOT EXPLAINED" in str(score)


STORIES = [("checkout_outage", "outage"), ("bot_attack", "bots"), ("broken_tracker", "broken")]
FACTORS = [0.5, 3.6, 20]


@pytest.mark.parametrize(
    ("name", "kind", "factor"),
    [
        # each story at one rate, each rate with one story; all pairs are for a night
        pytest.param(*story, factor, marks=[] if at == with_ else [pytest.mark.long])
        for at, story in enumerate(STORIES)
        for with_, factor in enumerate(FACTORS)
    ],
)
def test_a_story_played_to_its_end_shows_its_anomaly_at_any_rate(name: str, kind: str, factor: float) -> None:
    website, lab = load_scenario(name), OfflineLab()
    lab.run_standard(gap="20s", within="30s")
    live = lab._sources["live"]
    run = Playback(website, 1, run="1", rate=website.rate * factor, zero_ms=START_MS + 37_000)
    for batch in written(run, seconds=website.lasts):
        for value, due_ns in zip(batch.values().to_pylist(), batch.due_ns.tolist(), strict=True):
            live.latest_ms = run.zero_ms + due_ns // 1_000_000
            live.records.append((value, Place(0, len(live.records), live.latest_ms)))
    lab._truths["live"] = [Truth(run.manifest(ended=True))]
    score = lab.score()
    assert score.exact, str(score)
    (found,) = [each for each in score.detections if each.anomaly.kind == kind]
    assert found.delay_s is not None, str(score)
    assert "never shown" not in str(score)
