"""The switches of a suite's table ``memory`` that are about the backbone, for every family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from vader_bench.backbones.base import Backbone, ImageBackbone
from vader_bench.backbones.precision import lower_precision
from vader_bench.config.schema import MemoryConfig

__all__ = ["DTYPES", "offloaded", "with_memory_switches"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What ``frozen_weights`` says."""


def with_memory_switches(backbone: Backbone, memory: MemoryConfig) -> Backbone:
    """Return ``backbone`` with the switches of ``memory`` on; it is changed in place and still on the CPU."""
    if memory.checkpointing:
        backbone.enable_checkpointing()
    if memory.frozen_weights != "float32":
        for network in backbone.modules():
            lower_precision(network, DTYPES[memory.frozen_weights])
    if not (memory.slicing or memory.offload_activations):
        return backbone
    kind = _MemorySavingImage if isinstance(backbone, ImageBackbone) else _MemorySaving
    return kind(backbone, memory)


@contextmanager
def offloaded(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Keep on the CPU what is saved inside for a backward pass, but for the weights of ``networks``.

    ``torch.autograd.graph.save_on_cpu`` would copy the frozen weights too, once for every call.
    """
    weights = {weight.untyped_storage().data_ptr() for network in networks for weight in network.parameters()}

    def pack(tensor: Tensor) -> Tensor | tuple[torch.device, Tensor]:
        if not _offloadable(tensor) or tensor.untyped_storage().data_ptr() in weights:
            return tensor
        pinned = tensor.device.type == "cuda"
        return tensor.device, torch.empty_like(tensor, device="cpu", pin_memory=pinned).copy_(tensor)

    def unpack(packed: Tensor | tuple[torch.device, Tensor]) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        device, away = packed
        return away.to(device, non_blocking=True)

    with saved_tensors_hooks(pack, unpack):
        yield


def _offloadable(tensor: Tensor) -> bool:
    return tensor.device.type not in {"cpu", "meta"}


class _MemorySaving(Backbone):
    """A backbone with sliced decoding or activations on the CPU; the numbers are the inner one's."""

    def __init__(self, inner: Backbone, memory: MemoryConfig) -> None:
        self._inner = inner
        self._memory = memory
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
        with self._keeping():
            return self._inner.denoise(latents, timesteps, encoded)

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W], about [0, 1]."""
        with self._keeping():
            if not self._memory.slicing:
                return self._inner.decode(latents, frames)
            chosen = list(range(self.frames)) if frames is None else list(frames)
            groups = [[frame] for frame in chosen] if self.decodes_frame_by_frame else [chosen]
            videos = [
                torch.cat([self._slice(video, group) for group in groups], dim=1)
                for video in latents.split(1)
            ]
            return torch.cat(videos)

    def enable_checkpointing(self) -> None:
        """Make the denoiser compute its activations again in the backward pass."""
        self._inner.enable_checkpointing()

    def modules(self) -> list[nn.Module]:
        """Return every network of the model."""
        return self._inner.modules()

    def _slice(self, video: Tensor, frames: list[int]) -> Tensor:
        """Return pictures [1, f, 3, H, W]; of its activations nothing is kept, or slices would add up."""
        if not (torch.is_grad_enabled() and video.requires_grad):
            return self._inner.decode(video, frames)
        decoded = checkpoint(self._inner.decode, video, frames, use_reentrant=False, preserve_rng_state=False)
        return cast("Tensor", decoded)

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        if not (self._memory.offload_activations and torch.is_grad_enabled()):
            yield
            return
        with offloaded(self.modules()):
            yield


class _MemorySavingImage(_MemorySaving, ImageBackbone):
    """The same of a model that is given its first picture."""

    _inner: ImageBackbone

    def encode_pictures(self, pictures: Tensor, names: Sequence[str], prompts: Sequence[str]) -> Tensor:
        """Return the condition [B, L, D] of given pictures."""
        return self._inner.encode_pictures(pictures, names, prompts)
