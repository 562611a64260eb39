"""What every reward looks like to the rest of the project."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vader_bench.config.arguments import argument_faults
from vader_bench.config.yamlfile import Fault, raise_faults
from vader_bench.errors import UserError
from vader_bench.prompts.sets import PromptReader
from vader_bench.rewards import REWARDS
from vader_bench.rewards.preprocess import check_video

__all__ = [
    "FramesSeen", "Judgement", "PromptReader", "Reward", "RewardFactory", "StandIn", "counted",
    "fitting_factory", "frames_said", "frames_seen", "frames_to_judge", "make_reward", "prompt_reader",
    "refuse_non_finite", "reward_skeleton", "setting_faults", "yields_gradient",
]  # fmt: skip


class Judgement(NamedTuple):
    """What one look of a reward model at a batch of videos yields."""

    score: Tensor
    """The reward, one number a video [B]: what is reported, and what DDPO and Diffusion-DPO use."""
    objective: Tensor
    """What gradient methods raise [B]: ``score``, unless a reward is asked for another, as its logarithm."""


class FramesSeen(NamedTuple):
    """Which frames of a video a reward judges; see the attributes of ``Reward``."""

    frames: int | None
    by_frame: bool


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
    def load(cls, *args: Any, **settings: Any) -> Reward:
        """Return the reward of these settings, frozen, on the CPU; by default, they are the constructor's.

        A family with weights reads them here and has its networks passed to its constructor, as ``skeleton``
        does: what is made in the constructor is there in both.

        Raises:
            UserError: the settings do not fit, or weights are missing or faulty.
        """
        return cls(*args, **settings)

    @classmethod
    def skeleton(cls, *args: Any, **settings: Any) -> Reward:
        """Return the reward without the values of its weights, for estimates; arguments as for ``load``.

        It is called with ``meta`` as the default device. By default, what stands for the reward costs
        nothing, and ``plan`` says so.

        Raises:
            UserError: the settings do not fit, or nobody knows the sizes of the networks.
        """
        del args
        return StandIn.of(cls, settings)

    @classmethod
    def counted(cls, **settings: Any) -> bool:
        """Return whether it is known what the reward of these ``settings`` costs."""
        del settings
        return _has_own(cls, "skeleton")

    @classmethod
    def has_gradient(cls, **settings: Any) -> bool:
        """Return whether the reward of these ``settings`` is differentiable, without its weights."""
        del settings
        return cls.differentiable

    @classmethod
    def frames_seen(cls, **settings: Any) -> FramesSeen:
        """Return which frames the reward of these ``settings`` judges, without its networks.

        A family whose number of frames comes from elsewhere says so here too.

        Raises:
            UserError: the settings do not fit, or nobody knows the sizes of the networks.
        """
        return _seen_by_settings(settings, cls.frames, cls.by_frame)

    @classmethod
    def reader(cls, **settings: Any) -> PromptReader | None:
        """Return what refuses a prompt as ``judge`` would, without the weights; ``None`` if none is refused.

        Raises:
            UserError: the settings do not fit, or files that are needed to tell are missing.
        """
        del settings
        return None


class StandIn(Reward):
    """Stands for a reward that needs its weights, pixels or the user's code: it costs nothing.

    Args:
        frames: as of the reward.
        by_frame: as of the reward.
        differentiable: as of the reward.
    """

    name = "stand-in"
    units = "unknown"
    value_range = (-math.inf, math.inf)
    source = "stands for another"

    def __init__(self, *, frames: int | None, by_frame: bool, differentiable: bool) -> None:
        self.frames = frames
        self.by_frame = by_frame
        self.differentiable = differentiable

    @classmethod
    def of(cls, kind: type[Reward], settings: Mapping[str, Any]) -> StandIn:
        """Return what stands for the reward ``kind`` of ``settings``, as far as they tell."""
        seen = kind.frames_seen(**settings)
        return cls(frames=seen.frames, by_frame=seen.by_frame, differentiable=kind.has_gradient(**settings))

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Return a number for each of ``video`` [B, F, 3, H, W]."""
        check_video(self.name, video, prompts, self.frames)
        score = (video if self.differentiable else video.detach()).mean((1, 2, 3, 4))
        return Judgement(score, score)


def refuse_non_finite(reward: str, score: Tensor, prompts: Sequence[str]) -> None:
    """Stop with a clear error when ``score`` [B] holds a NaN or an infinity."""
    bad = [prompt for prompt, ok in zip(prompts, torch.isfinite(score).tolist(), strict=True) if not ok]
    if bad:
        raise UserError(
            f"reward {reward!r} on prompt {bad[0]!r}",
            f"returned a value that is not finite for {len(bad)} of {len(prompts)} videos",
            "check the reward and its weights; a missing score is never replaced",
        )


