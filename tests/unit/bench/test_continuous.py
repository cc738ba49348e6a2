"""This checkout against an earlier commit: a fifth more work in the code is seen, on whatever machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rtap_lab.bench.continuous import against, checkout, root
from rtap_lab.errors import SettingsError

BASE = Path(__file__).with_name("base_commit")
"""The commit that CI holds this one against. Who makes something dearer on purpose writes a later one, and says why."""

SLOWER = """

_decode = decode


def decode(record):  # the least that a regression of a fifth would be
    import time

    began = time.perf_counter_ns()
    found = _decode(record)
    until = time.perf_counter_ns() + (time.perf_counter_ns() - began) * {share}
    while time.perf_counter_ns() < until:
        pass
    return found
"""


def test_nothing_is_dearer_than_at_the_commit_that_counts() -> None:
    base = BASE.read_text().strip()
    if not _is_here(base):  # then test_ratios alone holds it against the committed figures, and more coarsely
        print(f"this clone's history does not reach back to {base}: nothing to hold it against")
        return
    with checkout(base) as before:
        found = against(before, root())
    assert [each for each in found if each.change == "worse"] == []


def _is_here(commit: str) -> bool:
    return subprocess.run(["git", "-C", str(root()), "cat-file", "-e", commit], capture_output=True).returncode == 0


def test_a_fifth_more_work_in_the_code_is_a_regression(tmp_path: Path) -> None:
    shutil.copytree(root() / "rtap_lab", tmp_path / "rtap_lab", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "rtap_lab" / "events" / "codec.py").open("a") as codec:
        codec.write(SLOWER.format(share=0.3))  # decoding is about half of it, and this itself a twentieth
    found = against(root(), tmp_path)
    print(*(f"{each.metric} {each.difference:+.0%}" for each in found))
    assert [each.metric for each in found if each.change == "worse"] == ["judge_ratio"], found


def test_a_commit_that_is_not_here_is_told() -> None:
    with pytest.raises(SettingsError, match="no commit 'nowhere'"), checkout("nowhere"):
        pass
