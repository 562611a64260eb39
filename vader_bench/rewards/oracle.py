"""The pixel oracle as a reward: the gold reward of the pocket suite. No run trains on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vader_bench.errors import UserError
from vader_bench.pocket.oracle import gold
from vader_bench.pocket.vocabulary import Caption, parse_caption
from vader_bench.pocket.world import FRAMES, SIZE
from vader_bench.rewards.base import REWARDS, Judgement, Reward
from vader_bench.rewards.preprocess import check_video

__all__ = ["Oracle"]


@REWARDS.register("oracle")
class Oracle(Reward):
    """How much of its prompt a pocket clip shows, by classical measurement (see ``pocket.oracle``)."""

    name = "oracle"
    differentiable = False
    frames = FRAMES
    units = "share of colour, noun, action and scene that is as asked"
    value_range = (0.0, 1.0)
    source = "measured on pixels; no weights"

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, 8, 3, 64, 64] in [0, 1].

        Raises:
            UserError: a prompt is not a sentence of the pocket world, or the video has another size.
        """
        check_video(self.name, video, prompts, FRAMES)
        if video.shape[-2:] != (SIZE, SIZE):
            raise UserError(
                f"video of shape {tuple(video.shape)}",
                "cannot be measured by the oracle",
                f"it wants frames of {SIZE} x {SIZE}: use it with the pocket suite alone",
            )
        clips = video.detach().cpu().permute(0, 1, 3, 4, 2).numpy()
        scores = [gold(clip, _caption(prompt)) for clip, prompt in zip(clips, prompts, strict=True)]
        score = torch.tensor(scores, dtype=video.dtype, device=video.device)
        return Judgement(score, score)


def _caption(prompt: str) -> Caption:
    caption = parse_caption(prompt)
    if caption is None:
        raise UserError(
            f"prompt {prompt!r}",
            "is not a sentence of the pocket world, so the oracle cannot judge it",
            "write it like 'a red cat spinning in the park'",
        )
    return caption
