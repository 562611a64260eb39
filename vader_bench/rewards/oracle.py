"""What the pixel oracle measures, as rewards: the share of the prompt, and truths of single things.

No run trains on them. They are black boxes for clips of the pocket world.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from vader_bench.errors import UserError
from vader_bench.pocket.books import shows_book
from vader_bench.pocket.constancy import constancy
from vader_bench.pocket.oracle import look, prompt_share
from vader_bench.pocket.shapes import Field
from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES, Caption, parse_caption
from vader_bench.pocket.world import FRAMES, SIZE
from vader_bench.rewards.base import Judgement, PromptReader, Reward, StandIn
from vader_bench.rewards.preprocess import check_video

__all__ = ["ActionVerdict", "ActorConstancy", "BookAbsence", "ClipMeasure", "Oracle", "asked_for"]


class ClipMeasure(Reward):
    """A measurement on the pixels of one clip of the pocket world at a time."""

    differentiable = False
    frames = FRAMES
    source = "measured on pixels; no weights"
    reads_prompts: ClassVar[bool] = False
    """Whether the prompt must be a sentence of the pocket world."""

    @classmethod
    def reader(cls, **settings: Any) -> PromptReader | None:
        """Return what refuses prompts that are no sentence of the pocket world, where they matter."""
        del settings
        return asked_for if cls.reads_prompts else None

    @classmethod
    def skeleton(cls) -> StandIn:
        """Return what costs no FLOPs, as the measurement does: it cannot look at a video without pixels."""
        return StandIn.of(cls, {})

    @abstractmethod
    def measure(self, clip: Field, prompt: str) -> float:
        """Return the score of ``clip`` [8, 64, 64, 3] in [0, 1]."""

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, 8, 3, 64, 64] in [0, 1].

        Raises:
            UserError: the video has another size, or a prompt is wanted and is no sentence of the pocket
                world.
        """
        check_video(self.name, video, prompts, FRAMES)
        if video.shape[-2:] != (SIZE, SIZE):
            raise UserError(
                f"video of shape {tuple(video.shape)}",
                "cannot be measured by the oracle",
                f"it wants frames of {SIZE} x {SIZE}: use it with the pocket suite alone",
            )
        clips = video.detach().float().cpu().permute(0, 1, 3, 4, 2).numpy()
        scores = [self.measure(clip, prompt) for clip, prompt in zip(clips, prompts, strict=True)]
        score = torch.tensor(scores, dtype=video.dtype, device=video.device)
        return Judgement(score, score)


class Oracle(ClipMeasure):
    """How much of its prompt a pocket clip shows (see ``pocket.oracle.prompt_share``)."""

    name = "oracle"
    units = "share of colour, noun, action and scene that is as asked"
    value_range = (0.0, 1.0)
    reads_prompts = True

    def measure(self, clip: Field, prompt: str) -> float:
        """Return the share of ``prompt`` that ``clip`` shows."""
        return prompt_share(look(clip), asked_for(prompt))


class ActionVerdict(ClipMeasure):
    """Whether the prompt's action happens: 1 or 0. The truth of ``action``."""

    name = "action-verdict"
    units = "1 where the oracle sees the prompt's action, else 0"
    value_range = (0.0, 1.0)
    reads_prompts = True

    def measure(self, clip: Field, prompt: str) -> float:
        """Return whether ``clip`` shows the action of ``prompt``."""
        return float(look(clip).action == asked_for(prompt).action)


class BookAbsence(ClipMeasure):
    """The share of frames without a book (see ``pocket.books``). The truth of ``object-removal``."""

    name = "book-absence"
    units = "share of frames without a book"
    value_range = (0.0, 1.0)

    def measure(self, clip: Field, prompt: str) -> float:
        """Return the share of frames of ``clip`` that show no book, whatever ``prompt`` says."""
        del prompt
        return 1.0 - float(shows_book(clip).mean())


class ActorConstancy(ClipMeasure):
    """How far the actor keeps kind and colour (see ``pocket.constancy``).

    The truth of ``temporal-consistency``.
    """

    name = "actor-constancy"
    units = "share of frames with the actor's kind and colour"
    value_range = (0.0, 1.0)

    def measure(self, clip: Field, prompt: str) -> float:
        """Return how constant the actor of ``clip`` is, whatever ``prompt`` says."""
        del prompt
        return constancy(clip)


def asked_for(prompt: str) -> Caption:
    """Return what ``prompt`` asks for.

    Raises:
        UserError: it is not a sentence of the pocket world.
    """
    caption = parse_caption(prompt)
    if caption is None:
        raise UserError(
            f"prompt {prompt!r}",
            "is not a sentence of the pocket world, so the oracle cannot judge it",
            f"write it like 'a red cat spinning in the park'{_choice(prompt)}",
        )
    return caption


def _choice(prompt: str) -> str:
    """Return what may stand where ``prompt`` leaves the pocket world, if it begins like its sentences."""
    found = re.fullmatch(r"an? (\w+) (\w+) (.+)", " ".join(prompt.lower().split()))
    if found is None:
        return ""
    colour, noun, _ = found.groups()
    for word, known in ((colour, COLOURS), (noun, NOUNS)):
        if word not in known:
            return f", with {word!r} replaced by one of: {', '.join(known)}"
    return f"; it does one of: {', '.join(ACTIONS)}; and is one of: {', '.join(SCENES)}"
