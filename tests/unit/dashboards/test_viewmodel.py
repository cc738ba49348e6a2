"""Rows as the columns of charts."""

from __future__ import annotations

from rtap_lab.dashboards import viewmodel


def test_the_first_picture_of_a_chart() -> None:
    rows = [
        {"window_end": "2026-01-01T00:00:10Z", "views": 2, "page": "/a"},
        {"window_end": "2026-01-01T00:00:10Z", "views": 5, "page": "/b"},
        {"window_end": "2026-01-01T00:00:00Z", "views": 9, "page": "/c"},
    ]
    assert viewmodel.top(rows, key="page", value="views", keep=5)["key"] == ["/b", "/a"]
    assert viewmodel.count(rows, x="window_end", step=10_000, keep=5)["count"] == [1, 2]
    assert viewmodel.series(rows[1:], x="window_end", ys=["views"], keep=1)["views"] == [5]
    assert viewmodel.top([], key="page", value="views", keep=5)["key"] == []
