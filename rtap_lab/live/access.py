"""Who may follow the hub or see the dashboard: tokens that expire, made from a secret of the lab's. Pure.

A token is `EXPIRES.SIGNATURE`: seconds since the epoch, and the HMAC-SHA256 (RFC 2104) of that text under the secret, in
hexadecimal. A chart that is saved in a notebook carries a token, never the secret.
"""

from __future__ import annotations

import hashlib
import hmac

LIFE_S = 12 * 3600
"""Seconds that a token is good for: a page that stays open for longer is loaded again."""


def issue(secret: str, now_s: float) -> str:
    """A token that is good from now on, for `LIFE_S` seconds.

    Raises:
        ValueError: When the secret is empty.
    """
    expires = str(int(now_s) + LIFE_S)
    return f"{expires}.{_signature(secret, expires)}"


def holds(secret: str, token: object, now_s: float) -> bool:
    """Whether a token was made from this secret and has not expired."""
    if not isinstance(token, str) or len(token) > 200:
        return False
    expires, _, signature = token.partition(".")
    genuine = hmac.compare_digest(_signature(secret, expires).encode(), signature.encode("utf-8", "replace"))
    return genuine and now_s < int(expires)


def viewing(secret: str) -> str:
    """The secret that tokens are made from which only let see."""
    return hmac.new(secret.encode(), b"view", hashlib.sha256).hexdigest()


def _signature(secret: str, expires: str) -> str:
    if not secret:
        raise ValueError("tokens are made from a secret")
    return hmac.new(secret.encode(), expires.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
