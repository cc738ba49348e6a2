"""Flink and the reference engine give equal rows: random queries on random streams, on the real stack."""

from __future__ import annotations

from rtap_lab.bench.agreement import campaign
from rtap_lab.lab import Lab

CASES = 200
SEED = 20_261_123


def test_flink_and_the_reference_agree(stack: Lab) -> None:
    found = campaign(stack, CASES, seed=SEED, parallelism=2)
    print(found)
    assert not found.disagreements, str(found)
    assert found.cases == CASES
    # a campaign that compares nothing proves nothing
    assert found.rows > 5_000
    assert found.patterns > CASES / 5
    assert found.empty < CASES / 2
    assert found.late > 0
    assert found.duplicates > 0
    assert not [name for name in stack.sources() if name.startswith("agreement-")], (
        "sources are left"
    )
