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
    if not _has_history():  # then test_ratios alone holds it against the committed figures, and more coarsely
        print("this clone has no history: nothing to hold it against")
        return
    with checkout(BASE.read_text().strip()) as before:
        found = against(before, root())
    assert [each for each in found if each.change == "worse"] == []


def _has_history() -> bool:
    command = ["git", "-C", str(root()), "rev-parse", "--is-shallow-repository"]
    said = subprocess.run(command, capture_output=True, text=True)
    return said.returncode == 0 and said.stdout.strip() == "false"


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
