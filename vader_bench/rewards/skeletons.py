"""Rewards without the values of their weights, for estimates: the same code on networks of shapes alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vader_bench.errors import UserError
from vader_bench.rewards.base import REWARDS, Judgement, Reward, yields_gradient
from vader_bench.rewards.clip import Aesthetic, AestheticHead, HumanPreference
from vader_bench.rewards.jpeg import JpegCompressibility
from vader_bench.rewards.mix import Mix
from vader_bench.rewards.pickscore import PickScore
from vader_bench.rewards.preprocess import CropPreprocess, HeightPreprocess, Preprocess, check_video
from vader_bench.rewards.videomae import Action
from vader_bench.rewards.vjepa import TemporalConsistency
from vader_bench.rewards.yolos import ObjectRemoval
from vader_bench.weights.sizes import read_sizes

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

__all__ = ["SKELETONS", "counted", "reward_skeleton"]

_HALF = (0.5, 0.5, 0.5)


class _Aesthetic(Aesthetic):
    def __init__(self, clip: str, head: str) -> None:  # noqa: ARG002 - the head's size follows from CLIP's
        config = _clip_config(clip)
        self._clip = _frozen_clip(config)
        del self._clip.text_model, self._clip.text_projection
        self._preprocess = Preprocess(config.vision_config.image_size, _HALF, _HALF)
        self._head = AestheticHead(torch.zeros(config.projection_dim), torch.zeros(1))


class _HumanPreference(HumanPreference):
    def __init__(self, model: str, tokenizer: str | None = None) -> None:  # noqa: ARG002 - see _no_words
        config = _clip_config(model)
        self._clip = _frozen_clip(config)
        self._preprocess = Preprocess(config.vision_config.image_size, _HALF, _HALF)
        self._tokenizer: Any = _no_words


class _PickScore(PickScore):
    def __init__(self, model: str, tokenizer: str | None = None) -> None:  # noqa: ARG002 - see _no_words
        config = _clip_config(model)
        self._clip = _frozen_clip(config)
        self._preprocess = CropPreprocess(config.vision_config.image_size, _HALF, _HALF)
        self._tokenizer: Any = _no_words


class _Action(Action):
    def __init__(self, model: str, keywords: object = None) -> None:  # noqa: ARG002 - the classes' names do not matter
        from transformers import VideoMAEConfig, VideoMAEForVideoClassification

        config = VideoMAEConfig(**_sizes(model))
        self._model = VideoMAEForVideoClassification(config).eval().requires_grad_(False)
        self._preprocess = Preprocess(config.image_size, _HALF, _HALF)
        self._finder: Any = _FirstClass()
        self.frames = config.num_frames


class _FirstClass:
    """A ``ClassFinder`` for which every prompt speaks of the first class."""

    def find(self, prompt: str) -> int:
        """Return 0."""
        del prompt
        return 0


class _ObjectRemoval(ObjectRemoval):
    def __init__(self, model: str, target: str, height: int = 512) -> None:  # noqa: ARG002 - any class will do
        from transformers import YolosConfig, YolosForObjectDetection

        self._model = YolosForObjectDetection(YolosConfig(**_sizes(model))).eval().requires_grad_(False)
        self._preprocess = HeightPreprocess(height, _HALF, _HALF)
        self._target = 0


class _TemporalConsistency(TemporalConsistency):
    def __init__(self, model: str, frames: int | None = None, masks: int = 1, seed: int = 0) -> None:
        from transformers import VJEPA2Config, VJEPA2Model

        config = VJEPA2Config(**_sizes(model))
        self._model = VJEPA2Model(config).eval().requires_grad_(False)
        places = self._model.predictor.embeddings
        places.forward = partial(_placed, places)
        self._preprocess = Preprocess(config.crop_size, _HALF, _HALF)
        with torch.device("cpu"):  # what the masks hide is drawn as in a run
            self._set_masks(frames, masks, seed)


def _placed(
    embeddings: nn.Module, features: Tensor, context: list[Tensor], target: list[Tensor], mask_index: int
) -> tuple[Tensor, Tensor]:
    """Return what the predictor's embeddings do, which look into the positions for the largest one."""
    hidden = embeddings.mask_tokens[mask_index].expand(len(features), target[0].shape[1], -1)  # type: ignore[index]
    tokens = torch.cat([embeddings.predictor_embeddings(features), hidden], dim=1)  # type: ignore[operator]
    return tokens, torch.cat([context[0], target[0]], dim=1)


