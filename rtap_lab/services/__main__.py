"""`python -m rtap_lab.services NAME STATE`: be a service of our own; started by the supervisor."""

from __future__ import annotations

import logging
import re
import sys
from importlib import import_module
from pathlib import Path

from rtap_lab.services.process import ServiceProcess
from rtap_lab.services.site import Site
from rtap_lab.stack.state import State


def main() -> None:
    """Run the service that the arguments name."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    name, folder = sys.argv[1:]
    module = re.sub(r"-\d+$", "", name)  # hub-2 is one more of hub
    import_module(f"rtap_lab.services.{module}").main(ServiceProcess(name, Site(State(Path(folder)))))


if __name__ == "__main__":
    main()
