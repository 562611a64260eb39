"""The switches of a suite's table ``memory`` that are about the backbone, for every family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from vader_bench.backbones.base import Backbone, ImageBackbone
from vader_bench.backbones.precision import lower_precision
from vader_bench.backbones.recompute import recomputed
from vader_bench.backbones.tiles import in_tiles
from vader_bench.backbones.wrapped import WrappedBackbone
from vader_bench.config.schema import MemoryConfig

__all__ = ["DTYPES", "offloaded", "with_memory_switches"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What ``frozen_weights`` says."""


def with_memory_switches(backbone: Backbone, memory: MemoryConfig) -> Backbone:
    """Return ``backbone`` with the switches of ``memory`` on; it is changed in place and still on the CPU."""
    if memory.checkpointing:
        backbone.enable_checkpointing()
    if memory.slicing:
        backbone.enable_chunks()
    if memory.frozen_weights != "float32":
        for network in backbone.modules():
            lower_precision(network, DTYPES[memory.frozen_weights])
    if not (memory.slicing or memory.decode_tile or memory.offload_activations):
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


class _MemorySaving(WrappedBackbone):
    """A backbone that decodes in parts or keeps activations on the CPU.

    The numbers are the inner one's, but for the seams of tiles.
    """

    def __init__(self, inner: Backbone, memory: MemoryConfig) -> None:
        super().__init__(inner)
        self._memory = memory

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the network's prediction [B, C, F, h, w]."""
        with self._keeping():
            return self._inner.denoise(latents, timesteps, encoded)

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W], about [0, 1]."""
        with self._keeping():
            slicing, tile = self._memory.slicing, self._memory.decode_tile
            if not (slicing or tile):
                return self._inner.decode(latents, frames)
            chosen = list(range(self.frames)) if frames is None else list(frames)
            alone = slicing and self.decodes_frame_by_frame
            groups = [[frame] for frame in chosen] if alone else [chosen]
            videos = [
                torch.cat([self._tiles(video, group) for group in groups], dim=1)
                for video in (latents.split(1) if slicing else [latents])
            ]
            return torch.cat(videos)

    def _tiles(self, latents: Tensor, frames: list[int]) -> Tensor:
        """Return pictures [B, f, 3, H, W], made of tiles where those are asked for."""
        tile = self._memory.decode_tile
        if tile is None:
            return self._part(latents, frames)
        factor = self.picture_size[0] // self.latent_shape[2]
        return in_tiles(lambda part: self._part(part, frames), latents, max(2, tile // factor), factor)

    def _part(self, latents: Tensor, frames: list[int]) -> Tensor:
        """Return pictures [B, f, 3, H, W]; of its activations nothing is kept, or parts would add up."""
        decoded: Tensor = recomputed(self._inner.decode, latents, frames)
        return decoded

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
