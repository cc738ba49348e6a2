"""PyFlink on the lab's cluster, for what SQL cannot do: Table API programs and Python functions.

The only module that imports pyflink. It starts a JVM inside this process; everything else of the lab
reaches Flink over REST.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rtap_lab.endpoints import Endpoint
from rtap_lab.flink.functions import FUNCTIONS
from rtap_lab.flink.properties import look_properties, mutual_tls


@contextmanager
def _java_for_the_gateway(java: Path) -> Iterator[None]:
    """PyFlink finds the runtime of its JVM by the environment alone; it is put back once the JVM runs."""
    before = {name: os.environ.get(name) for name in ("JAVA_HOME", "PATH")}
    os.environ["JAVA_HOME"] = str(java.parent.parent)
    os.environ["PATH"] = f"{java.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def table_environment(
    flink: Endpoint, catalog: Iterable[str], *, java: Path, jars: Iterable[Path], python: str, name: str
) -> Any:
    """A `pyflink.table.TableEnvironment` that submits to a cluster, with the packaged functions registered.

    Args:
        flink: Where the JobManager's REST API is.
        catalog: Statements that make the tables.
        java: The runtime to start.
        jars: Connectors that the tables need.
        python: The interpreter of Python functions.
        name: Of the jobs, where the program gives none (`pipeline.name`).
    """
    from pyflink.common import Configuration
    from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
    from pyflink.table.udf import udf

    address = urlsplit(flink.address)
    values = look_properties() | {
        "execution.target": "remote",
        "rest.address": str(address.hostname),
        "rest.port": str(address.port),
        **(mutual_tls(flink.tls) if flink.tls else {}),
        "pipeline.jars": ";".join(path.as_uri() for path in jars),
        "pipeline.name": name,
        "python.executable": python,
        "python.client.executable": python,
    }
    configuration = Configuration()
    for name, value in values.items():
        configuration.set_string(name, value)
    settings = EnvironmentSettings.new_instance().with_configuration(configuration).build()
    with _java_for_the_gateway(java):
        environment = TableEnvironment.create(settings)
    for statement in catalog:
        environment.execute_sql(statement)
    for name, function in FUNCTIONS.items():
        environment.create_temporary_system_function(name, udf(function, result_type=DataTypes.STRING(), name=name))
    return environment
