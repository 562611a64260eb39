from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import YolosForObjectDetection

from vader_bench.errors import UserError
from vader_bench.rewards.yolos import ObjectRemoval, target_confidence


def boxes(*probabilities: tuple[float, float, float]) -> Tensor:
    """Logits of one picture: book, cup, nothing."""
    return torch.tensor([probabilities]).log()


def test_confidence_is_the_mean_over_boxes_of_the_target() -> None:
    logits = boxes((0.5, 0.3, 0.2), (0.3, 0.1, 0.6), (0.1, 0.8, 0.1))
    torch.testing.assert_close(target_confidence(logits, 0), torch.tensor([0.4]))
    torch.testing.assert_close(target_confidence(logits, 1), torch.tensor([0.8]))


def test_boxes_below_the_threshold_do_not_count() -> None:
    logits = boxes((0.19, 0.01, 0.8), (0.21, 0.01, 0.78))
    torch.testing.assert_close(target_confidence(logits, 0), torch.tensor([0.21]))


def test_boxes_of_nothing_count_by_their_likeliest_thing() -> None:
    """As in the original: a box that is probably nothing still shows a book if that is likely enough."""
    torch.testing.assert_close(target_confidence(boxes((0.3, 0.1, 0.6)), 0), torch.tensor([0.3]))


def test_without_a_box_there_is_no_gradient() -> None:
    logits = boxes((0.1, 0.8, 0.1), (0.1, 0.1, 0.8)).requires_grad_()
    confidence = target_confidence(logits, 0)
    (gradient,) = torch.autograd.grad(confidence.sum(), logits)
    assert confidence.tolist() == [0]
    assert not gradient.any()


def test_a_picture_without_the_target_forgets_no_other() -> None:
    logits = torch.cat([boxes((0.6, 0.2, 0.2)), boxes((0.1, 0.1, 0.8)), boxes((0.4, 0.2, 0.4))])
    torch.testing.assert_close(target_confidence(logits, 0), torch.tensor([0.6, 0.0, 0.4]))


@torch.no_grad()
def test_score_is_one_minus_the_mean_over_frames(tiny_yolos: Path) -> None:
    video = torch.rand(2, 3, 3, 20, 33, generator=torch.Generator().manual_seed(0))
    model = YolosForObjectDetection.from_pretrained(tiny_yolos, dtype=torch.float32)
    frames = functional.interpolate(video.flatten(0, 1), (32, 52), mode="bilinear", antialias=False)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    logits = model((frames - mean[:, None, None]) / std[:, None, None]).logits
    confidence = torch.zeros(6)
    for i, picture in enumerate(logits.softmax(-1)):
        shown = [box[0].item() for box in picture if box[0] > max(box[1].item(), 0.2)]
        if shown:
            confidence[i] = sum(shown) / len(shown)
    score = ObjectRemoval.load(str(tiny_yolos), "book", height=32).score(video, ["", ""])
    torch.testing.assert_close(score, 1 - confidence.reshape(2, 3).mean(1), rtol=1e-5, atol=1e-6)
    assert (score < 0.9).all()


def test_an_unknown_target_is_refused_with_the_known_ones(tiny_yolos: Path) -> None:
    with pytest.raises(
        UserError, match=r"target 'Book': is not a class of the detector; use one of: book, cup"
    ):
        ObjectRemoval.load(str(tiny_yolos), "Book")
