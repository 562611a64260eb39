"""A suite on the tiny model, and a run of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import write_project
from vader_bench.experiment.load import LoadedExperiment, load_experiment
from vader_bench.interface.runs import run_arm


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    """A folder with ``tiny.yaml``, a suite, and ``small.yaml``, an experiment."""
    return write_project(tmp_path_factory.mktemp("project"), tiny_pipeline).parent


@pytest.fixture(scope="session")
def small(project: Path) -> LoadedExperiment:
    """The experiment in its small form: arms ``vader`` and ``diffusion-dpo``, reward ``red``, seed 1."""
    return load_experiment(project / "small.yaml", quick=True)


@pytest.fixture(scope="session")
def trained(small: LoadedExperiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its run of ``vader``."""
    out = tmp_path_factory.mktemp("out")
    run_arm(small, "vader", "red", 1, out=out)
    return out / "small-quick" / "tiny" / "runs" / "vader-red-seed1"
