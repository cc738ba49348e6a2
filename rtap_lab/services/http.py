"""Asking a service over HTTP whether it works: a client for each certificate, kept, since making one takes a while."""

from __future__ import annotations

from functools import lru_cache

import httpx

from rtap_lab.endpoints import Endpoint, Tls


@lru_cache(maxsize=4)
def _client(tls: Tls | None) -> httpx.Client:
    return httpx.Client(timeout=2, trust_env=False, verify=tls.context() if tls else True)


def get(service: Endpoint, path: str) -> httpx.Response:
    """The answer to a GET, waited for two seconds at most.

    Raises:
        httpx.HTTPError: When there is none, or an error.
    """
    return _client(service.tls).get(f"{service}{path}").raise_for_status()
