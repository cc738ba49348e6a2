"""Who behaves oddly: the packaged job `watchlist`, which a lab runs when it is asked to."""

from __future__ import annotations

from rtap_lab.queries.conditions import earlier, field
from rtap_lab.queries.patterns import Measure, Pattern
from rtap_lab.queries.query import PatternQuery, Query
from rtap_lab.queries.standard import IS_VIEW

WATCHLIST_JOB = "watchlist"
"""The job of these queries."""

BOTS = "bots"
FAILED_LOGINS = "failed_logins"
RAGE_CLICKS = "rage_clicks"

IS_LOGIN = (field("event_type") == "custom") & field("name").is_in("login", "login_failed")


def watchlist_queries() -> tuple[Query, ...]:
    """The packaged queries of a run of the job `watchlist`."""
    return (
        Query(
            BOTS,
            PatternQuery(
                Pattern.begin("view", IS_VIEW, times=20).within("10s"), _span("view") | _page("view"), where=IS_VIEW
            ),
            "Twenty page views within 10 s",
        ),
        Query(
            FAILED_LOGINS,
            PatternQuery(
                Pattern.begin("failed", field("name") == "login_failed", times=3).within("1m"),
                _span("failed"),
                where=IS_LOGIN,
            ),
            "Three failed logins in a row within a minute",
        ),
        Query(
            RAGE_CLICKS,
            PatternQuery(
                Pattern.begin("first", field("page").is_present())
                .next("again", field("page") == earlier("first", "page"), times=3)
                .within("10s"),
                {"began": Measure("first", "first"), "ended": Measure("last", "again")} | _page("first"),
                where=IS_VIEW,
            ),
            "One page four times in a row within 10 s",
        ),
    )


def _span(step: str) -> dict[str, Measure]:
    return {"began": Measure("first", step), "ended": Measure("last", step)}


def _page(step: str) -> dict[str, Measure]:
    return {"page": Measure("last", step, "page")}
