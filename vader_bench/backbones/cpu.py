"""Layers of video networks in forms that a CPU computes faster; weights stay, results change by rounding.

Of a call of the pocket model with one thread a quarter was attention over 8 frames, and a sixth convolution
over 3 of them.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PackedAttention", "quicken"]

_ONEDNN_BATCH = 16
"""With one thread PyTorch gives smaller batches of a 3D convolution to its own slow kernel, not to oneDNN."""
_PACKED = 32
"""Length of a sequence up to which shorter ones are put behind each other; 16 to 64 are about as good."""


def quicken(network: nn.Module) -> None:
    """Change ``network``, which is on the CPU, in place; names, shapes and values of its weights stay."""
    decodes = hasattr(network, "decode")
    for layer in network.modules():
        if type(layer) is nn.Conv3d and _is_over_time(layer):  # a causal one, for example, pads by itself
            layer.forward = partial(_convolve_over_time, layer)  # type: ignore[method-assign] # of this one
        elif isinstance(layer, nn.Conv2d) and decodes:
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # lacking in torch's types
        elif type(layer) is Attention and _is_plain(layer):
            layer.set_processor(PackedAttention())  # type: ignore[operator] # diffusers is untyped


def _is_over_time(layer: nn.Conv3d) -> bool:
    """Return whether each pixel has a convolution of its own, over frames that are there or zero."""
    alone = layer.kernel_size[1:] == (1, 1) and layer.groups == 1 and layer.padding_mode == "zeros"
    steps = layer.stride == (1, 1, 1) and layer.dilation == (1, 1, 1)
    return alone and steps and isinstance(layer.padding, tuple) and layer.padding[1:] == (0, 0)


def _convolve_over_time(layer: nn.Conv3d, videos: Tensor) -> Tensor:
    """Return ``layer`` of ``videos`` [B, C, F, h, w]: in small batches as a 2D convolution over (F, h w)."""
    if len(videos) >= _ONEDNN_BATCH:
        return functional.conv3d(videos, layer.weight, layer.bias, padding=layer.padding)
    padding = (int(layer.padding[0]), 0)
    flat = functional.conv2d(videos.flatten(3), layer.weight.squeeze(-1), layer.bias, padding=padding)
    pictures: Tensor = flat.unflatten(3, videos.shape[3:])
    return pictures


def _is_plain(layer: Attention) -> bool:
    """Return whether ``layer`` does nothing but project, attend and project."""
    extras = (layer.group_norm, layer.spatial_norm, layer.norm_q, layer.norm_k, layer.norm_cross)
    usual = not any(extras) and not layer.residual_connection and layer.rescale_output_factor == 1
    return usual and isinstance(layer.processor, AttnProcessor2_0)


class PackedAttention:
    """diffusers' ``AttnProcessor2_0``, but several short sequences are one to the fused kernel.

    The kernel takes a microsecond for each sequence and head, however short. A mask keeps the sequences
    apart: what is masked has weight 0, so that nothing but the order of sums changes.
    """

    def __init__(self) -> None:
        self._alone = AttnProcessor2_0()

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **others: Any,
    ) -> Tensor:
        """Return [N, L, c]: what ``hidden_states`` [N, L, c] find in themselves or in another sequence."""
        sequences, length = hidden_states.shape[:2]
        packed = _largest_divisor(sequences, _PACKED // length)
        # where only the plain form is allowed, FLOPs are counted, which packing would add to
        fused = torch.backends.cuda.flash_sdp_enabled()
        if packed == 1 or not fused or encoder_hidden_states is not None or attention_mask is not None:
            alone: Tensor = self._alone(attn, hidden_states, encoder_hidden_states, attention_mask, **others)
            return alone

        def heads(projection: nn.Module) -> Tensor:
            rows: Tensor = projection(hidden_states)
            return rows.reshape(sequences // packed, packed * length, attn.heads, -1).transpose(1, 2)

        queries, keys, values = heads(attn.to_q), heads(attn.to_k), heads(attn.to_v)
        mask = _blocks(packed, length, queries.dtype)
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        found = found.transpose(1, 2).reshape(sequences, length, -1)
        for layer in attn.to_out:
            found = layer(found)
        return found


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(max(1, min(number, limit)), 0, -1) if number % d == 0)


@cache
def _blocks(count: int, length: int, dtype: torch.dtype) -> Tensor:
    """Return the mask [count L, count L]: 0 where two places are of one sequence, else -inf."""
    owner = torch.arange(count).repeat_interleave(length)
    return torch.zeros(len(owner), len(owner), dtype=dtype).masked_fill(owner[:, None] != owner, -torch.inf)
