"""Models and rewards by name, and videos in pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.faults import lines_of
from vader_bench.experiment.load import load_suite
from vader_bench.interface.models import load_backbone, load_model, load_reward
from vader_bench.records.record_file import read_record
from vader_bench.training.model import Model

PROMPTS = ["ab", "cd"]


@pytest.fixture(scope="module")
def base(project: Path) -> Model:
    """The untrained model."""
    return load_model(project / "tiny.yaml")


def test_a_model_makes_the_samples_of_each_prompt_one_after_another(base: Model) -> None:
    both = base.sample(PROMPTS, samples=2)
    assert both.shape == (4, 4, 3, 8, 8)
    assert 0 <= both.min() <= both.max() <= 1
    for index, prompt in enumerate(PROMPTS):
        alone = base.sample([prompt], samples=2)
        torch.testing.assert_close(both[2 * index : 2 * index + 2], alone, atol=1e-5, rtol=0)
    assert not torch.equal(both[0], both[1])


def test_the_first_video_of_a_prompt_is_the_one_that_was_judged(trained: Path) -> None:
    record = read_record(trained / "record.json")
    judged = [
        score
        for look in record.evaluations
        if look.split == "heldout" and look.queries == 4
        for score in look.scores
        if score.sample == 0
    ]
    model = load_model(trained)
    videos = model.sample([score.prompt for score in judged])
    again = load_reward(model.suite, "red").score(videos, [score.prompt for score in judged])
    assert again.tolist() == pytest.approx([score.reward for score in judged], abs=1e-6)


def test_scale_0_is_the_base_model(trained: Path, base: Model) -> None:
    model = load_model(trained)
    whole = model.sample(PROMPTS)
    assert torch.equal(model.sample(PROMPTS, scale=0), base.sample(PROMPTS))
    assert not torch.equal(whole, base.sample(PROMPTS))
    assert torch.equal(model.sample(PROMPTS), whole)


def test_a_suite_may_be_named_or_given(project: Path) -> None:
    suite = load_suite(project / "tiny.yaml")
    assert load_backbone(suite).frames == load_backbone(project / "tiny.yaml").frames == 4


def test_a_reward_and_its_truth(project: Path) -> None:
    assert load_reward(project / "tiny.yaml", "red").name == "redness"
    assert load_reward(project / "tiny.yaml", "gold:red").name == "brightness"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rde", "reward 'rde': is not in suite tiny; did you mean 'red'?"),
        ("gold:blue", "reward 'gold:blue': is not in suite tiny; choose one of: red"),
    ],
)
def test_an_unknown_reward_is_refused(project: Path, name: str, line: str) -> None:
    (found,) = lines_of(lambda: load_reward(project / "tiny.yaml", name))
    assert line in found


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (found,) = lines_of(lambda: load_model(tmp_path))
    assert "record.json" in found
