"""A simulator whose broker is away says so, once, and once more when it is back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.kafka.feeder import SILENT_S, Silence


def test_messages_that_nobody_takes_are_told_once_and_so_is_the_end_of_it() -> None:
    silence = Silence(100.0)
    assert silence.note(50, 3, 101) == ""
    assert silence.note(50, 200, 101 + SILENT_S - 0.1) == ""
    assert "accepted nothing for 5 s; 300 messages wait" in silence.note(50, 300, 101 + SILENT_S)
    assert silence.note(50, 400, 120) == ""
    assert "accepts messages again" in silence.note(60, 390, 121)
    assert silence.note(60, 390, 121 + SILENT_S - 0.1) == ""


def test_a_pause_in_which_nothing_waits_is_no_silence() -> None:
    silence = Silence(0.0)
    assert [silence.note(50, 0, now) for now in (1, 20, 40, 60)] == [""] * 4
    assert silence.note(50, 1, 60 + SILENT_S - 1) == ""


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.floats(0, 4)), max_size=60))
def test_it_is_told_in_turn(steps: list[tuple[bool, int, float]]) -> None:
    silence, accepted, now, said = Silence(0.0), 0, 0.0, []
    for taken, waiting, passed in steps:
        accepted += taken
        now += passed
        if words := silence.note(accepted, waiting, now):
            said.append("again" in words)
    assert said == [n % 2 == 1 for n in range(len(said))]
