"""PyFlink on the lab's cluster, for what SQL cannot do: Table API programs and Python functions.

The only module that imports pyflink. It starts a JVM inside this process; everything else of the lab
reaches Flink over REST.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def table_environment(rest: str, catalog: Iterable[str], *, java: Path, jars: Iterable[Path]) -> Any:
    """A `pyflink.table.TableEnvironment` that submits to a cluster.

    Args:
        rest: The JobManager's address.
        catalog: Statements that make the tables.
        java: The runtime to start.
        jars: Connectors that the tables need.
    """
    os.environ["JAVA_HOME"] = str(java.parent.parent)
    os.environ["PATH"] = f"{java.parent}{os.pathsep}{os.environ['PATH']}"
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    address = urlsplit(rest)
    values = {
        "execution.target": "remote",
        "rest.address": str(address.hostname),
        "rest.port": str(address.port),
        "execution.runtime-mode": "streaming",
        "parallelism.default": "1",
        "state.backend.type": "hashmap",
        "table.local-time-zone": "UTC",
        "pipeline.jars": ";".join(path.as_uri() for path in jars),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
    }
    configuration = Configuration()
    for name, value in values.items():
        configuration.set_string(name, value)
    settings = EnvironmentSettings.new_instance().with_configuration(configuration).build()
    environment = TableEnvironment.create(settings)
    for statement in catalog:
        environment.execute_sql(statement)
    return environment
