"""What every reward looks like to the rest of the project."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from vader_bench.errors import UserError
from vader_bench.prompts.sets import PromptReader
from vader_bench.registry import REWARD_PLUGINS, Registry

__all__ = [
    "REWARDS", "Judgement", "PromptReader", "Reward", "RewardFactory", "fitting_factory", "frames_said",
    "frames_to_judge", "make_reward", "prompt_reader", "yields_gradient",
]  # fmt: skip


class Judgement(NamedTuple):
    """What one look of a reward model at a batch of videos yields."""

    score: Tensor
    """The reward, one number a video [B]: what is reported, and what DDPO and Diffusion-DPO use."""
    objective: Tensor
    """What gradient methods raise [B]; equal to ``score`` unless that saturates (a probability: its log)."""


class Reward(ABC):
    """A number for a video and its prompt.

    Judging a batch equals judging its videos one at a time, in any order.
    """

    name: str
    differentiable: bool = True
    frames: int | None = None
    """Frames a video must have when it is judged, evenly spaced ones of longer videos; ``None``: any."""
    by_frame: bool = False
    """Whether the score is the mean over frames of what each is worth by itself. Only of such a reward may
    training judge fewer frames than a look does; one over time sees the same frames in both."""
    units: str
    """What the score measures, e.g. ``"cosine similarity"``."""
    value_range: tuple[float, float]
    """Smallest and largest possible score; infinities are allowed."""
    source: str
    """Where the weights come from."""

    @abstractmethod
    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1], one prompt a video."""

    def score(self, video: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return the scores [B] of ``video`` [B, F, 3, H, W] in [0, 1]."""
        return self.judge(video, prompts).score

    def shown(self, video: Tensor) -> Tensor:
        """Return the frames of whole videos [B, F, 3, H, W] that the reward judges.

        Raises:
            UserError: it wants more frames than there are.
        """
        chosen = frames_to_judge(self.frames, video.shape[1])
        return video if len(chosen) == video.shape[1] else video[:, chosen]

    def verdicts(self, video: Tensor, prompts: Sequence[str]) -> list[str]:
        """Return in words what the reward sees in ``video`` [B, F, 3, H, W]; empty if it has no words."""
        del video
        return [""] * len(prompts)

    def modules(self) -> list[nn.Module]:
        """Return every network of the reward; none for a closed form."""
        return []

    @classmethod
    def has_gradient(cls, **settings: Any) -> bool:
        """Return whether the reward of these ``settings`` is differentiable, without its weights."""
        del settings
        return cls.differentiable

    @classmethod
    def reader(cls, **settings: Any) -> PromptReader | None:
        """Return what refuses a prompt as ``judge`` would, without the weights; ``None`` if none is refused.

        Raises:
            UserError: the settings do not fit, or files that are needed to tell are missing.
        """
        del settings
        return None


def frames_to_judge(frames: int | None, total: int) -> list[int]:
    """Return which of the ``total`` frames of a video are judged by a reward that wants ``frames``.

    They are evenly spaced: the middle one of each of as many parts.

    Raises:
        UserError: it wants more than there are.
    """
    if frames is None:
        return list(range(total))
    if frames > total:
        remedy = f"choose at most {total}, or another reward"
        raise UserError(f"{frames} frames to judge", f"a video has {total}", remedy)
    return [(2 * i + 1) * total // (2 * frames) for i in range(frames)]


def frames_said(frames: int | None, by_frame: bool, decode_frames: int | None, total: int) -> str:
    """Return in words which frames of a video training and looks judge; arguments as of reward and suite."""
    looks = "all" if frames in {None, total} else f"{frames} evenly spaced"
    if frames is None and by_frame and decode_frames not in {None, total}:
        return f"{decode_frames} random frames of {total} in training, {looks} of them at looks"
    return f"{looks} of {total} frames in training and at looks"


RewardFactory = Callable[..., Reward]

REWARDS: Registry[RewardFactory] = Registry("reward", group=REWARD_PLUGINS)
"""Reward families by the name that suite files use; called with the suite's settings as keywords."""


def make_reward(family: str, settings: Mapping[str, Any]) -> Reward:
    """Return the reward that a suite file describes, frozen, on the CPU.

    Args:
        family: registered name.
        settings: of the family.

    Raises:
        UserError: the family is unknown, takes other settings or refuses these, or makes no reward.
    """
    factory = fitting_factory(family, settings)
    reward: object = factory(**settings)  # an installed package may keep no promise
    if not isinstance(reward, Reward):
        wrong = f"makes {type(reward).__name__}, which is no Reward"
        raise UserError(f"reward {family!r}", wrong, "extend vader_bench.rewards.Reward")
    return reward


def fitting_factory(family: str, settings: Mapping[str, Any]) -> RewardFactory:
    """Return what makes rewards of ``family``, which takes settings of these names.

    Raises:
        UserError: the family is unknown, or takes other settings.
    """
    factory = REWARDS.get(family)
    signature = inspect.signature(factory)
    try:
        signature.bind(**settings)
    except TypeError as error:
        remedy = f"its settings are: {', '.join(signature.parameters) or '(none)'}"
        raise UserError(f"settings of reward {family!r}", f"do not fit ({error})", remedy) from error
    return factory


def yields_gradient(family: str, settings: Mapping[str, Any]) -> bool:
    """Return whether a reward is differentiable, as far as is known without its weights."""
    factory = fitting_factory(family, settings)
    if isinstance(factory, type) and issubclass(factory, Reward):
        return factory.has_gradient(**settings)
    return True  # a function tells nothing before it is called


def prompt_reader(family: str, settings: Mapping[str, Any]) -> PromptReader | None:
    """Return what refuses a prompt as the reward would; see ``Reward.reader``."""
    factory = fitting_factory(family, settings)
    if isinstance(factory, type) and issubclass(factory, Reward):
        return factory.reader(**settings)
    return None
