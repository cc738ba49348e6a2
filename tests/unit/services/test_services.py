"""Services without a stack: what is declared, and how a service of ours meets errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from rtap_lab.errors import SettingsError, StoreError
from rtap_lab.services import daemon, modules
from rtap_lab.services import process as module
from rtap_lab.services.process import ServiceProcess, beat_document, own_service
from rtap_lab.services.site import Site, settings_document
from rtap_lab.settings import Settings
from rtap_lab.stack.ports import choose_ports
from rtap_lab.stack.service import Retrying
from rtap_lab.stack.state import State


def site_of(folder: Path, settings: Settings) -> Site:
    state = State(folder)
    state.create()
    settings_document(state).write(settings)
    choose_ports(state, daemon.port_names(settings), {})
    return Site(state)


@pytest.mark.parametrize(
    ("settings", "brokers", "store"),
    [(Settings(), ["kafka"], False), (Settings("full", "influxdb"), ["kafka-1", "kafka-2", "kafka-3"], True)],
)
def test_the_profile_decides_what_is_declared(
    tmp_path: Path, settings: Settings, brokers: list[str], store: bool
) -> None:
    declared = {service.name: service for service in daemon.all_services(site_of(tmp_path / "lab", settings))}
    wanted = {
        *brokers,
        "registry",
        "jobmanager",
        "taskmanager",
        "gateway",
        "writer",
        "hub",
        "ticker",
        "auditor",
        "checkpointer",
    }
    assert set(declared) == wanted | {"dashboard"} | ({"store"} if store else set())
    for service in declared.values():
        assert set(service.depends) <= set(declared), service.name
    assert declared["writer"].depends == (*brokers, *(["store"] if store else []))


def test_every_module_with_a_main_declares_a_service_of_its_name(tmp_path: Path) -> None:
    site = site_of(tmp_path / "lab", Settings())
    mains = [each for each in modules() if hasattr(each, "main")]
    assert len(mains) == 5
    for each in mains:
        assert [service.name for service in each.declare(site)] == [each.__name__.rpartition(".")[2]]


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceProcess:
    monkeypatch.setattr(module, "backoff", lambda failures, **limits: 0.001)
    monkeypatch.setattr(module.signal, "signal", lambda number, handler: None)
    return ServiceProcess("writer", site_of(tmp_path / "lab", Settings()))


@pytest.mark.parametrize(
    "passing",
    [StoreError("the disk is full"), KafkaException(KafkaError(KafkaError._TRANSPORT)), ConnectionRefusedError("no")],
)
def test_what_passes_by_itself_is_tried_again(process: ServiceProcess, passing: Exception) -> None:
    tries = []

    def step() -> None:
        tries.append(1)
        if len(tries) < 5:
            raise passing
        process.stop.set()

    process.repeat(step)
    assert len(tries) == 5


@pytest.mark.parametrize(
    "bug", [TypeError("NoneType is not iterable"), KeyError("page"), SettingsError("no such thing")]
)
def test_what_does_not_ends_the_service_with_its_reason(process: ServiceProcess, bug: Exception) -> None:
    tries = []

    def step() -> None:
        tries.append(1)
        raise bug

    with pytest.raises(type(bug)):
        process.repeat(step)
    assert len(tries) == 1
    said = beat_document(process.state, "writer").read()
    assert said is not None
    assert type(bug).__name__ in said.failure
    service = own_service(process.site, "writer", depends=())
    assert service.failure(os.getpid()) == said.failure
    assert service.failure(1) is None, "another process's end"


def test_a_beat_of_an_earlier_process_is_no_readiness(process: ServiceProcess) -> None:
    process.beat()
    service = own_service(process.site, "writer", depends=())
    assert service.probe(os.getpid() + 1) == "has not begun"
    assert service.probe(os.getpid()) is None


def test_a_service_that_makes_no_step_is_noticed_and_trouble_is_no_hang(
    process: ServiceProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.0)
    service = own_service(process.site, "writer", depends=(), answers=lambda: asked.pop() if asked else None)
    asked: list[str] = []
    process.beat()
    assert service.probe(os.getpid()) is None
    assert service.probe(os.getpid()) == "makes no step"
    process.beat("StoreError: the disk is full")
    told = service.probe(os.getpid())
    assert told == "StoreError: the disk is full"
    assert isinstance(told, Retrying), "it is tried again by itself: no reason to end it"
    process.beat()
    asked.append("no greeting")
    assert service.probe(os.getpid()) == "no greeting"
