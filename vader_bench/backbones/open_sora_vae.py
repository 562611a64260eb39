"""The autoencoder of Open-Sora 1.2: a picture autoencoder, and a causal one in time on top of its latents.

Open-Sora (Zheng et al. 2024, arXiv:2412.20404); parameter names are those of the released weights
hpcai-tech/OpenSora-VAE-v1.2. Videos are [B, channels, F, height, width].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from vader_bench.backbones.recompute import recomputed
from vader_bench.config.yamlfile import rule

__all__ = [
    "OpenSoraVAE", "OpenSoraVAEConfig", "Posterior", "SpatialConfig", "TemporalConfig", "TemporalVAE",
]  # fmt: skip

_PICTURE_SCALE = 0.18215
"""What latents of pictures are multiplied by, whatever the picture autoencoder's own config says."""
_TOGETHER = 4
"""Pictures that are decoded in one batch."""


class TemporalConfig(BaseModel):
    """Sizes of the autoencoder in time, called as upstream; the released one by default."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["VAE_Temporal_SD", "VAE_Temporal"] = "VAE_Temporal_SD"
    in_out_channels: int = Field(default=4, ge=1)
    """Channels of the latents of pictures."""
    latent_embed_dim: int = Field(default=4, ge=1)
    embed_dim: int = Field(default=4, ge=1)
    """C: channels of the latents of videos."""
    filters: int = Field(default=128, ge=1)
    """Width of the outermost level."""
    num_res_blocks: int = Field(default=4, ge=1)
    channel_multipliers: tuple[PositiveInt, ...] = Field(default=(1, 2, 2, 4), min_length=1)
    """Width of each level, in units of ``filters``."""
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    """After which levels, the last one left out, there are half as many frames."""
    num_groups: int = Field(default=32, ge=1)
    """Groups of a norm."""

    @model_validator(mode="after")
    def _levels_fit(self) -> TemporalConfig:
        if len(self.temporal_downsample) != len(self.channel_multipliers) - 1:
            levels, between = len(self.channel_multipliers), len(self.temporal_downsample)
            wrong = f"has {levels} levels and {between} steps between them"
            raise rule(wrong, "give one entry of temporal_downsample less than of channel_multipliers")
        if self.filters % self.num_groups:
            wrong = f"has filters = {self.filters} and num_groups = {self.num_groups}"
            raise rule(wrong, "choose num_groups so that it divides filters")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the width of each level."""
        return tuple(self.filters * factor for factor in self.channel_multipliers)


class SpatialConfig(BaseModel):
    """Sizes of the picture autoencoder, called as in diffusers; that of SDXL by default."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["VideoAutoencoderKL"] = "VideoAutoencoderKL"
    block_out_channels: tuple[PositiveInt, ...] = Field(default=(128, 256, 512, 512), min_length=1)
    layers_per_block: int = Field(default=2, ge=1)
    norm_num_groups: int = Field(default=32, ge=1)


class OpenSoraVAEConfig(BaseModel):
    """Sizes as in the release's ``config.json``, whose keys about training are not read.

    ``shift`` and ``scale`` are not read either: the checkpoint holds them.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_type: Literal["VideoAutoencoderPipeline"] = "VideoAutoencoderPipeline"
    vae_2d: SpatialConfig = SpatialConfig()
    vae_temporal: TemporalConfig = TemporalConfig()
    micro_frame_size: int = Field(default=17, ge=1)
    """Frames that are encoded together, apart from all others."""


class Posterior(NamedTuple):
    """A normal distribution of latents, element by element."""

    mean: Tensor
    """[B, C, F, h, w]."""
    logvar: Tensor
    """Logarithm of the variance [B, C, F, h, w]."""

    @classmethod
    def from_moments(cls, moments: Tensor) -> Posterior:
        """Return what ``moments`` [B, 2 C, F, h, w] say: means, then log-variances, which are cut off."""
        mean, logvar = moments.chunk(2, dim=1)
        return cls(mean, logvar.clamp(-30, 20))

    @property
    def std(self) -> Tensor:
        """Return the standard deviation [B, C, F, h, w]."""
        return (self.logvar / 2).exp()

    def sample(self, noise: Tensor) -> Tensor:
        """Return the draw [B, C, F, h, w] that standard normal ``noise`` makes."""
        return self.mean + self.std * noise

    def kl(self) -> Tensor:
        """Return the divergence [B] from the standard normal, summed over all elements."""
        each = self.mean.square() + self.logvar.exp() - 1 - self.logvar
        return each.flatten(1).sum(1) / 2


