"""Videos longer than the model makes: the last frame of a chunk is the picture the next one starts from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vader_bench.backbones.base import ImageBackbone
from vader_bench.config.schema import SamplerConfig
from vader_bench.errors import UserError
from vader_bench.evaluation.generator import evaluation_noise, sample_videos

__all__ = ["chunk_names", "chunk_noise", "extend"]


@torch.no_grad()
def extend(
    backbone: ImageBackbone,
    sampler: SamplerConfig,
    prompts: Sequence[str],
    chunks: int,
    *,
    sample: int = 0,
    device: str = "cpu",
) -> Tensor:
    """Return videos [B, chunks * F, 3, H, W] in [0, 1], on the CPU, of ``chunks`` times the model's length.

    The VADER paper (arXiv:2407.08737) makes videos of three times the context like this. Sampling is
    deterministic, eta 0. One chunk is the video that ``Evaluator`` makes for the same prompt and sample.
    A chunk shows its picture again in its first frame: frame F is about frame F - 1.

    Args:
        backbone: makes F frames from a picture.
        sampler: steps and guidance; its eta is not used.
        prompts: B names of first pictures.
        chunks: how many times F frames.
        sample: index of the noise.
        device: where the backbone is.

    Raises:
        UserError: ``chunks`` is not positive, or a prompt names no picture.
    """
    if chunks < 1:
        raise UserError(f"chunks = {chunks}", "out of range", "choose at least 1")
    encoded = backbone.encode(prompts)
    made: list[Tensor] = []
    for chunk in range(chunks):
        if chunk:
            encoded = backbone.encode_pictures(made[-1][:, -1], chunk_names(prompts, sample, chunk), prompts)
        noise = [chunk_noise(backbone, prompt, sample, chunk, device) for prompt in prompts]
        made.append(sample_videos(backbone, sampler, torch.cat(noise), encoded))
    return torch.cat([video.cpu() for video in made], dim=1)


def chunk_names(prompts: Sequence[str], sample: int, chunk: int) -> list[str]:
    """Return the names of the pictures that ``chunk`` (from 1) of each prompt's video starts from."""
    return [f"{prompt}/{sample}/chunk/{chunk}" for prompt in prompts]


def chunk_noise(backbone: ImageBackbone, prompt: str, sample: int, chunk: int, device: str) -> Tensor:
    """Return the starting noise [1, C, F, h, w] of a chunk; that of chunk 0 is the evaluation's."""
    return evaluation_noise(backbone, prompt, sample, device, *(("chunk", chunk) if chunk else ()))
