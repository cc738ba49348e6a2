"""The pinned components: fetched once per user, verified before each start.

`components.lock.json` names every file by Maven coordinates, SHA-256 and size, and no address: Maven
(with the user's own settings and mirrors) or jgo's Python resolver knows where to ask. Flink's own
jars come with the `apache-flink-libraries` wheel and are verified against the wheel's RECORD.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib.metadata
import importlib.resources
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import platformdirs
from filelock import FileLock

from rtap_lab.errors import ComponentError

Progress = Callable[[str, int], None]
"""Told (file name, bytes that arrived) while files are fetched."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Component:
    """One locked file."""

    set: str
    group: str
    artifact: str
    version: str
    type: str
    classifier: str
    sha256: str
    size: int
    manifest_sha256: str = ""
    """Of an archive: the digest of the list of its files and their digests."""

    @property
    def file(self) -> str:
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{tail}.{self.type}"

    @property
    def path(self) -> Path:
        """Where it lies below a Maven repository, and below our cache."""
        return Path(*self.group.split("."), self.artifact, self.version, self.file)

    @property
    def coordinate(self) -> str:
        tail = f":{self.type}:{self.classifier}" if self.classifier or self.type != "jar" else ""
        return f"{self.group}:{self.artifact}:{self.version}{tail}"


def cache_folder() -> Path:
    """The user's cache, shared by all labs; `RTAP_CACHE` names another."""
    return Path(os.environ.get("RTAP_CACHE") or platformdirs.user_cache_dir("rtap_lab")).absolute()


def locked() -> list[Component]:
    """Read the lock."""
    text = importlib.resources.files(__package__).joinpath("components.lock.json").read_text()
    result = []
    for name, entries in json.loads(text).items():
        for entry in entries:
            group, artifact, version, *rest = entry["coordinate"].split(":")
            kind, classifier = rest or ("jar", "")
            result.append(
                Component(
                    name,
                    group,
                    artifact,
                    version,
                    kind,
                    classifier,
                    entry["sha256"],
                    entry["size"],
                    entry.get("manifest_sha256", ""),
                )
            )
    return result


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Digests:
    """Digests of files that were read before: one is read again only when its size, time or inode changed.

    A start looks at 325 MB of jars; hashing them each time would take longer than starting Kafka. What is remembered
    is in the user's cache folder, as private as the jars themselves.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[list[int], str]] = {}
        self._folder: Path | None = None
        self._lock = threading.Lock()

    @property
    def _file(self) -> Path:
        return cache_folder() / "digests.json"

    def _load(self) -> None:
        if self._folder == cache_folder():
            return
        self._folder, self._known = cache_folder(), {}
        with contextlib.suppress(OSError, ValueError, msgspec.ValidationError):  # it only saves work
            self._known = msgspec.json.decode(self._file.read_bytes(), type=dict[str, tuple[list[int], str]])

    def of(self, path: Path) -> str:
        """The digest of a file.

        Raises:
            OSError: When it cannot be read.
        """
        facts = path.stat()
        mark = [facts.st_size, facts.st_mtime_ns, facts.st_ino]
        with self._lock:
            self._load()
            known = self._known.get(str(path))
        if known is not None and known[0] == mark:
            return known[1]
        found = digest(path)
        with self._lock:
            self._known[str(path)] = (mark, found)
        return found

    def keep(self) -> None:
        """Remember what was read, for later processes."""
        with self._lock, contextlib.suppress(OSError):
            part = self._file.with_suffix(f".{os.getpid()}.part")
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(self._known))
            part.replace(self._file)


_digests = _Digests()


def known_digest(path: Path) -> str:
    """The SHA-256 of a file, in hex; read only when the file is not the one that was read before."""
    return _digests.of(path)


def missing(components: Iterable[Component]) -> list[Component]:
    """Which of them are not in the cache."""
    base = cache_folder() / "components"
    return [each for each in components if not (base / each.path).is_file()]


def fetch(components: Iterable[Component], *, progress: Progress = lambda name, size: None) -> list[Component]:
    """Bring what is missing into the cache.

    Args:
        components: What is wanted.
        progress: Told of each piece that arrives.

    Returns:
        What was fetched.

    Raises:
        ComponentError: When something cannot be had, or is not the pinned file.
    """
    base = cache_folder() / "components"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ComponentError(
            f"the cache folder {base} cannot be made: {error.strerror}",
            hint="set RTAP_CACHE to a folder that can be written",
        ) from error
    with FileLock(base / ".lock"):
        wanted = missing(components)
        if not wanted:
            return []
        with tempfile.TemporaryDirectory(dir=base, prefix=".staging-") as staging:
            folder = Path(staging)
            maven = shutil.which("mvn")
            (_with_maven if maven else _with_jgo)(wanted, folder, progress)
            for each in wanted:
                _check(folder / each.path, each.sha256, each.coordinate)
                target = base / each.path
                target.parent.mkdir(parents=True, exist_ok=True)
                (folder / each.path).replace(target)
    return wanted


def _check(path: Path, sha256: str, what: str) -> None:
    if not path.is_file():
        raise ComponentError(
            f"{what} is missing: {path}", hint="run `rtap fetch` where the package registry is reached"
        )
    if known_digest(path) != sha256:
        raise ComponentError(
            f"{path} is not the pinned {what}: its SHA-256 differs from the lock",
            hint="delete this file and run `rtap fetch`",
        )


_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>rtap_lab</groupId><artifactId>components</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{}</dependencies></project>"""


