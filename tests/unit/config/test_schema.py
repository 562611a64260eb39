from __future__ import annotations

from pathlib import Path
from typing import Any

from vader_bench.config.schema import MemoryConfig, RunConfig, SuiteConfig, config_digest
from vader_bench.files import read_json

Data = dict[str, Any]


def test_a_suite_without_settings_of_methods_is_written_as_before_they_existed(suite_data: Data) -> None:
    assert "methods" not in SuiteConfig.model_validate(suite_data).model_dump()
    suite_data["methods"] = {"vader": {"k": 3}}
    assert SuiteConfig.model_validate(suite_data).model_dump()["methods"] == {"vader": {"k": 3}}


def test_digest_covers_everything(run_config: RunConfig) -> None:
    digests = {
        config_digest(run_config),
        config_digest(run_config.model_copy(update={"seed": 1})),
        config_digest(run_config.model_copy(update={"settings": {"k": 2}})),
        config_digest(run_config.model_copy(update={"reward_queries": 64})),
    }
    assert len(digests) == 4
    again = RunConfig.model_validate_json(run_config.model_dump_json())
    assert config_digest(again) in digests


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


def test_the_digests_of_committed_records_stay() -> None:
    records = sorted((Path(__file__).parents[3] / "results" / "reference").rglob("record.json"))
    assert records
    record = read_json(records[0])
    assert config_digest(RunConfig.model_validate(record["config"])) == record["config_digest"]
