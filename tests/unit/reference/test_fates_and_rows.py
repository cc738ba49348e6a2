"""Fates and the reference: boundaries of the contract, and properties."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.events.codec import encode
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.standard import HOUR, MINUTE, standard_queries
from rtap_lab.reference.engine import rows_of
from rtap_lab.reference.fates import Event, Judge, Place, copies, judged_anew
from rtap_lab.reference.windowing import Row
from rtap_lab.settings import JobParameters

HALF_HOUR = 30 * MINUTE


def event(
    time: int,
    kind: str = "page_view",
    *,
    id: str = "",
    visitor: str = "v",
    name: str | None = None,
    page: str | None = "/a",
    value: float = 0.0,
) -> Event:
    return Event(id or f"e{time}", kind, time, visitor, name, page, value)


def cart(time: int, id: str = "") -> Event:
    return event(time, "custom", name="add_to_cart", id=id)


def purchase(time: int, id: str = "") -> Event:
    return event(time, "conversion", name="purchase", id=id)


def answer(name: str, events: list[Event], *, gap: int = MINUTE, within: int = MINUTE) -> list[Row]:
    return rows_of(packaged(JobParameters(gap_ms=gap, within_ms=within))[name].definition, events)


def fates(judge: Judge, *records: tuple[bytes | None, int]) -> list[str]:
    return [j.fate for n, (value, arrival) in enumerate(records) for j in judge.judge(value, Place(0, n, arrival))]


def record(time: int, id: str = "a", **more: object) -> bytes:
    return encode({"event_id": id, "event_type": "page_view", "event_time": time, "visitor_id": "v"} | more)


def test_late_is_at_the_bound_and_depends_on_the_record_alone() -> None:
    assert fates(Judge(2000), (record(8000, "a"), 10_000), (record(8001, "b"), 10_000)) == ["late", "counted"]


def test_a_clock_that_is_set_back_does_not_take_back_what_is_late() -> None:
    judge = Judge(2000)
    tick = b'{"event_type":"_tick"}'
    assert fates(
        judge,
        (record(10_000, "a"), 10_000),
        (tick, 20_000),
        (record(4_900, "b"), 5_000),  # on time by its own arrival; windows up to 18,000 are closed
        (record(18_000, "c"), 16_500),
        (record(18_001, "d"), 16_501),
        (b"garbage", 90_000),  # no SQL sees it: it moves no clock
        (record(30_000, "e"), 30_000),
    ) == ["counted", "tick", "late", "late", "counted", "rejected", "counted"]
    assert [each.fate for each in judge.judge(record(4_900, "f"), Place(1, 0, 5_000))] == ["counted"], (
        "its own partition"
    )
    assert judge.latest == {0: 30_000, 1: 5_000}


def test_fates_are_decided_in_the_contracts_order() -> None:
    judge = Judge(2000)
    assert fates(
        judge,
        (b'{"event_type":"_tick"}', 0),
        (b"garbage", 0),
        (record(10_000), 10_000),
        (record(1, id="a"), 100_000),  # a copy that comes late is a duplicate, not late
        (record(5000, event_type="no"), 10_000),
    ) == ["tick", "rejected", "counted", "duplicate", "rejected"]


def test_a_copy_of_a_late_event_is_a_duplicate() -> None:
    assert fates(Judge(2000), (record(1), 100_000), (record(1), 100_001)) == ["late", "duplicate"]


def test_a_gap_of_exactly_the_gap_still_merges() -> None:
    merged = answer("sessions", [event(0), event(HALF_HOUR)], gap=HALF_HOUR)
    apart = answer("sessions", [event(0), event(HALF_HOUR + 1)], gap=HALF_HOUR)
    assert [row["events"] for row in merged] == [2]
    assert [row["events"] for row in apart] == [1, 1]


def test_entry_and_exit_are_by_event_time_and_ties_by_page() -> None:
    (row,) = answer(
        "sessions",
        [
            event(5, page="/b", id="1"),
            event(5, page="/a", id="2"),
            event(9, page="/y", id="3"),
            event(9, page="/z", id="4"),
            event(1, page=None, id="5"),
            event(0, "custom", page="/no", name="x"),
        ],
        gap=60,
    )
    assert (row["entry_page"], row["exit_page"], row["page_views"], row["bounced"]) == ("/a", "/z", 5, False)


def test_a_session_without_pages_has_no_entry() -> None:
    (row,) = answer("sessions", [event(0, "session_start", page=None)], gap=60)
    assert (row["entry_page"], row["exit_page"], row["bounced"]) == (None, None, False)


def test_exactly_thirty_minutes_is_an_abandonment_and_no_match() -> None:
    events = [cart(0), purchase(HALF_HOUR)]
    assert answer("cart_to_purchase", events, within=HALF_HOUR) == []
    assert len(answer("checkout_abandoned", events, within=HALF_HOUR)) == 1
    events = [cart(0), purchase(HALF_HOUR - 1)]
    assert len(answer("cart_to_purchase", events, within=HALF_HOUR)) == 1
    assert answer("checkout_abandoned", events, within=HALF_HOUR) == []


def test_later_is_a_greater_time_and_id() -> None:
    assert len(answer("cart_to_purchase", [cart(5, "a"), purchase(5, "b")], within=100)) == 1
    assert answer("cart_to_purchase", [cart(5, "b"), purchase(5, "a")], within=100) == []
    assert len(answer("checkout_abandoned", [cart(5, "b"), purchase(5, "a")], within=100)) == 1


def test_another_cart_replaces_the_first_without_abandoning_it() -> None:
    events = [cart(0), cart(10), purchase(20)]
    assert [row["cart_time"] for row in answer("cart_to_purchase", events, within=100)] == [10]
    assert answer("checkout_abandoned", events, within=100) == []


def test_cumulate_goes_on_to_the_end_of_the_hour() -> None:
    rows = answer("traffic_cumulate", [event(30 * MINUTE + 5)])
    assert len(rows) == 30
    assert {row["views"] for row in rows} == {1}
    assert {row["window_start"] for row in rows} == {0}
    assert max(row["window_end"] for row in rows) == HOUR


_events = st.lists(
    st.builds(
        lambda t, v, p, n: event(
            t,
            ["page_view", "custom", "conversion"][n],
            id=f"{t}/{v}/{p}/{n}",
            visitor=v,
            page=p,
            name=[None, "add_to_cart", "purchase"][n],
        ),
        st.integers(0, 3 * HOUR),
        st.sampled_from("abc"),
        st.sampled_from([None, "", "/x", "/y"]),
        st.integers(0, 2),
    ),
    max_size=40,
    unique_by=lambda e: e.event_id,
)


@given(_events)
def test_every_view_is_in_exactly_the_windows_that_contain_it(events: list[Event]) -> None:
    views = [e for e in events if e.event_type == "page_view"]
    rows = answer("traffic_hop", views)
    assert sum(row["views"] for row in rows) == 6 * len(views)
    for row in rows:
        inside = [e for e in views if row["window_start"] <= e.event_time < row["window_end"]]
        assert (row["views"], row["visitors"]) == (len(inside), len({e.visitor_id for e in inside}))


@given(_events, st.randoms(use_true_random=False))
def test_rows_do_not_depend_on_the_order_of_arrival(events: list[Event], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    parameters = JobParameters(gap_ms=MINUTE, within_ms=10 * MINUTE)

    def rows(these: list[Event]) -> dict[str, set[str]]:
        return {
            query.name: {
                str(sorted(query.schema.normal(row).items(), key=str)) for row in rows_of(query.definition, these)
            }
            for query in standard_queries(parameters)
        }

    assert rows(events) == rows(shuffled)


@given(_events)
def test_each_cart_is_bought_abandoned_or_replaced(events: list[Event]) -> None:
    within = 10 * MINUTE
    matches = answer("cart_to_purchase", events, within=within)
    assert all(0 <= row["purchase_time"] - row["cart_time"] < within for row in matches)
    abandoned = answer("checkout_abandoned", events, within=within)
    carts = [e for e in events if e.name == "add_to_cart"]
    assert len(matches) + len(abandoned) <= len(carts)
    assert sum(row["events"] for row in answer("sessions", events, gap=MINUTE)) == len(events)


def test_of_copies_in_several_partitions_any_may_be_said_to_have_come_first() -> None:
    judge = Judge(2_000)

    def view(event_id: str, time_ms: int, page: str) -> bytes:
        return encode(
            {"event_id": event_id, "event_type": "page_view", "event_time": time_ms, "visitor_id": "v", "page": page}
        )

    now = 1_795_000_000_000
    records = [
        (view("a", now, "/0"), Place(0, 0, now)),
        (view("b", now, "/0"), Place(0, 1, now)),
        (view("a", now, "/1"), Place(1, 0, now)),
        (view("a", now, "/1 again"), Place(1, 1, now)),
        (view("a", now - 2_000, "/2"), Place(2, 0, now)),
        (view("b", now, "/0 again"), Place(0, 2, now)),
    ]
    judged = [each for value, place in records for each in judge.judge(value, place)]
    assert copies(judged) == {"a": [0, 1, 2]}, "copies of b share a partition, and so have an order"
    assert judged_anew(judged, {}) == judged
    for partition, fate, page in ((0, "counted", "/0"), (1, "counted", "/1"), (2, "late", "/2")):
        anew = judged_anew(judged, {"a": partition})
        assert judged_anew(anew, {"a": 0}) == judged_anew(judged, {"a": 0}), "nothing is lost on the way"
        (first,) = [each for each in anew if each.event_id == "a" and each.fate != "duplicate"]
        assert first.event is not None
        assert (first.place.partition, first.fate, first.event.page) == (partition, fate, page)
        assert [each.fate for each in anew if each.event_id == "b"] == ["counted", "duplicate"]
