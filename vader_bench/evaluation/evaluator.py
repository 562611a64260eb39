"""What evaluation videos show: their scores and measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

import torch
from torch import Tensor

from vader_bench.backbones.base import Backbone
from vader_bench.config.schema import SamplerConfig
from vader_bench.diffusion.lora import Lora
from vader_bench.diffusion.sampler import Sampler, draw_noise
from vader_bench.evaluation.generator import PromptSample, VideoGenerator
from vader_bench.evaluation.metrics import diversity, features, motion
from vader_bench.evaluation.path_kl import path_kl
from vader_bench.records.record import VideoScore
from vader_bench.rewards.base import Reward, refuse_non_finite
from vader_bench.seeding import torch_stream

__all__ = ["EvaluationResult", "Evaluator"]


@dataclass(frozen=True)
class EvaluationResult:
    """What a look at a model shows."""

    scores: list[VideoScore]
    """Prompt by prompt, its samples in order."""
    diversity: float | None
    """See ``metrics.diversity``."""
    motion: float
    """See ``metrics.motion``; the mean over all videos."""


@dataclass(frozen=True)
class Evaluator:
    """Looks at a model, at videos that a ``VideoGenerator`` makes, without spending anything."""

    backbone: Backbone
    """With the adapters of the method under test in its denoiser."""
    sampler: SamplerConfig
    reward: Reward
    """The reward the run trains on."""
    gold: Reward | None
    """The truth that the reward imitates; no run trains on it."""
    device: str
    sampled: Callable[[int], None] = lambda _: None
    """Called with the number of videos whenever some are ready."""
    batch: int = 16
    """Videos sampled at a time."""
    judges: Mapping[str, Reward] = field(default_factory=dict)
    """Other rewards that score every video, by name."""
    prompt_share: Reward | None = None
    """What measures the share of its prompt that a video shows; no run trains on it."""

    def look(self, prompts: Sequence[str], samples: int) -> EvaluationResult:
        """Return what is seen of ``samples`` videos of each prompt.

        Raises:
            UserError: a score is not finite.
        """
        asked = [(prompt, sample) for sample in range(samples) for prompt in prompts]
        scores: list[VideoScore] = []
        vectors, motions = [], []
        for video, batch in self._generator.batches(asked):
            scores += self.judge(video, batch)
            vectors.append(features(video).cpu())
            motions += motion(video).tolist()
        spread = diversity(torch.cat(vectors), [prompt for prompt, _ in asked])
        return EvaluationResult(sorted(scores, key=lambda s: prompts.index(s.prompt)), spread, fmean(motions))

    def videos(self, asked: Sequence[PromptSample]) -> Tensor:
        """Return the videos [N, F, 3, H, W] in [0, 1] that N pairs of prompt and sample ask for."""
        return torch.cat([video for video, _ in self._generator.batches(asked)])

    @property
    def _generator(self) -> VideoGenerator:
        return VideoGenerator(self.backbone, self.sampler, self.device, self.sampled, self.batch)

    def judge(self, video: Tensor, asked: Sequence[PromptSample]) -> list[VideoScore]:
        """Return the scores of ``video`` [B, F, 3, H, W] in [0, 1], in the order of ``asked``.

        Raises:
            UserError: a score is not finite.
        """
        prompts = [prompt for prompt, _ in asked]
        rewards = _scores(self.reward, video, prompts)
        golds, shares = (
            [None] * len(asked) if measure is None else _scores(measure, video, prompts)
            for measure in (self.gold, self.prompt_share)
        )
        others = {name: _scores(judge, video, prompts) for name, judge in self.judges.items()}
        return [
            VideoScore(
                prompt=prompt,
                sample=sample,
                reward=rewards[index],
                gold=golds[index],
                prompt_share=shares[index],
                others={name: scores[index] for name, scores in others.items()},
            )
            for index, (prompt, sample) in enumerate(asked)
        ]

    def path_kl(self, prompts: Sequence[str], lora: Lora) -> float:
        """Return the mean of ``path_kl`` over one path a prompt, sampled with the noise of training."""
        return fmean(
            value
            for first in range(0, len(prompts), self.batch)
            for value in self._path_kl(prompts[first : first + self.batch], lora).tolist()
        )

    @torch.no_grad()
    def _path_kl(self, prompts: Sequence[str], lora: Lora) -> Tensor:
        shape = (1, *self.backbone.latent_shape)
        streams = [torch_stream(0, "path kl", prompt) for prompt in prompts]
        noise = partial(_draw_all, shape, streams, self.device)
        encoded = self.backbone.encode(prompts)
        given = self.sampler
        guidance = self.backbone.guidance(given.guidance, given.guidance_2)
        return path_kl(
            Sampler(self.backbone.denoise, self.backbone.schedule, given.steps, given.eta, guidance),
            lora,
            noise(),
            encoded,
            self.backbone.unconditional(encoded),
            noise,
        )


@torch.no_grad()
def _scores(reward: Reward, video: Tensor, prompts: Sequence[str]) -> list[float]:
    score = reward.score(reward.shown(video), prompts)
    refuse_non_finite(reward.name, score, prompts)
    return [float(value) for value in score.tolist()]


def _draw_all(shape: tuple[int, ...], streams: Sequence[torch.Generator], device: str) -> Tensor:
    """Return noise for one video from each of ``streams``, so that no video depends on the others."""
    return torch.cat([draw_noise(shape, stream, device) for stream in streams])
