"""The denoiser of VideoCrafter2: a 2D UNet whose blocks also look along time.

Written from the equations and checked against golden vectors of the original network. Attributes that
hold weights are called as in the released checkpoint, save for one misspelling and the name of the strided
convolution, so that ``videocrafter2_keys`` has little to rename.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.resnet import TemporalConvLayer
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vader_bench.config.yamlfile import rule

__all__ = ["UNetConfig", "VideoCrafter2UNet"]

_GROUPS = 32
"""Groups of every group norm."""
_ENTRY_HEADS = 8
"""Heads of the attention at the entry, whatever its width."""


class UNetConfig(BaseModel):
    """Sizes of the denoiser, called as in VideoCrafter's configs; the released model by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    in_channels: int = Field(default=4, ge=1)
    """C: channels of the latents."""
    model_channels: int = Field(default=320, ge=_GROUPS, multiple_of=_GROUPS)
    """Width of the highest resolution."""
    channel_mult: tuple[PositiveInt, ...] = Field(default=(1, 2, 4, 4), min_length=1)
    """Width of each resolution, in units of ``model_channels``; each resolution is half of the one before."""
    num_res_blocks: int = Field(default=2, ge=1)
    """Residual blocks a resolution on the way down; there is one more on the way up."""
    attention_resolutions: tuple[int, ...] = (4, 2, 1)
    """Reductions of the latents, in powers of two, at which there is attention."""
    num_head_channels: int = Field(default=64, ge=1)
    """Width of an attention head."""
    context_dim: int = Field(default=1024, ge=1)
    """D: width of the text states."""
    temporal_length: int = Field(default=16, ge=1)
    """Frames the network was trained with; it takes any number."""
    fps_cond: bool = True
    """Whether the network is conditioned on the frame rate."""

    @model_validator(mode="after")
    def _parts_fit(self) -> UNetConfig:
        known = [2**level for level in range(len(self.channel_mult))]
        for resolution in self.attention_resolutions:
            if resolution not in known:
                wrong = f"has attention at {resolution}, and its resolutions are {', '.join(map(str, known))}"
                raise rule(wrong, "choose attention_resolutions among these")
        attended = [self.widths[known.index(resolution)] for resolution in self.attention_resolutions]
        for width in (*attended, self.widths[-1]):  # there is attention in the middle in any case
            if width % self.num_head_channels:
                raise rule(
                    f"has attention of width {width} and heads of width {self.num_head_channels}",
                    "choose num_head_channels so that it divides every width with attention",
                )
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the channels at each resolution, the highest first."""
        return tuple(self.model_channels * factor for factor in self.channel_mult)


class _Condition(NamedTuple):
    """What every block is conditioned on, for B videos of F frames."""

    embedding: Tensor
    """Timestep and frame rate [B, 4 model_channels]."""
    text: Tensor
    """[B * F, L, D]."""
    frames: int
    """F."""


class VideoCrafter2UNet(nn.Module):
    """Predicts the noise in latents (VideoCrafter2, Chen et al. 2024, arXiv:2401.09047).

    Frames are taken as separate pictures by the convolutions and the spatial transformers; time is crossed
    by temporal convolutions in the residual blocks and by temporal transformers after the spatial ones.
    The network is meant for eval mode: it has none of the dropout of the original's training.

    Args:
        config: sizes.
        checkpointing: keep only the inputs of each residual block and each transformer for the backward
            pass and compute the rest again; the values do not change.
    """

    def __init__(self, config: UNetConfig, *, checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = checkpointing
        width, inner = config.model_channels, 4 * config.model_channels
        self.time_embed = _mlp(width, inner)
        self.fps_embedding = _mlp(width, inner) if config.fps_cond else None
        self.init_attn = nn.ModuleList([_TemporalTransformer(width, _ENTRY_HEADS, config.num_head_channels)])
        entry: list[nn.Module] = [nn.Conv2d(config.in_channels, width, 3, padding=1)]
        down, skips = _down_stages(config)
        self.input_blocks = nn.ModuleList([nn.ModuleList(entry), *down])
        deepest = config.widths[-1]
        self.middle_block = nn.ModuleList(
            [
                _ResBlock(deepest, deepest, inner),
                *_attention(config, deepest),
                _ResBlock(deepest, deepest, inner),
            ]
        )
        self.output_blocks = nn.ModuleList(_up_stages(config, skips))
        self.out = nn.Sequential(
            nn.GroupNorm(_GROUPS, config.widths[0]),
            nn.SiLU(),
            nn.Conv2d(config.widths[0], config.in_channels, 3, padding=1),
        )

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor, fps: Tensor) -> Tensor:
        """Return the predicted noise [B, C, F, h, w].

        Args:
            latents: noisy latents [B, C, F, h, w]; h and w are multiples of 2 to the number of halvings.
            timesteps: training timesteps [B], integers.
            text: text states [B, L, D].
            fps: frames a second [B]; not read if the network has no such condition.
        """
        batch, _, frames, _, _ = latents.shape
        condition = _Condition(
            self._embed(timesteps, fps, latents), text.repeat_interleave(frames, dim=0), frames
        )
        hidden = self._entry(latents.transpose(1, 2).flatten(0, 1))
        hidden = self._stage(self.init_attn, hidden, condition)
        skips = [hidden]
        for stage in self.input_blocks[1:]:
            hidden = self._stage(stage, hidden, condition)
            skips.append(hidden)
        hidden = self._stage(self.middle_block, hidden, condition)
        for stage in self.output_blocks:
            hidden = self._stage(stage, torch.cat([hidden, skips.pop()], dim=1), condition)
        output: Tensor = self.out(hidden)
        return output.reshape(batch, frames, *output.shape[1:]).transpose(1, 2)

    def _entry(self, pictures: Tensor) -> Tensor:
        """Return the first convolution of ``pictures`` [B * F, C, h, w]."""
        (convolution,) = cast("nn.ModuleList", self.input_blocks[0])
        return cast("Tensor", convolution(pictures))

    def _embed(self, timesteps: Tensor, fps: Tensor, like: Tensor) -> Tensor:
        width = self.config.model_channels
        embedding: Tensor = self.time_embed(_waves(timesteps, width).to(like))
        if self.fps_embedding is None:
            return embedding
        return embedding + cast("Tensor", self.fps_embedding(_waves(fps, width).to(like)))

    def _stage(self, stage: nn.Module, hidden: Tensor, condition: _Condition) -> Tensor:
        """Return ``hidden`` [B * F, c, h, w] after all blocks of ``stage``."""
        for block in cast("nn.ModuleList", stage):
            if self.checkpointing and torch.is_grad_enabled():
                # no block draws random numbers, so there is no generator to set back
                hidden = checkpoint(block, hidden, condition, use_reentrant=False, preserve_rng_state=False)
            else:
                hidden = block(hidden, condition)
        return hidden


class _ResBlock(nn.Module):
    """Two convolutions over each picture and four along time, each group with a way around it."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, outputs))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, outputs),
            nn.SiLU(),
            nn.Identity(),  # keeps the place of the original's dropout, whose rate is 0
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.temporal_conv = TemporalConvLayer(outputs, outputs, norm_num_groups=_GROUPS)

    def forward(self, hidden: Tensor, condition: _Condition) -> Tensor:
        """Return [B * F, outputs, h, w] for ``hidden`` [B * F, inputs, h, w]."""
        shift = self.emb_layers(condition.embedding).repeat_interleave(condition.frames, dim=0)
        changed = self.out_layers(self.in_layers(hidden) + shift[:, :, None, None])
        summed = self.skip_connection(hidden) + changed
        return cast("Tensor", self.temporal_conv(summed, num_frames=condition.frames))


