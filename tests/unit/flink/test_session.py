"""PyFlink's session, without starting its JVM."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtap_lab.flink.session import _java_for_the_gateway


def test_the_environment_of_the_process_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    before = dict(os.environ)

    def start() -> None:
        with _java_for_the_gateway(Path("/jdk/bin/java")):
            assert os.environ["JAVA_HOME"] == "/jdk"
            assert os.environ["PATH"].startswith(f"/jdk/bin{os.pathsep}")
            raise RuntimeError("the JVM did not start")

    with pytest.raises(RuntimeError):
        start()
    assert dict(os.environ) == before
