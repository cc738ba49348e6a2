"""Ids that come for the first time: as a set tells them, whatever their hashes are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.flink import first_ids
from rtap_lab.flink.first_ids import FirstIds, block_of

IDS = st.one_of(
    st.integers(0, 30).map(str),
    st.text(max_size=9),
    st.integers(0, 5).map(lambda n: "x" * 130 + str(n)),
    st.integers(0, 5).map(lambda n: "\0" * n),
)


def of_a_set(batches: list[list[str]]) -> list[list[bool]]:
    seen: set[str] = set()
    return [[not (each in seen or seen.add(each)) for each in batch] for batch in batches]  # type: ignore[func-returns-value]


def texts(batch: list[str]) -> pa.StringArray:
    return pa.array(batch, pa.utf8())


@given(st.lists(st.lists(IDS, max_size=40), max_size=8), st.sampled_from([0, 1, 3, 64]))
def test_it_tells_what_a_set_tells(batches: list[list[str]], bits: int) -> None:
    """Also where hashes have so few bits that most ids collide."""
    real = first_ids._hashes
    mask = np.uint64(2**bits - 1) << np.uint64(64 - bits) if bits else np.uint64(0)

    def few(*given: Any) -> Any:
        return (real(*given) & mask) | np.uint64(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_ids, "_hashes", few)
        ids = FirstIds()
        assert [ids.add(texts(batch)).tolist() for batch in batches] == of_a_set(batches)
        assert len(ids) == len({each for batch in batches for each in batch})


def test_a_table_that_grows_forgets_nothing() -> None:
    ids = FirstIds()
    batches = [[f"{n}-{i}" for i in range(1_000)] for n in range(150)]
    assert all(ids.add(texts(batch)).all() for batch in batches)
    assert len(ids) == 150_000
    assert not any(ids.add(texts(batch)).any() for batch in batches)


def test_what_was_written_down_is_known_again() -> None:
    before, after = FirstIds(), FirstIds()
    blocks = []
    for batch in (["a", "b", "a", ""], ["b", "c" * 200], ["a"]):
        new = before.add(texts(batch))
        blocks.append(block_of(texts(batch).filter(pa.array(new))))
    for block in blocks:
        after.restore(block)
    assert len(after) == len(before) == 4
    assert after.add(texts(["", "a", "b", "c" * 200, "d"])).tolist() == [False] * 4 + [True]


def test_a_piece_of_a_batch_is_taken_from_where_it_begins() -> None:
    ids = FirstIds()
    assert ids.add(texts(["a", "b", "c"]).slice(1, 2)).tolist() == [True, True]
    assert ids.add(texts(["a", "b", "c"])).tolist() == [True, False, False]
    assert ids.add(texts([])).tolist() == []


@pytest.mark.timeout(20)
def test_ids_that_somebody_chose_are_told_apart_in_time() -> None:
    """Repeated ones, and some that differ in the highest bits of each word: a sum of products would let them meet."""
    ids = FirstIds()
    assert ids.add(texts(["same"] * 65_536)).sum() == 1
    chosen = ["".join(("a" * 7 + ("0", "p")[n >> bit & 1]) for bit in range(12)) for n in range(4_096)]
    assert ids.add(texts(chosen)).all()
