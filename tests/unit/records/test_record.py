"""Records of 0.1.0 are read as what they measured: one gold for all rewards, the share of the prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.results import Invented, make_record
from vader_bench.config.schema import SuiteConfig
from vader_bench.errors import UserError
from vader_bench.files import write_json
from vader_bench.records.columns import by_columns
from vader_bench.records.record import RECORD_VERSION, Record
from vader_bench.records.record_file import read_record

OLDER = Path(__file__).parent / "version_1"
"""Records that 0.1.0 wrote, of whose looks two are left, with the first three scores of each."""
LOOKED_AT = OLDER / "scaled-adapters.json"
LONGER = OLDER / "longer-videos.json"


def stored(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    assert data["version"] == 1
    return data


def test_the_gold_of_an_older_record_is_the_share_of_the_prompt() -> None:
    data, record = stored(LOOKED_AT), read_record(LOOKED_AT)
    assert record.version == RECORD_VERSION == 5
    before = [look["scores"] for look in data["evaluations"]]
    before += [point["look"]["scores"] for point in data["frontier"]]
    after = [look.scores for look in (*record.evaluations, *(point.look for point in record.frontier))]
    for olds, news in zip(before, after, strict=True):
        assert [new.prompt_share for new in news] == [old["gold"] for old in olds]
        assert all(new.gold is None and new.prompt_share is not None for new in news)
        assert [new.reward for new in news] == [old["reward"] for old in olds]


def test_what_an_older_record_does_not_know_stays_empty() -> None:
    record = read_record(LOOKED_AT)
    assert (record.key, record.command, record.taken_from) == ("", "", "")


def test_a_record_of_version_2_is_what_it_was(tmp_path: Path) -> None:
    newest = make_record(Invented(), "vader", "red", 1).model_dump(mode="json")
    second = {name: newest[name] for name in newest.keys() - {"key", "command", "taken_from", "baseline"}}
    write_json(tmp_path / "record.json", second | {"version": 2})
    assert read_record(tmp_path / "record.json").model_dump(mode="json") == newest


@pytest.mark.parametrize(("method", "baseline"), [("base", False), ("vader", False), ("ddpo", True)])
def test_a_record_of_version_3_has_the_baselines_of_its_time(
    method: str, baseline: bool, tmp_path: Path
) -> None:
    newest = make_record(Invented(), method, "red", 1).model_dump(mode="json")
    third = {name: newest[name] for name in newest.keys() - {"baseline"}}
    write_json(tmp_path / "record.json", third | {"version": 3})
    assert read_record(tmp_path / "record.json").baseline == baseline


def test_so_it_is_along_the_chunks_of_longer_videos() -> None:
    data, record = stored(LONGER), read_record(LONGER)
    assert [found.prompt_shares for found in record.extensions] == [
        old["golds"] for old in data["extensions"]
    ]
    assert all(len(found.prompt_shares) == 3 and found.golds == [] for found in record.extensions)


def test_another_gold_than_the_oracle_stays_one(tmp_path: Path) -> None:
    data = stored(LOOKED_AT)
    data["config"]["suite"]["gold"] = {"family": "plugin", "settings": {}}
    write_json(tmp_path / "record.json", data)
    score = read_record(tmp_path / "record.json").evaluations[0].scores[0]
    assert (score.gold, score.prompt_share) == (data["evaluations"][0]["scores"][0]["gold"], None)


def test_the_configuration_of_an_older_record_still_says_what_it_ran() -> None:
    suite = SuiteConfig.model_validate(stored(LOOKED_AT)["config"]["suite"])
    for measure in (suite.gold_for("aesthetic"), suite.gold_for("hps"), suite.prompt_share):
        assert measure is not None
        assert measure.family == "oracle"


def test_what_a_run_was_asked_is_read_once_and_written_as_it_was(tmp_path: Path) -> None:
    record = make_record(Invented(), "vader", "red", 1)
    assert record.asked is record.asked
    assert record.asked.suite == SuiteConfig.model_validate(record.config["suite"])
    assert record.asked.evaluation.best_of == [1, 2, 4]
    assert record.asked.settings == record.config["settings"]
    write_json(tmp_path / "record.json", record.model_dump(mode="json"))
    assert "asked" not in json.loads((tmp_path / "record.json").read_text())
    assert read_record(tmp_path / "record.json") == record


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record(Invented(), "vader", "red", 1)
    write_json(tmp_path / "record.json", record.model_dump(mode="json"))
    assert read_record(tmp_path / "record.json") == record
    assert record.evaluations[0].scores[0].prompt_share != record.evaluations[0].scores[0].gold


def test_a_record_of_version_4_is_what_it_was(tmp_path: Path) -> None:
    newest = make_record(Invented(), "vader", "red", 1).model_dump(mode="json")
    write_json(tmp_path / "record.json", newest | {"version": 4})
    assert read_record(tmp_path / "record.json").model_dump(mode="json") == newest


@pytest.mark.parametrize("missing", ["config", "evaluations", "seed"])
def test_what_is_missing_in_an_older_record_is_missing(missing: str) -> None:
    data = stored(LOOKED_AT)
    del data[missing]
    with pytest.raises(ValueError, match=f"(?s){missing}.*Field required"):
        Record.model_validate(data)


@pytest.mark.parametrize("version", [1, 5])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluations": [1.5]}, "evaluations is no list of tables"),
        ({"evaluations": 3}, "evaluations is no list of tables"),
        ({"evaluations": [{"scores": ["a"]}]}, "[sS]cores"),
        ({"frontier": [{"scale": 1.0, "look": []}], "evaluations": []}, "look is no table"),
        ({"config": []}, "config"),
        ({"config": {"suite": "pocket"}, "frontier": [[]]}, "frontier is no list of tables"),
        ({"version": True}, "is a record of version True"),
        ({"config": {"suite": "pocket"}}, "config: "),
        ({"config": {}}, "config: suite: Field required"),
        ({"ledger": {"flops": 1}}, "ledger: lacks reward_queries"),
    ],
)
def test_a_record_of_another_form_is_refused(
    tmp_path: Path, version: int, changes: dict[str, Any], said: str
) -> None:
    base = make_record(Invented(), "vader", "red", 0).model_dump(mode="json")
    base = by_columns(base) if version == 5 else base
    write_json(tmp_path / "record.json", base | {"version": version} | changes)
    with pytest.raises(UserError, match=said):
        read_record(tmp_path / "record.json")
