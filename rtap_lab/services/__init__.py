"""The services of a lab, one file each: how it is started and proven ready, and, if it is ours, its main.

A service is a module here with `declare(site)`, and `ports(settings)` where it listens; one of ours has `main(process)`
too. The supervisor finds them by that: adding a service is adding a file.

    site process jvm http what declarations, probes and mains share
    flink_cluster         what JobManager, TaskManager and gateway share
    daemon                the supervisor's process
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType


def modules() -> list[ModuleType]:
    """The modules that declare services."""
    found = [
        import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__) if each.name != "__main__"
    ]
    return [each for each in found if hasattr(each, "declare")]
