"""What a reading tells of records that expired before it came to them."""

from __future__ import annotations

from rtap_lab.verification.trail import Trail


def trail(positions: dict[int, int], *read: tuple[int, int]) -> Trail:
    found = Trail(positions, {partition for partition, position in positions.items() if position})
    for partition, offset in read:
        found.note(partition, offset)
    return found


def test_a_reading_without_gaps_has_no_hole_whatever_expired_behind_it() -> None:
    found = trail({0: 5, 1: 0}, (0, 5), (1, 0), (0, 6), (1, 1))
    assert not found.has_hole({0: 99, 1: 99}, {0: 7, 1: 2})
    assert found.begins({0: 99, 1: 99}) == {}


def test_first_records_that_expired_move_the_beginning() -> None:
    found = trail({0: 5, 1: 0}, (0, 9), (1, 0), (0, 10))
    assert found.begins({0: 9, 1: 0}) == {0: 9}
    assert not found.has_hole({0: 9, 1: 0}, {0: 11, 1: 1})


def test_where_nothing_had_expired_before_or_something_was_read_a_missing_beginning_is_a_hole() -> None:
    assert trail({0: 0}, (0, 4)).has_hole({0: 4}, {0: 5})
    found = Trail({0: 5})
    found.note(0, 9)
    assert found.has_hole({0: 9}, {0: 10})
    assert found.begins({0: 9}) == {}


def test_records_that_expired_between_others_are_a_hole() -> None:
    found = trail({0: 5}, (0, 5), (0, 9))
    assert found.has_hole({0: 9}, {0: 10})
    assert found.begins({0: 9}) == {}


def test_records_that_expired_behind_those_that_were_read_are_a_hole() -> None:
    assert trail({0: 5, 1: 3}, (0, 5)).has_hole({0: 6, 1: 9}, {0: 6, 1: 9}), "of the second nothing was there any more"
    assert not trail({0: 5, 1: 3}, (0, 5)).has_hole({0: 6, 1: 3}, {0: 6, 1: 3})


def test_markers_of_transactions_are_none() -> None:
    found = trail({0: 5}, (0, 5), (0, 9), (0, 11))
    assert not found.has_hole({0: 3}, {0: 12})
    assert trail({0: 5}, (0, 7)).begins({0: 5}) == {}
