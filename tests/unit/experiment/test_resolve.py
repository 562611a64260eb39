"""From an experiment file to its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.conftest import write_project
from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.experiment.resolve import resolve_experiment, warnings_of
from vader_bench.methods import optimizers

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


@pytest.mark.parametrize(("count", "seeds"), [(None, [1, 2]), (1, [1]), (2, [1, 2]), (5, [1, 2, 3, 4, 5])])
def test_more_seeds_go_on_where_those_of_the_file_end(
    count: int | None, seeds: list[int], tmp_path: Path, tiny_pipeline: Path
) -> None:
    resolved = resolve_experiment(write_project(tmp_path, tiny_pipeline), seeds=count)
    assert resolved.experiment.seeds == seeds
    assert sorted({run.seed for run in resolved.runs}) == seeds
    assert len(resolved.runs) == 1 + 2 * len(seeds)


def test_the_runs_of_fewer_seeds_are_among_those_of_more(tmp_path: Path, tiny_pipeline: Path) -> None:
    path = write_project(tmp_path, tiny_pipeline)
    few, many = resolve_experiment(path, seeds=2), resolve_experiment(path, seeds=4)
    assert few.folder(tmp_path) == many.folder(tmp_path)
    assert [run for run in many.runs if run.seed <= 2] == few.runs


def test_an_optimiser_whose_package_is_missing_is_reported_before_any_run(
    tmp_path: Path, tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda _: None)
    path = write_project(tmp_path, tiny_pipeline)
    suite = yaml.safe_load((tmp_path / "tiny.yaml").read_text("utf-8"))
    (tmp_path / "tiny.yaml").write_text(
        yaml.safe_dump(suite | {"memory": {"optimizer": "adamw8bit"}}), "utf-8"
    )
    with pytest.raises(UserError, match="needs bitsandbytes"):
        resolve_experiment(path)
    assert resolve_experiment(path, with_weights=False).suite.memory.optimizer == "adamw8bit"


ARMS = {
    "few": {"method": "vader", "k": 1, "learning_rate": 0.5, "lora_rank": 2, "batch_size": 2},
    "more": {
        "method": "vader",
        "k": 2,
        "learning_rate": 0.5,
        "lora_rank": 2,
        "batch_size": 2,
        "by_reward": {"red": {"k": 2}},
    },
}


def test_on_another_suite_arms_keep_only_what_is_compared(tmp_path: Path, tiny_pipeline: Path) -> None:
    path = write_project(tmp_path, tiny_pipeline)
    experiment = yaml.safe_load(path.read_text("utf-8"))
    path.write_text(yaml.safe_dump(experiment | {"methods": ARMS, "compares": "k"}), "utf-8")
    suite = yaml.safe_load((tmp_path / "tiny.yaml").read_text("utf-8"))
    other = tmp_path / "other.yaml"
    other.write_text(
        yaml.safe_dump(
            suite | {"suite": "other", "methods": {"vader": {"learning_rate": 0.25, "batch_size": 4}}}
        ),
        "utf-8",
    )
    own, moved = resolve_experiment(path), resolve_experiment(path, str(other))
    assert (own.moved, moved.moved) == (False, True)
    settings = {run.label: dict(run.settings) for run in moved.runs if run.method != "base"}
    assert {arm: found["k"] for arm, found in settings.items()} == {"few": 1, "more": 2}
    assert {found["learning_rate"] for found in settings.values()} == {0.25}
    assert {found["lora_rank"] for found in settings.values()} == {16}
    assert {dict(run.settings)["learning_rate"] for run in own.runs if run.method != "base"} == {0.5}


def test_what_was_tuned_on_pocket_is_not_used_on_another_suite(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    tuned = root / "results" / "reference" / "tune" / "pocket" / "choice.yaml"
    said = yaml.safe_load(tuned.read_text("utf-8"))
    choice = said["choice"]
    methods = {
        method: said["shared"].get(method, {})
        | {"by_reward": {reward: choice[reward][method] for reward in choice}}
        for method in ("vader", "ddpo", "diffusion-dpo")
    }
    fig7 = yaml.safe_load((root / "experiments" / "fig7.yaml").read_text("utf-8"))
    path = tmp_path / "fig7.yaml"
    path.write_text(
        yaml.safe_dump(fig7 | {"methods": methods, "tuning": str(tuned), "rewards": list(choice)}), "utf-8"
    )
    resolved = resolve_experiment(path, "modelscope", with_weights=False)
    assert resolved.experiment.tuning == []
    assert {dict(run.settings)["learning_rate"] for run in resolved.runs if run.method == "vader"} == {2e-4}
    assert resolve_experiment(path, "pocket", with_weights=False).experiment.tuning != []


def test_a_budget_that_settings_were_not_chosen_at_is_warned_of(tmp_path: Path, tiny_pipeline: Path) -> None:
    path = write_project(tmp_path, tiny_pipeline)
    experiment = yaml.safe_load(path.read_text("utf-8"))
    budget = experiment["budget"]["reward_queries"]
    quick = {"budget": {"reward_queries": budget // 2}}
    path.write_text(yaml.safe_dump(experiment | {"tuning": "choice.yaml", "quick": quick}), "utf-8")
    for chosen_at, warned in (
        (budget, ""),
        (8 * budget, f"with {8 * budget} queries a run, and these spend"),
    ):
        choice: dict[str, Any] = {
            "version": 2,
            "suite": "tiny",
            "choice": {"red": {arm: {} for arm in experiment["methods"]}},
            "rungs": [{"reward_queries": 2, "keep": 1}, {"reward_queries": chosen_at}],
        }
        choice["sha256"] = files.sha256_text(files.canonical_json(choice))
        (path.parent / "choice.yaml").write_text(yaml.safe_dump(choice), "utf-8")
        told = [line for line in warnings_of(resolve_experiment(path)) if "choice.yaml" in line]
        assert (warned in "".join(told), len(told)) == (True, bool(warned))
        assert warnings_of(resolve_experiment(path, quick=True)) == []
        elsewhere = {key: value for key, value in choice.items() if key != "sha256"} | {"suite": "far"}
        elsewhere["sha256"] = files.sha256_text(files.canonical_json(elsewhere))
        (path.parent / "choice.yaml").write_text(yaml.safe_dump(elsewhere), "utf-8")
        assert "choice.yaml was chosen on suite far" in warnings_of(resolve_experiment(path))[0]


def test_tunings_of_unequal_effort_are_warned_of(tmp_path: Path, tiny_pipeline: Path) -> None:
    path = write_project(tmp_path, tiny_pipeline)
    experiment = yaml.safe_load(path.read_text("utf-8"))
    path.write_text(yaml.safe_dump(experiment | {"tuning": ["one.yaml", "other.yaml"]}), "utf-8")
    arms, budget = sorted(experiment["methods"]), experiment["budget"]["reward_queries"]
    for efforts, warned in (
        ((64, 64), ""),
        ((64, None), ""),  # of one that does not say it nothing is known
        ((64, 128), "on red each method had 64 queries in one.yaml, 128 queries in other.yaml"),
    ):
        for name, arm, effort in zip(("one", "other"), (arms[0], arms[1]), efforts, strict=True):
            choice: dict[str, Any] = {
                "version": 2,
                "suite": "tiny",
                "choice": {"red": {arm: {}}},
                "rungs": [{"reward_queries": budget}],
                "effort": {"red": {"settings_per_method": 8, "queries_per_method": effort}} if effort else {},
            }
            choice["sha256"] = files.sha256_text(files.canonical_json(choice))
            (path.parent / f"{name}.yaml").write_text(yaml.safe_dump(choice), "utf-8")
        told = [line for line in warnings_of(resolve_experiment(path)) if "effort" in line]
        assert (warned in "".join(told), len(told)) == (True, bool(warned))


def test_prompts_that_are_judged_in_vain_are_warned_of(tmp_path: Path, tiny_pipeline: Path) -> None:
    path = write_project(tmp_path, tiny_pipeline)
    experiment = yaml.safe_load(path.read_text("utf-8"))
    every, budget = experiment["evaluation"]["every"], experiment["budget"]["reward_queries"]
    assert every < budget
    for prompts, final_prompts, looks, warned in (
        (2, 2, every, False), (1, 2, every, True), (2, 1, every, True), (1, 2, budget, False),
        (500, 600, every, False),  # of as many as there are
    ):  # fmt: skip
        asked = {"prompts": prompts, "final_prompts": final_prompts, "every": looks}
        changes = {"evaluation": experiment["evaluation"] | asked, "quick": {}}
        path.write_text(yaml.safe_dump(experiment | changes), "utf-8")
        told = warnings_of(resolve_experiment(path))
        assert bool(told) == warned
        assert not warned or told[0].startswith("held-out numbers are of the first 1 prompts, which every")


@pytest.mark.parametrize("name", sorted(path.stem for path in EXPERIMENTS.glob("*.yaml")))
@pytest.mark.parametrize("quick", [False, True])
def test_packaged_experiments_judge_no_prompt_in_vain(name: str, quick: bool) -> None:
    if not name.startswith("tune"):
        told = warnings_of(resolve_experiment(EXPERIMENTS / f"{name}.yaml", quick=quick, with_weights=False))
        assert [line for line in told if "held-out numbers" in line] == []
