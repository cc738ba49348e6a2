"""The live dashboard: `panel serve rtap_lab/dashboards/app.py --args HUB_URL`, with the hub's secret in the environment."""

from __future__ import annotations

import os
import sys

import panel as pn

from rtap_lab.dashboards.charts import charts_of
from rtap_lab.endpoints import Endpoint
from rtap_lab.queries.standard import packaged

HUB_VARIABLE = "RTAP_HUB_SECRET"


def page(hub: Endpoint) -> pn.viewable.Viewable:
    """The dashboard of one hub."""
    charts = charts_of(hub, packaged())
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
    page(Endpoint(sys.argv[1], secret=os.environ.get(HUB_VARIABLE))).servable(title="rtap_lab")
