"""Figures, histograms, comparison, page and index of reports: pure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.bench.compare import compare, noise_of, summary
from rtap_lab.bench.histogram import Histogram
from rtap_lab.bench.index import publish
from rtap_lab.bench.live import bisect, slope_of
from rtap_lab.bench.measurements import Figure, Measurements, merged, read
from rtap_lab.bench.page import page
from rtap_lab.bench.pictures import bars, lines
from rtap_lab.bench.reports import read_parameters
from rtap_lab.errors import JobError, SettingsError
from rtap_lab.verification.comparing import Compared
from rtap_lab.verification.report import Report, RunReport

DURATIONS = st.lists(st.floats(0, 60_000, allow_nan=False), min_size=1, max_size=200)


@given(DURATIONS, st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_right_to_a_thousandth(values: list[float], share: float) -> None:
    exact = sorted(values)[max(0, int(np.ceil(share * len(values) - 1e-9)) - 1)]
    assert Histogram.of(values).quantile_ms(share) == pytest.approx(exact, rel=0.001, abs=0.001)


@given(DURATIONS, DURATIONS)
def test_merged_is_as_if_counted_together(one: list[float], other: list[float]) -> None:
    whole, part = Histogram.of(one + other), Histogram.of(one)
    part.merge(Histogram.from_json(json.loads(json.dumps(Histogram.of(other).as_json()))))
    assert part.counts == whole.counts


def some(value: float = 10.0, samples: tuple[float, ...] = (), **more: Any) -> Measurements:
    found = Measurements("some", **more)
    found.add("speed", value, "events/s", "higher", floor=5, goal=20, samples=samples)
    found.durations("wait", [1.0, 2.0, 3.0], goals={"p95": 10})
    return found


def test_the_verdict_is_the_worst_that_holds() -> None:
    assert some(30).verdict == "met"
    assert some(10).verdict == "goal missed"
    assert some(1).verdict == "floor missed"
    assert some(30, void=["the driver was late"]).verdict == "void"
    assert some(30, void=["late"], wrong=["sessions differ"]).verdict == "wrong"
    assert Measurements("some").verdict == "measured"
    empty = Measurements("some")
    empty.durations("wait", [])
    assert empty.verdict == "void", "nothing that came is no good figure"


def test_of_a_wrong_run_no_figure_is_kept(tmp_path: Path) -> None:
    some(wrong=["sessions differ"]).write(tmp_path)
    assert read(tmp_path).figures == {}
    html = page(notebook(), read(tmp_path), STAMP)
    assert "sessions differ" in html
    assert "<h2>Figures" not in html
    assert "<svg" not in html, "a picture is a figure, too"
    assert "<svg" in page(notebook(), some(), STAMP)


def test_a_driver_that_was_late_is_told() -> None:
    found = some()
    found.find_late({"200/s": 0.9})
    assert not any("late" in each for each in found.findings)
    found.find_late({"200/s": 0.9, "5000/s": 37.6})
    assert "37.6 ms (5000/s)" in found.findings[-1]
    assert "in them" in found.findings[-1]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    some(samples=(9.0, 11.0)).write(tmp_path)
    assert read(tmp_path).as_json() == some(samples=(9.0, 11.0)).as_json()
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(JobError, match="holds no figures"):
        read(tmp_path)


def test_several_runs_give_medians_and_the_quantiles_of_all() -> None:
    a, b, c = some(10), some(12), some(50)
    c.histograms["wait"].add([1000.0] * 97)
    together = merged([a, b, c])
    assert together.figures["speed"].value == 12
    assert together.figures["speed"].samples == [10, 12, 50]
    assert together.figures["wait.p50"].value == pytest.approx(1000, rel=0.001), "not the median of 2, 2 and 1000"


def test_a_regression_is_what_the_noise_does_not_explain() -> None:
    steady, worse = some(samples=(9.8, 10.2)), some(8, samples=(7.9, 8.1))
    (speed, *waits) = compare(steady, worse)
    assert (speed.change, round(speed.difference, 2)) == ("worse", -0.2), "a fifth less, where runs differ by 4 %"
    assert {each.change for each in waits} == {"same"}
    assert compare(worse, steady)[0].change == "better"
    noisy = compare(some(samples=(8.0, 12.0)), worse)
    assert noisy[0].change == "same", "they differed by 40 % before"
    assert compare(some(10), some(8))[0].change == "same", "measured once each: a quarter is noise here"
    assert noise_of(Figure(1.0, samples=[1.0, 1.01])) == 0.05
    assert "**worse**" in summary([speed])


def test_what_cannot_be_compared_is_not() -> None:
    with pytest.raises(JobError, match="two reports"):
        compare(some(), Measurements("other"))
    with pytest.raises(JobError, match="is wrong"):
        compare(some(), some(wrong=["x"]))
    with pytest.raises(JobError, match="quick"):
        compare(some(), some(flags=["quick"]))
    lacking = some()
    del lacking.figures["speed"]
    with pytest.raises(JobError, match="lacks speed"):
        compare(some(), lacking)


STAMP = {"time": "2026-11-28T00:00:00+00:00", "cpus": 2, "system": "Linux", "commit": "abc", "seed": 1}


def notebook() -> dict[str, Any]:
    picture = bars("How many <b>", {"a": 1.0, "b": 2500.0}, "events/s", goals={"a": 3.0})
    drawn = {"output_type": "display_data", "data": {"image/svg+xml": picture.svg, "text/plain": "a picture"}}
    table = {"output_type": "execute_result", "data": {"text/html": ["<table>", "</table>"], "text/plain": ""}}
    said = [{"output_type": "stream", "name": name, "text": [f"{name}!<"]} for name in ("stdout", "stderr")]
    return {
        "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": ["# A title\n", "What it is."]},
            {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["rate = 1"], "outputs": []},
            {"cell_type": "code", "metadata": {}, "source": ["secret_code()"], "outputs": [drawn, table, *said]},
            {"cell_type": "markdown", "metadata": {}, "source": ["## Method\n", "As it was."]},
        ]
    }


def test_a_page_says_the_verdict_first_and_asks_nobody_for_anything() -> None:
    found = some(1)
    found.find("It is slow & honest.")
    html = page(notebook(), found, STAMP)
    order = ["A title", "a floor missed", "slow &amp; honest", "<h2>Figures", "<svg", "Method", "<h2>Machine"]
    places = [html.index(each) for each in order]
    assert places == sorted(places)
    assert "secret_code" not in html
    assert "secret_code" in page(notebook(), found, STAMP, code=True)
    assert "stdout!&lt;" in html
    assert "stderr!" not in html, "what a library warns of is no result"
    assert not re.search(r"<script|(src|href)=.https?:|@import|url\(https?", html)


def test_pictures_are_small_and_begin_at_zero() -> None:
    picture = lines("Lag", "s", "records", {"one": [(10, 5), (20, 7)], "two": [(10, 6), (20, 9)]})
    assert picture._repr_svg_().startswith("<svg")
    assert len(picture.svg) < 40_000
    assert ">0<" in picture.svg
    assert "(logarithmic)" in lines("L", "rate", "ms", {"a": [(1, 1), (100, 2)]}, logarithmic="x").svg


def test_the_index_shows_the_newest_and_how_it_went(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="holds no report"):
        publish(tmp_path)
    for number, value in enumerate((10, 12)):
        folder = tmp_path / "some" / f"2026112{number}"
        folder.mkdir(parents=True)
        some(value).write(folder)
        (folder / "environment.json").write_text(json.dumps(STAMP | {"time": f"2026-11-2{number}"}))
    (tmp_path / "some" / "broken").mkdir()
    index, left_out = publish(tmp_path)
    text = index.read_text()
    assert "some/20261121/report.html" in text
    assert "12 events/s" in text
    assert "polyline" in text
    assert ["some/broken" in each for each in left_out] == [True]


@pytest.mark.parametrize("limit", [900, 1000, 1450, 7000, 50_000])
def test_bisection_finds_the_greatest_rate_that_holds(limit: float) -> None:
    asked: list[float] = []

    def holds(rate: float) -> bool:
        asked.append(rate)
        return rate <= limit

    found = bisect(1000, 20_000, holds, within=0.05)
    if limit < 1000:
        assert found == 0
    else:
        assert min(limit, 20_000) / 1.06 <= found <= limit
    assert len(asked) <= 12


def test_a_slope_comes_with_its_error() -> None:
    assert slope_of([(0, 1), (1, 3), (2, 5), (3, 7)]) == pytest.approx((2, 0), abs=1e-6)
    slope, error = slope_of([(n, 1000 * (n % 4)) for n in range(20)])
    assert abs(slope) < 3 * error, "a saw's teeth do not grow"
    with pytest.raises(ValueError, match="no slope"):
        slope_of([(0, 1), (1, 3), (2, 5)])


def test_parameters_are_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("rate: 1000\n")
    assert read_parameters(path) == {"rate": 1000}
    path.write_text("- 1\n")
    with pytest.raises(SettingsError, match="names and values"):
        read_parameters(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_parameters(tmp_path / "none.yaml")


@pytest.mark.parametrize(("rows", "expired", "said"), [(3, 0, False), (3, 9, False), (0, 9, True)])
def test_what_a_verification_could_not_prove_is_said(rows: int, expired: int, said: bool) -> None:
    compared = [Compared("views", "topic", rows=rows, expired=expired), Compared("late", "topic", rows=5)]
    run = RunReport("standard", "live", "r1", "exactly_once", None, {"read": 10}, compared)
    found = Measurements("growth")
    found.prove(Report("live", [run]))
    assert found.proven == rows + 5
    assert found.findings == (["Not proven (live, run r1): " + run.unproven + "."] if said else [])


def test_durations_stand_where_the_contract_has_them() -> None:
    found = Measurements("latency")
    found.durations("created_to_client", [10.0, 20.0, 30.0])
    assert found.as_json()["created_to_client_ms"].keys() == {"p50", "p95", "p99"}
    assert found.as_json()["created_to_client_ms"]["p50"] == pytest.approx(20, rel=0.01)
    found.wrong.append("a row differs")
    assert "created_to_client_ms" not in found.as_json()
