"""What is made of a run later finds the files of its suite, from whatever folder the command is given."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.configs import PROMPTS
from tests.unit.cli.conftest import write_project, write_yaml
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.load import load_experiment
from vader_bench.interface.models import load_model
from vader_bench.interface.runs import run_arm
from vader_bench.records.places import PLACES_NAME
from vader_bench.training.export import AdapterForm, export_adapter
from vader_bench.training.film import film

RUN = Path("results/small-quick/tiny/runs/vader-red-seed1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    """A project with a run of a suite in a folder of its own, which names its files relative to that."""
    folder = tmp_path_factory.mktemp("made")
    config = folder / "cfg"
    config.mkdir()
    path = write_project(config, tiny_pipeline)
    shutil.copytree(tiny_pipeline, config / "model")
    shutil.copytree(PROMPTS, config / "birds")
    suite = yaml.safe_load((config / "tiny.yaml").read_text("utf-8"))
    suite["backbone"]["settings"]["weights"] = "./model"
    write_yaml(config / "tiny.yaml", suite | {"prompts": {"default": "./birds"}})
    run_arm(load_experiment(path, quick=True), "vader", "red", 1, out=folder / "results")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """The same project in another place, as on another machine."""
    return shutil.copytree(made, tmp_path / "project")


def test_a_run_is_sampled_filmed_and_exported_from_any_folder(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = made / RUN
    assert load_model(run).sample(["ab"]).shape == (1, 4, 3, 8, 8)
    film(run, ["ab"], 1, tmp_path / "footage", "cpu")
    assert str(made) not in (tmp_path / "footage" / "footage.json").read_text("utf-8")
    export_adapter(run, AdapterForm.MERGED, tmp_path / "merged")
    assert (tmp_path / "merged" / "unet").is_dir()
    for name in ("config.json", "record.json", "origin.json", "training.json"):
        assert str(made) not in (run / name).read_text("utf-8")


@pytest.mark.parametrize("table", [True, False])
def test_where_the_files_are_not_where_they_were_the_current_folder_counts(
    project: Path, monkeypatch: pytest.MonkeyPatch, table: bool
) -> None:
    run = project / RUN
    places = run / PLACES_NAME
    moved = places.read_text("utf-8").replace("/cfg/", "/moved/")
    places.unlink()
    if table:
        places.write_text(moved, "utf-8")
    monkeypatch.chdir(project)
    wrong = r"'\./model', which is neither where it was nor where that leads from here; give this command in"
    with pytest.raises(UserError, match=wrong) as caught:
        load_model(run)
    assert caught.value.exit_code == ExitCode.MISSING
    monkeypatch.chdir(project / "cfg")
    assert load_model(run).sample(["ab"]).shape == (1, 4, 3, 8, 8)
    shutil.rmtree(project / "cfg" / "birds")
    with pytest.raises(UserError, match=r"was made with '\./birds', which is neither"):
        load_model(run)
    Path("own.txt").write_text("ab\n", "utf-8")
    assert load_model(run, prompts="own.txt").sample(["ab"]).shape == (1, 4, 3, 8, 8)


def test_weights_that_were_replaced_are_named_as_they_are_written(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / RUN / PLACES_NAME).unlink()
    monkeypatch.chdir(project / "cfg")
    (project / "cfg" / "model" / "more.json").write_text("{}", "utf-8")
    with pytest.raises(UserError, match=r"was made with other weights '\./model' than are here"):
        load_model(project / RUN)
