from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vader_bench.config.schema import (
    ArmEntry,
    MemoryConfig,
    RunConfig,
    SuiteChanges,
    SuiteConfig,
    config_digest,
)
from vader_bench.config.settings import Settings
from vader_bench.files import read_json
from vader_bench.methods import METHODS
from vader_bench.records.packed import read_stored

Data = dict[str, Any]


def test_a_suite_without_settings_of_methods_is_written_as_before_they_existed(suite_data: Data) -> None:
    assert "methods" not in SuiteConfig.model_validate(suite_data).model_dump()
    suite_data["methods"] = {"vader": {"k": 3}}
    assert SuiteConfig.model_validate(suite_data).model_dump()["methods"] == {"vader": {"k": 3}}


def test_digest_covers_everything(run_config: RunConfig) -> None:
    settings = run_config.settings.model_copy(update={"k": 2})
    digests = {
        config_digest(run_config),
        config_digest(run_config.model_copy(update={"seed": 1})),
        config_digest(run_config.model_copy(update={"settings": settings})),
        config_digest(run_config.model_copy(update={"reward_queries": 64})),
    }
    assert len(digests) == 4
    again = pickle.loads(pickle.dumps(run_config))  # as it gets to a worker
    assert (again, config_digest(again)) == (run_config, config_digest(run_config))


def test_memory_is_written_only_where_something_in_it_is_set(run_config: RunConfig) -> None:
    """The digests of runs from before the table existed stay."""
    plain = run_config.suite
    assert plain.memory == MemoryConfig()
    assert "memory" not in plain.model_dump(mode="json")
    saving = plain.model_copy(update={"memory": MemoryConfig(checkpointing=True)})
    dumped = saving.model_dump(mode="json")
    assert dumped["memory"] == {
        "frozen_weights": "float32", "checkpointing": True, "slicing": False, "offload_activations": False,
        "optimizer": "adamw",
    }  # fmt: skip
    assert SuiteConfig.model_validate(dumped) == saving
    assert config_digest(run_config.model_copy(update={"suite": saving})) != config_digest(run_config)


def test_the_equation_of_a_flow_is_written_only_where_it_is_not_the_usual_one() -> None:
    """What committed runs were asked to do stays what it was, and another equation is another run."""
    folder = Path(__file__).parents[3] / "results" / "reference" / "step-sizes-wan" / "pocket-wan" / "runs"
    before = read_json(folder / "ddpo-hps-seed1" / "record.json")["config"]
    run = RunConfig.model_validate(before | {"settings": METHODS.get("ddpo").Config(**before["settings"])})
    assert run.suite.sampler.sde == "flow-grpo"
    assert run.suite.sampler.model_dump(mode="json") == before["suite"]["sampler"]
    said = run.suite.model_dump(mode="json")
    digests = set()
    for sde in ("flow-grpo", "dance-grpo"):
        suite = SuiteConfig.model_validate(said | {"sampler": said["sampler"] | {"sde": sde}})
        assert SuiteConfig.model_validate(suite.model_dump(mode="json")) == suite
        digests.add(config_digest(run.model_copy(update={"suite": suite})))
    assert len(digests) == 2
    assert config_digest(run) in digests


@pytest.mark.parametrize("method", ["base", "vader", "ddpo", "diffusion-dpo"])
def test_the_settings_of_committed_records_stay(method: str) -> None:
    """Typed settings are written as the tables were that they are read from."""
    kind = Settings if method == "base" else METHODS.get(method).Config
    for path in sorted((Path(__file__).parents[3] / "results" / "reference").rglob("record.json*")):
        record = json.loads(read_stored(path.with_name("record.json")))
        if record["method"] == method and record["config"]["settings"].keys() <= kind.model_fields.keys():
            settings = kind(**record["config"]["settings"])
            run = RunConfig.model_validate(record["config"] | {"settings": settings})
            written, before = run.model_dump(mode="json")["settings"], record["config"]["settings"]
            assert {name: written[name] for name in before} == before
            return
    pytest.fail(f"no record of {method} has all settings of today")


def test_a_run_is_not_read_without_the_config_of_its_method(run_config: RunConfig) -> None:
    with pytest.raises(ValidationError, match=r"settings\.k"):
        RunConfig.model_validate(run_config.model_dump())


def test_only_what_a_file_says_of_an_arm_is_written_again() -> None:
    said = {"method": "vader", "suite": {"memory": {"slicing": True}}, "k": 2, "by_reward": {"hps": {"k": 3}}}
    arm = ArmEntry.model_validate(said)
    assert arm.model_dump(exclude_unset=True) == said
    assert arm.settings("hps") == {"k": 3}
    assert arm.settings("aesthetic") == {"k": 2}


def test_an_arm_is_left_with_the_settings_that_are_named() -> None:
    tuned = ArmEntry.model_validate(
        {"k": 1, "learning_rate": 0.1, "by_reward": {"hps": {"learning_rate": 0.2}}}
    )
    assert tuned.only(["k"]).model_dump(exclude_unset=True) == {"k": 1}
    assert tuned.only(["learning_rate"]).settings("hps") == {"learning_rate": 0.2}
    arm = ArmEntry.model_validate({"method": "vader", "suite": {"decode_frames": 1}, "k": 1})
    assert arm.only([]).model_dump(exclude_unset=True) == {"method": "vader", "suite": {"decode_frames": 1}}


def test_an_arm_changes_what_it_names_in_the_suite_alone(suite_data: Data) -> None:
    suite_data["memory"] = {"checkpointing": True}
    suite = SuiteConfig.model_validate(suite_data)
    assert SuiteChanges().of(suite) is suite
    changed = SuiteChanges.model_validate({"decode_frames": 2, "memory": {"slicing": True}}).of(suite)
    assert changed.decode_frames == 2
    assert changed.memory == MemoryConfig(checkpointing=True, slicing=True)
    assert changed.model_copy(update={"decode_frames": None, "memory": suite.memory}) == suite