class _JpegCompressibility(JpegCompressibility):
    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Return scores without values: an encoder of files cannot look at a video without pixels."""
        check_video(self.name, video, prompts)
        score = video.new_empty(len(video))
        return Judgement(score, score)


class _Mix(Mix):
    def __init__(
        self,
        parts: Mapping[str, Mapping[str, Any]],
        weights: Mapping[str, float],
        objective_weights: Mapping[str, float] | None = None,
    ) -> None:
        self._weights = dict(weights)
        self._objective_weights = dict(objective_weights or weights)
        made = {family: reward_skeleton(family, dict(settings or {})) for family, settings in parts.items()}
        self._take(made)


class _Uncounted(Reward):
    """Stands for a reward that cannot be made without its weights or the user's code: it costs nothing."""

    name = "uncounted"
    units = "unknown"
    value_range = (-math.inf, math.inf)
    source = "stands for another"

    def __init__(self, settings: Mapping[str, Any], differentiable: bool) -> None:
        self.frames = settings.get("frames")
        self.by_frame = settings.get("by_frame") is True
        self.differentiable = differentiable

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Return a number for each of ``video`` [B, F, 3, H, W]."""
        check_video(self.name, video, prompts, self.frames)
        score = video.mean((1, 2, 3, 4))
        return Judgement(score, score)


SKELETONS: dict[str, Callable[..., Reward]] = {
    "action": _Action,
    "aesthetic": _Aesthetic,
    "hps": _HumanPreference,
    "jpeg-compressibility": _JpegCompressibility,
    "mix": _Mix,
    "object-removal": _ObjectRemoval,
    "pickscore": _PickScore,
    "temporal-consistency": _TemporalConsistency,
}
"""Families with weights, which can be built without them, or with more than tensor code."""


def counted(family: str, settings: Mapping[str, Any]) -> bool:
    """Return whether it is known what a reward costs: not of a plug-in, nor of a package of others."""
    if family == "mix":
        return all(counted(part, own or {}) for part, own in settings["parts"].items())
    ours = REWARDS.get(family).__module__.startswith(f"{__name__.partition('.')[0]}.")
    return family != "plugin" and ours


def reward_skeleton(family: str, settings: dict[str, Any]) -> Reward:
    """Return the reward without the values of its weights, on the device ``meta``.

    One whose cost is not ``counted`` has none.

    Args:
        family: a registered family.
        settings: as in a suite. Weights need not be here if the sizes of the network are known; if they
            are, only configuration files are read. A family without weights is built as it is.

    Raises:
        UserError: the family cannot be built without weights, or nobody knows the sizes.
    """
    if family in SKELETONS:
        with torch.device("meta"):
            return SKELETONS[family](**settings)
    if not counted(family, settings):
        return _Uncounted(settings, yields_gradient(family, settings))
    if any(isinstance(value, str) and "/" in value for value in settings.values()):
        known = ", ".join(sorted(SKELETONS))
        raise UserError(
            f"reward family {family!r}",
            "cannot be estimated without a run yet",
            f"leave it out of the experiment; of those with weights, `plan` knows {known}",
        )
    return REWARDS.get(family)(**settings)


def _sizes(weights: str) -> dict[str, Any]:
    """Return the configuration: of the folder if it is here, of the released network if not."""
    return read_sizes(weights, {"model": "config.json"})["model"]


def _clip_config(weights: str) -> CLIPConfig:
    from transformers import CLIPConfig

    return CLIPConfig(**_sizes(weights))


def _frozen_clip(config: CLIPConfig) -> CLIPModel:
    from transformers import CLIPModel

    clip: nn.Module = CLIPModel(config).eval().requires_grad_(False)
    return clip


def _no_words(prompts: list[str], *, max_length: int, **_: object) -> dict[str, Tensor]:
    """Return tokens [B, max_length] as a tokenizer does: what they are does not matter."""
    return {"input_ids": torch.zeros(len(prompts), max_length, dtype=torch.long)}
