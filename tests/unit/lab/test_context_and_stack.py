"""Bringing a lab up and looking at it, without a stack: nothing is started that nobody asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from rtap_lab import Lab
from rtap_lab.errors import NotRunningError, ServiceError, SettingsError
from rtap_lab.jobs.documents import runs_document
from rtap_lab.jobs.model import Job, Run
from rtap_lab.lab import stack
from rtap_lab.lab.context import Context
from rtap_lab.lab.simulator import _Player, simulators_document
from rtap_lab.queries.builders import begin, count, field
from rtap_lab.queries.catalogue import packaged
from rtap_lab.queries.query import Query, WindowQuery, query
from rtap_lab.queries.standard import standard_queries
from rtap_lab.queries.windows import TumbleWindow
from rtap_lab.recordings.sources import Source
from rtap_lab.services import daemon
from rtap_lab.services.site import schema_document, settings_document
from rtap_lab.settings import JobParameters, Settings
from rtap_lab.simulator.parsing import parse_scenario
from rtap_lab.simulator.playback import Playback
from rtap_lab.stack.ports import choose_ports
from rtap_lab.stack.process import Identity
from rtap_lab.stack.state import State
from rtap_lab.stack.supervisor import statuses_document, supervisor_document
from rtap_lab.store.embedded import EmbeddedStore
from rtap_lab.store.points import point


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "lab")
    made.create()
    settings_document(made).write(Settings())
    choose_ports(made, daemon.port_names(Settings()), {})
    return made


def refuse(*_: object, **__: object) -> Any:
    raise AssertionError("a process was started")


def test_asking_where_services_are_starts_nothing(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "spawn", refuse)
    lab = Lab(state.folder)
    with pytest.raises(NotRunningError, match="rtap up"):
        _ = lab.endpoints
    # services without a supervisor: their addresses are told, and no daemon is started for that
    monkeypatch.setattr("rtap_lab.lab.context.find_services", lambda folder: {"kafka": Identity.of(os.getpid())})
    assert lab.endpoints.kafka.address.startswith("127.0.0.1:")
    assert lab.endpoints.hub.address.startswith("ws://")


def test_there_is_one_client_of_each_service(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtap_lab.lab.context.find_services", lambda folder: {"kafka": Identity.of(os.getpid())})
    context = Context(state)
    assert context.topics is context.topics
    assert context.lifecycle is context.lifecycle
    assert context.lifecycle.topics is context.topics
    before = context.topics
    choose_ports(state, ["kafka"], {"kafka": 31_999})
    assert context.topics is not before, "the stack came back elsewhere"


def test_what_an_earlier_life_left_is_not_readiness(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    schema_document(state).write(7)
    me = Identity.of(os.getpid())
    seen: list[object] = []

    def spawn(*_: object, **__: object) -> Identity | None:
        seen.append(schema_document(state).read())
        supervisor_document(state).write(me)
        statuses_document(state).write({"kafka": stack.ServiceStatus()})
        return me

    monkeypatch.setattr(stack, "spawn", spawn)
    assert stack._launch(state) == me
    assert seen == [None]


def test_a_failure_tears_down_only_what_this_call_started(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    downs: list[str] = []
    supervisor: list[Identity | None] = [Identity.of(os.getpid())]
    monkeypatch.setattr(stack, "find_supervisor", lambda s: supervisor[0])
    monkeypatch.setattr(stack, "find_services", lambda folder: {})
    monkeypatch.setattr(stack, "_prepare", lambda *a: None)
    monkeypatch.setattr(stack, "_launch", lambda s: supervisor[0])
    monkeypatch.setattr(stack, "_down", lambda s, listener: downs.append("down"))

    def fail(*_: object, **__: object) -> None:
        raise ServiceError("the job was stopped")

    monkeypatch.setattr(stack, "_await_ready", fail)

    def up() -> None:
        stack.up(
            Context(state), Settings(), ports={}, job={}, chosen=False, timeout=5,
            on_status=lambda table: None, on_note=lambda words: None,
        )  # fmt: skip

    with pytest.raises(ServiceError):
        up()
    assert downs == [], "it was up before, and others use it"
    supervisor[0] = None
    with pytest.raises(ServiceError):
        up()
    assert downs == ["down"]


def test_results_are_there_while_the_stack_is_down(state: State) -> None:
    views = packaged()["traffic_hop"]
    row = {"window_start": 0, "window_end": 60_000, "views": 3, "visitors": 2}
    store = EmbeddedStore(state.folder / "store" / "points.sqlite")
    store.prepare()
    store.write([point(views, "live", row)], {})
    store.close()
    lab = Lab(state.folder)
    assert lab.results("traffic_hop")["views"].tolist() == [3]
    assert lab.rows("sessions") == []


def run_of(**changes: Any) -> Run:
    parameters = JobParameters(**changes)
    return Run(
        job="standard", source="live", run="r1", parameters=parameters, queries=standard_queries(parameters),
        results_from={}, started=0.0, state="running",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"gap_ms": 1_800_000}, ""),
        ({"gap_ms": 20_000}, "gap 30 min becomes 20 s"),
        ({"delivery": "low_latency"}, "delivery"),
    ],
)
def test_up_says_what_other_parameters_will_replace(
    state: State, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    runs_document(state).write({"standard/live": run_of()})
    monkeypatch.setattr("rtap_lab.lab.context.find_services", lambda folder: {"kafka": Identity.of(os.getpid())})
    monkeypatch.setattr(stack, "_costs", lambda context, run, queries: "7 records are read again, about 5 s")
    found = stack.replacement(Context(state), "standard", "live", changes)
    assert (words in found) if words else found == ""
    assert ("about 5 s" in found) == bool(words)


def test_another_definition_of_ones_own_is_a_new_run_and_said(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(size_ms: int) -> Query:
        return query("mine", WindowQuery(TumbleWindow(size_ms), {"n": count()}))

    context = Context(state)
    context.jobs.write({"mine": Job("mine", (asked(1000),))})
    context.runs.write({"mine/live": structs.replace(run_of(), job="mine", queries=(asked(1000),))})
    monkeypatch.setattr("rtap_lab.lab.context.find_services", lambda folder: {"kafka": Identity.of(os.getpid())})
    monkeypatch.setattr(stack, "_costs", lambda context, run, queries: "")
    assert stack.replacement(context, "mine", "live", {}) == ""
    context.jobs.write({"mine": Job("mine", (asked(2000),))})
    assert "its definition is another" in stack.replacement(context, "mine", "live", {})


def test_what_a_new_run_costs_is_told_by_what_it_asks() -> None:
    """A pattern of one's own may look at every event: its backlog is read eight times slower."""
    ends = {("events", partition): 15_000 for partition in range(12)}
    there: Any = SimpleNamespace(topics=SimpleNamespace(starts=lambda names: {}, ends=lambda names: ends))
    pattern = query("mine", begin("buy", field("name") == "purchase").by("visitor_id"))
    window = query("mine", WindowQuery(TumbleWindow(1000), {"n": count()}))
    own = structs.replace(run_of(), job="mine")
    assert "180,000 records, about 17 s" in stack._costs(there, own, [window])
    assert "180,000 records, about 105 s" in stack._costs(there, own, [pattern, window])
    assert "about 17 s" in stack._costs(there, run_of(), standard_queries(JobParameters()))