class _Transformer(nn.Module):
    """What both transformers share: a norm, a block of two attentions between two projections."""

    def __init__(self, width: int, heads: int, head_width: int, context: int | None) -> None:
        super().__init__()
        inner = heads * head_width
        self.norm = nn.GroupNorm(_GROUPS, width, eps=1e-6)
        self.proj_in = nn.Linear(width, inner)
        block = BasicTransformerBlock(
            inner, heads, head_width, cross_attention_dim=context, double_self_attention=context is None
        )
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Linear(inner, width)

    def attend(self, tokens: Tensor, text: Tensor | None) -> Tensor:
        """Return [N, T, width] for ``tokens`` [N, T, width] and ``text`` [N, L, D], if it is read."""
        (block,) = self.transformer_blocks
        return cast("Tensor", self.proj_out(block(self.proj_in(tokens), encoder_hidden_states=text)))


class _SpatialTransformer(_Transformer):
    """The places of a picture look at each other and at the text."""

    def forward(self, hidden: Tensor, condition: _Condition) -> Tensor:
        """Return [B * F, width, h, w] for ``hidden`` of that shape."""
        tokens = self.norm(hidden).flatten(2).transpose(1, 2)
        changed = self.attend(tokens, condition.text)
        return hidden + changed.transpose(1, 2).reshape(hidden.shape)


