"""The house's rules that no linter holds: lazy import, exports, files in step, no addresses, no secrets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import rtap_lab

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    names = done.stdout.split("\0") if done.returncode == 0 else []
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_importing_the_package_loads_nothing_heavy_and_starts_nothing() -> None:
    code = "import sys, rtap_lab; print(sorted({m.split('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = ["confluent_kafka", "panel", "bokeh", "pandas", "httpx", "pyflink", "IPython", "psutil", "numpy"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in rtap_lab.__all__:
        assert getattr(rtap_lab, name) is not None


def test_environment_yml_is_in_step_with_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "environment.yml").read_text()
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    listed = re.findall(r'^\s+- "?([^"\n]+?)"?\s*$', text.partition("- pip:")[2], re.MULTILINE)
    assert sorted(listed) == sorted([*wanted, "--no-deps -e ."])


def test_the_python_lock_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=[a-z])", text.strip()):
        assert "--hash=sha256:" in entry, entry[:60]


def test_no_path_of_a_machine_and_no_binary_is_tracked() -> None:
    machine = re.compile(r"(^|[^A-Za-z0-9_.-])/(work|root|farm)/[A-Za-z.]")
    for path in tracked():
        assert path.suffix not in (".jar", ".whl", ".so", ".gz"), path
        assert path.stat().st_size < 1_000_000, path
        if (
            path.suffix in (".py", ".md", ".toml", ".yml", ".json", ".ipynb", ".sql", ".js", "")
            and path.name != "test_house.py"
        ):
            assert not machine.search(path.read_text(errors="replace")), path


def test_shipped_notebooks_have_no_outputs_and_one_parameters_cell() -> None:
    notebooks = [*(ROOT / "notebooks").rglob("*.ipynb")]
    assert len(notebooks) >= 3
    for path in notebooks:
        if ".ipynb_checkpoints" in path.parts:
            continue
        cells = json.loads(path.read_text())["cells"]
        assert all(not cell.get("outputs") for cell in cells), path
        assert sum("parameters" in cell["metadata"].get("tags", []) for cell in cells) == 1, path


def test_every_package_says_what_belongs_there() -> None:
    for init in (ROOT / "rtap_lab").rglob("__init__.py"):
        assert init.read_text().startswith('"""'), init
