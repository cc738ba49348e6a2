"""The state folder: everything one lab keeps on disk, and who may change it.

Files are JSON, written whole and renamed into place, so that a reader never sees half of one and a
kill at any moment leaves the old or the new. Each is a `Document` of one class, which its owner declares;
it is changed by one function under its lock, so that two writers lose nothing. The folder carries a version;
another version's folder is migrated, or refused, never guessed at.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from filelock import FileLock, Timeout

from rtap_lab.errors import ServiceError, SettingsError

VERSION = "3"
MIGRATED = ("1", "2")
"""Earlier versions, whose folders are brought to this one when a lab starts (`rtap_lab.lab.migration`)."""

Content = TypeVar("Content")


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
                _replace(version, f'"{VERSION}"'.encode())
            elif self.version not in (VERSION, *MIGRATED):
                raise SettingsError(
                    f"{self.folder} was made by another version of rtap_lab ({self.version}, this one needs {VERSION})",
                    hint="use another RTAP_STATE, or delete that folder",
                )
            if self.folder.stat().st_mode & 0o077:  # it was there: what events say is nobody else's business
                self.folder.chmod(0o700)
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
    def version(self) -> str:
        """The version of the folder's layout."""
        return (self.folder / "version").read_text().strip().strip('"')

    def migrated(self) -> None:
        """The folder's files are of this version's layout now."""
        _replace(self.folder / "version", f'"{VERSION}"'.encode())

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

    def log_lines(self, service: str, lines: int, *, follow: bool = False) -> Iterator[str]:
        """Yield the last lines of a service's log, and, following, what is added to it.

        Raises:
            SettingsError: When there is no such log.
        """
        path = self.log(service)
        if not path.is_file():
            there = sorted(p.stem for p in self.logs.glob("*.log")) if self.logs.is_dir() else []
            hint = f"one of {', '.join(there)}" if there else "nothing has run in this lab yet: rtap up"
            raise SettingsError(f"there is no log of {service!r}", hint=hint)
        yield from self.log_tail(service, lines)
        if follow:
            with path.open(errors="replace") as file:
                file.seek(0, os.SEEK_END)
                while True:
                    if line := file.readline():
                        yield line.rstrip("\n")
                    else:
                        time.sleep(0.2)

    def path(self, name: str) -> Path:
        """Where a JSON file lies."""
        return self.folder / f"{name}.json"

    def read(self, name: str) -> bytes | None:
        """The content of a JSON file; None when there is none."""
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a JSON file as a whole."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)

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
            if not path.exists() or not path.stat().st_size:
                write_private(path, secrets.token_hex(32).encode())
            return path.read_text()


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class Document(Generic[Content]):
    """One typed file of a state folder.

    Args:
        state: The folder.
        name: The file's, without its ending; also its lock's.
        kind: The class of its content.
        empty: Makes what is there before anything was written.
    """

    def __init__(self, state: State, name: str, kind: type[Content], empty: Callable[[], Content]) -> None:
        self._state = state
        self._name = name
        self._decoder = msgspec.json.Decoder(kind)
        self._empty = empty

    def read(self) -> Content:
        """The content now.

        Raises:
            SettingsError: When the file is damaged.
        """
        content = self._state.read(self._name)
        if content is None:
            return self._empty()
        try:
            return self._decoder.decode(content)
        except msgspec.DecodeError as error:
            if self._state.version != VERSION:
                raise SettingsError(
                    f"{self._state.folder} was made by an earlier version of rtap_lab",
                    hint="`rtap down` if it is up, then `rtap up` brings it to this one; data are kept",
                ) from error
            raise SettingsError(
                f"{self._state.path(self._name)} is damaged: {error}", hint="`rtap reset` starts anew"
            ) from error

    def write(self, content: Content) -> None:
        """Replace the content: for a document that has one writer."""
        self._state.write(self._name, msgspec.json.format(msgspec.json.encode(content), indent=1))

    def change(self, function: Callable[[Content], Content]) -> Content:
        """Replace the content by what a function makes of it; nobody else changes it meanwhile.

        Args:
            function: Takes the content, gives the new one. It must be quick, and must not change this document itself.
        """
        with self._state.lock(self._name):
            content = function(self.read())
            self.write(content)
            return content

    def remove(self) -> None:
        """Delete the file."""
        self._state.path(self._name).unlink(missing_ok=True)
