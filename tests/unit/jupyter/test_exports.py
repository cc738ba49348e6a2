"""What a notebook imports by name is that, the second time too."""

from __future__ import annotations

import pkgutil
import socket
from importlib import import_module, reload
from pathlib import Path

import pytest

from rtap_lab import jupyter
from rtap_lab.errors import SettingsError
from rtap_lab.jupyter.server import run, work_copy
from rtap_lab.stack.state import State


def test_no_module_hides_a_function_of_its_name() -> None:
    names = {each.name for each in pkgutil.iter_modules(jupyter.__path__)}
    assert not names & set(jupyter.__all__)
    for _ in range(2):  # the second run of a cell
        for name in names:
            import_module(f"rtap_lab.jupyter.{name}")
        for name in jupyter.__all__:
            assert callable(getattr(jupyter, name)), name
    reload(jupyter)
    assert callable(jupyter.simulator)


def test_notebooks_are_a_persons_own_copy(tmp_path: Path) -> None:
    folder = work_copy(tmp_path)
    first = folder / "00_start_here.ipynb"
    assert first.is_file()
    first.write_text("mine")
    assert work_copy(tmp_path) == folder
    assert first.read_text() == "mine"


def test_a_port_that_is_taken_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} is taken by"):
            run(State(tmp_path / "state"), tmp_path, port=port, browser=False)
