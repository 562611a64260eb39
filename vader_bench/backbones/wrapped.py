"""A backbone around another one, for what changes a part of it alone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vader_bench.backbones.base import Backbone

__all__ = ["WrappedBackbone"]


class WrappedBackbone(Backbone):
    """Does all that the ``inner`` one does; a subclass changes some of it. See ``Backbone`` for shapes."""

    def __init__(self, inner: Backbone) -> None:
        self._inner = inner
        self.name = inner.name
        self.denoiser = inner.denoiser
        self.lora_targets = inner.lora_targets
        self.latent_shape = inner.latent_shape
        self.schedule = inner.schedule
        self.decodes_frame_by_frame = inner.decodes_frame_by_frame
        self.text_shape = inner.text_shape
        self.picture_size = inner.picture_size
        self.boundary = inner.boundary

    @property
    def frames(self) -> int:
        """Return the number of pictures of one video."""
        return self._inner.frames

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the condition [B, L, D]."""
        return self._inner.encode(prompts)

    def unconditional(self, encoded: Tensor) -> Tensor:
        """Return what guidance contrasts ``encoded`` [B, L, D] with."""
        return self._inner.unconditional(encoded)

    def with_texts(self, encoded: Tensor, texts: Sequence[str]) -> Tensor:
        """Return ``encoded`` [B, L, D] with other texts."""
        return self._inner.with_texts(encoded, texts)

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the network's prediction [B, C, F, h, w]."""
        return self._inner.denoise(latents, timesteps, encoded)

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W], about [0, 1]."""
        return self._inner.decode(latents, frames)

    def enable_checkpointing(self) -> None:
        """Make the denoiser compute its activations again in the backward pass."""
        self._inner.enable_checkpointing()

    def enable_chunks(self) -> None:
        """Make the decoder compute chunks of frames again in the backward pass."""
        self._inner.enable_chunks()

    def modules(self) -> list[nn.Module]:
        """Return every network of the model."""
        return self._inner.modules()
