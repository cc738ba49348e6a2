"""Sums of millionths: exact, the same in every order, never infinite."""

from __future__ import annotations

import random
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.queries.aggregates import mean, total
from rtap_lab.queries.conditions import field
from rtap_lab.reference.accumulators import accumulator, millionths
from rtap_lab.reference.fates import Event

GREAT = [1e12, 1e15 + 0.25, 9.007e15, 2.0**53, 1e17, 8.9e18]


def event(value: float | None) -> Event:
    return Event("e", "conversion", 0, "v", "purchase", None, value, None)


def measured(aggregate: Any, values: list[float | None]) -> Any:
    made = accumulator(aggregate)
    state = made.new()
    for value in values:
        state = made.add(state, event(value))
    return made.read(state, 60_000)


@given(st.one_of(st.floats(-9e18, 9e18, exclude_min=True, exclude_max=True), st.sampled_from(GREAT)))
def test_a_number_is_rounded_to_the_nearest_millionth(value: float) -> None:
    found = millionths(value)
    assert found is not None
    away = abs(Fraction(value) * 1_000_000 - found)
    # the rest is multiplied as a double: what that rounds away is a part in 2^52 of a million
    assert away <= Fraction(1, 2) + Fraction(1, 2**33)


@pytest.mark.parametrize("value", [9e18, -9e18, 1.7e308, float("inf"), float("nan")])
def test_a_number_that_is_too_great_is_no_part_of_a_sum(value: float) -> None:
    assert millionths(value) is None
    assert measured(total(field("value")), [value, 1.5]) == 1.5
    assert measured(mean(field("value")), [value, 1.5, 2.5]) == 2
    assert measured(total(field("value")), [value]) is None


@given(st.lists(st.one_of(st.decimals("-1e4", "1e4", places=2).map(float), st.sampled_from(GREAT)), max_size=60))
def test_a_sum_is_exact_and_the_same_in_every_order(values: list[float]) -> None:
    exact = sum((Decimal(each).quantize(Decimal("0.000001"), ROUND_HALF_UP) for each in values), Decimal(0))
    mixed = random.Random(len(values)).sample(values, len(values))
    found = measured(total(field("value")), [*values])
    assert found == measured(total(field("value")), [*mixed])
    assert found == (float(exact * 1_000_000) / 1e6 if values else None)


def test_what_is_missing_counts_as_its_default_or_not_at_all() -> None:
    assert measured(total(field("value"), default=0.0000005), [None, 1.0]) == 1.000001
    assert measured(total(field("value")), [None]) is None
    assert measured(mean(field("value")), [None, 3.0]) == 3
