from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import FEW_DOTS
from tests.support.results import write_results
from vader_bench.report import Report, build_report, load_results, style
from vader_bench.report.load import Results
from vader_bench.stats import Analysis

FINE = style.DPI


@pytest.fixture(scope="module", autouse=True)
def _coarse_pictures() -> Iterator[None]:
    """Draw PNGs with few dots, save where a test looks at them; tests of other folders draw them whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", FEW_DOTS)
        yield


@pytest.fixture
def fine_pictures(monkeypatch: pytest.MonkeyPatch) -> int:
    """Draw PNGs as users get them, with so many dots an inch."""
    monkeypatch.setattr(style, "DPI", FINE)
    return FINE


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
