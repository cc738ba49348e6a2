"""The kernel of Flink SQL does what every Jupyter kernel must: jupyter_kernel_test's own checks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import jupyter_kernel_test
import pytest

from rtap_lab.jupyter import kernelspec
from rtap_lab.lab import Lab


@pytest.fixture(scope="class", autouse=True)
def installed(stack: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The kernel is found, and works on the tests' lab."""
    place = tmp_path_factory.mktemp("jupyter")
    kernelspec.write(place)
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("JUPYTER_PATH", os.pathsep.join([str(place), os.environ.get("JUPYTER_PATH", "")]))
        changed.setenv("RTAP_STATE", str(stack.state.folder))
        yield


class TestFlinkSqlKernel(jupyter_kernel_test.KernelTests):  # type: ignore[misc]
    """What the protocol asks of it."""

    kernel_name = kernelspec.NAME
    language_name = "sql"
    file_extension = ".sql"
    # SQL prints nothing, pages nothing and has no history: what it shows is display data
    test_execute_stdout = test_execute_stderr = test_execute_result = test_clear_output = None
    test_pager = test_history = None
    code_generate_error = "ADD JAR '/tmp/x.jar';"
    code_display_data = [{"code": "SHOW TABLES;", "mime": "text/html"}]  # noqa: RUF012 as it is declared there
    completion_samples = [{"text": "SELEC", "matches": {"SELECT"}}]  # noqa: RUF012
    complete_code_samples = ["SHOW TABLES;", "SELECT 1"]  # noqa: RUF012
    incomplete_code_samples = ["SELECT 1\nFROM"]  # noqa: RUF012
    code_inspect_sample = "events"
