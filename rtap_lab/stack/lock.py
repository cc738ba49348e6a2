"""Make `components.lock.json` from `components.toml` (`make lock`); needs Maven. Not used at run time."""

from __future__ import annotations

import json
import tarfile
import tempfile
import tomllib
from pathlib import Path

from rtap_lab.stack.components import Component, digest, manifest_of, run_maven

HERE = Path(__file__).parent


def _component(set_name: str, coordinate: str) -> Component:
    group, artifact, version, *rest = coordinate.split(":")
    kind, classifier = rest or ("jar", "")
    return Component(set_name, group, artifact, version, kind, classifier, "", 0)


def _entry(folder: Path, path: Path) -> dict[str, str | int]:
    *group, artifact, version, file = path.relative_to(folder).parts
    tail = file.removeprefix(f"{artifact}-{version}")
    kind = "tar.gz" if tail.endswith(".tar.gz") else "jar"
    classifier = tail.removesuffix(f".{kind}").lstrip("-")
    coordinate = ":".join([".".join(group), artifact, version])
    if classifier or kind != "jar":
        coordinate += f":{kind}:{classifier}"
    entry: dict[str, str | int] = {"coordinate": coordinate, "sha256": digest(path), "size": path.stat().st_size}
    if kind == "tar.gz":
        with tempfile.TemporaryDirectory() as unpacked, tarfile.open(path) as archive:
            archive.extractall(unpacked, filter="data")
            manifest = Path(unpacked).parent / f"{Path(unpacked).name}.manifest"
            manifest.write_text(manifest_of(Path(unpacked)))
            entry["manifest_sha256"] = digest(manifest)
            manifest.unlink()
    return entry


def main() -> None:
    """Resolve every set and write the lock."""
    lock = {}
    for name, wanted in tomllib.loads((HERE / "components.toml").read_text()).items():
        with tempfile.TemporaryDirectory() as staging:
            folder = Path(staging)
            roots = [_component(name, each) for each in wanted["roots"]]
            run_maven(roots, folder, lambda *_: None, transitive=wanted.get("transitive", True))
            files = sorted(p for p in folder.rglob("*") if p.name.endswith((".jar", ".tar.gz")))
            lock[name] = [_entry(folder, path) for path in files]
    (HERE / "components.lock.json").write_text(json.dumps(lock, indent=1) + "\n")


if __name__ == "__main__":
    main()
