"""A study file is read strictly, and all its faults are reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.studies import study_data, write_study
from vader_bench.errors import UserError
from vader_bench.human.config import PAPER_RESPONSES, block_cost, load_study

ROOT = Path(__file__).parents[3]


def told(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as raised:
        load_study(write_study(folder, **changes))
    return str(raised.value)


def test_a_study_is_read_and_its_paths_are_absolute(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path))
    assert study.arms == {"unrefined": str(tmp_path / "one"), "refinedarm": str(tmp_path / "two")}
    assert study.prompts == str(tmp_path / "prompts.txt")
    assert study.pairs == [("refinedarm", "unrefined")]
    assert study.responses_wanted == 24
    assert study.gold_kinds == ["mismatch", "degraded"]
    assert not study.ties


def test_the_paper_form_asks_for_a_hundred(tmp_path: Path) -> None:
    assert load_study(write_study(tmp_path), paper=True).responses_wanted == PAPER_RESPONSES == 100
    assert load_study(write_study(tmp_path, paper=True)).responses_wanted == PAPER_RESPONSES


def test_three_arms_are_three_pairs_or_those_named(tmp_path: Path) -> None:
    arms = {"cc": "one", "aa": "two", "bb": "three"}
    study = load_study(write_study(tmp_path, arms=arms, gold_arm="aa"))
    assert study.pairs == [("aa", "bb"), ("aa", "cc"), ("bb", "cc")]
    study = load_study(write_study(tmp_path, arms=arms, gold_arm="aa", comparisons=[["cc", "aa"]]))
    assert study.pairs == [("aa", "cc")]


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    lines = told(tmp_path, responses=25, titel="x", questions=[], seed="many").splitlines()
    assert len(lines) == 4
    assert "responses: is 25; it must be even, so that each side is shown equally often" in "\n".join(lines)


def test_arms_that_raters_could_read_of_are_refused_before_any_video_is_made(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        title="Is refinedarm better?",
        hypotheses=["Nothing is.", "UNREFINED loses to refinedarm."],
        instructions="Look at\nunrefined-videos. None is refinedarms.",
    ).splitlines()
    wrong = "names the arm '{}', which raters must not know; rename the arm, or say it otherwise"
    named = [
        ("title", "refinedarm"),
        ("instructions", "unrefined"),
        ("hypotheses.1", "unrefined"),
        ("hypotheses.1", "refinedarm"),
    ]
    assert lines == [f"{tmp_path / 'study.yaml'}: {key}: {wrong.format(arm)}" for key, arm in named]


def test_the_packaged_studies_are_read() -> None:
    studies = sorted((ROOT / "human_eval" / "studies").glob("*.yaml"))
    assert studies
    for path in studies:
        assert load_study(path).study == path.stem


def test_faults_between_fields_are_reported_at_once(tmp_path: Path) -> None:
    question = {"id": "text", "text": "Which?"}
    lines = told(
        tmp_path,
        questions=[question, question],
        primary="quality",
        gold_arm="nobody",
        comparisons=[["unrefined", "vader"], ["unrefined", "unrefined"]],
        pay={"reward": 0.05},
    ).splitlines()
    for part in (
        "the id 'text' twice",
        "primary: is 'quality', which is no question",
        "questions: has none whose right answer is known",
        "gold_arm: is 'nobody', which is no arm",
        "comparisons.0: names 'vader', which is no arm",
        "comparisons.1: compares 'unrefined' with itself",
        "pay.reward: pays 1.50 USD an hour, below 15.00; pay at least 0.50 for a block of 120 s",
    ):
        assert any(part in line for line in lines), part
    assert len(lines) == 7


def test_a_pair_named_twice_is_reported_in_either_order(tmp_path: Path) -> None:
    pairs = [["unrefined", "refinedarm"], ["refinedarm", "unrefined"]]
    assert "comparisons.1: is named before" in told(tmp_path, comparisons=pairs)


def test_a_study_without_gold_needs_no_gold_arm(tmp_path: Path) -> None:
    data = study_data(blocks={"items": 4, "gold": 0})
    del data["gold_arm"]
    path = write_study(tmp_path, blocks=data["blocks"], gold_arm=None)
    assert load_study(path).gold_arm is None


def test_pay_counts_gold_and_repeats(tmp_path: Path) -> None:
    hourly, seconds = block_cost(load_study(write_study(tmp_path)))
    assert seconds == 6 * 20
    assert hourly == 30


@pytest.mark.parametrize("address", ["/videos/", "https://example.org/v/", "http://127.0.0.1:8765/videos/"])
def test_addresses_of_videos(tmp_path: Path, address: str) -> None:
    assert load_study(write_study(tmp_path, video_url=address)).video_url == address


@pytest.mark.parametrize(
    "address",
    [
        *("http://example.org/", "ftp://example.org/", "videos/", "//example.org/", "https://example.org/v"),
        *("https://me:pass@example.org/", "https://example.org/?token=1/", "javascript:alert(1)/"),
        *("https://example.org/;script-src */", "https://example.org/\u202e/"),
    ],
)
def test_addresses_that_leak_or_do_not_load_are_refused(tmp_path: Path, address: str) -> None:
    assert "video_url: " in told(tmp_path, video_url=address)


def test_new_videos_need_prompts(tmp_path: Path) -> None:
    assert "samples: asks for new videos, and there is no `prompts`" in told(
        tmp_path, samples=2, prompts=None
    )
