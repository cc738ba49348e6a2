"""A real influxd 2.9.1: found, or built once per user from pinned Go modules."""

from __future__ import annotations

import importlib.resources
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from rtap_lab.errors import ComponentError
from rtap_lab.stack.components import cache_folder

VERSION = "2.9.1"


def _version_of(binary: Path) -> str:
    try:
        done = subprocess.run([binary, "version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def find_influxd() -> Path | None:
    """An installed influxd 2 first, else the one built before."""
    installed = shutil.which("influxd")
    if installed and " v2." in f" {_version_of(Path(installed))}":
        return Path(installed)
    built = cache_folder() / "influxd" / VERSION / "influxd"
    return built if built.is_file() else None


def fetch_influxd(progress: Callable[[str], None] = lambda line: None) -> Path:
    """Return an influxd, built from its Go modules when there is none (4 to 8 minutes, once).

    Its query language is a Rust library that Go finds through a wrapper of pkg-config; go.mod and
    go.sum beside this module pin every module.

    Raises:
        ComponentError: When the tools to build it are missing, or the build fails.
    """
    found = find_influxd()
    if found:
        return found
    needed = {
        "go": "Go 1.25 or newer",
        "cargo": "Rust's cargo",
        "gcc": "a C compiler (gcc)",
        "pkg-config": "pkg-config",
    }
    lacking = [words for tool, words in needed.items() if not shutil.which(tool)]
    if lacking:
        raise ComponentError(
            f"influxd {VERSION} is not installed and cannot be built: {', '.join(lacking)} missing",
            hint="install influxd 2 or those tools, then `rtap fetch influxdb`; the embedded store needs neither",
        )
    folder = cache_folder() / "influxd" / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"), tempfile.TemporaryDirectory(dir=folder) as scratch:
        if (folder / "influxd").is_file():
            return folder / "influxd"
        build = Path(scratch)
        for name in ("go.mod", "go.sum"):
            source = importlib.resources.files(__package__).joinpath("influxd", name)
            (build / name).write_text(source.read_text())
        environment = {**os.environ, "CGO_ENABLED": "1", "RUSTFLAGS": "--cap-lints=warn"}
        toolchain = _rust_toolchain()
        if toolchain:  # the module names one of its own, which rustup would download
            environment["RUSTUP_TOOLCHAIN"] = toolchain
        wrapper = build / "pkg-config-influx"
        flags = f"-s -w -X main.version=v{VERSION}"
        steps = [
            ["go", "build", "-o", str(wrapper), "github.com/influxdata/pkg-config"],
            [
                "go",
                "build",
                "-trimpath",
                "-tags",
                "sqlite_foreign_keys,sqlite_json",
                "-ldflags",
                flags,
                "-o",
                "influxd",
                "github.com/influxdata/influxdb/v2/cmd/influxd",
            ],
        ]
        for step, words in zip(steps, ("its build wrapper", "influxd and libflux"), strict=True):
            progress(f"building {words} …")
            done = subprocess.run(step, cwd=build, env=environment, capture_output=True, text=True)
            if done.returncode:
                tail = "\n  ".join(done.stderr.splitlines()[-8:])
                raise ComponentError(f"influxd {VERSION} could not be built:\n  {tail}")
            environment["PKG_CONFIG"] = str(wrapper)
        (build / "influxd").replace(folder / "influxd")
    return folder / "influxd"


def _rust_toolchain() -> str:
    if not shutil.which("rustup"):
        return ""
    done = subprocess.run(["rustup", "toolchain", "list"], capture_output=True, text=True)
    return done.stdout.split()[0] if done.stdout.strip() else ""
