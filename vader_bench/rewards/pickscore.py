"""PickScore: a CLIP tuned on people's choices between pictures of their own prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vader_bench.config.rules import WeightsName
from vader_bench.rewards.base import Judgement
from vader_bench.rewards.clip import (
    PromptedClipReward,
    bare_clip,
    cosine,
    load_clip,
    load_clip_tokenizer,
    no_words,
)
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD, CropPreprocess, Preprocess, check_video
from vader_bench.weights.resolve import resolve

if TYPE_CHECKING:
    from transformers import CLIPModel

__all__ = ["PickScore", "pick_score"]


def pick_score(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    """Return exp(``logit_scale``) cos(image, text) [...], each picture with its own prompt.

    Args:
        image: embeddings [..., D], of any length.
        text: embeddings [..., D], of any length.
        logit_scale: the model's parameter, [].
    """
    return logit_scale.exp() * cosine(image, text)


class PickScore(PromptedClipReward):
    """How likely people are to pick the pictures for their prompt.

    Score = exp(logit scale) times the cosine of image and text embedding, averaged over frames; the scale
    is 100 in the released model, whose scores are about 20. The objective is the score; the loss of the
    VADER code, |1 - score / 100|, is the same line with slope -1/100. Frames are cut to a square in the
    middle, so what is at the sides of a wide video does not count. Source: PickScore v1 (arXiv:2305.01569,
    yuvalkirstain/PickScore_v1, MIT licence). Prompts longer than the text tower takes are cut.

    Args:
        clip: frozen.
        preprocess: turns frames in [0, 1] into what the image tower takes.
        tokenizer: see the base class.
        scale: by which cosines are multiplied, exp(logit scale).
        source: where the weights come from.
    """

    name = "pickscore"
    units = "scaled cosine similarity, about 20"

    def __init__(
        self,
        clip: CLIPModel,
        preprocess: Preprocess,
        tokenizer: Callable[..., Mapping[str, Any]],
        scale: float,
        source: str,
    ) -> None:
        super().__init__(clip, preprocess, tokenizer, source)
        self.value_range = (-scale, scale)

    @classmethod
    def load(cls, model: WeightsName, tokenizer: WeightsName | None = None) -> PickScore:
        """Return the reward of these weights, frozen, on the CPU.

        Args:
            model: weights of a transformers ``CLIPModel`` folder.
            tokenizer: folder with ``vocab.json`` and ``merges.txt`` (those of
                laion/CLIP-ViT-H-14-laion2B-s32B-b79K), if they are not in the model's.

        Raises:
            UserError: weights are missing or faulty, or the tokenizer is missing or not this model's.
        """
        folder = resolve(model)
        clip = load_clip(folder)
        preprocess = CropPreprocess(clip.config.vision_config.image_size, CLIP_MEAN, CLIP_STD)
        words = load_clip_tokenizer(resolve(tokenizer) if tokenizer else folder, clip)
        return cls(clip, preprocess, words, clip.logit_scale.exp().item(), f"CLIP {model}")

    @classmethod
    def skeleton(cls, model: WeightsName, tokenizer: WeightsName | None = None) -> PickScore:
        """Return the reward without values; no tokenizer is needed."""
        del tokenizer
        clip = bare_clip(model)
        preprocess = CropPreprocess(clip.config.vision_config.image_size, CLIP_MEAN, CLIP_STD)
        return cls(clip, preprocess, no_words, math.inf, f"sizes of {model}")

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1], one prompt a video."""
        check_video(self.name, video, prompts)
        image, text = self._embed(video), self._embed_text(prompts)[:, None]
        score = pick_score(image, text, self._clip.logit_scale).mean(1)
        return Judgement(score, score)
