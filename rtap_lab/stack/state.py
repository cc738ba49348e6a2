"""The state folder: everything one lab keeps on disk, and who may change it.

Files are JSON, written whole and renamed into place, so that a reader never sees half of one and a
kill at any moment leaves the old or the new. The folder carries a version; another version's folder
is refused, not guessed at.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rtap_lab.errors import ServiceError, SettingsError

VERSION = "1"


class State:
    """One lab's state folder.

    Args:
        folder: An absolute path; made on first use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self) -> None:
        """Make the folder, or check that it is one of ours.

        Raises:
            SettingsError: When it cannot be written, or belongs to another version or program.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            version = self.folder / "version"
            if not version.exists():
                others = [p.name for p in self.folder.iterdir() if p.name not in (".locks", "logs")]
                if others:
                    raise SettingsError(
                        f"{self.folder} is not a lab's state folder: it holds {sorted(others)[0]!r}",
                        hint="set RTAP_STATE to an empty or new folder",
                    )
                self.write("version", VERSION)
            elif self.read("version") != VERSION:
                raise SettingsError(
                    f"{self.folder} was made by another version of rtap_lab "
                    f"({self.read('version')}, this one needs {VERSION})",
                    hint="use another RTAP_STATE, or delete that folder",
                )
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"the state folder {self.folder} cannot be used: {error.strerror or error}",
                hint="set RTAP_STATE to a folder on a disk with space that you may write to",
            ) from error

    @property
    def exists(self) -> bool:
        return (self.folder / "version").exists()

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.log"

    def log_tail(self, service: str, lines: int = 15) -> list[str]:
        """The last lines of a service's log; none when there is no log."""
        path = self.log(service)
        if not path.is_file():
            return []
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            return file.read().decode(errors="replace").splitlines()[-lines:]

    def read(self, name: str, default: Any = None) -> Any:
        """The value of a JSON file, or the default when there is none.

        Raises:
            SettingsError: When the file is not JSON.
        """
        path = self.folder / f"{name}.json" if name != "version" else self.folder / "version"
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return default
        except ValueError as error:
            raise SettingsError(f"{path} is damaged: {error}", hint="`rtap reset` starts anew") from error

    def write(self, name: str, value: Any, *, mode: int = 0o644) -> None:
        """Replace a JSON file as a whole."""
        path = self.folder / f"{name}.json" if name != "version" else self.folder / "version"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(value, file, indent=1)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    @contextmanager
    def lock(self, name: str, *, timeout: float = -1, busy: str = "") -> Iterator[None]:
        """Hold a lock of this lab; the kernel frees it when its holder dies.

        Args:
            name: Which lock.
            timeout: Seconds to wait; below 0 for ever.
            busy: What to say when it is not free in time.

        Raises:
            ServiceError: When it was not free in time.
        """
        (self.folder / ".locks").mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".locks" / name)
        try:
            lock.acquire(timeout=timeout)
        except Timeout as error:
            raise ServiceError(busy or f"another rtap command holds {name!r}") from error
        try:
            yield
        finally:
            lock.release()

    def secret(self, name: str) -> str:
        """A secret of this lab (64 hex digits), made on first use, readable by its owner only."""
        with self.lock("secrets"):
            path = self.folder / "secrets" / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_hex(32))
            return path.read_text()

    def remove(self) -> None:
        """Delete the folder and all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=False)
