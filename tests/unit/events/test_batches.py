"""Batches give back what was packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.events.batches import digest_of_row, pack, unpack, written
from rtap_lab.events.codec import decode, java_double, number
from rtap_lab.events.model import EVENT_TYPES, Decoded

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NONE = st.none() | TEXT
EVENT = st.builds(
    Decoded,
    event_id=TEXT,
    event_type=st.sampled_from(EVENT_TYPES),
    event_time=st.integers(-(2**45), 2**45),
    visitor_id=TEXT,
    name=TEXT,
    session_id=NONE,
    page=NONE,
    referrer=NONE,
    campaign=NONE,
    device=NONE,
    country=NONE,
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False).map(java_double),
    properties=st.none() | st.dictionaries(TEXT, NONE, max_size=3),
)


@given(st.lists(EVENT, min_size=1, max_size=20))
def test_what_is_packed_comes_back(rows: list[Decoded]) -> None:
    assert unpack(pack(rows)) == rows


@given(
    EVENT.filter(lambda row: 0 <= row.event_time < 2**42)
)  # the contract's texts of instants have four digits of a year
def test_an_event_of_a_batch_as_json_is_the_same_event(row: Decoded) -> None:
    (back,) = decode(written(row))
    assert digest_of_row(back) == digest_of_row(row)


def test_a_number_is_the_number_that_it_was_written_as() -> None:
    (back,) = unpack(pack([Decoded("e", "page_view", 1, "v", value=" 12.50f")]))
    assert back.value is not None
    assert number(back.value) == 12.5


def test_the_digest_tells_whatever_differs() -> None:
    base = Decoded("e", "custom", 1, "v", "n", value="1", properties={"a": "b"})
    others = [
        Decoded("e", "custom", 1, "v", "n", value="2", properties={"a": "b"}),
        Decoded("e", "custom", 1, "v", "n", value="1", properties={"a": "c"}),
        Decoded("e", "custom", 1, "v", "n", page="n", value="1", properties={"a": "b"}),
        Decoded("e", "custom", 2, "v", "n", value="1", properties={"a": "b"}),
    ]
    assert len({digest_of_row(row) for row in [base, *others]}) == 5
