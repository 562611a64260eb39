"""Object removal: how sure a detector is that a thing is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vader_bench.config.rules import WeightsName
from vader_bench.errors import UserError
from vader_bench.rewards.base import Judgement, Reward
from vader_bench.rewards.preprocess import ANY_STATISTICS, HeightPreprocess, check_video, read_statistics
from vader_bench.weights.networks import bare_network, load_network
from vader_bench.weights.resolve import resolve
from vader_bench.weights.sizes import read_labels

if TYPE_CHECKING:
    from transformers import YolosForObjectDetection

__all__ = ["THRESHOLD", "ObjectRemoval", "target_confidence"]

THRESHOLD = 0.2
"""A box counts when its class is more likely than this."""


def target_confidence(logits: Tensor, target: int, threshold: float = THRESHOLD) -> Tensor:
    """Return the mean confidence [N] of the boxes that show the target, 0 where there are none.

    A box shows the class that is its likeliest one, the last class ("no object") left out, if its softmax
    probability is above ``threshold``.

    Args:
        logits: [N, boxes, classes + 1].
        target: index of the class.
        threshold: probability.
    """
    confidence, label = logits.softmax(-1)[..., :-1].max(-1)
    shown = (confidence > threshold) & (label == target)
    return (confidence * shown).sum(-1) / shown.sum(-1).clamp(min=1)


def _index(target: str, labels: Sequence[str]) -> int:
    """Return the place of ``target`` among the classes of a detector.

    Raises:
        UserError: it is none of them.
    """
    if target not in labels:
        known = ", ".join(sorted(labels))
        raise UserError(f"target {target!r}", "is not a class of the detector", f"use one of: {known}")
    return labels.index(target)


class ObjectRemoval(Reward):
    """How little of a named thing a detector finds; prompts do not matter.

    Score = 1 - the mean over frames of the mean confidence of the boxes labelled as the target, 0 to 1; a
    frame without such a box adds nothing to the sum and counts in the mean. Objective = score.

    The score is piecewise smooth. A box that crosses the threshold, or becomes likelier to show something
    else, makes it jump, and the gradient knows nothing of the jump. Where no frame has a box of the target
    the score is 1 and the gradient is exactly zero: nothing is left to learn there, also if the detector
    is wrong. Source: YOLOS (arXiv:2106.00666, hustvl/yolos-base, Apache-2.0), as the VADER paper
    (arXiv:2407.08737) uses it to remove books.

    Args:
        model: frozen.
        preprocess: turns frames in [0, 1] into what it takes.
        target: index of the class to be removed.
        label: its name.
        source: where the weights come from.
    """

    by_frame = True
    name = "object-removal"
    units = "1 - mean confidence of the detector"
    value_range = (0.0, 1.0)

    def __init__(
        self,
        model: YolosForObjectDetection,
        preprocess: HeightPreprocess,
        target: int,
        label: str,
        source: str,
    ) -> None:
        self._model = model
        self._preprocess = preprocess
        self._target = target
        self._label = label
        self.source = source

    @classmethod
    def load(cls, model: WeightsName, target: str, height: int = 512) -> ObjectRemoval:
        """Return the reward of these weights, frozen, on the CPU.

        Args:
            model: weights of a transformers ``YolosForObjectDetection`` folder; its config names the classes
                (``id2label``).
            target: the class to be removed, e.g. ``book``.
            height: to which frames are brought, in pixels; their width keeps the aspect ratio.

        Raises:
            UserError: weights are missing or faulty, or the detector does not know the target.
        """
        # transformers takes seconds to import, and listing the rewards should not
        from transformers import YolosForObjectDetection

        folder = resolve(model)
        network = load_network(YolosForObjectDetection, folder)
        preprocess = HeightPreprocess(height, *read_statistics(folder / "preprocessor_config.json"))
        labels: dict[int, str] = network.config.id2label or {}
        index = list(labels)[_index(target, list(labels.values()))]
        return cls(network, preprocess, index, target, f"YOLOS {model}, target {target}")

    @classmethod
    def skeleton(cls, model: WeightsName, target: str, height: int = 512) -> ObjectRemoval:
        """Return the reward without values; any class will do."""
        from transformers import YolosForObjectDetection

        network = bare_network(YolosForObjectDetection, model)
        return cls(network, HeightPreprocess(height, *ANY_STATISTICS), 0, target, f"sizes of {model}")

    @classmethod
    def reader(cls, **settings: Any) -> None:
        """Refuse no prompt, and a target that the folder's config does not name.

        Raises:
            UserError: it is no class of the detector.
        """
        labels = read_labels(resolve(settings["model"]) / "config.json")
        if labels:
            _index(settings["target"], list(labels.values()))

    def modules(self) -> list[nn.Module]:
        """Return the detector and its preprocessing."""
        return [self._model, self._preprocess]

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1]."""
        check_video(self.name, video, prompts)
        logits = self._model(self._preprocess(video.flatten(0, 1))).logits
        score = 1 - target_confidence(logits, self._target).reshape(video.shape[:2]).mean(1)
        return Judgement(score, score)

    @torch.no_grad()
    def verdicts(self, video: Tensor, prompts: Sequence[str]) -> list[str]:
        """Return how sure the detector is, on average over the frames, that the object is there."""
        return [f"{self._label}: {1 - score:.2f}" for score in self.score(video, prompts).tolist()]
