"""Tokens of the hub: good for a while, from one secret."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.live.access import LIFE_S, holds, issue

NOW = 1_795_000_000.5


def test_a_token_holds_for_its_life_and_no_longer() -> None:
    token = issue("secret", NOW)
    assert holds("secret", token, NOW)
    assert holds("secret", token, NOW + LIFE_S - 1)
    assert not holds("secret", token, NOW + LIFE_S)
    assert not holds("another", token, NOW)


def test_it_does_not_hold_the_secret() -> None:
    assert "secret" not in issue("secret", NOW)


@given(st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.lists(st.text())))
def test_nothing_else_holds(token: object) -> None:
    assert not holds("secret", token, NOW)


@given(st.integers(0, 74), st.characters(codec="ascii"))
def test_one_character_changed_spoils_it(at: int, put: str) -> None:
    token = issue("secret", NOW)
    at %= len(token)
    changed = token[:at] + put + token[at + 1 :]
    assert holds("secret", changed, NOW) == (changed == token)
