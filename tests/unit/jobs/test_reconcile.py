"""What should be done about a run, whatever Flink says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from rtap_lab.jobs.model import OVER, Run
from rtap_lab.jobs.reconcile import (
    TERMINAL,
    TRIES,
    Adopt,
    Doubt,
    Drain,
    Drained,
    Finish,
    FlinkJob,
    GiveUp,
    Nothing,
    Remove,
    Settle,
    Stop,
    Stopped,
    Submit,
    Wait,
    is_quiet,
    reconcile,
)
from rtap_lab.queries.standard import standard_queries
from rtap_lab.settings import JobParameters

NOW = 1_000_000_000


def run(**changes: object) -> Run:
    made = Run(
        job="standard",
        source="live",
        run="r1",
        parameters=JobParameters(),
        queries=standard_queries(),
        results_from={},
        started=0.0,
    )
    return structs.replace(made, **changes)


def job(state: str, job_id: str = "a", started: int = 1, name: str = "standard live r1", ended: int = 0) -> FlinkJob:
    return FlinkJob(job_id, name, state, started, ended)


def test_what_is_not_there_is_submitted() -> None:
    assert reconcile(run(), [], NOW) == Submit()
    assert reconcile(run(), [job("RUNNING", name="standard live r0")], NOW) == Submit(), "another run's job is not ours"
    assert reconcile(run(state="running", job_id="a"), [], NOW) == Submit(), "the JobManager has forgotten it"


def test_what_runs_is_adopted_once() -> None:
    assert reconcile(run(), [job("RUNNING")], NOW) == Adopt("a")
    assert reconcile(run(state="running", job_id="a"), [job("RESTARTING")], NOW) == Doubt("a")
    newer = [job("CANCELED", "a", 1), job("RUNNING", "b", 2)]
    assert reconcile(run(state="running", job_id="a"), newer, NOW) == Adopt("b")


def test_a_bounded_job_that_finished_is_over_and_a_stopped_one_goes_on() -> None:
    name = "standard weblog r1"
    bounded = run(source="weblog", state="running", job_id="a")
    assert reconcile(bounded, [job("FINISHED", name=name)], NOW) == Finish("a")
    # Flink calls a job that was stopped with a savepoint FINISHED too
    assert reconcile(structs.replace(bounded, state="stopped"), [job("FINISHED", name=name)], NOW) == Submit()
    assert reconcile(run(state="running", job_id="a"), [job("FINISHED")], NOW) == Submit()


def test_failures_are_counted_and_end() -> None:
    failed = [job("FAILED", ended=NOW - 60_000)]
    assert reconcile(run(state="running", job_id="a"), failed, NOW) == Submit(failed="a")
    assert reconcile(run(state="running", job_id="a", failures=TRIES - 1), failed, NOW) == GiveUp("a")
    assert reconcile(run(state="running", job_id="other"), failed, NOW) == Submit(), "counted already"
    soon = [job("FAILED", ended=NOW - 100)]
    assert reconcile(run(state="running", job_id="a", failures=3), soon, NOW) == Wait()


def test_failures_are_forgotten_once_a_job_has_run_for_a_while() -> None:
    mine = run(state="running", job_id="a", failures=3)
    assert reconcile(mine, [job("RUNNING", started=NOW - 1000)], NOW) == Nothing()
    assert reconcile(mine, [job("RUNNING", started=NOW - 61_000)], NOW) == Settle()
    assert reconcile(mine, [job("RESTARTING", started=NOW - 61_000)], NOW) == Doubt("a")


states = st.sampled_from(["CREATED", "RUNNING", "RESTARTING", "FAILING", "CANCELLING", *TERMINAL])
jobs = st.lists(
    st.builds(
        job,
        states,
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 5),
        st.sampled_from(["standard live r1", "standard live r0", "mine live r1"]),
        st.integers(0, NOW),
    ),
    max_size=5,
)


@given(
    st.sampled_from(["running", "stopped", "drained", "removed"]),
    st.sampled_from(["submitting", "running", "stopped", *OVER]),
    st.sampled_from([None, "a", "b"]),
    st.integers(0, TRIES),
    jobs,
)
def test_never_a_second_job_and_never_one_that_nobody_asked_for(
    desired: str, state: str, job_id: str | None, failures: int, flink_jobs: list[FlinkJob]
) -> None:
    mine = run(desired=desired, state=state, job_id=job_id, failures=failures)
    action = reconcile(mine, flink_jobs, NOW)
    ours = sorted((j for j in flink_jobs if j.name == mine.name), key=lambda j: j.started_ms)
    if desired == "removed":
        assert action == Remove()
        return
    if state in OVER:
        assert action == Nothing()
    elif desired == "stopped":
        alive = ours and ours[-1].state not in TERMINAL
        assert action == (Stop(ours[-1].job_id) if alive else Nothing() if state == "stopped" else Stopped())
    if desired != "drained":
        assert not isinstance(action, (Drain, Drained))
    if is_quiet(mine):
        assert action == Nothing(), "what is passed over without a question has nothing to do"
    if ours and ours[-1].state not in TERMINAL:
        assert not isinstance(action, Submit), "one of ours is alive"
