"""Asking a service over HTTP whether it works: one client, kept, since making one reads all authorities' certificates."""

from __future__ import annotations

from functools import lru_cache

import httpx


@lru_cache(maxsize=1)
def _client() -> httpx.Client:
    return httpx.Client(timeout=2, trust_env=False)


def get(url: str) -> httpx.Response:
    """The answer to a GET, waited for two seconds at most.

    Raises:
        httpx.HTTPError: When there is none, or an error.
    """
    return _client().get(url).raise_for_status()
