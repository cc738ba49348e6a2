"""Traffic in the background: it ends when it is told to, and what ended it early is raised where somebody waits."""

from __future__ import annotations

import threading

import pytest

from rtap_lab.errors import SettingsError
from rtap_lab.lab.traffic import Traffic
from rtap_lab.simulator.fed import Fed


def sent(stop: threading.Event) -> Fed:
    assert stop.wait(10)
    return Fed(sent=3, seconds=1.0)


def test_it_goes_on_until_it_is_stopped() -> None:
    traffic = Traffic("brisk sends", sent)
    assert traffic.own
    assert traffic.wait(0.05) is None
    assert repr(traffic) == "brisk sends"
    fed = traffic.stop()
    assert fed is not None
    assert fed.sent == 3
    assert repr(traffic) == "brisk sends: 3 messages sent, ended"


def test_what_ended_it_early_is_raised() -> None:
    def fails(stop: threading.Event) -> Fed:
        raise SettingsError("no room")

    traffic = Traffic("brisk <sends>", fails)
    with pytest.raises(SettingsError, match="no room"):
        traffic.wait(10)
    assert traffic._repr_mimebundle_()["text/html"] == "<p>brisk &lt;sends&gt;: no room</p>"


def test_that_of_another_goes_on() -> None:
    traffic = Traffic("a simulator sends already", None)
    assert not traffic.own
    assert traffic.stop() is None
    assert traffic.wait() is None
