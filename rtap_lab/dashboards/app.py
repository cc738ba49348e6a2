"""The live dashboard: `panel serve rtap_lab/dashboards/app.py --args HUB_URL`."""

from __future__ import annotations

import sys

import panel as pn

from rtap_lab.dashboards.charts import charts_of
from rtap_lab.queries.standard import packaged


def page(url: str) -> pn.viewable.Viewable:
    """The dashboard of one hub."""
    charts = charts_of(url, packaged())
    title = pn.pane.HTML(
        "<h1 style='margin:0;font:600 22px sans-serif'>Website, live</h1>"
        "<p style='margin:2px 0 0;color:#667;font:13px sans-serif'>The standard job's answers, straight"
        " from its result topics. Times are UTC.</p>",
        sizing_mode="stretch_width",
    )
    names = list(charts)
    rows = [
        pn.Row(*(charts[name] for name in names[i : i + 2]), sizing_mode="stretch_width")
        for i in range(0, len(names), 2)
    ]
    return pn.Column(title, *rows, sizing_mode="stretch_width", margin=16)


if __name__.startswith("bokeh_app"):
    pn.extension()
    page(sys.argv[1]).servable(title="rtap_lab")