def test_an_entry_of_one_source_leaves_the_others(state: State) -> None:
    from rtap_lab.lab import sources

    one, two = Context(state), Context(state)
    sources.keep(one, "a", Source("jsonl"))
    sources.keep(two, "b", Source("jsonl"))
    sources.keep(one, "a", Source("jsonl", latest_ms=5))
    assert {name: each.latest_ms for name, each in one.sources.read().items()} == {"a": 5, "b": None}


STORY = "name: s\nstory: S.\nrate: 10\nvisits_per_second: 2\n"


def playing(state: State, run: str) -> _Player:
    return _Player(state, Playback(parse_scenario(STORY, "s"), 1, run=run), lambda: None)


def test_a_second_simulator_says_that_one_runs(state: State) -> None:
    first = playing(state, "one")
    with pytest.raises(SettingsError, match=rf"runs in this lab already.*pid {os.getpid()}"):
        playing(state, "two")
    assert list(simulators_document(state).read()) == ["one"], "the first one's entry is as it was"
    assert Lab(state.folder).simulator.status()["run"] == "one"
    Lab(state.folder).simulator.rate(20)
    first.control(first._playback, 0)
    assert Lab(state.folder).simulator.status()["rate"] == 20
    first.end()
    playing(state, "two").end()


def test_a_simulator_that_died_is_not_taken_for_another_process(state: State) -> None:
    player = playing(state, "one")
    document = simulators_document(state)
    dead = Identity(os.getpid(), 1)  # this pid, another process
    document.change(lambda table: {"one": stack_replace(table["one"], dead)})
    with pytest.raises(NotRunningError):
        Lab(state.folder).simulator.status()
    playing(state, "two").end()
    player.end()


def stack_replace(entry: Any, identity: Identity) -> Any:
    from msgspec import structs

    return structs.replace(entry, identity=identity)


def interrupted_anyhow(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_verb_ends_in_one_line(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtap_lab.lab.checking.verify", interrupted_anyhow)
    with pytest.raises(KeyboardInterrupt) as caught:
        Lab(state.folder).verify()
    monkeypatch.setattr(stack, "up", interrupted_anyhow)
    with pytest.raises(KeyboardInterrupt, match=r"interrupted: up\(\)"):
        Lab.up(state.folder)

    def endless(*_: object) -> Any:
        yield {}
        raise KeyboardInterrupt

    monkeypatch.setattr("rtap_lab.lab.answers.watch", endless)
    with pytest.raises(KeyboardInterrupt, match=r"interrupted: watch\(\)"):
        list(Lab(state.folder).watch("sessions"))
    render: Callable[[], list[str]] = caught.value._render_traceback_  # type: ignore[attr-defined]
    assert render() == ["interrupted: verify() was stopped; the lab goes on"]


@pytest.mark.parametrize("ours", [False, True])
def test_up_starts_what_a_dead_down_was_ending_and_says_that_ours_ended(
    state: State, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    """The supervisor that was there ends while `up` waits for it; one that `up` itself has started, for no reason of ours."""
    done: list[str] = []
    there: list[Any] = [] if ours else [object()]

    def await_ready(*_: object, **__: object) -> None:
        if ours or there:
            there.clear()
            stack._check_supervised(state)

    monkeypatch.setattr(stack, "find_supervisor", lambda _: there[0] if there else None)
    monkeypatch.setattr(stack, "find_services", lambda _: {})
    monkeypatch.setattr(stack, "_prepare", lambda *_: done.append("prepared"))
    monkeypatch.setattr(stack, "_launch", lambda _: done.append("launched"))
    monkeypatch.setattr(stack, "_down", lambda *_: done.append("down"))
    monkeypatch.setattr(stack, "_await_ready", await_ready)
    up = partial(
        stack.up,
        Context(state),
        Settings(),
        ports={},
        job=None,
        chosen=False,
        timeout=5,
        on_status=lambda table: None,
        on_note=lambda words: None,
    )
    if ours:
        with pytest.raises(ServiceError, match="the supervisor ended"):
            up()
        assert done == ["prepared", "launched", "down"]
    else:
        assert up()
        assert done == ["prepared", "launched"]
