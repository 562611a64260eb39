"""A weighted sum of other rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from vader_bench.errors import UserError
from vader_bench.rewards.base import (
    FramesSeen,
    Judgement,
    PromptReader,
    Reward,
    counted,
    frames_seen,
    make_reward,
    prompt_reader,
    reward_skeleton,
    yields_gradient,
)

__all__ = ["Mix", "weighted_sum"]


def weighted_sum(values: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the sum [B] of weight times value over the names of ``values``, [B] each."""
    first, *others = (weights[name] * value for name, value in values.items())
    return sum(others, start=first)


class Mix(Reward):
    """Several rewards at once: score = sum of weight times score.

    Objective = sum of objective weight times objective. The range is that of the sum; source and licence are
    those of the parts. One look of the mix is one query, whatever the number of parts.

    The VADER paper (arXiv:2407.08737) reports (s + 15 c) / 2 of the aesthetic rating s and the preference
    cosine c, and its code raises (0.15 s + c) / 2, since its loss is (1.5 x 0.1 |10 - s| + |1 - c|) / 2::

        family: mix
        settings:
          parts:
            aesthetic: {clip: ./clip-vit-large-patch14, head: ./sac+logos+ava1-l14-linearMSE.pth}
            hps: {model: ./HPS_v2.1_compressed.pt, tokenizer: ./CLIP-ViT-H-14}
          weights: {aesthetic: 0.5, hps: 7.5}
          objective_weights: {aesthetic: 0.075, hps: 0.5}

    Args:
        parts: the rewards by their families.
        weights: as for ``load``.
        objective_weights: as for ``load``.

    Raises:
        UserError: there are no parts, weights do not go with them, or two parts judge different numbers of
            frames.
    """

    name = "mix"

    def __init__(
        self,
        parts: Mapping[str, Reward],
        weights: Mapping[str, float],
        objective_weights: Mapping[str, float] | None = None,
    ) -> None:
        self._parts = parts
        self._weights, self._objective_weights = _both_weights(parts, weights, objective_weights)
        self.differentiable = all(part.differentiable for part in parts.values())
        self.frames = _frames(parts)
        self.by_frame = all(part.by_frame for part in parts.values())
        self.units = " + ".join(f"{self._weights[name]:g} x ({part.units})" for name, part in parts.items())
        self.value_range = _range(parts, self._weights)
        self.source = "; ".join(f"{name}: {part.source}" for name, part in parts.items())

    @classmethod
    def load(
        cls,
        parts: Mapping[str, Mapping[str, Any] | None],
        weights: Mapping[str, float],
        objective_weights: Mapping[str, float] | None = None,
    ) -> Mix:
        """Return the mixture of the rewards of these settings.

        Args:
            parts: settings by reward family.
            weights: of the scores, finite and not 0, one a part; a negative one makes less of it better.
            objective_weights: of the objectives; the same as ``weights`` by default.

        Raises:
            UserError: as the class, or a part is unknown or faulty.
        """
        _both_weights(parts, weights, objective_weights)  # faults are said before networks are read
        made = {family: make_reward(family, own or {}) for family, own in parts.items()}
        return cls(made, weights, objective_weights)

    @classmethod
    def skeleton(
        cls,
        parts: Mapping[str, Mapping[str, Any] | None],
        weights: Mapping[str, float],
        objective_weights: Mapping[str, float] | None = None,
    ) -> Mix:
        """Return the mixture of rewards without values."""
        made = {family: reward_skeleton(family, own or {}) for family, own in parts.items()}
        return cls(made, weights, objective_weights)

    @classmethod
    def counted(cls, **settings: Any) -> bool:
        """Return whether it is known what all parts cost."""
        parts: Mapping[str, Mapping[str, Any] | None] = settings["parts"]
        return all(counted(family, own or {}) for family, own in parts.items())

    @classmethod
    def has_gradient(cls, **settings: Any) -> bool:
        """Return whether all parts are differentiable."""
        parts: Mapping[str, Mapping[str, Any] | None] = settings["parts"]
        return all(yields_gradient(family, own or {}) for family, own in parts.items())

    @classmethod
    def frames_seen(cls, **settings: Any) -> FramesSeen:
        """Return which frames all parts judge.

        Raises:
            UserError: weights do not go with the parts, or two of them judge different numbers of frames.
        """
        parts: Mapping[str, Mapping[str, Any] | None] = settings["parts"]
        _both_weights(parts, settings["weights"], settings.get("objective_weights"))
        seen = {family: frames_seen(family, own or {}) for family, own in parts.items()}
        return FramesSeen(_frames(seen), all(part.by_frame for part in seen.values()))

    @classmethod
    def reader(cls, **settings: Any) -> PromptReader | None:
        """Return what refuses a prompt as one of the parts would."""
        parts: Mapping[str, Mapping[str, Any] | None] = settings["parts"]
        found = [prompt_reader(family, own or {}) for family, own in parts.items()]
        readers = [reader for reader in found if reader is not None]
        return (lambda prompt: [read(prompt) for read in readers]) if readers else None

    def modules(self) -> list[nn.Module]:
        """Return the networks of all parts."""
        return [module for part in self._parts.values() for module in part.modules()]

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1], one prompt a video.

        Raises:
            UserError: as the parts.
        """
        judged = {name: part.judge(video, prompts) for name, part in self._parts.items()}
        return Judgement(
            weighted_sum({name: each.score for name, each in judged.items()}, self._weights),
            weighted_sum({name: each.objective for name, each in judged.items()}, self._objective_weights),
        )


def _both_weights(
    parts: Mapping[str, Any], weights: Mapping[str, float], objective_weights: Mapping[str, float] | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the weights of scores and of objectives after checking that each part has one of each."""
    if not parts:
        raise UserError("mix: parts", "are none", "name at least one reward family with its settings")
    checked = _checked("weights", weights, parts)
    return checked, _checked("objective_weights", objective_weights or weights, parts)


def _checked(key: str, weights: Mapping[str, float], parts: Mapping[str, Any]) -> dict[str, float]:
    """Return ``weights`` after checking that each part has one."""
    odd = sorted(weights.keys() ^ parts.keys())
    if odd:
        remedy = f"give one weight each for: {', '.join(sorted(parts))}"
        raise UserError(f"mix: {key}", f"and parts differ in {', '.join(odd)}", remedy)
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise UserError(f"mix: {key}.{name} = {weight!r}", "is not a number", "give a number")
        if weight == 0 or not math.isfinite(weight):
            raise UserError(f"mix: {key}.{name} = {weight}", "mixes nothing", "leave the part out")
    return dict(weights)


def _frames(parts: Mapping[str, Reward | FramesSeen]) -> int | None:
    """Return the number of frames that all parts can judge."""
    wanted = {name: part.frames for name, part in parts.items() if part.frames is not None}
    if len(set(wanted.values())) > 1:
        said = ", ".join(f"{name} {frames}" for name, frames in wanted.items())
        remedy = "mix rewards that judge the same number of frames, or any"
        raise UserError("mix: parts", f"judge different numbers of frames: {said}", remedy)
    return next(iter(wanted.values()), None)


def _range(parts: Mapping[str, Reward], weights: Mapping[str, float]) -> tuple[float, float]:
    ends = [sorted(weights[name] * end for end in part.value_range) for name, part in parts.items()]
    return sum(low for low, _ in ends), sum(high for _, high in ends)
