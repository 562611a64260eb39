from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import VideoMAEForVideoClassification

from vader_bench.errors import UserError
from vader_bench.pocket.vocabulary import ACTIONS
from vader_bench.rewards.videomae import Action, ClassFinder, class_log_probability

KINETICS = ["abseiling", "playing piano", "chopping wood", "jogging", "drinking beer", "wood carving (spoon)"]


@pytest.mark.parametrize("action", ACTIONS)
def test_finder_knows_the_pocket_actions(action: str) -> None:
    finder = ClassFinder(ACTIONS)
    assert finder.labels[finder.find(f"an orange bird {action} beside a red cup at night")] == action


@pytest.mark.parametrize(
    ("prompt", "label"),
    [
        ("jogging", "jogging"),
        ("A man, Jogging.", "jogging"),
        ("somebody chopping  wood in Hollywood", "chopping wood"),
        ("wood-carving: spoon", "wood carving (spoon)"),
    ],
)
def test_finder_ignores_case_and_punctuation(prompt: str, label: str) -> None:
    finder = ClassFinder(KINETICS)
    assert finder.labels[finder.find(prompt)] == label


def test_finder_takes_the_longest_label() -> None:
    finder = ClassFinder(["moving", "moving left", "left"])
    assert finder.find("a car moving left") == 1
    assert finder.find("left a car moving") == 0


def test_finder_takes_the_first_keyword_before_a_label() -> None:
    finder = ClassFinder(KINETICS, {"beer": "drinking beer", "piano": "playing piano"})
    assert finder.find("a man jogging with a piano and a beer") == 4
    assert finder.find("a girl playing the piano") == 1
    assert finder.find("jogging") == 3


def test_finder_matches_whole_words_only() -> None:
    with pytest.raises(UserError, match="names no action"):
        ClassFinder(["yoga", "sing"], {"wood": "yoga"}).find("a dancing man in Hollywood")


def test_finder_names_the_labels_it_knows() -> None:
    with pytest.raises(UserError, match=r"prompt 'a red cat': .*; use one of: moving, left$"):
        ClassFinder(["moving", "left"]).find("a red cat")


def test_finder_does_not_recite_hundreds_of_labels() -> None:
    with pytest.raises(UserError, match=r"class 19 and 380 more$"):
        ClassFinder([f"class {i}" for i in range(400)]).find("a red cat")


def test_finder_refuses_a_keyword_without_a_class() -> None:
    with pytest.raises(UserError, match="keyword 'cello': 'playing cello': is not a class"):
        ClassFinder(KINETICS, {"cello": "playing cello"})


def test_class_log_probability_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]])
    expected = torch.tensor([0.75, 0.5]).log()
    torch.testing.assert_close(class_log_probability(logits, torch.tensor([1, 0])), expected)


def test_class_log_probability_keeps_its_gradient_where_the_probability_saturates() -> None:
    logits = torch.tensor([[0.0, 200.0]], requires_grad=True)
    objective = class_log_probability(logits, torch.tensor([0]))
    objective.sum().backward()
    assert objective.item() == pytest.approx(-200.0)
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1.0, -1.0]]


def test_action_is_the_probability_of_the_prompts_class(tiny_videomae: Path) -> None:
    video = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    model = VideoMAEForVideoClassification.from_pretrained(tiny_videomae, dtype=torch.float32)
    with torch.no_grad():
        logits = model((video - mean[:, None, None]) / std[:, None, None]).logits
    probability = logits.softmax(-1)
    judgement = Action.load(str(tiny_videomae)).judge(video, ["a cat growing", "a bus moving left"])
    expected = torch.stack([probability[0, 3], probability[1, 1]])
    torch.testing.assert_close(judgement.score, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(judgement.objective, expected, rtol=1e-5, atol=1e-6)


def test_the_logarithm_can_be_what_is_raised(tiny_videomae: Path) -> None:
    video = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    prompts = ["a cat growing", "a bus moving left"]
    plain = Action.load(str(tiny_videomae)).judge(video, prompts)
    found = Action.load(str(tiny_videomae), objective="log-probability").judge(video, prompts)
    torch.testing.assert_close(found.score, plain.score)
    torch.testing.assert_close(found.objective, plain.score.log(), rtol=1e-5, atol=1e-6)


def test_action_sees_the_order_of_frames(tiny_videomae: Path) -> None:
    video = torch.rand(1, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    reward = Action.load(str(tiny_videomae))
    forwards, backwards = (reward.score(v, ["a cat growing"]).item() for v in (video, video.flip(1)))
    assert abs(forwards - backwards) > 1e-4


def test_action_wants_the_classifiers_frames(tiny_videomae: Path) -> None:
    assert Action.load(str(tiny_videomae)).frames == 4


def test_action_takes_keywords(tiny_videomae: Path) -> None:
    video = torch.rand(1, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, keyed = Action.load(str(tiny_videomae)), Action.load(str(tiny_videomae), {"left": "moving left"})
    with pytest.raises(UserError, match="spinning, moving left, moving, growing"):
        plain.judge(video, ["off to the left"])
    assert keyed.score(video, ["off to the left"]) == plain.score(video, ["moving left"])
