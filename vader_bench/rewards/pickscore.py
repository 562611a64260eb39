"""PickScore: a CLIP tuned on people's choices between pictures of their own prompts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vader_bench.rewards.base import REWARDS, Judgement
from vader_bench.rewards.clip import PromptedClipReward, cosine, load_clip
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD, CropPreprocess, check_video
from vader_bench.weights.resolve import resolve

__all__ = ["PickScore", "pick_score"]


def pick_score(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    """Return exp(``logit_scale``) cos(image, text) [...], each picture with its own prompt.

    Args:
        image: embeddings [..., D], of any length.
        text: embeddings [..., D], of any length.
        logit_scale: the model's parameter, [].
    """
    return logit_scale.exp() * cosine(image, text)


@REWARDS.register("pickscore")
class PickScore(PromptedClipReward):
    """How likely people are to pick the pictures for their prompt.

    Score = exp(logit scale) times the cosine of image and text embedding, averaged over frames; the scale
    is 100 in the released model, whose scores are about 20. The objective is the score; the loss of the
    VADER code, |1 - score / 100|, is the same line with slope -1/100. Frames are cut to a square in the
    middle, so what is at the sides of a wide video does not count. Source: PickScore v1 (arXiv:2305.01569,
    yuvalkirstain/PickScore_v1, MIT licence). Prompts longer than the text tower takes are cut.

    Args:
        model: weights of a transformers ``CLIPModel`` folder.
        tokenizer: folder with ``vocab.json`` and ``merges.txt`` (those of
            laion/CLIP-ViT-H-14-laion2B-s32B-b79K), if they are not in the model's.

    Raises:
        UserError: weights are missing or faulty, or the tokenizer is missing or not this model's.
    """

    name = "pickscore"
    units = "scaled cosine similarity, about 20"

    def __init__(self, model: str, tokenizer: str | None = None) -> None:
        folder = resolve(model)
        clip = load_clip(folder)
        preprocess = CropPreprocess(clip.config.vision_config.image_size, CLIP_MEAN, CLIP_STD)
        super().__init__(clip, preprocess, resolve(tokenizer) if tokenizer else folder)
        scale: float = clip.logit_scale.exp().item()
        self.value_range = (-scale, scale)
        self.source = f"CLIP {model}"

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1], one prompt a video."""
        check_video(self.name, video, prompts)
        image, text = self._embed(video), self._embed_text(prompts)[:, None]
        score = pick_score(image, text, self._clip.logit_scale).mean(1)
        return Judgement(score, score)
