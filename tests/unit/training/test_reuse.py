"""A run that another experiment has trained is taken, and its numbers are those of training it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.configs import tiny_run
from vader_bench import files
from vader_bench.config.schema import RunConfig
from vader_bench.errors import UserError
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.evaluation.measurements import Measurer
from vader_bench.methods import METHODS
from vader_bench.records import provenance
from vader_bench.records.folder import RunFolder, read_metrics
from vader_bench.records.locks import LOCK_NAME
from vader_bench.records.record_file import read_record
from vader_bench.training.identity import training_depends_on
from vader_bench.training.reuse import find_trainings, forget_taken, take_training
from vader_bench.training.session import execute


def figure_run(pipeline: Path, **changes: Any) -> RunConfig:
    """A run of the experiment that trains: looked at after 0, 4 and 8 queries."""
    return tiny_run(pipeline, experiment="figure", **changes)


def table_run(pipeline: Path, **changes: Any) -> RunConfig:
    """The same run for an experiment that looks at the ends alone, and through another judge."""
    asked = tiny_run(pipeline)
    suite = asked.suite.model_dump()
    suite["rewards"]["bright"] = {"family": "brightness"}
    evaluation = asked.evaluation.model_dump() | {
        "every": 8,
        "final_prompts": 2,
        "measure": {"judges": ["red", "bright"], "lora_scales": [0.5], "path_kl": True},
    }
    fields: dict[str, Any] = {"experiment": "table", "suite": suite, "evaluation": evaluation}
    return tiny_run(pipeline, **(fields | changes))


def folder_of(results: Path, config: RunConfig) -> Path:
    return results / config.experiment / config.suite.suite / "runs" / config.name


@pytest.fixture(scope="module")
def results(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results in which the first experiment is finished."""
    path = tmp_path_factory.mktemp("results")
    config = figure_run(tiny_pipeline)
    execute(config, folder_of(path, config), command="vader-bench run figure.yaml")
    return path


def take(config: RunConfig, results: Path, to: Path) -> str:
    return take_training(config, folder_of(to, config), "cpu", find_trainings(results, pytest.fail))


