"""A query's live feed in a notebook: as a chart, as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtap_lab.settings import LIVE

if TYPE_CHECKING:
    from rtap_lab.dashboards.charts import LiveChart
    from rtap_lab.lab import Lab


def chart(lab: Lab, query: str, *, source: str = LIVE, live: bool = True) -> LiveChart:
    """The live chart of a query: of the kind that fits it, or another by its name (`.line(…)`, `.table()`, …).

    Its first picture is drawn from the store. It goes on moving while the kernel is busy: the browser talks to the hub itself.

    Args:
        lab: A lab that is up.
        query: A query's name.
        source: "live" or a recorded source.
        live: Whether it should follow the hub; else it is a static picture.

    Raises:
        SettingsError: When there is no such query.
    """
    from rtap_lab.dashboards.charts import chart_of

    asked = lab.known_query(query, source)
    hub = lab.endpoints.hub if live else None
    return chart_of(hub, asked, source=source, rows=lambda: lab.rows(query, source))
