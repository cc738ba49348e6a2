"""JupyterLab on the lab's notebooks, as a child of the command that asked for it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from rtap_lab.errors import ServiceError, SettingsError
from rtap_lab.jupyter import kernelspec
from rtap_lab.stack.process import free_port, is_free, listens, port_owner, spawn
from rtap_lab.stack.state import State
from rtap_lab.waiting import until, until_interrupt

QUIET = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
"""JupyterLab's settings here: it asks nobody outside for news, and no person whether it may."""

LOG = "jupyter"
START_S = 120
"""How long JupyterLab may take to listen."""


def notebooks_folder() -> Path:
    """Where the notebooks are: beside the package, in a checkout.

    Raises:
        SettingsError: When there are none.
    """
    folder = Path(__file__).parents[2] / "notebooks"
    if not (folder / "00_start_here.ipynb").is_file():
        raise SettingsError(f"there are no notebooks at {folder}", hint="run it from a checkout of the project")
    return folder


def work_copy(work: Path) -> Path:
    """A copy of the notebooks that is a person's own: what is there already stays as it is.

    Args:
        work: The folder to work in; the copy is `rtap-notebooks` in it.

    Raises:
        SettingsError: When it cannot be written.
    """
    folder = work / "rtap-notebooks"
    try:
        for original in sorted(notebooks_folder().glob("*.ipynb")):
            folder.mkdir(exist_ok=True)
            if not (folder / original.name).exists():
                shutil.copyfile(original, folder / original.name)
    except OSError as error:
        raise SettingsError(
            f"the notebooks cannot be copied to {folder}: {error.strerror or error}",
            hint="run it in a folder that you may write to",
        ) from error
    return folder


def run(state: State, work: Path, *, port: int | None, browser: bool) -> None:
    """Run JupyterLab on a copy of the notebooks until Ctrl-C.

    Its token stays on: access to Jupyter is access to the machine. The address with the token goes to
    stdout, once somebody answers there.

    Raises:
        SettingsError: When the port is taken.
        ServiceError: When JupyterLab does not start.
    """
    state.create()
    folder = work_copy(work)
    if port and not is_free(port):
        raise SettingsError(f"port {port} is taken by {port_owner(port)}", hint="choose another with --port, or none")
    port = port or free_port()
    token = state.secret("jupyter.token")
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        f"--ServerApp.open_browser={browser and bool(os.environ.get('DISPLAY'))}",
        "--LabApp.default_url=/lab/tree/00_start_here.ipynb",
        "--ServerApp.allow_root=True",
        "--LabApp.expose_app_in_browser=True",  # the authoring panel writes cells
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    kernels = state.folder / "jupyter"
    kernelspec.write(kernels)
    overrides = kernels / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True, exist_ok=True)
    overrides.write_text(json.dumps(QUIET))
    # the token goes by the environment: arguments can be read by other users
    environment = {
        "JUPYTER_TOKEN": token,
        "RTAP_STATE": str(state.folder),
        "JUPYTER_CONFIG_PATH": _path(kernels / "config", "JUPYTER_CONFIG_PATH"),
        "JUPYTER_PATH": _path(kernels, "JUPYTER_PATH"),
    }
    with until_interrupt() as stop:
        server = spawn(command, log=state.log(LOG), cwd=folder, environment=environment)
        try:
            found = until(lambda: stop.is_set() or server.wait(0) or listens(port), START_S)
            if stop.is_set():
                return
            if not found or server.wait(0):
                fate = "has ended" if found else f"does not listen on port {port} after {START_S} s"
                raise ServiceError(f"JupyterLab {fate}", service=LOG, log_tail=state.log_tail(LOG, 5))
            print(f"http://127.0.0.1:{port}/lab/tree/00_start_here.ipynb?token={token}", flush=True)
            until(lambda: stop.is_set() or server.wait(1), float("inf"), every=0)
            if not stop.is_set():  # "Shut Down" in its menu, most often
                print("JupyterLab has ended: `rtap logs jupyter` tells how", file=sys.stderr)
        finally:
            server.stop(10)


def _path(first: Path, name: str) -> str:
    """A search path: ours first, then what a person has set."""
    return os.pathsep.join(filter(None, [str(first), os.environ.get(name)]))
