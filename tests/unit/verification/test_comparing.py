"""Rows against rows: what is due, what is gone, and what clients of the hub are shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.queries.aggregates import count
from rtap_lab.queries.query import WindowQuery, query
from rtap_lab.queries.windows import TumbleWindow
from rtap_lab.verification.comparing import compare, compare_rollup, compare_shown, identity

MINUTES = query("minutes", WindowQuery(TumbleWindow(60_000), {"views": count()}, {}))
ROWS = [{"n": n} for n in range(12)]


def row(minute: int, views: int = 1) -> dict[str, int]:
    return {"window_start": minute * 60_000, "window_end": (minute + 1) * 60_000, "views": views}


def test_a_row_is_compared_expired_or_open() -> None:
    expected = {identity(MINUTES.schema, each): each for each in (row(1), row(2), row(3))}
    found = [row(1, 7), row(2), row(3, 7)]
    compared = compare(
        MINUTES, "topic", expected, found, delivery="exactly_once", w_ms=3 * 60_000 - 1, since_ms=2 * 60_000
    )
    assert (compared.rows, compared.expired, compared.open, compared.differences) == (1, 1, 1, 0)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_the_newest_rows_are_in_step_however_many_came_meanwhile(before: int, came: int, length: int) -> None:
    end = min(before + came, len(ROWS))
    before = min(before, end)
    shown = ROWS[max(0, end - length) : end]
    compared = compare_shown("q", shown, ROWS[:end], before=before)
    assert bool(compared.differences) == (not shown and before > 0)


@given(st.data())
def test_any_gap_double_order_or_foreign_row_is_a_difference(data: st.DataObject) -> None:
    length = data.draw(st.integers(2, 12))
    shown = ROWS[-length:]
    at = data.draw(st.integers(0, length - 1))
    what = data.draw(st.sampled_from(["gap", "double", "order", "foreign", "changed"]))
    if what == "gap" and at == 0:
        at = 1  # without its oldest row it is a shorter piece, and in step
    spoilt = {
        "gap": [*shown[:at], *shown[at + 1 :]],
        "double": [*shown[: at + 1], *shown[at:]],
        "order": [*shown[:at][::-1], *shown[at:][::-1]],
        "foreign": [*shown[:at], {"x": 1}, *shown[at:]],
        "changed": [*shown[:at], {"n": -1}, *shown[at + 1 :]],
    }[what]
    assert bool(compare_shown("q", spoilt, ROWS, before=12).differences) == (spoilt != shown)


def test_an_empty_topic_shows_nothing() -> None:
    assert compare_shown("q", [], [], before=0).differences == 0
    assert compare_shown("q", [], ROWS, before=0).differences == 0
    assert compare_shown("q", [{"x": 1}], [], before=0).differences == 1


def test_a_hub_that_shows_less_than_it_must_is_out_of_step() -> None:
    assert compare_shown("q", ROWS[-4:], ROWS, before=12, least=4).differences == 0
    assert compare_shown("q", ROWS[-3:], ROWS, before=12, least=4).differences == 1
    assert compare_shown("q", ROWS[:2], ROWS[:2], before=2, least=4).differences == 0


HOUR = 3_600_000
ANSWERS = [row(minute, 2) for minute in range(60, 240)]  # hours 1, 2 and 3
SUMS = [{"window_start": hour * HOUR, "window_end": (hour + 1) * HOUR, "views": 120} for hour in (1, 2, 3)]


def test_the_hours_of_the_rollup_are_sums_of_the_answers() -> None:
    assert MINUTES.schema.additive == ("views",)
    whole = {"hour_ms": HOUR, "since_ms": HOUR, "until_ms": 4 * HOUR}
    assert compare_rollup(MINUTES, ANSWERS, SUMS, **whole).rows == 3
    assert compare_rollup(MINUTES, ANSWERS, SUMS, **whole).differences == 0
    for spoilt, what in (
        (SUMS[1:], "missing"),
        ([*SUMS, {**SUMS[0], "window_start": 0}], ""),
        ([{**SUMS[0], "views": 121}, *SUMS[1:]], "wrong"),
    ):
        compared = compare_rollup(MINUTES, ANSWERS, spoilt, **whole)
        assert compared.differences == (1 if what else 0), "an hour before the log's beginning cannot be judged"
        assert not what or getattr(compared, what) == 1
    part = compare_rollup(MINUTES, ANSWERS, [], hour_ms=HOUR, since_ms=HOUR + 1, until_ms=4 * HOUR - 1)
    assert (part.rows, part.missing) == (1, 1), "only hours that are whole and over"


def test_a_sum_that_no_answer_gives_is_one_too_many() -> None:
    compared = compare_rollup(MINUTES, [], SUMS[:1], hour_ms=HOUR, since_ms=0, until_ms=9 * HOUR)
    assert compared.extra == 1


def test_rows_that_come_again_are_shown_once_and_nothing_else_is_forgiven() -> None:
    a, b, c, d, e = ROWS[:5]
    topic = [a, b, c, b, c, d, e]

    def differences(shown: list[dict[str, int]], **options: int) -> int:
        return compare_shown("q", shown, topic, before=len(topic), repeats=True, **options).differences

    assert differences([a, b, c, d, e], least=7) == 0
    assert differences([b, c, d, e]) == 0
    assert differences([c, b, d, e]) == 0, "a hub that began between them"
    assert differences([a, b, c, d]) > 0, "the newest is missing"
    assert differences([a, c, d, e]) > 0, "one is missing"
    assert differences([a, b, b, c, d, e]) > 0, "one is shown twice"
    assert differences([a, b, d, c, e]) > 0, "another order"
    assert differences([d, e], least=7) > 0, "less than is read"
