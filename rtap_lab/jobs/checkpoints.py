"""Where a run's checkpoints and savepoints are kept: a small port, and a folder behind it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from rtap_lab.flink.savepoints import checkpoint_number
from rtap_lab.jobs.model import Run


class CheckpointStorage(Protocol):
    """What the lifecycle needs of the place where Flink keeps a run's state. Places are URIs."""

    def place(self, run: Run) -> str:
        """Where a run's checkpoints go."""
        ...

    def savepoints(self, run: Run) -> str:
        """Where the savepoints of a run's stops go."""
        ...

    def kept(self, run: Run) -> str:
        """Where the savepoints of its job on its source go that a person asked for: no run goes on from them."""
        ...

    def drains(self, run: Run) -> str:
        """Where the savepoint of a drain goes: nothing goes on from it, its windows are closed."""
        ...

    def drained(self, run: Run) -> str | None:
        """The savepoint of a run's drain."""
        ...

    def any(self, run: Run) -> bool:
        """Whether a run ever completed a checkpoint, readable or not."""
        ...

    def candidates(self, run: Run) -> list[str]:
        """The complete checkpoints and savepoints that a run can go on from, the newest first, by their numbers."""
        ...

    def newest_ms(self, run: Run) -> int:
        """When the newest checkpoint was completed, readable or not, milliseconds since the epoch; -1: there is none."""
        ...

    def has_later(self, run: Run, place: str) -> bool:
        """Whether a run completed a checkpoint after this one, readable or not; by their numbers."""
        ...

    def completed_ms(self, place: str) -> int:
        """When a checkpoint was completed, milliseconds since the epoch; -1: it is not there."""
        ...

    def tidy(self, run: Run) -> None:
        """Remove what earlier jobs of a run left, but the newest two of what it can go on from."""
        ...

    def metadata(self, path: str) -> bytes:
        """A savepoint's `_metadata`."""
        ...

    def keep_only(self, run: Run) -> None:
        """Remove all that is kept of other runs of its job on its source."""
        ...

    def remove(self, run: Run) -> None:
        """Remove all that is kept of a job on a source."""
        ...


def _number(folder: Path) -> int | None:
    """The number of a checkpoint: what it says, else what its folder is called; None of a savepoint that cannot be read."""
    said = checkpoint_number((folder / "_metadata").read_bytes())
    name = folder.name.removeprefix("chk-")
    return int(name) if said is None and name.isdecimal() else said


def _written_ms(path: Path) -> int:
    """When a file was written, milliseconds since the epoch; -1 where there is none: Flink removes what it needs no longer."""
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return -1


class CheckpointFolder:
    """Checkpoints in the lab's state folder: `<folder>/<job>/<source>/<run>/`.

    Args:
        folder: An absolute path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _of(self, run: Run) -> Path:
        return self.folder / run.job / run.source / run.run

    def place(self, run: Run) -> str:
        folder = self._of(run)
        folder.mkdir(parents=True, exist_ok=True)
        return folder.as_uri()

    def savepoints(self, run: Run) -> str:
        return (self._of(run) / "savepoints").as_uri()

    def _kept(self, run: Run) -> Path:
        return self.folder.parent / "savepoints" / run.job / run.source

    def kept(self, run: Run) -> str:
        return self._kept(run).as_uri()

    def drains(self, run: Run) -> str:
        return (self._of(run) / "drained").as_uri()

    def drained(self, run: Run) -> str | None:
        found = sorted(self._of(run).glob("drained/*/_metadata"))
        return found[-1].parent.as_uri() if found else None

    def any(self, run: Run) -> bool:
        return next(self._of(run).glob("*/*/_metadata"), None) is not None

    def candidates(self, run: Run) -> list[str]:
        # not by the files' times: the machine's clock may have been set back
        numbered = []
        for path in self._of(run).glob("*/*/_metadata"):
            number = checkpoint_number(path.read_bytes()) if path.parent.parent.name != "drained" else None
            if number is not None:
                numbered.append((number, path.parent.as_uri()))
        return [place for _, place in sorted(numbered, reverse=True)]

    def has_later(self, run: Run, place: str) -> bool:
        # not by the files' times either
        this = _number(Path(place.removeprefix("file:")))
        others = (path.parent for path in self._of(run).glob("*/*/_metadata") if path.parent.parent.name != "drained")
        numbers = [_number(other) for other in others if other.as_uri() != place]
        return this is None or any(number is None or number > this for number in numbers)

    def newest_ms(self, run: Run) -> int:
        return max((_written_ms(path) for path in self._of(run).glob("*/*/_metadata")), default=-1)

    def completed_ms(self, place: str) -> int:
        path = Path(place.removeprefix("file:")) / "_metadata"
        return _written_ms(path) if place else -1

    def tidy(self, run: Run) -> None:
        folder = self._of(run)
        usable = [place for place in self.candidates(run) if place not in run.passed_over]
        kept = [Path(place.removeprefix("file:")) for place in usable[:2]]
        needed = {path if path.parent.name == "savepoints" else path.parent for path in kept}
        jobs = (
            [each for each in folder.iterdir() if each.name not in ("savepoints", "drained")] if folder.is_dir() else []
        )
        for old in {*jobs, *folder.glob("savepoints/*")} - needed:
            shutil.rmtree(old, ignore_errors=True)

    def metadata(self, path: str) -> bytes:
        return (Path(path.removeprefix("file:")) / "_metadata").read_bytes()

    def keep_only(self, run: Run) -> None:
        folder = self._of(run).parent
        for other in folder.iterdir() if folder.is_dir() else ():
            if other.name != run.run:
                shutil.rmtree(other, ignore_errors=True)

    def remove(self, run: Run) -> None:
        for folder in (self._of(run).parent, self._kept(run)):
            shutil.rmtree(folder, ignore_errors=True)
