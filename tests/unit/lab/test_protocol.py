"""`Lab` and `OfflineLab` share one protocol: the same names, arguments and results."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from rtap_lab import Lab, OfflineLab
from rtap_lab.lab.protocol import AnyLab

VERBS = [name for name, verb in vars(AnyLab).items() if not name.startswith("_") and inspect.isfunction(verb)]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", [Lab, OfflineLab])
def test_both_have_every_verb_with_its_arguments(kind: type, verb: str) -> None:
    wanted = inspect.signature(getattr(AnyLab, verb))
    found = inspect.signature(getattr(kind, verb))
    assert list(wanted.parameters)[:2] == list(found.parameters)[:2]
    has_options = any(p.kind is p.VAR_KEYWORD for p in found.parameters.values())
    for name, parameter in wanted.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        assert name in found.parameters or has_options, name
    assert found.return_annotation == wanted.return_annotation


def test_the_offline_lab_loads_no_client_and_nothing_that_looks_at_processes() -> None:
    code = (
        "import sys; from rtap_lab import OfflineLab; lab = OfflineLab(); lab.simulate(events=500); lab.results('traffic_hop'); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'confluent_kafka', 'httpx', 'psutil', 'pyflink', 'panel', 'websockets', 'sqlite3'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
