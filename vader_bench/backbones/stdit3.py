"""STDiT3, the denoiser of Open-Sora 1.2: a transformer that attends within a frame and along time by turns.

Open-Sora (Zheng et al. 2024, arXiv:2412.20404); parameter names are those of the released weights
hpcai-tech/OpenSora-STDiT-v3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import torch
from diffusers.models.embeddings import get_timestep_embedding
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vader_bench.config.yamlfile import rule

__all__ = ["Format", "STDiT3", "STDiT3Config"]

_FREQUENCIES = 256
_NORM_EPS = 1e-6
_ROPE_BASE = 10000.0


class STDiT3Config(BaseModel):
    """Sizes as in the release's ``config.json``, whose keys about training are not read; XL/2 by default."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_type: Literal["STDiT3"] = "STDiT3"
    in_channels: int = Field(default=4, ge=1)
    """C: channels of the latents."""
    patch_size: tuple[Literal[1], PositiveInt, PositiveInt] = (1, 2, 2)
    """Frames, rows and columns of latents in one token."""
    hidden_size: int = Field(default=1152, ge=4, multiple_of=4)
    depth: int = Field(default=28, ge=1)
    """Pairs of a spatial and a temporal block."""
    num_heads: int = Field(default=16, ge=1)
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    """Width inside a block's perceptron, in units of ``hidden_size``."""
    caption_channels: int = Field(default=4096, ge=1)
    """D: width of the text states."""
    model_max_length: int = Field(default=300, ge=1)
    """L: tokens of a text."""
    input_sq_size: int = Field(default=512, ge=1)
    """Side of a square video, in pixels, on which neighbouring tokens are one position apart."""
    pred_sigma: Literal[True] = True
    qk_norm: Literal[True] = True
    skip_y_embedder: Literal[False] = False

    @model_validator(mode="after")
    def _heads_fill_the_width(self) -> STDiT3Config:
        if self.hidden_size % (2 * self.num_heads):
            wrong = f"has hidden_size {self.hidden_size} and {self.num_heads} heads"
            raise rule(wrong, "choose heads of an even width that fill it")
        return self


class Format(NamedTuple):
    """What the network is conditioned on, beside the prompt."""

    height: float
    """Pixels."""
    width: float
    """Pixels."""
    fps: float
    """Frames a second."""