class _TemporalTransformer(_Transformer):
    """The frames look at each other, each place by itself, twice; the norm is over all frames."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__(width, heads, head_width, None)

    def forward(self, hidden: Tensor, condition: _Condition) -> Tensor:
        """Return [B * F, width, h, w] for ``hidden`` of that shape."""
        _, width, rows, columns = hidden.shape
        video = hidden.reshape(-1, condition.frames, width, rows, columns)
        tokens = self.norm(video.transpose(1, 2)).permute(0, 3, 4, 2, 1).flatten(0, 2)  # [B * h * w, F, c]
        changed = self.attend(tokens, None).reshape(-1, rows, columns, condition.frames, width)
        return hidden + changed.permute(0, 3, 4, 1, 2).flatten(0, 1)


class _Down(nn.Module):
    """Halves height and width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, hidden: Tensor, _: _Condition) -> Tensor:
        """Return [B * F, width, h / 2, w / 2]."""
        return cast("Tensor", self.conv(hidden))


class _Up(nn.Module):
    """Doubles height and width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, hidden: Tensor, _: _Condition) -> Tensor:
        """Return [B * F, width, 2 h, 2 w]."""
        return cast("Tensor", self.conv(functional.interpolate(hidden, scale_factor=2.0, mode="nearest")))


def _attention(config: UNetConfig, width: int) -> list[nn.Module]:
    """Return the two transformers of one place in the network."""
    heads, head_width = width // config.num_head_channels, config.num_head_channels
    return [
        _SpatialTransformer(width, heads, head_width, config.context_dim),
        _TemporalTransformer(width, heads, head_width),
    ]


def _down_stages(config: UNetConfig) -> tuple[list[nn.ModuleList], list[int]]:
    """Return the stages of the way down after the entry, and the widths of all skips, the entry's first."""
    embedding = 4 * config.model_channels
    stages, skips = [], [config.model_channels]
    for level, width in enumerate(config.widths):
        for _ in range(config.num_res_blocks):
            attention = _attention(config, width) if 2**level in config.attention_resolutions else []
            stages.append(nn.ModuleList([_ResBlock(skips[-1], width, embedding), *attention]))
            skips.append(width)
        if level < len(config.widths) - 1:
            stages.append(nn.ModuleList([_Down(width)]))
            skips.append(width)
    return stages, skips


def _up_stages(config: UNetConfig, skips: list[int]) -> list[nn.ModuleList]:
    """Return the stages of the way up; each also reads one skip, the last of ``skips`` first."""
    embedding = 4 * config.model_channels
    stages, left, below = [], list(skips), config.widths[-1]
    for level, width in reversed(list(enumerate(config.widths))):
        for index in range(config.num_res_blocks + 1):
            blocks: list[nn.Module] = [_ResBlock(below + left.pop(), width, embedding)]
            if 2**level in config.attention_resolutions:
                blocks += _attention(config, width)
            if level > 0 and index == config.num_res_blocks:
                blocks.append(_Up(width))
            stages.append(nn.ModuleList(blocks))
            below = width
    return stages


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.SiLU(), nn.Linear(outputs, outputs))


def _waves(values: Tensor, width: int) -> Tensor:
    """Return cosines, then sines, of ``values`` [B] at ``width / 2`` wavelengths from 2 pi to 20000 pi."""
    waves: Tensor = get_timestep_embedding(values, width, flip_sin_to_cos=True, downscale_freq_shift=0)
    return waves
