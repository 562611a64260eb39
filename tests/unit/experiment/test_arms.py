"""A line of a file becomes the config of its method once, and stays that."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from vader_bench.config import experiment_file
from vader_bench.config.schema import ArmEntry, ExperimentConfig, RunConfig, SuiteConfig
from vader_bench.config.settings import Settings
from vader_bench.config.yamlfile import parse_partly, read_mapping
from vader_bench.errors import UserError
from vader_bench.experiment import load, registered, resolve
from vader_bench.experiment.arms import SettingsReader, read_arms, read_settings
from vader_bench.experiment.grid import expand
from vader_bench.experiment.resolve import resolve_experiment

pytestmark = pytest.mark.usefixtures("known_names")

Data = dict[str, Any]
Write = Callable[[], Path]


def read(experiment: Data, suite: Data) -> tuple[dict[tuple[str, str], Settings], list[str]]:
    """Return the settings of ``experiment`` by arm and reward, and the keys of what is wrong."""
    config, _ = parse_partly(ExperimentConfig, experiment)
    arms, faults = read_arms(config, SuiteConfig.model_validate(suite), SettingsReader())
    settings = {(arm.name, reward): found for arm in arms for reward, found in arm.settings.items()}
    return settings, [fault.key for fault in faults]


def test_an_arm_has_a_config_for_each_reward(experiment_data: Data, suite_data: Data) -> None:
    settings, faults = read(experiment_data, suite_data)
    assert faults == []
    assert {key: type(found) for key, found in settings.items()} == {
        (method, reward): registered.method_configs()[method]
        for method in ("vader", "ddpo")
        for reward in ("aesthetic", "action")
    }
    assert [dict(settings["vader", reward])["k"] for reward in ("aesthetic", "action")] == [1, 2]


def test_an_arm_has_the_suite_that_it_asks_for(experiment_data: Data, suite_data: Data) -> None:
    experiment_data["methods"]["vader"]["suite"] = {"decode_frames": 1}
    experiment, _ = parse_partly(ExperimentConfig, experiment_data)
    suite = SuiteConfig.model_validate(suite_data)
    vader, ddpo = read_arms(experiment, suite, SettingsReader())[0]
    assert vader.suite == suite.model_copy(update={"decode_frames": 1})
    assert ddpo.suite == suite


def test_an_arm_at_fault_does_not_hide_the_others(experiment_data: Data, suite_data: Data) -> None:
    experiment_data["methods"] = {"vader": {"by_reward": 3}, "ddpo": {"lr": 1}, "few": 4}
    _, faults = read(experiment_data, suite_data)
    assert set(faults) == {"methods.ddpo.lr", "methods.ddpo.learning_rate"}


def counted(
    monkeypatch: pytest.MonkeyPatch, experiment: Path
) -> tuple[Counter[str], Counter[str], list[RunConfig]]:
    """Return how often each config was made and each file was read on the way to the runs, and the runs."""
    made: Counter[str] = Counter()
    files: Counter[str] = Counter()

    def counting(kind: type[Settings]) -> type[Settings]:
        class Counted(kind):  # type: ignore[valid-type, misc]
            def model_post_init(self, _: object) -> None:
                made[f"{kind.__name__} {self.model_dump_json()}"] += 1

        return Counted

    def counting_reads(path: Path) -> Any:
        files[path.name] += 1
        return read_mapping(path)

    configs = registered.method_configs()
    kinds: Mapping[str, type[Settings]] = {name: counting(kind) for name, kind in configs.items()}
    monkeypatch.setattr(registered, "method_configs", lambda: kinds)
    for module in (experiment_file, load):
        monkeypatch.setattr(module, "read_mapping", counting_reads)
    monkeypatch.setattr(resolve, "require_weights", lambda *_: None)
    return made, files, resolve_experiment(experiment).runs


def test_settings_are_read_once_for_each_arm_and_reward(
    write_files: Write, experiment_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in experiment_data["methods"]:
        experiment_data["methods"][name]["by_reward"] = {"action": {"learning_rate": 0.5}}
    made, _, runs = counted(monkeypatch, write_files())
    assert sorted(made.values()) == [1, 1, 1, 1], made
    trained = [run for run in runs if run.method != "base"]
    assert (len(trained), len({id(run.settings) for run in trained})) == (8, 4), (
        "what was read is what is run"
    )


def test_a_suite_is_read_once(write_files: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    _, files, _ = counted(monkeypatch, write_files())
    assert files == {"fig.yaml": 1, "small.yaml": 1}


def test_settings_by_reward_override_the_plain_ones() -> None:
    arm = ArmEntry.model_validate({"learning_rate": 0.1, "k": 1, "by_reward": {"action": {"k": 3}}})
    assert dict(read_settings("vader", arm.settings("action"), "action"))["k"] == 3
    assert dict(read_settings("vader", arm.settings("aesthetic"), "aesthetic"))["k"] == 1


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="settings of vader for action: k: is 0; it must be at least 1"):
        read_settings("vader", {"learning_rate": 0.1, "k": 0}, "action")
    with pytest.raises(UserError, match="settings of vadr for action: are of no known method; did you mean"):
        read_settings("vadr", {}, "action")


def test_settings_of_quick_are_read_too(write_files: Write, experiment_data: Data) -> None:
    experiment_data["quick"]["methods"] = {"vader": {"k": 3}}
    path = write_files()
    assert [dict(arm.settings["aesthetic"]).get("k") for arm in load.load_experiment(path).arms] == [1, None]
    quick = load.load_experiment(path, quick=True)
    assert [dict(arm.settings["aesthetic"]).get("k") for arm in quick.arms] == [3, None]
    data = yaml.safe_load(path.read_text("utf-8"))
    data["quick"]["methods"]["vader"]["k"] = 0
    path.write_text(yaml.safe_dump(data), "utf-8")
    with pytest.raises(UserError, match=r"quick\.methods\.vader\.k: is 0; it must be at least 1"):
        load.load_experiment(path)


def test_adapters_from_a_file_are_an_arm(
    experiment_data: Data, suite_data: Data, write_files: Write, tmp_path: Path
) -> None:
    """The path is relative to the file, their digest is part of what they are, and one seed is enough."""
    (tmp_path / "lora.pt").write_bytes(b"some bytes")
    digest = hashlib.sha256(b"some bytes").hexdigest()
    experiment_data["methods"]["published"] = {"adapter": "lora.pt", "alpha": 8}
    loaded = load.load_experiment(write_files())
    arm = loaded.arms[-1]
    assert (arm.name, arm.method) == ("published", "adapter")
    assert dict(arm.settings["action"]) == {
        "adapter": str(tmp_path / "lora.pt"), "alpha": 8.0, "sha256": digest,
    }  # fmt: skip
    runs = [run for run in expand(loaded) if run.label == "published"]
    assert [(run.reward, run.seed, run.reward_queries) for run in runs] == [
        ("aesthetic", 0, 0), ("action", 0, 0),
    ]  # fmt: skip
    assert runs[0].model_dump(mode="json")["settings"]["adapter"] == "./lora.pt"
    moved = load.load_experiment(write_files(), suite="small")
    assert [each.name for each in moved.arms] == ["vader", "ddpo", "published"]


@pytest.mark.parametrize(
    ("entry", "key", "said"),
    [
        (
            {"adapter": "no.pt"},
            "adapter",
            "weights './no.pt' are neither a folder nor a file",
        ),
        ({"adapter": "."}, "adapter", "holds no adapters"),
        ({"adapter": "a.pt", "method": "vader"}, "method", "stands beside `adapter`"),
        ({"adapter": "a.pt", "by_reward": {"action": {"alpha": 1}}}, "by_reward", "stands beside `adapter`"),
        ({"adapter": "a.pt", "alpha": 0}, "alpha", "is 0; it must be above 0"),
        ({"adapter": "a.pt", "rank": 3}, "rank", "is not a known"),
        ({"adapter": "a.pt", "sha256": "0" * 64}, "sha256", "is not that of the file"),
        ({"adapter": 3}, "adapter", "is 3"),
    ],
)
def test_what_is_wrong_with_an_arm_of_adapters_is_one_line(
    entry: Data, key: str, said: str, experiment_data: Data, write_files: Write, tmp_path: Path
) -> None:
    (tmp_path / "a.pt").write_bytes(b"some bytes")
    experiment_data["methods"]["published"] = entry
    with pytest.raises(UserError) as refused:
        load.load_experiment(write_files())
    [line] = [line for line in str(refused.value).split("\n") if "published" in line]
    assert f"methods.published.{key}" in line
    assert said in line


def test_adapters_alone_and_adapters_as_a_yardstick_are_refused(
    experiment_data: Data, write_files: Write, tmp_path: Path
) -> None:
    (tmp_path / "a.pt").write_bytes(b"some bytes")
    experiment_data["methods"]["published"] = {"adapter": "a.pt"}
    experiment_data |= {"baselines": ["published"], "target": {"arm": "published", "queries": 64}}
    with pytest.raises(UserError) as refused:
        load.load_experiment(write_files())
    assert "baselines.0: is 'published', adapters that spend nothing" in str(refused.value)
    assert "target.arm: is 'published', adapters that spend nothing" in str(refused.value)
    del experiment_data["baselines"], experiment_data["target"]
    experiment_data["methods"] = {"published": {"adapter": "a.pt"}}
    with pytest.raises(UserError, match="methods: has adapters alone, and nothing is trained"):
        load.load_experiment(write_files())
