from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.results import write_results
from vader_bench.report import Report, build_report, load_results
from vader_bench.report.load import Results
from vader_bench.stats import Analysis


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Invented results of two rewards, three methods and three seeds; to be read, not written."""
    return write_results(tmp_path_factory.mktemp("fig7") / "tiny")


@pytest.fixture(scope="session")
def results(results_folder: Path) -> Results:
    return load_results(results_folder)


@pytest.fixture(scope="session")
def analyses(results: Results) -> dict[str, Analysis]:
    return results.analyses()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report with itself as the reference."""
    folder = write_results(tmp_path_factory.mktemp("built") / "tiny")
    return build_report(folder, folder, command="vader-bench report & more")
