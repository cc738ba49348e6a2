"""Texts as keys of a store."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.store.points import key_text, key_value


@given(st.none() | st.text())
def test_keys_survive_the_store(value: str | None) -> None:
    text = key_text(value)
    assert key_value(text) == value
    assert not text.endswith("\\")
    assert "\n" not in text


@given(st.text(), st.text())
def test_different_keys_stay_different(a: str, b: str) -> None:
    assert (key_text(a) == key_text(b)) == (a == b)
