"""A lab that an earlier version made comes up under this one."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from rtap_lab.errors import SettingsError
from rtap_lab.jobs.checkpoints import CheckpointFolder
from rtap_lab.jobs.documents import runs_document, sources_document
from rtap_lab.lab.migration import migrate
from rtap_lab.stack.state import VERSION, State

PARAMETERS = {"gap_ms": 20_000, "within_ms": 30_000, "bound_ms": 2_000, "delivery": "exactly_once"}
RUN = {
    "run": "20261125T130529-d6e6c8", "parameters": PARAMETERS, "desired": "running", "state": "stopped",
    "job_id": "92ad", "results_from": {"results.sessions": 5}, "failures": 0, "error": "", "started": 1.5,
    "ends": {}, "source": "live", "restored": None,
}  # fmt: skip
SOURCE = {
    "latest_ms": 7, "disorder_ms": 59_000, "format": "access-log",
    "files": {"ab": {"name": "a.log", "read": 3, "imported": 2, "rejected": 1}},
}  # fmt: skip


def made_by_version_1(folder: Path) -> State:
    state = State(folder)
    folder.mkdir(parents=True)
    (folder / "version").write_text('"1"')
    (folder / "runs.json").write_text(json.dumps({"live": RUN, "half": {"source": "half", "desired": "running"}}))
    (folder / "sources.json").write_text(json.dumps({"weblog": SOURCE}))
    (folder / "simulator.json").write_text("{}")
    checkpoint = folder / "flink" / "runs" / "live" / str(RUN["run"]) / "92ad" / "chk-3"
    checkpoint.mkdir(parents=True)
    (checkpoint / "_metadata").write_bytes(struct.pack(">iiqq", 0x4960672D, 6, 3, 0))
    return state


def test_runs_sources_and_checkpoints_are_kept(tmp_path: Path) -> None:
    state = made_by_version_1(tmp_path / "lab")
    state.create()  # not refused
    with pytest.raises(SettingsError, match="earlier version"):
        runs_document(state).read()
    assert migrate(state)
    assert not migrate(state)
    assert state.version == VERSION
    (run,) = runs_document(state).read().values()
    assert (run.key, run.state, run.job_id, run.parameters.gap_ms) == ("standard/live", "stopped", "92ad", 20_000)
    assert run.results_from == {"results.sessions": 5}
    assert len(run.queries) == 7
    (kept,) = CheckpointFolder(state.folder / "flink" / "runs").candidates(run)
    assert kept.endswith("/chk-3")
    source = sources_document(state).read()["weblog"]
    assert (source.lateness_bound_ms, source.events, source.refused_lines) == (59_001, 2, 1)


def test_a_kill_in_between_is_put_right_by_doing_it_again(tmp_path: Path) -> None:
    state = made_by_version_1(tmp_path / "lab")
    migrate(state)
    (state.folder / "version").write_text('"1"')  # killed before the last step
    assert migrate(state)
    assert list(runs_document(state).read()) == ["standard/live"]


def test_what_cannot_be_read_is_said_and_left(tmp_path: Path) -> None:
    state = made_by_version_1(tmp_path / "lab")
    (state.folder / "runs.json").write_text(json.dumps({"live": {"run": "x"}}))
    with pytest.raises(SettingsError, match="cannot be brought to this version"):
        migrate(state)
    assert state.version == "1"
