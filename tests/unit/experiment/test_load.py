"""Experiment files are checked as a whole and expanded to the runs they ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.faults import lines_of
from vader_bench.config.schema import ExperimentConfig, SuiteConfig
from vader_bench.experiment.grid import expand
from vader_bench.experiment.load import load_experiment, load_suite, place, suite_names

pytestmark = pytest.mark.usefixtures("known_names")

Data = dict[str, Any]
Write = Callable[[], Path]


def test_experiment_loads_with_defaults(write_files: Write) -> None:
    experiment = load_experiment(write_files()).config
    assert experiment.budget.reward_queries == 128
    assert experiment.compares == ["method"]
    assert experiment.evaluation.best_of == [1, 2, 4, 8]


def test_quick_replaces_deeply_and_renames(write_files: Write, experiment_data: Data) -> None:
    experiment_data["quick"] |= {"evaluation": {"every": 32}}
    quick = load_experiment(write_files(), quick=True).config
    assert quick.experiment == "fig-quick"
    assert (quick.seeds, quick.budget.reward_queries) == ([0], 64)
    assert (quick.evaluation.every, quick.evaluation.prompts) == (32, 8)
    assert quick.quick == {}


def test_quick_may_name_itself(write_files: Write, experiment_data: Data) -> None:
    experiment_data["quick"]["experiment"] = "smoke"
    assert load_experiment(write_files(), quick=True).config.experiment == "smoke"


def test_a_quick_form_must_be_there(write_files: Write, experiment_data: Data) -> None:
    del experiment_data["quick"]
    assert load_experiment(write_files()).config.experiment == "fig"
    (line,) = lines_of(lambda: load_experiment(write_files(), quick=True))
    assert line.startswith("fig.yaml: has no smaller form; leave --quick out, or write ")


def test_all_faults_of_a_file_at_once(write_files: Write, experiment_data: Data) -> None:
    experiment_data |= {"seed": [0], "seeds": ["zero"], "compares": "seed"}
    experiment_data["rewards"] = ["aesthetics", "action"]
    experiment_data["methods"] = {
        "vader": {"learning_rate": "fast", "by_reward": {"action": {"kk": 2}}},
        "ddop": {},
        "base": {},
    }
    experiment_data["budget"] = {"reward_queries": 100}
    experiment_data["evaluation"] |= {"final_splits": ["heldout", "nouns"], "samples": 0}
    keys = ", ".join(sorted(ExperimentConfig.model_fields))
    assert lines_of(lambda: load_experiment(write_files())) == [
        "fig.yaml: seeds.0: is 'zero', not a whole number; write a whole number",
        "fig.yaml: evaluation.samples: is 0; it must be at least 1",
        f"fig.yaml: seed: is not a known key; did you mean 'seeds'? choose one of: {keys}",
        (
            "fig.yaml: rewards: names 'aesthetics', which is no reward of suite small; "
            "did you mean 'aesthetic'? choose one of: action, aesthetic"
        ),
        "fig.yaml: methods.vader.learning_rate: is 'fast', not a number; write a number",
        (
            "fig.yaml: methods.vader.by_reward.action.kk: is not a known key; "
            "did you mean 'k'? choose one of: k, learning_rate, lora_rank"
        ),
        "fig.yaml: methods.ddop: is not a known method; did you mean 'ddpo'? choose one of: ddpo, vader",
        "fig.yaml: methods.base: is not to be listed; delete it: the base model is always among the arms",
        (
            "fig.yaml: compares: names 'seed', in which arms cannot differ; "
            "choose one of: decode_frames, k, learning_rate, lora_rank, memory, method"
        ),
        (
            "fig.yaml: budget.reward_queries: is 100, which is no multiple of evaluation.every (64); "
            "make it 128, so that the last look is at the end"
        ),
        (
            "fig.yaml: evaluation.final_splits: names 'nouns', which is no split of prompt set pocket-looks; "
            "did you mean 'noun'? choose one of: composition, dev_heldout, dev_train, heldout, noun, train"
        ),
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"suite": "smal"}, "suite: is 'smal', which is not known; did you mean 'small'"),
        ({"suite": "gone.yaml"}, "gone.yaml: does not exist"),
        ({"suite": 3}, "suite: is 3, not text"),
        ({"experiment": "a/b"}, "experiment: is 'a/b'; use letters, digits"),
        ({"rewards": []}, "rewards: is empty; give at least one"),
        ({"rewards": ["action", "action"]}, "rewards: names 'action' twice; name it once"),
        ({"seeds": [1, 1]}, "seeds: names 1 twice"),
        ({"seeds": [-1]}, "seeds.0: is -1; it must be at least 0"),
        ({"methods": {}}, "methods: is empty; give at least one"),
        ({"methods": {"vader": 3}}, "methods.vader: is 3, not `key: value` lines"),
        ({"methods": {"vader": {}}}, "methods.vader.learning_rate: is missing; add it"),
        (
            {"methods": {"vader": {"learning_rate": 0.1, "by_reward": {"aesthetik": {}}}}},
            "methods.vader.by_reward.aesthetik: is no reward of suite small; did you mean 'aesthetic'?",
        ),
        (
            {"methods": {"vader": {"learning_rate": 0.1, "by_reward": {"action": 1}}}},
            "methods.vader.by_reward: is no table of settings by reward",
        ),
        ({"budget": {"queries": 64}}, "budget.reward_queries: is missing"),
        ({"budget": {"reward_queries": 32}}, "budget.reward_queries: is 32, which is no multiple of"),
        ({"quick": {"seeds": 3}}, "quick.seeds: is 3, not a list"),
        ({"quick": {"budget": {"reward_queries": 63}}}, "quick.budget.reward_queries: is 63, which is no"),
        ({"quick": {"sedes": [0]}}, "quick.sedes: is not a known key; did you mean 'seeds'?"),
    ],
)
def test_each_fault_is_one_line(write_files: Write, experiment_data: Data, change: Data, line: str) -> None:
    experiment_data |= change
    lines = [text.removeprefix("fig.yaml: ") for text in lines_of(lambda: load_experiment(write_files()))]
    assert any(text.startswith(line) for text in lines), lines
    assert len(lines) <= 2  # a missing key and the misspelt one that took its place


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"every": 63}, "fig.yaml: evaluation.every: is 63; it must be even, so that no pair"),
        ({"splits": ["train"]}, "fig.yaml: evaluation.splits: leaves out 'heldout'; add it"),
        ({"final_splits": ["train"]}, "fig.yaml: evaluation.final_splits: leaves out 'heldout'"),
        ({"splits": ["heldout"] * 2}, "fig.yaml: evaluation.splits: names 'heldout' twice"),
        (
            {"splits": ["heldout", "verbs"]},
            "fig.yaml: evaluation.splits: names 'verbs', which is no split of",
        ),
        ({"best_of": [0]}, "fig.yaml: evaluation.best_of.0: is 0; it must be at least 1"),
    ],
)
def test_faults_of_the_evaluation(write_files: Write, experiment_data: Data, change: Data, line: str) -> None:
    experiment_data["evaluation"] |= change
    experiment_data["quick"] = {}
    found = lines_of(lambda: load_experiment(write_files()))
    assert any(text.startswith(line) for text in found), found


def test_a_baseline_must_be_an_arm(write_files: Write, experiment_data: Data) -> None:
    experiment_data["baselines"] = ["ddpo"]
    assert load_experiment(write_files()).config.baselines == ["ddpo"]
    experiment_data["baselines"] = ["ddpo", "vadr"]
    (line,) = lines_of(lambda: load_experiment(write_files()))
    assert "baselines.1: is 'vadr', which is no arm of the experiment; did you mean 'vader'?" in line


def test_settings_needed_only_by_reward(write_files: Write, experiment_data: Data) -> None:
    by_reward = {"aesthetic": {"learning_rate": 0.1}, "action": {"learning_rate": 0.2}}
    experiment_data["methods"] = {"vader": {"by_reward": by_reward}}
    experiment = load_experiment(write_files())
    runs = expand(experiment, with_base=False)
    assert [(r.reward, dict(r.settings)["learning_rate"]) for r in runs[:2]] == [
        ("aesthetic", 0.1),
        ("action", 0.2),
    ]


def test_settings_of_the_suite_give_way_to_those_of_the_experiment(
    write_files: Write, suite_data: Data, experiment_data: Data
) -> None:
    suite_data["methods"] = {"vader": {"learning_rate": 0.5, "k": 3}}
    experiment_data["methods"] = {"vader": {"by_reward": {"action": {"k": 2}}}}
    experiment = load_experiment(write_files())
    runs = expand(experiment, with_base=False)
    settings = [dict(run.settings) for run in runs[:2]]
    assert [(run.reward, s["learning_rate"], s["k"]) for run, s in zip(runs, settings, strict=False)] == [
        ("aesthetic", 0.5, 3),
        ("action", 0.5, 2),
    ]


def test_a_component_in_place_of_golds_is_that_of_all_rewards(suite_data: Data) -> None:
    suite = SuiteConfig.model_validate(suite_data | {"gold": {"family": "clip"}})
    assert all(suite.gold_for(reward) == suite.rewards["action"] for reward in suite.rewards)
    assert suite.prompt_share is None
    assert SuiteConfig.model_validate(suite.model_dump()) == suite
    assert SuiteConfig.model_validate(suite_data | {"gold": None}).gold_for("action") is None


def test_the_oracle_as_the_only_gold_is_the_share_of_the_prompt_too(suite_data: Data) -> None:
    single = suite_data | {"gold": {"family": "oracle"}}
    suite = SuiteConfig.model_validate(single)
    assert suite.prompt_share == suite.gold_for("action") == suite.gold_for("aesthetic")
    other = SuiteConfig.model_validate(single | {"prompt_share": {"family": "clip"}})
    assert other.prompt_share == suite.rewards["action"]
    table = SuiteConfig.model_validate(suite_data | {"gold": {"action": {"family": "oracle"}}})
    assert table.prompt_share is None
    assert table.gold_for("aesthetic") is None


@pytest.mark.parametrize(
    ("methods", "line"),
    [
        ({"vadr": {}}, "methods.vadr: of suite small is not a known method; did you mean 'vader'"),
        ({"vader": {"q": 1}}, "methods.vader.q: of suite small is not a known key; choose one of: "),
        ({"vader": {"k": "x"}}, "methods.vader.k: of suite small is 'x', not a whole number"),
    ],
)
def test_faulty_settings_of_a_suite_are_reported_once(
    write_files: Write, suite_data: Data, methods: Data, line: str
) -> None:
    suite_data["methods"] = methods
    found = lines_of(lambda: load_experiment(write_files()))
    assert len(found) == 1
    assert found[0].startswith(f"fig.yaml: {line}")


def test_key_given_twice_is_reported_with_the_rest(write_files: Write) -> None:
    path = write_files()
    path.write_text(path.read_text() + "tunning: x\nseeds: [2]\n")
    found = lines_of(lambda: load_experiment(path))
    assert [line.split(";")[0] for line in found] == [
        "fig.yaml: seeds: is given again (line 38)",
        "fig.yaml: tunning: is not a known key",
    ]


def test_fault_in_a_prompt_file_is_reported(write_files: Write, suite_data: Data, tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "mine.txt").write_text("a cat\na dog\n")
    suite_data["prompts"] = {"default": "mine.txt"}
    found = lines_of(lambda: load_experiment(write_files()))
    # the file is found beside the suite's, and has no held-out split
    assert "evaluation.splits: names 'heldout', which is no split of prompt set" in found[0]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"backbone": {"family": "modelscop"}},
            "backbone: of suite small has the unknown family 'modelscop'",
        ),
        (
            {"gold": {"family": "clips"}},
            "gold.default: of suite small has the unknown family 'clips'; did you mean",
        ),
        (
            {"gold": {"aesthetic": {"family": "clips"}}},
            "gold.aesthetic: of suite small has the unknown family 'clips'; did you mean 'clip'",
        ),
        (
            {"prompt_share": {"family": "clips"}},
            "prompt_share: of suite small has the unknown family 'clips'; did you mean 'clip'",
        ),
    ],
)
def test_unknown_families(write_files: Write, suite_data: Data, change: Data, line: str) -> None:
    suite_data |= change
    assert lines_of(lambda: load_experiment(write_files()))[0].startswith(f"fig.yaml: {line}")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"gold": {"hps": {"family": "clip"}}}, "gold: names 'hps', which is no reward; choose one of"),
        ({"prompts": {"action": "pocket"}}, "prompts: names no prompt set for the reward 'aesthetic'; add"),
        ({"prompts": {"default": "pocket", "hps": "pocket"}}, "prompts: names 'hps', which is no reward"),
        ({"sampler": {"steps": 10, "eta": 0.0, "guidance": 1}}, "sampler.eta: is 0.0; it must be above 0"),
        ({"decode_frames": 0}, "decode_frames: is 0; it must be at least 1"),
        ({"rewards": {}}, "rewards: is empty; give at least one"),
        ({"rewards": {"a/b": {"family": "clip"}}}, "rewards.a/b: is 'a/b'; use letters"),
    ],
)
def test_faults_of_a_suite(write_files: Write, suite_data: Data, change: Data, line: str) -> None:
    suite_data |= change
    write_files()
    assert lines_of(lambda: load_suite("small"))[0].startswith(f"small.yaml: {line}")


def test_faults_of_a_suite_are_reported_with_the_experiment(
    write_files: Write, suite_data: Data, experiment_data: Data
) -> None:
    suite_data["decode_frames"] = 0
    experiment_data["seeds"] = []
    found = lines_of(lambda: load_experiment(write_files()))
    assert [line.split(":")[0] for line in found] == ["fig.yaml", "small.yaml"]


def test_suite_by_name_and_by_path(write_files: Write, suite_data: Data, tmp_path: Path) -> None:
    write_files()
    assert suite_names() == ["small"]
    suite = load_suite("small")
    assert suite == SuiteConfig.model_validate(suite_data)
    assert [suite.prompts_for(name) for name in ("aesthetic", "action")] == ["pocket", "pocket-looks"]
    assert load_suite(tmp_path / "suites" / "small.yaml") == suite
    assert "is not known; did you mean 'small'?" in lines_of(lambda: load_suite("smal"))[0]


def test_a_suite_that_was_given_is_no_fault_of_the_file(write_files: Write) -> None:
    (line,) = lines_of(lambda: load_experiment(write_files(), suite="smal"))
    assert line.startswith("suite 'smal': is not known; did you mean 'small'?")


def test_suite_file_beside_the_experiment(
    write_files: Write, experiment_data: Data, suite_data: Data
) -> None:
    experiment_data["suite"] = "own.yaml"
    path = write_files()
    (path.parent / "own.yaml").write_text(yaml.safe_dump(suite_data | {"suite": "own"}))
    assert load_experiment(path).suite.suite == "own"


def test_an_experiment_that_does_not_fit_another_suite_is_refused(
    write_files: Write, suite_data: Data
) -> None:
    experiment = load_experiment(write_files()).config
    del suite_data["rewards"]["action"], suite_data["prompts"]["action"]
    suite = SuiteConfig.model_validate(suite_data)
    found = lines_of(lambda: place(experiment, suite))
    assert found[0].startswith("experiment fig: rewards: names 'action', which is no reward of suite small")
