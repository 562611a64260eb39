"""Rewards without the values of their weights, for estimates: the same code on networks of shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vader_bench.errors import UserError
from vader_bench.files import read_json
from vader_bench.hub import HUB_PREFIX, parse_hub_name
from vader_bench.rewards.base import REWARDS, Reward
from vader_bench.rewards.clip import Aesthetic, AestheticHead, HumanPreference
from vader_bench.rewards.preprocess import Preprocess
from vader_bench.rewards.videomae import Action
from vader_bench.weights import resolve

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

__all__ = ["SKELETONS", "reward_skeleton"]

_VIT_L_14 = {
    "projection_dim": 768,
    "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
    },
}
_VIT_H_14 = {
    "projection_dim": 1024,
    "text_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
    },
    "vision_config": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_attention_heads": 16,
        "num_hidden_layers": 32,
        "patch_size": 14,
    },
}
_RELEASED: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14": _VIT_L_14,
    "xswu/HPSv2": _VIT_H_14,
    "MCG-NJU/videomae-base-finetuned-kinetics": {"num_labels": 400},
}
"""Sizes of networks on the hub, where they differ from the defaults of their transformers classes."""

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


class _Action(Action):
    def __init__(self, model: str, keywords: object = None) -> None:  # noqa: ARG002 - the classes' names do not matter
        from transformers import VideoMAEConfig, VideoMAEForVideoClassification

        config = VideoMAEConfig(**_config(model))
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


SKELETONS: dict[str, Callable[..., Reward]] = {
    "aesthetic": _Aesthetic,
    "hps": _HumanPreference,
    "action": _Action,
}
"""Families with weights that can be built without them."""


def reward_skeleton(family: str, settings: dict[str, Any]) -> Reward:
    """Return the reward without the values of its weights, on the device ``meta``.

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
    if any(isinstance(value, str) and "/" in value for value in settings.values()):
        known = ", ".join(sorted(SKELETONS))
        raise UserError(
            f"reward family {family!r}",
            "cannot be estimated without a run yet",
            f"leave it out of the experiment; of those with weights, `plan` knows {known}",
        )
    return REWARDS.get(family)(**settings)


def _config(weights: str) -> dict[str, Any]:
    """Return the configuration: of the folder if it is here, of the released network if not."""
    try:
        path: Path | None = resolve(weights) / "config.json"
    except UserError:
        if not weights.startswith(HUB_PREFIX) or parse_hub_name(weights).repository not in _RELEASED:
            raise
        path = None
    if path is not None and path.is_file():
        config: dict[str, Any] = read_json(path)
        return config
    repository = parse_hub_name(weights).repository if weights.startswith(HUB_PREFIX) else ""
    if repository not in _RELEASED:
        remedy = "give a folder with a config.json, or a name on the hub that `plan` knows"
        raise UserError(f"weights {weights!r}", "do not say their sizes", remedy)
    return _RELEASED[repository]


def _clip_config(weights: str) -> CLIPConfig:
    from transformers import CLIPConfig

    return CLIPConfig(**_config(weights))


def _frozen_clip(config: CLIPConfig) -> CLIPModel:
    from transformers import CLIPModel

    clip: nn.Module = CLIPModel(config).eval().requires_grad_(False)
    return clip


def _no_words(prompts: list[str], *, max_length: int, **_: object) -> dict[str, Tensor]:
    """Return tokens [B, max_length] as a tokenizer does: what they are does not matter."""
    return {"input_ids": torch.zeros(len(prompts), max_length, dtype=torch.long)}
