"""Jobs and the catalog as SQL, and what Flink says of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtap_lab.endpoints import Endpoint
from rtap_lab.flink.properties import job_properties
from rtap_lab.flink.rest import cause
from rtap_lab.flink.statements import catalog, job_statements
from rtap_lab.flink.text import interval
from rtap_lab.queries.standard import standard_queries
from rtap_lab.services.kafka import Node, properties
from rtap_lab.settings import JobParameters, Settings


def _standard(parameters: JobParameters, source: str = "live") -> list[str]:
    queries = standard_queries(parameters)
    topics = {query.name: f"results.{query.name}" for query in queries} | {"late": "l", "rejected": "r"}
    return job_statements(
        transactions=f"rtap.standard.{source}.",
        source=source,
        run="r1",
        kafka=Endpoint("b"),
        queries=queries,
        topics=topics,
        parameters=parameters,
    )


def test_the_standard_job_is_one_statement_set_of_nine_inserts() -> None:
    *before, job = _standard(JobParameters())
    assert job.startswith("EXECUTE STATEMENT SET BEGIN")
    assert job.count("INSERT INTO") == 9
    assert all(each.startswith(("CREATE TABLE", "CREATE VIEW")) for each in before)
    assert "--" not in job
    assert "${" not in "".join([*before, job])


def test_low_latency_has_no_transactions() -> None:
    text = "\n".join(_standard(JobParameters(delivery="low_latency")))
    assert "transactional-id-prefix" not in text
    assert "at-least-once" in text


def test_idle_timeout_is_never_set_and_the_options_that_make_it_exact_are() -> None:
    for bounded in (True, False):
        found = job_properties(JobParameters(), name="n", bounded=bounded, checkpoints="c", restore=None)
        assert "table.exec.source.idle-timeout" not in found
        assert found["table.optimizer.reuse-optimize-block-with-digest-enabled"] == "true"
        assert found["state.backend.type"] == ("hashmap" if bounded else "rocksdb")
        other = JobParameters(state_backend="rocksdb" if bounded else "hashmap")
        found = job_properties(other, name="n", bounded=bounded, checkpoints="c", restore=None)
        assert found["state.backend.type"] == ("rocksdb" if bounded else "hashmap")
    text = "".join(catalog(topic="t", kafka=Endpoint("b"), group="g", bound_ms=2000, ends={0: 7, 1: 0}))
    assert "'json.decode.json-parser.enabled' = 'false'" in text
    assert "'scan.bounded.specific-offsets' = 'partition:0,offset:7;partition:1,offset:0'" in text


def test_a_bounded_job_that_goes_on_reads_a_new_topic_beside_its_own() -> None:
    text = "".join(catalog(topic="t", kafka=Endpoint("b"), group="g", bound_ms=1, ends={0: 7}, resumed_by="resume.t.1"))
    assert "'topic' = 't;resume.t.1'" in text
    assert "'scan.bounded.mode' = 'latest-offset'" in text


@given(st.integers(1, 10**11))
def test_interval_literals_say_the_same_duration(ms: int) -> None:
    words = interval(ms).split("'")[1]
    days, clock = words.split(" ")
    hours, minutes, seconds = clock.split(":")
    total = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1000)
    assert total == ms


def test_a_java_trace_becomes_its_last_cause() -> None:
    trace = "org.x.SqlException: outer\n\tat a.b(C.java:1)\nCaused by: org.y.ValidationException: Column 'pgae' not found\n\tat d.e(F.java:2)\n"
    assert cause(trace) == "Column 'pgae' not found"
    served = (
        '{"errors":["Internal server error.","<Exception on server side:\\norg.x.E: failed\\n\\tat a.b(C:1)\\n'
        "Caused by: org.c.CalciteContextException: From line 1, column 8 to line 1, column 11: Column 'nope' not found\\n\\tat d.e(F:2)\\n\\t... 15 more\\n"
        "Caused by: org.c.SqlValidatorException: Column 'nope' not found\\n\\tat g.h(I:3)\\n\\t... 36 more\\n\\nEnd of exception on server side>\"]}"
    )
    assert cause(served) == "From line 1, column 8 to line 1, column 11: Column 'nope' not found"


def test_a_transaction_may_stay_open_for_a_day_at_broker_and_sinks() -> None:
    node = Node(1, 1, 2)
    from pathlib import Path

    assert "transaction.max.timeout.ms=86400000" in properties([node], node, Path("x"), Settings())
    assert "min.insync.replicas=2" in properties([node, Node(2, 3, 4), Node(3, 5, 6)], node, Path("x"), Settings())
    job = "\n".join(_standard(JobParameters()))
    assert job.count("'properties.transaction.timeout.ms' = '86400000'") == 9
