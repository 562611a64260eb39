from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.results import Invented, write_results
from vader_bench.errors import ExitCode, UserError
from vader_bench.files import sha256_file
from vader_bench.report.load import Results, load_results

SMALL = Invented(rewards=("red",), methods=("ddpo", "vader"), seeds=(3, 4))


def _record(folder: Path, name: str) -> Path:
    return folder / "runs" / name / "record.json"


def test_records_are_in_the_experiments_order(results: Results) -> None:
    names = list(results.records)
    assert names[:3] == ["base-red-seed0", "vader-red-seed0", "vader-red-seed1"]
    assert len(names) == 2 * (1 + 3 * 3)
    assert results.missing == results.unused == ()
    assert results.suite == "tiny"


def test_methods_are_shown_in_the_order_of_the_file(tmp_path: Path) -> None:
    world = Invented(rewards=("red",), methods=("zeta", "diffusion-dpo", "alpha", "vader"), seeds=(0,))
    assert load_results(write_results(tmp_path, world)).methods == ("zeta", "diffusion-dpo", "alpha", "vader")


def test_digests_are_of_the_files(results: Results, results_folder: Path) -> None:
    name = "ddpo-blue-seed2"
    assert results.digests[name] == sha256_file(_record(results_folder, name))


def test_records_are_chosen_by_reward_and_method(results: Results) -> None:
    assert {r.method for r in results.of("red")} == {"base", "vader", "ddpo", "diffusion-dpo"}
    assert [r.seed for r in results.of("blue", "ddpo")] == [0, 1, 2]


def test_an_experiment_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    write_results(tmp_path, Invented())
    path = tmp_path / "experiment.yaml"
    asked = path.read_text()
    path.write_text(f"version: 1\n{asked}")
    load_results(tmp_path)
    path.write_text(f"version: 2\n{asked}")
    with pytest.raises(UserError, match=r"experiment\.yaml: is an experiment of version 2.*upgrade"):
        load_results(tmp_path)


def test_missing_records_are_named_and_refused(tmp_path: Path) -> None:
    write_results(tmp_path, SMALL, skip=["vader-red-seed4", "base-red-seed3"])
    with pytest.raises(
        UserError, match="2 of 5 records are missing: base-red-seed3, vader-red-seed4"
    ) as error:
        load_results(tmp_path)
    assert error.value.exit_code == ExitCode.MISSING
    assert "--allow-missing" in error.value.remedy


def test_missing_records_are_reported_when_allowed(tmp_path: Path) -> None:
    write_results(tmp_path, SMALL, skip=["vader-red-seed4"])
    assert load_results(tmp_path, allow_missing=True).missing == ("vader-red-seed4",)


def test_without_any_record_there_is_nothing_to_report(tmp_path: Path) -> None:
    names = [f"{m}-red-seed{s}" for m in ("vader", "ddpo") for s in (3, 4)] + ["base-red-seed3"]
    write_results(tmp_path, SMALL, skip=names)
    with pytest.raises(UserError, match="5 of 5 records are missing"):
        load_results(tmp_path, allow_missing=True)


def test_records_outside_the_experiment_are_named_not_used(tmp_path: Path) -> None:
    write_results(tmp_path, Invented(rewards=("red",), methods=("ddpo", "vader"), seeds=(3, 4, 5)))
    write_results(tmp_path, SMALL)
    results = load_results(tmp_path)
    assert results.unused == ("ddpo-red-seed5", "vader-red-seed5")
    assert "vader-red-seed5" not in results.records


def test_a_folder_without_an_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"experiment\.yaml: does not exist; give the folder that a run wrote"
    ):
        load_results(tmp_path)


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    path = _record(write_results(tmp_path, SMALL), "ddpo-red-seed3")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with pytest.raises(UserError, match=r"ddpo-red-seed3/record\.json: is a record of version 99"):
        load_results(tmp_path)


def test_a_record_in_the_wrong_folder_is_refused(tmp_path: Path) -> None:
    write_results(tmp_path, SMALL)
    data = _record(tmp_path, "ddpo-red-seed3").read_bytes()
    _record(tmp_path, "vader-red-seed3").write_bytes(data)
    with pytest.raises(UserError, match=r"vader-red-seed3/record\.json: is the record of ddpo-red-seed3"):
        load_results(tmp_path)


def test_records_of_two_experiments_are_not_mixed(tmp_path: Path) -> None:
    path = _record(write_results(tmp_path, SMALL), "vader-red-seed4")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"experiment": "other"}))
    with pytest.raises(UserError, match="is of other/tiny, not fig7/tiny"):
        load_results(tmp_path)


def test_a_reward_without_a_complete_seed_has_no_analysis(tmp_path: Path) -> None:
    world = Invented(methods=("vader", "ddpo"), seeds=(0, 1))
    skip = ["vader-blue-seed0", "ddpo-blue-seed1"]
    results = load_results(write_results(tmp_path, world, skip=skip), allow_missing=True)
    assert list(results.analyses()) == ["red"]


def test_numbers_are_of_complete_seeds(tmp_path: Path) -> None:
    world = Invented(
        rewards=("red", "blue"),
        methods=("vader", "published", "ddpo"),
        adapters=("published",),
        seeds=(3, 4, 5),
    )
    skip = ["ddpo-red-seed3", *(f"vader-blue-seed{seed}" for seed in (3, 4)), "ddpo-blue-seed5"]
    results = load_results(write_results(tmp_path, world, skip=skip), allow_missing=True)
    assert results.complete("red") == [4, 5]
    assert [record.seed for record in results.of("red", "vader")] == [3, 4, 5]
    assert [record.seed for record in results.counted("red", "vader")] == [4, 5]
    assert [record.seed for record in results.counted("red", "published")] == [3]
    assert [record.seed for record in results.compared("red", "vader")] == [4, 5]
    [published] = results.compared("red", "published")
    assert published.seed == 4  # of the run that it stands beside
    assert results.complete("blue") == []
    assert results.compared("blue", "ddpo") == []
    assert results.compared("blue", "published") == []


def _with(path: Path, **changes: dict[str, str]) -> None:
    """Change values in tables of a record."""
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {table: data[table] | values for table, values in changes.items()}))


def test_runs_with_other_weights_or_prompts_share_no_table(tmp_path: Path) -> None:
    path = _record(write_results(tmp_path, SMALL), "vader-red-seed4")
    _with(path, digests={"prompts/heldout": "0" * 64})
    with pytest.raises(UserError, match="vader-red-seed4 had other prompts/heldout than base-red-seed3"):
        load_results(tmp_path)


def test_the_base_model_shares_the_weights(tmp_path: Path) -> None:
    path = _record(write_results(tmp_path, SMALL), "base-red-seed3")
    _with(path, digests={"weights/unet": "0" * 64})
    with pytest.raises(UserError, match="base-red-seed3 had other weights/unet than ddpo-red-seed3"):
        load_results(tmp_path)


def test_another_reward_may_have_its_own_prompts(tmp_path: Path) -> None:
    world = Invented(methods=("vader",), seeds=(0,))
    write_results(tmp_path, world)
    for name in ("base-blue-seed0", "vader-blue-seed0"):
        _with(_record(tmp_path, name), digests={"prompts/heldout": "0" * 64})
    assert load_results(tmp_path).missing == ()
