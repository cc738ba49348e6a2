"""Where a run's checkpoints and savepoints are kept: a small port, and a folder behind it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from rtap_lab.jobs.model import Run


class CheckpointStorage(Protocol):
    """What the lifecycle needs of the place where Flink keeps a run's state. Places are URIs."""

    def place(self, run: Run) -> str:
        """Where a run's checkpoints go."""
        ...

    def savepoints(self, run: Run) -> str:
        """Where the savepoints of a run's stops go."""
        ...

    def kept(self) -> str:
        """Where the savepoints go that a person asked for: no run goes on from them, and none removes them."""
        ...

    def newest(self, run: Run) -> str | None:
        """The newest complete checkpoint or savepoint of a run."""
        ...

    def clear(self, run: Run, keep: str | None) -> None:
        """Remove all of a run but one checkpoint."""
        ...

    def metadata(self, path: str) -> bytes:
        """A savepoint's `_metadata`."""
        ...

    def remove(self, runs: Iterable[Run]) -> None:
        """Remove all that is kept of runs."""
        ...


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

    def kept(self) -> str:
        return (self.folder.parent / "savepoints").as_uri()

    def newest(self, run: Run) -> str | None:
        found = list(self._of(run).glob("*/*/_metadata"))
        newest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
        return newest.parent.as_uri() if newest else None

    def clear(self, run: Run, keep: str | None) -> None:
        folder = self._of(run)
        for old in folder.iterdir() if folder.is_dir() else ():
            if keep is None or f"/{old.name}/" not in keep:
                shutil.rmtree(old, ignore_errors=True)

    def metadata(self, path: str) -> bytes:
        return (Path(path.removeprefix("file:")) / "_metadata").read_bytes()

    def remove(self, runs: Iterable[Run]) -> None:
        for run in runs:
            shutil.rmtree(self._of(run), ignore_errors=True)