class TemporalVAE(nn.Module):
    """Turns frames into fewer ones of the same size; no frame sees a later one but through the norms."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        self.factor: int = 2 ** sum(config.temporal_downsample)
        """Frames that become one."""
        self.encoder = _Encoder(config)
        self.quant_conv = _CausalConv(2 * config.latent_embed_dim, 2 * config.embed_dim, 1)
        self.post_quant_conv = _CausalConv(config.embed_dim, config.latent_embed_dim, 1)
        self.decoder = _Decoder(config)

    def latent_frames(self, frames: int) -> int:
        """Return how many frames of latents ``frames`` become."""
        return -(-frames // self.factor)

    def encode(self, frames: Tensor) -> Posterior:
        """Return latents of ``frames`` [B, channels, F, h, w], which are filled with zeros in front."""
        filled = functional.pad(frames, (0, 0, 0, 0, -frames.shape[2] % self.factor, 0))
        return Posterior.from_moments(self.quant_conv(self.encoder(filled)))

    def decode(self, latents: Tensor, frames: int) -> Tensor:
        """Return frames [B, channels, ``frames``, h, w], cut in front where ``encode`` fills."""
        decoded = self.decoder(self.post_quant_conv(latents))
        return decoded[:, :, -frames % self.factor :]  # type: ignore[no-any-return]


class OpenSoraVAE(nn.Module):
    """Both autoencoders, and the normalisation of the latents; chunks of frames do not know each other."""

    def __init__(self, config: OpenSoraVAEConfig) -> None:
        super().__init__()
        temporal, spatial = config.vae_temporal, config.vae_2d
        levels = len(spatial.block_out_channels)
        self.chunk = config.micro_frame_size
        self.in_chunks = False
        """Whether activations of chunks and of pictures are made again in the backward pass."""
        self.reduction = 2 ** (levels - 1)
        """Pixels that become one, along each side."""
        picture = AutoencoderKL(
            block_out_channels=spatial.block_out_channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=spatial.layers_per_block,
            norm_num_groups=spatial.norm_num_groups,
            latent_channels=temporal.in_out_channels,
        )
        self.spatial_vae = nn.ModuleDict({"module": picture})
        self.temporal_vae = TemporalVAE(temporal)
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.zeros(1, temporal.embed_dim, 1, 1, 1))
        self.register_buffer("scale", torch.ones(1, temporal.embed_dim, 1, 1, 1))

    def latent_frames(self, frames: int) -> int:
        """Return how many frames of latents a video of ``frames`` pictures has."""
        chunks, rest = divmod(frames, self.chunk)
        of = self.temporal_vae.latent_frames
        return chunks * of(self.chunk) + of(rest)

    def encode(self, pictures: Tensor) -> Tensor:
        """Return the likeliest latents [B, C, F, h, w] of ``pictures`` [B, 3, frames, H, W] in [-1, 1]."""
        parts = self.encode_pictures(pictures).split(self.chunk, dim=2)
        latents = torch.cat([self.temporal_vae.encode(part).mean for part in parts], dim=2)
        return (latents - self.shift) / self.scale

    def encode_pictures(self, pictures: Tensor) -> Tensor:
        """Return latents [B, channels, frames, h, w] of each of ``pictures`` [B, 3, frames, H, W] alone."""
        vae: Any = self.spatial_vae["module"]
        flat = pictures.transpose(1, 2).flatten(0, 1)
        parts = [vae.encode(part).latent_dist.mean for part in flat.split(_TOGETHER)]
        return _PICTURE_SCALE * _videos(torch.cat(parts), len(pictures))

    def decode(self, latents: Tensor, frames: int, wanted: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, 3, f, H, W], about [-1, 1].

        Of a chunk all frames are decoded in time, since its norms are taken over all of them, but only the
        pictures wanted are decoded in space.

        Args:
            latents: of a whole video [B, C, F, h, w].
            frames: pictures of the whole video.
            wanted: indices of the pictures wanted, all of them by default.

        Raises:
            ValueError: the video has another number of latents, or not all of the pictures.
        """
        chosen = list(range(frames)) if wanted is None else list(wanted)
        if latents.shape[2] != self.latent_frames(frames):
            raise ValueError(f"{frames} pictures have not {latents.shape[2]} frames of latents")
        if not all(0 <= index < frames for index in chosen):
            raise ValueError(f"pictures {chosen} are not all among {frames}")
        scaled = (latents * self.scale + self.shift).to(latents)
        parts = scaled.split(self.temporal_vae.latent_frames(self.chunk), dim=2)
        decoded = {
            place: self._made(
                self.temporal_vae.decode, parts[place], min(self.chunk, frames - place * self.chunk)
            )
            for place in sorted({index // self.chunk for index in chosen})
        }
        taken = [decoded[index // self.chunk][:, :, index % self.chunk] for index in chosen]
        return self._decode_pictures(torch.stack(taken, dim=2))

    def _decode_pictures(self, latents: Tensor) -> Tensor:
        vae: Any = self.spatial_vae["module"]
        flat = latents.transpose(1, 2).flatten(0, 1) / _PICTURE_SCALE
        together = 1 if self.in_chunks else _TOGETHER
        parts = [self._made(vae.decode, part, return_dict=False)[0] for part in flat.split(together)]
        return _videos(torch.cat(parts), len(latents))

    def _made(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return recomputed(call, *args, **kwargs) if self.in_chunks else call(*args, **kwargs)


class _CausalConv(nn.Module):
    """Convolution that sees no later frame: all zeros in time are in front."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        side = size // 2
        self.filling = (side, side, side, side, max(0, size - stride), 0)
        self.conv = nn.Conv3d(inputs, outputs, size, (stride, 1, 1), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.pad(x, self.filling))  # type: ignore[no-any-return]


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs)
        self.conv1 = _CausalConv(inputs, outputs, 3, bias=False)
        self.norm2 = nn.GroupNorm(groups, outputs)
        self.conv2 = _CausalConv(outputs, outputs, 3, bias=False)
        self.conv3 = _CausalConv(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(x)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return self.conv3(x) + inner  # type: ignore[no-any-return]


def _residuals(inputs: int, outputs: int, config: TemporalConfig) -> nn.Sequential:
    """Return the residual blocks of a level, of which the first changes the width."""
    widths = [inputs, *[outputs] * config.num_res_blocks]
    pairs = pairwise(widths)
    return nn.Sequential(*(_Residual(before, after, config.num_groups) for before, after in pairs))


class _Encoder(nn.Module):
    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        widths = config.widths
        self.conv_in = _CausalConv(config.in_out_channels, config.filters, 3, bias=False)
        pairs = pairwise((config.filters, *widths))
        self.block_res_blocks = nn.ModuleList(_residuals(before, width, config) for before, width in pairs)
        self.conv_blocks = nn.ModuleList(
            _CausalConv(width, width, 3, stride=2) if halved else nn.Identity()
            for width, halved in zip(widths, config.temporal_downsample, strict=False)
        )
        self.res_blocks = _residuals(widths[-1], widths[-1], config)
        self.norm1 = nn.GroupNorm(config.num_groups, widths[-1])
        self.conv2 = _CausalConv(widths[-1], 2 * config.latent_embed_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level, block in enumerate(self.block_res_blocks):
            x = block(x)
            if level < len(self.conv_blocks):
                x = self.conv_blocks[level](x)
        return self.conv2(functional.silu(self.norm1(self.res_blocks(x))))  # type: ignore[no-any-return]


class _Decoder(nn.Module):
    """Levels are counted as in the encoder and run from the last to the first."""

    def __init__(self, config: TemporalConfig) -> None:
        super().__init__()
        widths, self.doubled = config.widths, config.temporal_downsample
        self.conv1 = _CausalConv(config.latent_embed_dim, widths[-1], 3)
        self.res_blocks = _residuals(widths[-1], widths[-1], config)
        pairs = zip((*widths[1:], widths[-1]), widths, strict=True)
        self.block_res_blocks = nn.ModuleList(_residuals(before, width, config) for before, width in pairs)
        self.conv_blocks = nn.ModuleList(
            _CausalConv(width, 2 * width, 3) if doubled else nn.Identity()
            for width, doubled in zip(widths[1:], self.doubled, strict=True)
        )
        self.norm1 = nn.GroupNorm(config.num_groups, widths[0])
        self.conv_out = _CausalConv(widths[0], config.in_out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.res_blocks(self.conv1(x))
        for level in reversed(range(len(self.block_res_blocks))):
            x = self.block_res_blocks[level](x)
            if level > 0:
                x = self.conv_blocks[level - 1](x)
                if self.doubled[level - 1]:  # neighbouring channels become neighbouring frames
                    x = x.unflatten(1, (-1, 2)).permute(0, 1, 3, 2, 4, 5).flatten(2, 3)
        return self.conv_out(functional.silu(self.norm1(x)))  # type: ignore[no-any-return]


def _videos(pictures: Tensor, count: int) -> Tensor:
    """Return ``count`` videos [B, channels, f, H, W] of ``pictures`` [B f, channels, H, W]."""
    return pictures.unflatten(0, (count, -1)).transpose(1, 2)  # type: ignore[no-any-return]
