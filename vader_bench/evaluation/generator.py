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

__all__ = ["PromptSample", "VideoGenerator", "evaluation_noise", "sample_videos"]

PromptSample = tuple[str, int]
"""A prompt and the index of its evaluation noise: together they fix a model's video."""


@dataclass(frozen=True)
class VideoGenerator:
    """Makes videos of a model without spending anything.

    The sampler is the backbone's with eta 0. Noise depends on prompt and sample index alone, so that all
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
        start = torch.cat([evaluation_noise(self.backbone, *pair, self.device) for pair in asked])
        encoded = self.backbone.encode([prompt for prompt, _ in asked])
        return sample_videos(self.backbone, self.sampler, start, encoded)


def sample_videos(backbone: Backbone, given: SamplerConfig, start: Tensor, encoded: Tensor) -> Tensor:
    """Return the videos [B, F, 3, H, W] in [0, 1] that evaluation sees.

    Args:
        backbone: makes them, without noise on the way: with eta 0.
        given: steps and guidance; its eta is not used.
        start: starting noise [B, C, F, h, w].
        encoded: the condition [B, L, D].
    """
    guidance = backbone.guidance(given.guidance, given.guidance_2)
    sampler = Sampler(backbone.denoise, backbone.schedule, given.steps, 0.0, guidance)
    latents = sampler.plain(start, encoded, backbone.unconditional(encoded))
    return backbone.decode(latents).clamp(0, 1)


def evaluation_noise(backbone: Backbone, prompt: str, sample: int, device: str, *names: str | int) -> Tensor:
    """Return the starting noise [1, C, F, h, w] of a prompt's video, or of a later part, by ``names``."""
    stream = torch_stream(0, "evaluation", prompt, sample, *names)
    return draw_noise((1, *backbone.latent_shape), stream, device)