def frames_to_judge(frames: int | None, total: int) -> list[int]:
    """Return which of the ``total`` frames of a video are judged by a reward that wants ``frames``.

    They are evenly spaced: the middle one of each of as many parts.

    Raises:
        UserError: it wants more than there are, or none.
    """
    if frames is None:
        return list(range(total))
    if not 1 <= frames <= total:
        remedy = f"choose {'at most' if frames > total else '1 to'} {total}, or another reward"
        raise UserError(f"{frames} frames to judge", f"a video has {total}", remedy)
    return [(2 * i + 1) * total // (2 * frames) for i in range(frames)]


def frames_said(frames: int | None, by_frame: bool, decode_frames: int | None, total: int) -> str:
    """Return in words which frames of a video training and looks judge; arguments as of reward and suite."""
    looks = "all" if frames in {None, total} else f"{frames} evenly spaced"
    if frames is None and by_frame and decode_frames not in {None, total}:
        return f"{decode_frames} random frames of {total} in training, {looks} of them at looks"
    return f"{looks} of {total} frames in training and at looks"


RewardFactory = Callable[..., Reward]


def make_reward(family: str, settings: Mapping[str, Any]) -> Reward:
    """Return the reward that a suite file describes, frozen, on the CPU.

    Args:
        family: registered name.
        settings: of the family.

    Raises:
        UserError: the family is unknown, takes other settings or refuses these, or makes no reward.
    """
    factory = fitting_factory(family, settings)
    reward: object = _maker(factory)(**settings)  # an installed package may keep no promise
    if not isinstance(reward, Reward):
        wrong = f"makes {type(reward).__name__}, which is no Reward"
        raise UserError(f"reward {family!r}", wrong, "extend vader_bench.rewards.Reward")
    return reward


def fitting_factory(family: str, settings: Mapping[str, Any]) -> RewardFactory:
    """Return what makes rewards of ``family``, which takes settings of these names and types.

    Raises:
        UserError: the family is unknown, or takes other settings.
    """
    factory = _named_factory(family, settings)
    raise_faults(f"settings of reward {family!r}", argument_faults(_maker(factory), settings))
    return factory


def setting_faults(family: str, settings: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what keeps ``settings`` from being those of a reward of ``family``; of ``mix`` the parts count.

    Whatever reads settings relies on it that nothing does.
    """
    try:
        factory = _named_factory(family, settings)
    except UserError as error:
        yield Fault("", f"{error.given} {error.wrong}", error.remedy)
        return
    wrong = list(argument_faults(_maker(factory), settings))
    yield from wrong
    if family == "mix" and not wrong:
        for part, own in settings["parts"].items():
            for fault in setting_faults(part, own or {}):
                yield fault._replace(key=".".join(filter(None, ["parts", part, fault.key])))


def _named_factory(family: str, settings: Mapping[str, Any]) -> RewardFactory:
    """Return what makes rewards of ``family``, which takes settings of these names.

    Raises:
        UserError: the family is unknown, or takes others.
    """
    factory = REWARDS.get(family)
    signature = inspect.signature(_maker(factory))
    try:
        signature.bind(**settings)
    except TypeError as error:
        remedy = f"its settings are: {', '.join(signature.parameters) or '(none)'}"
        raise UserError(f"settings of reward {family!r}", f"do not fit ({error})", remedy) from error
    return factory


def _maker(factory: RewardFactory) -> RewardFactory:
    """Return what takes the settings, and shows them in its signature."""
    if isinstance(factory, type) and issubclass(factory, Reward) and _has_own(factory, "load"):
        return factory.load
    return factory


def _has_own(kind: type[Reward], method: str) -> bool:
    """Return whether ``kind`` does not leave the class method to the base class."""
    return inspect.getattr_static(kind, method) is not inspect.getattr_static(Reward, method)


def reward_skeleton(family: str, settings: Mapping[str, Any]) -> Reward:
    """Return the reward without the values of its weights, on the device ``meta``.

    One whose cost is not ``counted`` has none.

    Args:
        family: registered name.
        settings: of the family. Weights need not be here if the sizes of the network are known; if they are,
            only configuration files are read.

    Raises:
        UserError: the family is unknown, takes other settings, or nobody knows the sizes.
    """
    factory = fitting_factory(family, settings)
    with torch.device("meta"):
        if isinstance(factory, type) and issubclass(factory, Reward):
            return factory.skeleton(**settings)
        seen = frames_seen(family, settings)
        return StandIn(frames=seen.frames, by_frame=seen.by_frame, differentiable=True)


def counted(family: str, settings: Mapping[str, Any]) -> bool:
    """Return whether it is known what a reward costs, as its class says; of a function nobody knows."""
    factory = fitting_factory(family, settings)
    return isinstance(factory, type) and issubclass(factory, Reward) and factory.counted(**settings)


def frames_seen(family: str, settings: Mapping[str, Any]) -> FramesSeen:
    """Return which frames a reward judges, as far as is known without its networks; of a function, any."""
    factory = fitting_factory(family, settings)
    if isinstance(factory, type) and issubclass(factory, Reward):
        return factory.frames_seen(**settings)
    return _seen_by_settings(settings)


def _seen_by_settings(
    settings: Mapping[str, Any], frames: int | None = None, by_frame: bool = False
) -> FramesSeen:
    """Return what ``settings`` say, or else ``frames`` and ``by_frame``; a reward may mean others by them."""
    given = settings.get("frames", frames)
    return FramesSeen(given if type(given) is int else None, settings.get("by_frame", by_frame) is True)


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