def test_a_training_that_cannot_be_read_is_said_and_stops_no_other(
    results: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    shutil.copytree(results, tmp_path / "results")
    damaged = tmp_path / "results" / "broken" / "tiny" / "runs" / "vader-red-seed1"
    files.write_text(damaged / "training.json", '{"version": 99}')
    said: list[str] = []
    found = find_trainings(tmp_path / "results", said.append)
    assert [run.path.parents[2].name for runs in found.values() for run in runs] == ["figure"]
    (line,) = said
    assert line.startswith(f"warning: its training is taken by no other run: {damaged / 'training.json'}")


def comparable(folder: Path) -> dict[str, Any]:
    """Return the record in ``folder`` without time, and without what says who trained."""
    data = read_record(folder / "record.json").model_dump(mode="json")
    for name in ("command", "taken_from"):
        del data[name]
    for ledger in [data["ledger"], *data["evaluations"], *(point["look"] for point in data["frontier"])]:
        del ledger["device_seconds"]
    return data


def test_what_is_taken_is_not_trained_and_gives_the_numbers_of_training_it(
    results: Path, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = table_run(tiny_pipeline)
    itself, taken = tmp_path / "itself", folder_of(tmp_path, config)
    execute(config, itself)
    with monkeypatch.context() as patch:
        patch.setattr(METHODS.get("vader"), "step", None)  # nothing can train
        assert take(config, results, tmp_path) == "figure"
        record = execute(config, taken, command="vader-bench run table.yaml")
    assert comparable(taken) == comparable(itself)
    assert record.taken_from == "figure/tiny/vader-red-seed1"
    assert record.command == "vader-bench run figure.yaml"  # it made the adapters
    source = read_record(folder_of(results, figure_run(tiny_pipeline)) / "record.json")
    assert record.ledger == source.ledger  # its time too is that of the training
    lines = [read_metrics(path / "metrics.jsonl") for path in (taken, itself)]
    steps, own = ([line for line in each if line["kind"] == "step"] for each in lines)
    assert [line["metrics"] for line in steps] == [line["metrics"] for line in own]
    looks, own = ([line for line in each if line["kind"] == "evaluation"] for each in lines)
    assert sorted(map(timeless, looks)) == sorted(map(timeless, own))


def test_what_was_measured_of_it_is_not_measured_again(
    results: Path, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_run(tiny_pipeline, experiment="again")
    itself, taken = tmp_path / "itself", folder_of(tmp_path, config)
    execute(config, itself / "run")
    with monkeypatch.context() as patch:
        patch.setattr(METHODS.get("vader"), "step", None)  # nothing can train
        patch.setattr(Evaluator, "look", None)  # and nothing can look
        assert take(config, results, tmp_path) == "figure"
        execute(config, taken)
    assert comparable(taken) == comparable(itself / "run")
    lines = [read_metrics(path / "metrics.jsonl") for path in (taken, itself / "run")]
    assert sorted(map(timeless, lines[0])) == sorted(map(timeless, lines[1]))


def test_what_is_asked_of_other_prompts_is_measured(
    results: Path, tiny_pipeline: Path, tmp_path: Path, looked: list[int]
) -> None:
    evaluation = figure_run(tiny_pipeline).evaluation.model_dump()
    fewer = evaluation | {"final_prompts": evaluation["final_prompts"] - 1}
    config = tiny_run(tiny_pipeline, experiment="again", evaluation=fewer)
    assert take(config, results, tmp_path) == "figure"
    execute(config, folder_of(tmp_path, config))
    assert set(looked) == {fewer["final_prompts"]}


def test_a_damaged_measurement_is_not_taken_and_measured_again(
    results: Path, tiny_pipeline: Path, tmp_path: Path, looked: list[int]
) -> None:
    shutil.copytree(results, tmp_path / "there")
    source = folder_of(tmp_path / "there", figure_run(tiny_pipeline))
    damaged = [*source.glob("measurements/*"), *(source.parent / ".base-model").iterdir()]
    for path in damaged:
        files.write_text(path, path.read_text("utf-8").replace('"reward":', '"reward":1'))
    config = tiny_run(tiny_pipeline, experiment="again")
    assert take(config, tmp_path / "there", tmp_path) == "figure"
    taken = folder_of(tmp_path, config)
    execute(config, taken)
    assert len(looked) == 5
    assert read_record(taken / "record.json").evaluations == read_record(source / "record.json").evaluations


def timeless(line: dict[str, Any]) -> str:
    return files.canonical_json({key: value for key, value in line.items() if key != "device_seconds"})


def test_what_is_taken_stays_when_its_source_is_deleted(
    results: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    config = table_run(tiny_pipeline)
    take(config, results, tmp_path)
    source, taken = folder_of(results, figure_run(tiny_pipeline)), folder_of(tmp_path, config)
    adapter = (source / "lora.safetensors").read_bytes()
    (source / "lora.safetensors").unlink()
    try:
        assert (taken / "lora.safetensors").read_bytes() == adapter
        assert take(config, results, tmp_path / "later") == ""  # the source has nothing to give now
    finally:
        (source / "lora.safetensors").write_bytes(adapter)
    assert not (taken / "adapters").exists()  # nobody looks at it after 4 queries


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"reward_queries": 16},
        {"settings": {"learning_rate": 0.02}},
        {"settings": {"batch_size": 4}},
        {"method": "diffusion-dpo"},
    ],
)
def test_another_training_is_not_taken(
    changes: dict[str, Any], results: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    assert take(table_run(tiny_pipeline, **changes), results, tmp_path) == ""
    assert not list(tmp_path.rglob("training.json"))


def test_another_suite_is_another_training_and_another_name_is_not(
    results: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    suite = table_run(tiny_pipeline).suite.model_dump()
    others: list[dict[str, Any]] = [
        {"sampler": {"steps": 3, "eta": 1.0, "guidance": 1.0}},
        {"decode_frames": 1},
        {"memory": {"slicing": True}},
        {"rewards": {"red": {"family": "brightness"}, "bright": {"family": "brightness"}}},
    ]
    for number, other in enumerate(others):
        assert take(table_run(tiny_pipeline, suite=suite | other), results, tmp_path / str(number)) == ""
    named = table_run(tiny_pipeline, suite=suite | {"suite": "other", "gold": {}}, arm="arm-1")
    assert take(named, results, tmp_path) == "figure"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("training_code", lambda: "0" * 64),
        ("package_versions", lambda: {"torch": "1.0"}),
        ("device_name", lambda device: f"another {device}"),
        ("others_code", lambda registry, name: "0" * 64),
    ],
)
def test_other_code_packages_or_device_make_another_training(
    name: str,
    other: Callable[..., object],
    results: Path,
    tiny_pipeline: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provenance, name, other)
    assert take(table_run(tiny_pipeline), results, tmp_path) == ""


def test_several_devices_are_part_of_a_training_and_one_is_not(tiny_pipeline: Path) -> None:
    one, two = (training_depends_on(table_run(tiny_pipeline), "cpu", devices) for devices in (1, 2))
    assert "devices" not in one
    assert two == one | {"devices": 2}


def test_looks_that_cut_a_round_make_another_training(
    results: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    """Four videos a step: looks after two queries cut them, looks after four do not."""
    settings = {"settings": {"batch_size": 4}}
    config = figure_run(tiny_pipeline, **settings)
    execute(config, folder_of(tmp_path, config))
    evaluation = config.evaluation.model_dump()
    cutting = table_run(tiny_pipeline, evaluation=evaluation | {"every": 2}, **settings)
    assert take(cutting, tmp_path, tmp_path) == ""
    assert take(table_run(tiny_pipeline, **settings), tmp_path, tmp_path) == "figure"


def test_adapters_that_were_not_kept_are_not_taken(
    results: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    """Looks after two queries are multiples of a step, but the first experiment kept nothing there."""
    evaluation = table_run(tiny_pipeline).evaluation.model_dump() | {"every": 2}
    assert take(table_run(tiny_pipeline, evaluation=evaluation), results, tmp_path) == ""


def test_damaged_adapters_are_not_taken(results: Path, tiny_pipeline: Path, tmp_path: Path) -> None:
    config = table_run(tiny_pipeline)
    path = folder_of(results, figure_run(tiny_pipeline)) / "lora.safetensors"
    whole = path.read_bytes()
    files.write_bytes(path, whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        assert take(config, results, tmp_path) == ""
    finally:
        files.write_bytes(path, whole)


def test_fresh_forgets_what_was_taken_and_nothing_else(
    results: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    config = table_run(tiny_pipeline)
    take(config, results, tmp_path)
    folder = folder_of(tmp_path, config)
    forget_taken(config, folder)
    assert [path.name for path in folder.iterdir()] == [LOCK_NAME]
    own = figure_run(tiny_pipeline)
    forget_taken(own, folder_of(results, own))
    assert RunFolder(folder_of(results, own)).finished


def test_a_taken_run_that_is_interrupted_goes_on_with_its_measurements(
    results: Path, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = table_run(tiny_pipeline)
    take(config, results, tmp_path)
    folder = folder_of(tmp_path, config)
    with monkeypatch.context() as patch:
        patch.setattr(Measurer, "samples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            execute(config, folder)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("measurements/*")}
    taken = list(folder_of(results, figure_run(tiny_pipeline)).glob("measurements/*"))
    assert len(kept) == len(taken) + 3  # both looks at the end, and how far it has moved
    execute(config, folder)
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in folder.glob("measurements/*")}.items()
    lines = read_metrics(folder / "metrics.jsonl")
    looks = [(line["queries"], line["split"]) for line in lines if line["kind"] == "evaluation"]
    assert sorted(looks) == [(0, "heldout"), (0, "train"), (8, "heldout"), (8, "train")]


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("what", "wrong"),
    [("weights", "was trained with other weights"), ("prompts", "was trained on other prompts")],
)
def test_what_changed_since_training_is_refused(
    what: str, wrong: str, results: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    config = table_run(tiny_pipeline)
    take(config, results, tmp_path)
    path = folder_of(tmp_path, config) / "origin.json"
    origin = files.read_json(path)
    held = origin["depends_on"][what]
    origin["depends_on"][what] = dict.fromkeys(held, "0" * 64) if isinstance(held, dict) else "0" * 64
    files.write_json(path, origin)
    with pytest.raises(UserError, match=wrong):
        execute(config, folder_of(tmp_path, config))
