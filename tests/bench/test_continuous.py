"""This checkout against an earlier commit: a fifth more work in the code is seen, on whatever machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rtap_lab.bench.continuous import against, checkout, root
from rtap_lab.bench.ratios import contests
from rtap_lab.errors import SettingsError

BASE = Path(__file__).with_name("base_commit")
"""The commit that CI holds this one against. Who makes something dearer on purpose writes a later one, and says why."""

SLOWER = """

_{name} = {name}


def {name}(*given):
    import time

    began = time.perf_counter_ns()
    found = _{name}(*given)
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
    for module, name, share in (
        ("events/codec.py", "decode", 0.3),  # it is about half of a judgement, and this itself a twentieth
        ("reference/engine.py", "rows_of", 0.2),
    ):
        with (tmp_path / "rtap_lab" / module).open("a") as code:
            code.write(SLOWER.format(name=name, share=share))
    found = against(root(), tmp_path, again=0)
    print(*(f"{each.metric} {each.difference:+.0%}" for each in found))
    assert {each.metric for each in found if each.change == "worse"} == {f"{each.name}_ratio" for each in contests()}


def test_a_commit_that_is_not_here_is_told() -> None:
    with pytest.raises(SettingsError, match="no commit 'nowhere'"), checkout("nowhere"):
        pass
