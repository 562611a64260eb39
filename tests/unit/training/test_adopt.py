"""Adapters from files as runs of an experiment, on a tiny random model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.configs import tiny_run
from vader_bench import files
from vader_bench.config.schema import RunConfig
from vader_bench.config.settings import AdapterSettings
from vader_bench.errors import UserError
from vader_bench.records.folder import RunFolder
from vader_bench.records.record import Evaluation, Record, VideoScore
from vader_bench.records.record_file import read_record
from vader_bench.records.tracking.points import tell
from vader_bench.stats import analyse, build_panel
from vader_bench.training.export import AdapterForm, export_adapter
from vader_bench.training.film import film
from vader_bench.training.model import load_run_model
from vader_bench.training.session import execute
from vader_bench.weights.adapter_files import adapter_digest


def adapter_run(pipeline: Path, adapter: Path, **changes: object) -> RunConfig:
    """Return a run of the adapters in a file or folder."""
    run = tiny_run(pipeline, method="base", **changes)
    settings = AdapterSettings(adapter=str(adapter), sha256=adapter_digest(str(adapter)))
    suite = run.suite.with_written({str(adapter): "./published"})
    return run.model_copy(
        update={"method": "adapter", "arm": "published", "settings": settings, "suite": suite}
    )


@pytest.fixture(scope="module")
def runs(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of the base model, of VADER, and of the adapters that VADER's run left, exported for peft."""
    folder = tmp_path_factory.mktemp("results")
    execute(tiny_run(tiny_pipeline, method="base"), folder / "base-red-seed1")
    execute(tiny_run(tiny_pipeline), folder / "vader-red-seed1")
    export_adapter(folder / "vader-red-seed1", AdapterForm.PEFT, folder / "exported")
    execute(adapter_run(tiny_pipeline, folder / "exported"), folder / "published-red-seed1")
    return folder


@pytest.fixture(scope="module")
def record(runs: Path) -> Callable[[str], Record]:
    return lambda arm: read_record(runs / f"{arm}-red-seed1" / "record.json")


def scores(evaluations: list[Evaluation], split: str) -> dict[tuple[str, int], VideoScore]:
    """Return the scores of the last look at ``split``."""
    last = [look for look in evaluations if look.split == split][-1]
    return {(score.prompt, score.sample): score for score in last.scores}


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_exported_adapters_score_what_the_run_that_left_them_scored(
    split: str, record: Callable[[str], Record]
) -> None:
    trained, published = (scores(record(arm).evaluations, split) for arm in ("vader", "published"))
    assert trained.keys() == published.keys()
    base = scores(record("base").evaluations, split)
    assert any(abs(published[v].reward - base[v].reward) > 1e-4 for v in published)
    for video, score in trained.items():
        assert published[video].reward == pytest.approx(score.reward, abs=1e-5)
        assert published[video].gold == pytest.approx(score.gold, abs=1e-5)


def test_the_record_says_what_it_is_of(record: Callable[[str], Record]) -> None:
    found = record("published")
    assert (found.method, found.arm, found.label) == ("adapter", "published", "published")
    assert not found.baseline
    assert not any(found.ledger.values())
    assert {look.queries for look in found.evaluations} == {0}
    assert found.config["settings"]["adapter"] == "./published"
    assert found.digests["adapter"] == found.config["settings"]["sha256"]
    assert found.notes == ["adapters of ./published, in peft's form, of rank 2; not trained here"]


def test_it_stands_beside_trained_arms(record: Callable[[str], Record]) -> None:
    found = [record(arm) for arm in ("base", "vader", "published")]
    panel = build_panel(found, ["vader", "published"], [1])
    assert panel is not None
    arms = {arm.name: arm.statistics["gain"].value for arm in analyse(panel, resamples=100).arms[2:]}
    assert arms["published"] == pytest.approx(arms["vader"], abs=1e-5)


def test_it_is_filmed_sampled_and_shown_to_people(runs: Path, tmp_path: Path) -> None:
    run = runs / "published-red-seed1"
    assert len(list((run / "samples").glob("heldout-*.mp4"))) == 4
    prompt = read_record(run / "record.json").samples[0].prompt
    film(run, [prompt], 1, tmp_path, "cpu")
    assert (tmp_path / "0-0.mp4").is_file()
    assert load_run_model(run, "cpu").lora is not None


def test_a_store_gets_its_numbers(runs: Path) -> None:
    story = tell(RunFolder(runs / "published-red-seed1"))
    assert (story.tags["method"], story.tags["arm"]) == ("adapter", "published")
    assert story.parameters["settings.adapter"] == "./published"
    found = {(point.key, point.step) for point in story.sent(0)}
    assert {("reward", 0), ("evaluation/heldout/gold", 0), ("device_hours", 0)} <= found
    assert "gain" not in {key for key, _ in found}, "nobody has looked at the base model"


def test_finished_it_is_left_alone_and_another_file_is_another_run(
    runs: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    run, config = runs / "published-red-seed1", adapter_run(tiny_pipeline, runs / "exported")
    before = files.sha256_file(run / "record.json")
    execute(config, run)
    assert files.sha256_file(run / "record.json") == before
    other = adapter_run(tiny_pipeline, runs / "vader-red-seed1" / "adapters" / "4.safetensors")
    with pytest.raises(UserError, match="holds a run of another configuration"):
        execute(other, run)
    settings = config.settings.model_copy(update={"sha256": "0" * 64})
    changed = config.model_copy(update={"settings": settings})
    with pytest.raises(UserError, match="was changed since the command was given"):
        execute(changed, tmp_path / "run")


def test_killed_while_it_was_measured_it_goes_on(
    runs: Path, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = adapter_run(tiny_pipeline, runs / "exported"), tmp_path / "published-red-seed1"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            execute(config, run)
    assert not (run / "record.json").exists()
    execute(config, run)
    again, before = (read_record(p / "record.json") for p in (run, runs / "published-red-seed1"))
    assert again.evaluations == before.evaluations
    lines = [line for line in RunFolder(run).metrics() if line["kind"] == "evaluation"]
    assert len(lines) == len(before.evaluations)
