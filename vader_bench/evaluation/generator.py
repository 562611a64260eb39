"""Evaluation videos: one deterministic sampler, one fixed noise for every video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from vader_bench.backbones.base import Backbone
from vader_bench.config.schema import SamplerConfig
from vader_bench.diffusion.sampler import Sampler, draw_noise
from vader_bench.seeding import torch_stream

__all__ = ["PromptSample", "VideoGenerator"]

PromptSample = tuple[str, int]
"""A prompt and the index of its evaluation noise: together they fix a model's video."""


@dataclass(frozen=True)
class VideoGenerator:
    """Makes videos of a model without spending anything.

    The sampler is DDIM with eta 0. Noise depends on prompt and sample index alone, so that all
    methods, seeds and looks see the same.
    """

    backbone: Backbone
    """With the adapters, if any, in its denoiser."""
    sampler: SamplerConfig
    device: str
    sampled: Callable[[int], None] = lambda _: None
    """Called with the number of videos whenever some are ready."""
    batch: int = 16
    """Videos sampled at a time."""

    def batches(self, asked: Sequence[PromptSample]) -> Iterator[tuple[Tensor, Sequence[PromptSample]]]:
        """Yield videos [B, F, 3, H, W] in [0, 1] with what they show, in the order asked for.

        Only videos of one sample index share a batch, so that more samples or more prompts make the same
        batches first, and the videos are the same to the last bit.
        """
        for _, group in groupby(asked, key=lambda pair: pair[1]):
            alike = list(group)
            for first in range(0, len(alike), self.batch):
                batch = alike[first : first + self.batch]
                yield self._generate(batch), batch
                self.sampled(len(batch))

    @torch.no_grad()
    def _generate(self, asked: Sequence[PromptSample]) -> Tensor:
        start = torch.cat([self._noise(prompt, sample) for prompt, sample in asked])
        encoded = self.backbone.encode([prompt for prompt, _ in asked])
        given = self.sampler
        guidance = self.backbone.guidance(given.guidance, given.guidance_2)
        sampler = Sampler(self.backbone.denoise, self.backbone.schedule, given.steps, 0.0, guidance)
        latents = sampler.plain(start, encoded, self.backbone.unconditional(encoded))
        return self.backbone.decode(latents).clamp(0, 1)

    def _noise(self, prompt: str, sample: int) -> Tensor:
        stream = torch_stream(0, "evaluation", prompt, sample)
        return draw_noise((1, *self.backbone.latent_shape), stream, self.device)
