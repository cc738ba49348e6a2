"""Settings: durations, names, and errors that say what to do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rtap_lab.errors import RtapLabError, ServiceError, SettingsError
from rtap_lab.queries.catalogue import packaged
from rtap_lab.settings import JobParameters, duration_ms, duration_text, source_name


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("10s", 10_000),
        ("30 min", 1_800_000),
        ("1500ms", 1500),
        ("1h", 3_600_000),
        ("0.5s", 500),
        (2, 2000),
        (timedelta(minutes=1), 60_000),
    ],
)
def test_durations(value: object, ms: int) -> None:
    assert duration_ms(value) == ms  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["", "10", "ten s", "-1s", "0s", "10 parsecs", "0.0001ms", 0])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(SettingsError, match="gap"):
        duration_ms(value, name="gap")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["late", "rejected", "live", "sessions", "Web", "1a", "a b", "", "a" * 41, "a.b", "../x"]
)
def test_names_no_source_may_have(name: str) -> None:
    with pytest.raises(SettingsError):
        source_name(name, reserved=frozenset(packaged().names))


def test_errors_say_what_and_what_to_do() -> None:
    error = ServiceError("kafka does not start", service="kafka", log_tail=["boom"], hint="look")
    assert str(error).splitlines() == ["kafka does not start", "  last lines of kafka's log:", "  | boom", "  -> look"]
    assert issubclass(ServiceError, RtapLabError)
    with pytest.raises(SettingsError):
        JobParameters(delivery="twice")  # type: ignore[arg-type]
    with pytest.raises(SettingsError):
        packaged()["nothing"]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 s"),
        (250, "250 ms"),
        (90_000, "1 min 30 s"),
        (3_600_000, "1 h"),
        (3_600_000 + 5_000, "1 h"),
        (6 * 3_600_000 + 60_000 + 1, "6 h 1 min"),
    ],
)
def test_a_duration_as_people_say_it(ms: int, text: str) -> None:
    assert duration_text(ms) == text
