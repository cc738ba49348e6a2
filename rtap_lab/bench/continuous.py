"""This checkout's code against an earlier commit's, in turn on one machine (asv's `continuous`).

So a fifth more work is seen, whatever machine it is. What is measured are the contests of `bench.ratios`, as each of the two checkouts has them, each in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rtap_lab.bench.compare import Change, Difference
from rtap_lab.errors import JobError, SettingsError

TURNS = 12
"""Processes of each of the two: how a process lies in memory moves a contest by a tenth, so many short ones say more than few long ones."""

AGAIN = 2
"""So often all turns are played again while something is worse."""

NOISE = 0.1
"""What the median of `TURNS` processes may differ by where nothing was changed (5 % in 95 of 100 drawn from 30 pairs; a fifth more work gave 16 at least)."""

_TURN_S = 120

_SAMPLE = """
import gc, json, time
from rtap_lab.bench.ratios import contests

def cpu_s(work):
    began = time.process_time()
    work()
    return time.process_time() - began

gc.disable()
found = {}
for each in contests():
    each.ours(), each.yardstick()
    rounds = [(cpu_s(each.ours), cpu_s(each.yardstick)) for _ in range(3)]
    found[each.name] = min(ours for ours, _ in rounds) / min(yardstick for _, yardstick in rounds)
print(json.dumps(found))
"""
"""What is run in each checkout: nothing of this one's may be in it, an earlier commit has no more than its contests."""


def root() -> Path:
    """The checkout that this package is in."""
    return Path(__file__).parents[2]


@contextmanager
def checkout(commit: str, of: Path | None = None) -> Iterator[Path]:
    """An earlier commit's files, in a folder that is gone afterwards.

    Args:
        commit: Any name that git knows.
        of: The checkout whose history it is in; this package's when left out.

    Raises:
        SettingsError: When there is no such commit here.
    """
    of = of or root()
    git = ["git", "-C", str(of)]
    with TemporaryDirectory(prefix="rtap-before-") as folder:
        archive = subprocess.run([*git, "archive", commit, "rtap_lab"], capture_output=True)
        if archive.returncode:
            said = archive.stderr.decode(errors="replace").strip().splitlines()
            raise SettingsError(
                f"there is no commit {commit!r} at {of}: {said[-1] if said else 'git says nothing'}",
                hint="a clone with its history has it: git fetch --unshallow",
            )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def sample(package: Path) -> dict[str, float]:
    """One turn of the contests in a checkout: what each takes, as a multiple of its yardstick.

    Raises:
        JobError: When they cannot be run there.
    """
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _SAMPLE], env=environment, cwd=package, capture_output=True, text=True, timeout=_TURN_S
    )
    if done.returncode:
        raise JobError(f"the contests do not run in {package}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def against(
    before: Path,
    now: Path,
    *,
    turns: int = TURNS,
    again: int = AGAIN,
    progress: Callable[[int], None] = lambda turn: None,
) -> list[Difference]:
    """Play the contests of two checkouts in turn. Those that only one of them has are left out.

    Args:
        before, now: Folders that hold a `rtap_lab`.
        turns: Processes of each, three at least.
        again: How often as many are played again while something is worse: noise goes by that.
        progress: Called with the number of turns that are over.

    Raises:
        JobError: When there is no contest that both have.
    """
    samples: dict[str, list[dict[str, float]]] = {"before": [], "now": []}
    for turn in range(turns * (1 + again)):
        pair = [("before", before), ("now", now)]
        for name, package in pair if turn % 2 else reversed(pair):
            samples[name].append(sample(package))
        progress(turn + 1)
        if (turn + 1) % turns == 0:
            found = _differences(samples)
            if not any(each.change == "worse" for each in found):
                break
    return found


def _differences(samples: dict[str, list[dict[str, float]]]) -> list[Difference]:
    both = [name for name in samples["before"][0] if name in samples["now"][0]]
    if not both:
        raise JobError("the two have no contest in common")
    # the median, not the least: a yardstick that was held up makes a ratio too small
    middle = {side: {name: median(each[name] for each in turns) for name in both} for side, turns in samples.items()}
    return [_difference(name, middle["before"][name], middle["now"][name]) for name in both]


def _difference(name: str, before: float, now: float) -> Difference:
    by = now / before - 1
    change: Change = "worse" if by > NOISE else "better" if by < -NOISE else "same"
    return Difference(f"{name}_ratio", round(before, 3), round(now, 3), "x", by, NOISE, change)
