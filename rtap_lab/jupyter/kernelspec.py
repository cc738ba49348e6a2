"""The kernel of Flink SQL as Jupyter finds it: a folder with `kernel.json`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

NAME = "flink_sql"
SPEC = {
    "argv": [sys.executable, "-m", "rtap_lab.jupyter.sql_kernel", "-f", "{connection_file}"],
    "display_name": "Flink SQL (rtap_lab)",
    "language": "sql",
    "interrupt_mode": "signal",
}


def write(folder: Path) -> Path:
    """Write the kernel into a data folder of Jupyter's (`JUPYTER_PATH` names them); its own folder there."""
    place = folder / "kernels" / NAME
    place.mkdir(parents=True, exist_ok=True)
    (place / "kernel.json").write_text(json.dumps(SPEC, indent=1))
    return place


def install(*, user: bool) -> str:
    """Install the kernel for every JupyterLab of this environment, or of this user; where it is.

    Args:
        user: Whether it goes into the user's own folder.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    with tempfile.TemporaryDirectory() as folder:
        place = write(Path(folder))
        where = {"user": True} if user else {"prefix": sys.prefix}
        return str(KernelSpecManager().install_kernel_spec(str(place), NAME, **where))
