"""Flink and the reference engine give equal rows: random queries on random streams, on the real stack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rtap_lab.bench.agreement import campaign, kept
from rtap_lab.events.codec import encode
from rtap_lab.flink.rest import FlinkRest
from rtap_lab.jobs.model import Run
from rtap_lab.kafka.topics import Topics
from rtap_lab.lab import Lab
from rtap_lab.testing.cases import Case
from rtap_lab.waiting import until

CASES = 24
SEED = 20_261_127


def test_flink_and_the_reference_agree(stack: Lab) -> None:
    found = campaign(stack, CASES, seed=SEED, parallelism=2)
    print(found)
    assert not found.disagreements, str(found)
    assert found.cases == CASES
    # a campaign that compares nothing proves nothing
    assert found.rows > 1_000
    assert found.patterns > CASES / 5
    assert found.empty < CASES / 2
    assert found.late > 0
    assert found.duplicates > 0
    assert not [name for name in stack.sources() if name.startswith("agreement-")], "sources are left"


def test_a_match_that_was_held_back_is_joined_by_its_own_time(stack: Lab) -> None:
    """Found by a campaign of 2,000: MATCH_ROWTIME is the time of the row that let the match out."""
    file = Path(__file__).parent / "cases" / "held_back.json"
    found = kept(stack, msgspec.json.decode(file.read_bytes(), type=Case))
    assert not found.disagreements, str(found)
    assert found.rows == 9


def test_a_match_across_the_wrap_of_milliseconds_in_an_int(stack: Lab, tmp_path: Path) -> None:
    """TIMESTAMPDIFF is an INT: seconds times 1000 change their sign on 2026-01-02."""
    at = 823 * 2**31
    path = tmp_path / "wrap.jsonl"
    steps = [("custom", "add_to_cart", at - 4000), ("conversion", "purchase", at + 6000)]
    path.write_bytes(
        b"".join(
            encode({"event_id": kind, "event_type": kind, "name": name, "visitor_id": "v", "event_time": time_ms})
            + b"\n"
            for kind, name, time_ms in steps
        )
    )
    stack.import_jsonl(path, source="wrap")
    stack.run_standard("wrap")
    report = stack.verify("wrap")
    assert report.exact, str(report)
    assert stack.results("cart_to_purchase", "wrap")["seconds"].tolist() == [10.0]


@pytest.mark.long
def test_the_standard_queries_agree_whole_stopped_and_at_another_parallelism(stack: Lab, tmp_path: Path) -> None:
    lines = tmp_path / "brisk.jsonl"
    command = [sys.executable, "-m", "rtap_lab.cli", "simulate", "--scenario", "brisk", "--seed", "5"]
    subprocess.run([*command, "--events", "150000", "--out", str(lines)], check=True, timeout=120)
    stack.import_jsonl(lines, source="threeruns")
    lifecycle, flink = stack._context.lifecycle, FlinkRest(stack.endpoints.flink)
    parameters = {"gap_ms": 20_000, "within_ms": 30_000, "bound_ms": 5_000}

    def current() -> Run:
        return stack.runs()["standard/threeruns"]

    stack.run_standard("threeruns", gap="20s", within="30s", bound="5s")
    whole = stack.verify("threeruns")
    assert whole.exact, str(whole)
    assert whole.ledger["late"] > 0

    for parallelism in (2, 1):  # resumed as it was, then at another
        lifecycle.request("standard", "threeruns", parameters, anew=True)
        job = lifecycle.reconcile("standard", "threeruns").job_id
        assert job is not None
        until(
            lambda j=job: flink.checkpoints(j)["counts"]["completed"] > 0, 60, lambda: AssertionError("no checkpoint")
        )  # type: ignore[misc]
        assert lifecycle.stop("standard", "threeruns").state == "stopped"
        assert flink.job(job)["state"] == "FINISHED", "Flink calls a job stopped with a savepoint so too"
        lifecycle._update(current().key, desired="running", parallelism=parallelism)
        until(
            lambda: lifecycle.reconcile("standard", "threeruns").state == "finished",
            120,
            lambda: AssertionError("not finished"),
        )
        assert current().restored, "it went on from the savepoint"
        resumed = stack.verify("threeruns")
        assert resumed.exact, f"parallelism {parallelism}\n{resumed}"
        assert resumed.rows == whole.rows
        names = Topics(stack.endpoints.kafka).names()
        assert not [name for name in names if name.startswith("resume.")], "topics are left"
