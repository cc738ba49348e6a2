"""Python functions for Flink jobs: what SQL says badly. Plain functions of one text, without pyflink; `session` registers them."""

from __future__ import annotations

import re

_KINDS = (
    ("email", re.compile(r"mail|newsletter|crm", re.IGNORECASE)),
    ("search", re.compile(r"search|adwords|ppc|sem\b|google|bing", re.IGNORECASE)),
    ("social", re.compile(r"social|facebook|instagram|tiktok|linkedin|twitter|youtube", re.IGNORECASE)),
    ("affiliate", re.compile(r"affiliate|partner|referral", re.IGNORECASE)),
)
_FAMILIES = (
    # the order matters: each names those before it, too
    ("bot", re.compile(r"bot\b|crawl|spider|slurp|curl|wget|python-|monitor", re.IGNORECASE)),
    ("Edge", re.compile(r"\bEdg(e|A|iOS)?/")),
    ("Opera", re.compile(r"\bOPR/|\bOpera\b")),
    ("Firefox", re.compile(r"\b(Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"\b(Chrome|CriOS|Chromium)/")),
    ("Safari", re.compile(r"\bSafari/")),
    ("Internet Explorer", re.compile(r"\bMSIE |\bTrident/")),
)


def campaign_kind(campaign: str | None) -> str:
    """What kind of campaign a name stands for: "email", "search", "social", "affiliate", "other", or "none"."""
    if not campaign:
        return "none"
    return next((kind for kind, pattern in _KINDS if pattern.search(campaign)), "other")


def user_agent_family(user_agent: str | None) -> str:
    """The browser that a User-Agent header names, "bot", or "other"; "none" where there is none."""
    if not user_agent:
        return "none"
    return next((family for family, pattern in _FAMILIES if pattern.search(user_agent)), "other")


FUNCTIONS = {"campaign_kind": campaign_kind, "user_agent_family": user_agent_family}
"""By their name in SQL; each takes a STRING and gives one."""
