"""Tables for people, and waiting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.tables import Table, Text
from rtap_lab.waiting import backoff, until


def test_a_table_on_a_terminal_and_in_a_notebook() -> None:
    table = Table(("name", "n"), [["a", 12_345], ["<b>", None]])
    assert str(table) == "name       n\na     12,345\n<b>"
    assert "&lt;b&gt;" in table._repr_html_()
    assert "<b>" not in table._repr_html_()
    assert str(Table.of(["x", "y"], [{"x": 1}], grouped=False)) == "x  y\n1"


@given(st.text())
def test_what_a_visitor_wrote_drives_no_terminal(text: str) -> None:
    for shown in (str(Table(("c",), [[text]])), str(Text(text))):
        assert all(c.isprintable() for line in shown.split("\n") for c in line)


def test_a_plan_keeps_its_lines() -> None:
    assert str(Text("a\n  b\t")) == "a\n  b\\x09"
    assert Text("<b>\n")._repr_html_() == '<pre style="overflow-x:auto">&lt;b&gt;\n</pre>'


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_until_returns_the_first_true_answer_or_raises() -> None:
    clock, answers = FakeClock(), [0, "", "found"]
    assert until(lambda: answers.pop(0), 10, clock=clock) == "found"
    assert clock.now == pytest.approx(0.2)
    with pytest.raises(TimeoutError):
        until(lambda: False, 3, TimeoutError, clock=clock)
    assert clock.now == pytest.approx(3.2)
    assert until(lambda: None, 1, clock=clock) is None
    assert until(lambda: True, 0, TimeoutError, clock=clock), "asked at least once"


def test_backoff_grows_to_a_limit() -> None:
    waits = [backoff(n) for n in range(1, 40)]
    assert waits[0] == 0.2
    assert waits == sorted(waits)
    assert waits[-1] == 10
