"""Rows as the columns of charts."""

from __future__ import annotations

from rtap_lab.dashboards import reductions


def test_the_first_picture_of_a_chart() -> None:
    rows = [
        {"window_end": "2026-01-01T00:00:10Z", "views": 2, "page": "/a"},
        {"window_end": "2026-01-01T00:00:10Z", "views": 5, "page": "/b"},
        {"window_end": "2026-01-01T00:00:00Z", "views": 9, "page": "/c"},
    ]
    assert reductions.top(rows, key="page", value="views", keep=2)["key"] == ["/c", "/b"]
    assert reductions.top(rows, key="page", value="views", keep=5, newest=True)["key"] == ["/b", "/a"]
    assert reductions.count(rows, x="window_end", step=10_000, keep=5)["count"] == [1, 2]
    assert reductions.series(rows[1:], x="window_end", ys=["views"], keep=1)["views"] == [5]
    assert reductions.top([], key="page", value="views", keep=5)["key"] == []


def test_gaps_are_shown_as_gaps_and_a_span_is_kept() -> None:
    rows = [{"t": at, "n": 1} for at in (0, 10, 10, 40)]
    found = reductions.series(rows, x="t", ys=["n"], keep=9, step=10)
    assert found["x"] == [0, 10, 20, 40]
    assert str(found["n"]) == "[1, 2, nan, 1]"
    assert reductions.count(rows, x="t", step=10, keep=9) == {"x": [0, 10, 20, 30, 40], "count": [1, 2, 0, 0, 1]}
    assert reductions.count(rows, x="t", step=10, keep=2)["x"] == [30, 40]
    assert reductions.count(rows, x="t", step=10, keep=9, span=(10, 40)) == {"x": [10], "count": [2]}