class STDiT3(nn.Module):
    """Predicts the velocity, and a variance that nobody uses, of noisy latents.

    Args:
        config: sizes.
        checkpointing: whether each block computes its activations again in the backward pass.
    """

    def __init__(self, config: STDiT3Config, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = checkpointing
        width = config.hidden_size
        self.rope = _Rotary(width // config.num_heads)
        self.x_embedder = _Patches(config)
        self.t_embedder = _NumberEmbedder(width)
        self.fps_embedder = _NumberEmbedder(width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.y_embedder = _TextEmbedder(config)
        self.spatial_blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.temporal_blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.final_layer = _Final(config)

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: Tensor,
        shape: Format,
        words: Tensor | None = None,
        generated: Tensor | None = None,
    ) -> Tensor:
        """Return velocity and variance [B, 2 C, F, h, w].

        Args:
            latents: noisy latents [B, C, F, h, w].
            timesteps: [B], in (0, 1000].
            text: text states [B, L, D].
            shape: of the pictures.
            words: which tokens of the text are no padding [B, L], bool; all of them by default.
            generated: which frames are not given clean [B, F], bool; all of them by default.
        """
        rows, columns = latents.shape[-2:]
        frame_rate = self.fps_embedder(torch.full_like(timesteps, shape.fps))
        time = (self.t_embedder(timesteps) + frame_rate)[:, None, None]
        modulation = self.t_block(time)
        clean = None
        if generated is not None:  # frames that are given clean have timestep 0
            clean = (self.t_embedder(torch.zeros_like(timesteps)) + frame_rate)[:, None, None]
            modulation = torch.where(generated[:, :, None, None], modulation, self.t_block(clean))
        states = self.y_embedder.y_proj(text)
        x = self.x_embedder(latents)
        grid = x.shape[2:4]
        scale = math.sqrt(shape.height * shape.width) / self.config.input_sq_size
        x = x.flatten(2, 3) + _positions(grid, scale, self.config.hidden_size).to(x)
        for spatial, temporal in zip(self.spatial_blocks, self.temporal_blocks, strict=True):
            x = self._run(spatial, x, states, modulation, words, None)
            x = self._run(temporal, x, states, modulation, words, self.rope)
        x = self.final_layer(x, time, clean, generated)
        return self._unpatched(x.unflatten(2, grid))[..., :rows, :columns]

    def _run(self, block: nn.Module, *given: object) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *given, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]
        return block(*given)  # type: ignore[no-any-return]

    def _unpatched(self, x: Tensor) -> Tensor:
        """Return latents [B, 2 C, F, h, w] of tokens [B, F, rows, columns, p q 2 C]."""
        _, p, q = self.config.patch_size
        x = x.unflatten(-1, (p, q, -1)).permute(0, 6, 1, 2, 4, 3, 5)
        return x.flatten(5, 6).flatten(3, 4)


class _Block(nn.Module):
    """Self-attention, attention to the text, perceptron; tokens are [B, F, S, width]."""

    def __init__(self, config: STDiT3Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.scale_shift_table = nn.Parameter(torch.zeros(6, width))
        self.attn = _SelfAttention(width, config.num_heads)
        self.cross_attn = _CrossAttention(width, config.num_heads)
        self.mlp = _Perceptron(width, int(width * config.mlp_ratio), width)

    def forward(
        self,
        x: Tensor,
        states: Tensor,
        modulation: Tensor,
        words: Tensor | None,
        rope: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """Return the tokens; they attend along time if ``rope`` is given, else within their frame."""
        moved = modulation + self.scale_shift_table.flatten()  # [B, F or 1, 1, 6 width]
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = moved.chunk(6, dim=-1)
        inner = _norm(x) * (1 + scale_a) + shift_a
        if rope is None:
            inner = self.attn(inner, None)
        else:
            inner = self.attn(inner.transpose(1, 2), rope).transpose(1, 2)
        x = x + gate_a * inner
        x = x + self.cross_attn(x.flatten(1, 2), states, words).view_as(x)
        return x + gate_m * self.mlp(_norm(x) * (1 + scale_m) + shift_m)  # type: ignore[no-any-return]


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.RMSNorm(width // heads, eps=_NORM_EPS)
        self.k_norm = nn.RMSNorm(width // heads, eps=_NORM_EPS)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rope: Callable[[Tensor], Tensor] | None) -> Tensor:
        """Let the tokens of the last but one dimension of ``x`` [..., N, width] attend to each other."""
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).flatten(0, -5)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        query, key = self.q_norm(query), self.k_norm(key)
        if rope is not None:
            query, key = rope(query), rope(key)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]


class _CrossAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear = nn.Linear(width, width)
        self.kv_linear = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, states: Tensor, words: Tensor | None) -> Tensor:
        query = self.q_linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.kv_linear(states).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if words is None else words[:, None, None]
        attended = functional.scaled_dot_product_attention(query, key, value, mask)
        return self.proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class _Final(nn.Module):
    def __init__(self, config: STDiT3Config) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.zeros(2, config.hidden_size))
        self.linear = nn.Linear(config.hidden_size, math.prod(config.patch_size) * 2 * config.in_channels)

    def forward(self, x: Tensor, time: Tensor, clean: Tensor | None, generated: Tensor | None) -> Tensor:
        """Return tokens [B, F, S, patch].

        Frames given clean are normalised and modulated twice: the released weights were run so.
        """
        shift, scale = self.scale_shift_table
        x = _norm(x) * (1 + scale + time) + shift + time
        if clean is not None and generated is not None:
            again = _norm(x) * (1 + scale + clean) + shift + clean
            x = torch.where(generated[:, :, None, None], x, again)
        return self.linear(x)  # type: ignore[no-any-return]


class _TextEmbedder(nn.Module):
    def __init__(self, config: STDiT3Config) -> None:
        super().__init__()
        self.y_proj = _Perceptron(config.caption_channels, config.hidden_size, config.hidden_size)
        self.y_embedding: Tensor
        self.register_buffer("y_embedding", torch.zeros(config.model_max_length, config.caption_channels))


class _Perceptron(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))  # type: ignore[no-any-return]


class _NumberEmbedder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, numbers: Tensor) -> Tensor:
        """Return embeddings [B, width] of ``numbers`` [B]."""
        waves = get_timestep_embedding(numbers, _FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        return self.mlp(waves.to(self.mlp[0].weight))  # type: ignore[no-any-return]


class _Patches(nn.Module):
    def __init__(self, config: STDiT3Config) -> None:
        super().__init__()
        self.proj = nn.Conv3d(config.in_channels, config.hidden_size, config.patch_size, config.patch_size)

    def forward(self, latents: Tensor) -> Tensor:
        """Return tokens [B, F, rows, columns, width]; half patches at the end are filled with zeros."""
        _, p, q = self.proj.stride
        filled = functional.pad(latents, (0, -latents.shape[-1] % q, 0, -latents.shape[-2] % p))
        return self.proj(filled).permute(0, 2, 3, 4, 1)  # type: ignore[no-any-return]


class _Rotary(nn.Module):
    """Rotary positions (Su et al. 2021, arXiv:2104.09864) of neighbouring channels in pairs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.freqs: Tensor
        exponents = torch.arange(0, width, 2, dtype=torch.float32) / width
        self.register_buffer("freqs", _ROPE_BASE**-exponents)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` [..., N, width] turned by its position."""
        angles = torch.arange(x.shape[-2], device=x.device)[:, None] * self.freqs
        cosine, sine = angles.cos().to(x), angles.sin().to(x)
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)
        return turned.flatten(-2)


def _norm(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=_NORM_EPS)


def _positions(grid: torch.Size, scale: float, width: int) -> Tensor:
    """Return the embedding [rows * columns, width] of each place, its column in the first half.

    However many rows and columns there are, they span the side of a square with as many tokens.
    """
    rows, columns = grid
    side = round(math.sqrt(rows * columns))
    down, across = (torch.arange(count) / scale * (side / count) for count in (rows, columns))
    places = torch.stack([across.repeat(rows), down.repeat_interleave(columns)])
    waves = get_timestep_embedding(places.flatten(), width // 2, downscale_freq_shift=0)
    return waves.unflatten(0, (2, -1)).transpose(0, 1).flatten(1)  # type: ignore[no-any-return]