def _pom_entry(each: Component, *, transitive: bool = False) -> str:
    classifier = f"<classifier>{each.classifier}</classifier>" if each.classifier else ""
    wild = "<exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion>"
    exclusions = "" if transitive else f"<exclusions>{wild}</exclusions>"
    return (
        f"<dependency><groupId>{each.group}</groupId><artifactId>{each.artifact}</artifactId>"
        f"<version>{each.version}</version><type>{each.type}</type>{classifier}{exclusions}</dependency>"
    )


def run_maven(components: Iterable[Component], folder: Path, progress: Progress, *, transitive: bool = False) -> None:
    """Let Maven copy files into `folder`, laid out as a repository; mirrors are the user's."""
    pom = folder / "pom.xml"
    pom.write_text(_POM.format("".join(_pom_entry(c, transitive=transitive) for c in components)))
    command = [
        "mvn",
        "-B",
        "-f",
        str(pom),
        "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
        f"-DoutputDirectory={folder}",
        "-Dmdep.useRepositoryLayout=true",
        "-DincludeScope=runtime",
    ]
    lines: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            arrived = re.search(r"Downloaded from .*/([^/ ]+) \(([\d.]+) (B|kB|MB|GB)", line)
            if arrived:
                scale = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[arrived[3]]
                progress(arrived[1], int(float(arrived[2]) * scale))
    if process.returncode:
        wrong = [line for line in lines if "[ERROR]" in line][:3]
        raise ComponentError(
            "Maven could not fetch the stack's components:\n  " + "\n  ".join(wrong),
            hint="check the network and the mirrors in Maven's settings.xml, then `rtap fetch`",
        )
    pom.unlink()


def _with_maven(wanted: list[Component], folder: Path, progress: Progress) -> None:
    run_maven(wanted, folder, progress)


def _with_jgo(wanted: list[Component], folder: Path, progress: Progress) -> None:
    from contextlib import contextmanager

    from jgo.maven import MavenContext, PythonResolver

    @contextmanager
    def report(name: str, total: int):  # type: ignore[no-untyped-def]
        yield lambda arrived: progress(name, arrived)

    context = MavenContext(resolver=PythonResolver(progress_callback=report), repo_cache=folder, timeout=60)
    for each in wanted:
        component = context.project(each.group, each.artifact).at_version(each.version)
        try:
            component.artifact(each.classifier, each.type).resolve()
        except Exception as error:  # requests' and jgo's errors share no base
            raise ComponentError(
                f"{each.coordinate} could not be fetched: {error}", hint="check the network, then `rtap fetch`"
            ) from error


