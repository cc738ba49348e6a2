"""In which order services start and stop."""

from __future__ import annotations

import pytest

from rtap_lab.errors import SettingsError
from rtap_lab.stack.order import start_order, stop_order


def test_services_start_after_what_they_depend_on_and_stop_before() -> None:
    depends = {"a": [], "b": ["a"], "c": ["a", "gone"], "d": ["b", "c"]}
    assert start_order(depends) == [["a"], ["b", "c"], ["d"]]
    assert stop_order(depends) == [["d"], ["b", "c"], ["a"]]
    with pytest.raises(SettingsError):
        start_order({"a": ["b"], "b": ["a"]})
