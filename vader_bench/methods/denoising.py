"""The error that diffusion models are trained with, for methods that train on samples."""

from __future__ import annotations

from torch import Tensor

__all__ = ["denoising_error"]


def denoising_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error [B] over all elements of a video's latents [B, ...], in float32."""
    return (prediction.float() - target.float()).square().flatten(1).mean(1)