# --- what is installed: jars as one ordered list, archives unpacked -------------------------------


def jars(set_name: str) -> list[Path]:
    """The verified jars of a set, in the lock's order.

    Raises:
        ComponentError: When a file is missing or differs from the lock; the message names it.
    """
    base = cache_folder() / "components"
    wanted = [each for each in locked() if each.set == set_name and each.type == "jar"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda c: _check(base / c.path, c.sha256, c.coordinate), wanted))
    _digests.keep()
    return [base / each.path for each in wanted]


def manifest_of(folder: Path) -> str:
    """The list of a folder's files and their digests, one per line, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".manifest")
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(known_digest, files))
    return "".join(f"{s}  {p.relative_to(folder)}\n" for s, p in zip(sums, files, strict=True))


def unpacked(set_name: str) -> Path:
    """The verified folder that a set's archive unpacks to; unpacks it the first time.

    Raises:
        ComponentError: When the archive or an unpacked file is not the pinned one.
    """
    base = cache_folder() / "components"
    (each,) = (c for c in locked() if c.set == set_name)
    target = cache_folder() / "unpacked" / f"{each.artifact}-{each.version}-{each.sha256[:12]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            _check(base / each.path, each.sha256, each.coordinate)
            with tempfile.TemporaryDirectory(dir=target.parent) as staging:
                with tarfile.open(base / each.path) as archive:
                    archive.extractall(Path(staging) / "x", filter="data")
                (Path(staging) / "x" / ".manifest").write_text(manifest_of(Path(staging) / "x"))
                (Path(staging) / "x").replace(target)
    known = target / ".manifest"
    if not known.is_file() or digest(known) != each.manifest_sha256:
        raise ComponentError(f"{known} is not the pinned one", hint=f"delete {target}; the next start unpacks it again")
    found = manifest_of(target)
    _digests.keep()
    if found != known.read_text():
        before = dict(line.split("  ", 1)[::-1] for line in known.read_text().splitlines())
        after = dict(line.split("  ", 1)[::-1] for line in found.splitlines())
        wrong = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
        raise ComponentError(
            f"{target / wrong[0]} is not the pinned file: its SHA-256 differs",
            hint=f"delete {target}; the next start unpacks it again",
        )
    return target


def check_all() -> None:
    """Verify and unpack all that a start needs.

    Raises:
        ComponentError: When a file is missing, or is not the pinned one.
    """
    archives = {each.set for each in locked() if each.type != "jar"}
    for name in sorted({each.set for each in locked()}):
        unpacked(name) if name in archives else jars(name)
    flink_home()


def flink_home() -> Path:
    """The folder of Flink's distribution inside the wheel, its jars verified against RECORD.

    Raises:
        ComponentError: When the wheel is missing, or a jar is not the one it was installed with.
    """
    try:
        record = importlib.metadata.distribution("apache-flink-libraries")
    except importlib.metadata.PackageNotFoundError as error:
        raise ComponentError("Flink is not installed", hint="run `make setup`") from error
    rows = csv.reader((record.read_text("RECORD") or "").splitlines())
    wanted = [
        (Path(str(record.locate_file(name))), checksum.removeprefix("sha256="))
        for name, checksum, _ in rows
        if re.fullmatch(r"pyflink/(lib|opt)/[^/]+\.jar", name)
    ]

    def check(item: tuple[Path, str]) -> None:
        path, expected = item
        try:
            found = base64.urlsafe_b64encode(bytes.fromhex(known_digest(path))).rstrip(b"=").decode()
        except OSError as error:
            raise ComponentError(f"{path} is missing", hint="reinstall apache-flink-libraries") from error
        if found != expected:
            raise ComponentError(
                f"{path} is not the file that the wheel installed: its SHA-256 differs",
                hint="reinstall: pip install --force-reinstall --no-deps apache-flink-libraries==2.3.0",
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, wanted))
    _digests.keep()
    return Path(str(record.locate_file("pyflink")))
