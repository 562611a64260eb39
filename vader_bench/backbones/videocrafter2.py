"""VideoCrafter2: a folder with the released checkpoint and the tokenizer of its text encoder.

The 1.4B model and a tiny one of the same make load through the same code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from vader_bench.backbones.base import Backbone, BackboneFactory, PromptReader, family_settings
from vader_bench.backbones.videocrafter2_keys import (
    Origin,
    denoiser_origin,
    find_checkpoint,
    first_stage_origin,
    load_into,
    read_checkpoint,
    text_origin,
)
from vader_bench.backbones.videocrafter2_unet import UNetConfig, VideoCrafter2UNet
from vader_bench.config.rules import WeightsName
from vader_bench.config.yamlfile import parse, raise_faults, read_mapping, rule
from vader_bench.diffusion.schedule import NoiseSchedule
from vader_bench.errors import ExitCode, UserError
from vader_bench.weights.resolve import resolve
from vader_bench.weights.sizes import local_folder
from vader_bench.weights.tokenizers import LongPrompts, read_tokenizer, refuse_long

__all__ = [
    "FirstStageConfig", "TextConfig", "VideoCrafter2", "VideoCrafter2Config", "VideoCrafter2Factory",
    "VideoCrafter2Settings", "make_first_stage", "make_text_encoder", "videocrafter2_schedule",
]  # fmt: skip

CONFIGS = ("config.yaml", "config.json")
"""Names a file of sizes may have beside the checkpoint; the first one there is read."""

_LATENT_SCALE = 0.18215
_TRAINING_STEPS = 1000
_PADDING = 0
"""Token that fills a text; open_clip's choice, whatever the tokenizer's own."""


class FirstStageConfig(BaseModel):
    """Sizes of the autoencoder, called as in VideoCrafter's configs; the released model by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ch: int = Field(default=128, ge=32, multiple_of=32)
    """Width of the highest resolution."""
    ch_mult: tuple[PositiveInt, ...] = Field(default=(1, 2, 4, 4), min_length=1)
    """Width of each resolution, in units of ``ch``; each resolution is half of the one before."""
    num_res_blocks: int = Field(default=2, ge=1)
    z_channels: int = Field(default=4, ge=1)
    """C: channels of the latents."""


class TextConfig(BaseModel):
    """Sizes of the text encoder; OpenCLIP's ViT-H-14 by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=1024, ge=1)
    heads: int = Field(default=16, ge=1)
    layers: int = Field(default=24, ge=2)
    vocab_size: int = Field(default=49408, ge=3)
    context_length: int = Field(default=77, ge=3)
    """L: tokens of a text, its two marks and the padding counted."""

    @model_validator(mode="after")
    def _heads_fill_the_width(self) -> TextConfig:
        if self.width % self.heads:
            wrong = f"has width {self.width} and {self.heads} heads"
            raise rule(wrong, "choose heads so that they divide the width")
        return self


class VideoCrafter2Config(BaseModel):
    """Sizes of all networks; the released model by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unet: UNetConfig = UNetConfig()
    first_stage: FirstStageConfig = FirstStageConfig()
    text: TextConfig = TextConfig()

    @model_validator(mode="after")
    def _networks_fit(self) -> VideoCrafter2Config:
        for first, second, one, other in (
            ("unet.context_dim", "text.width", self.unet.context_dim, self.text.width),
            (
                "unet.in_channels",
                "first_stage.z_channels",
                self.unet.in_channels,
                self.first_stage.z_channels,
            ),
        ):
            if one != other:
                raise rule(f"has {first} = {one} and {second} = {other}", "make them equal")
        return self


class VideoCrafter2Settings(BaseModel):
    """Size of the videos and how the network is run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int | None = Field(default=None, ge=1)
    """Frames of a video; as many as the network was trained with if ``None``."""
    height: int = Field(default=320, ge=1)
    """Pixels."""
    width: int = Field(default=512, ge=1)
    """Pixels."""
    fps: int = Field(default=24, ge=1)
    """Frames a second that the denoiser is conditioned on: VADER's default; a smaller number asks for more
    motion."""
    tokenizer: WeightsName | None = None
    """Weights of a ``CLIPTokenizer``, which the release lacks; its folder ``tokenizer`` if ``None``."""
    long_prompts: LongPrompts = "refuse"
    """``cut`` cuts prompts that are longer than the text encoder reads, with a warning."""


class VideoCrafter2(Backbone):
    """A latent text-to-video model: OpenCLIP text states, 3D UNet, frame-wise autoencoder.

    Chen et al. 2024 (arXiv:2401.09047); weights VideoCrafter/VideoCrafter2 on the Hugging Face hub.

    Args:
        unet: the denoiser.
        first_stage: the autoencoder.
        text_encoder: its states before the last layer are what the denoiser reads.
        tokenizer: its tokenizer; ``None`` in a skeleton.
        latent_shape: (C, F, h, w).
        fps: frames a second that the denoiser is conditioned on.
    """

    name = "videocrafter2"
    lora_targets = ("to_q", "to_k", "to_v", "to_out.0")
    decodes_frame_by_frame = True

    def __init__(
        self,
        unet: VideoCrafter2UNet,
        first_stage: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer | None,
        latent_shape: tuple[int, int, int, int],
        fps: int,
    ) -> None:
        self.denoiser: nn.Module = unet
        self._unet = unet
        self.schedule = videocrafter2_schedule()
        self.latent_shape = latent_shape
        self._first_stage = first_stage
        self._latent_scale = float(first_stage.config["scaling_factor"])
        self._text_encoder = text_encoder
        self._tokenizer = tokenizer
        self._fps = fps
        self.text_shape = (text_encoder.config.max_position_embeddings, text_encoder.config.hidden_size)
        factor = 2 ** (len(first_stage.config["block_out_channels"]) - 1)
        self.picture_size = (factor * latent_shape[2], factor * latent_shape[3])
        for module in self.modules():
            module.requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the states before the last layer, normalised [B, L, D], padded to the full length L.

        Raises:
            UserError: a prompt has more tokens than the text encoder reads.
        """
        assert self._tokenizer is not None, "a skeleton encodes nothing"
        limit = self._text_encoder.config.max_position_embeddings
        rows = _tokens(self._tokenizer, prompts, limit)
        # the denoiser looks at the padding too, so it must be the one it was trained with
        tokens = [row + [_PADDING] * (limit - len(row)) for row in rows]
        ids = torch.tensor(tokens, device=self._text_encoder.device)
        states = self._text_encoder(ids, output_hidden_states=True).hidden_states[-2]
        norm = self._text_encoder.text_model.final_layer_norm  # in whatever precision the encoder has
        return norm(states.to(norm.weight)).float()  # type: ignore[no-any-return]

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the UNet's prediction of the noise [B, C, F, h, w]."""
        fps = torch.full_like(timesteps, self._fps)
        return self.denoiser(latents, timesteps, encoded, fps)  # type: ignore[no-any-return]

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W], each frame decoded by itself."""
        chosen = latents if frames is None else latents[:, :, list(frames)]
        pictures = chosen.transpose(1, 2).flatten(0, 1) / self._latent_scale
        decoded = self._first_stage.decode(pictures, return_dict=False)[0]
        return (decoded / 2 + 0.5).unflatten(0, (latents.shape[0], -1))  # type: ignore[no-any-return]

    def enable_checkpointing(self) -> None:
        """Make the denoiser compute its activations again in the backward pass."""
        self._unet.checkpointing = True

    def modules(self) -> list[nn.Module]:
        """Return the UNet, the text encoder and the autoencoder."""
        return [self.denoiser, self._text_encoder, self._first_stage]


class VideoCrafter2Factory(BackboneFactory):
    """Loads the released checkpoint, with ``VideoCrafter2Settings`` as settings.

    The folder holds ``model.safetensors`` or ``model.ckpt``, a ``tokenizer`` folder of a ``CLIPTokenizer``
    unless the settings name another and, for a model of other sizes, a ``VideoCrafter2Config`` as
    ``config.yaml`` or ``config.json``.
    """

    def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
        """Return the frozen model in ``folder``, in eval mode, on the CPU; see the base class.

        Raises:
            UserError: a part of the folder is missing or does not fit the others, or a setting is wrong.
        """
        wanted = family_settings(VideoCrafter2Settings, settings)
        config = _read_config(folder)
        latent_shape = _latent_shape(config, wanted)
        checkpoint = find_checkpoint(folder)
        own = folder / "tokenizer" if wanted.tokenizer is None else resolve(wanted.tokenizer)
        tokenizer = _read_tokenizer(own, config.text, wanted.long_prompts)
        with init_empty_weights():  # nothing is drawn that the checkpoint replaces
            unet = VideoCrafter2UNet(config.unet)
            first_stage = make_first_stage(config.first_stage)
            text_encoder = make_text_encoder(config.text, tokenizer.bos_token_id, tokenizer.eos_token_id)
        stored = read_checkpoint(checkpoint)
        _check_schedule(stored, str(checkpoint))
        levels = len(config.first_stage.ch_mult)
        networks: list[tuple[nn.Module, Callable[[str], Origin]]] = [
            (unet, denoiser_origin),
            (first_stage, partial(first_stage_origin, levels=levels)),
            (text_encoder, text_origin),
        ]
        load_into(networks, stored, str(checkpoint), dtype)
        return VideoCrafter2(unet, first_stage, text_encoder, tokenizer, latent_shape, wanted.fps)

    def reader(self, weights: str, **settings: object) -> PromptReader:
        """Return what refuses prompts that are too long; see the base class."""
        folder, wanted = resolve(weights), family_settings(VideoCrafter2Settings, settings)
        text = _read_config(folder).text
        own = folder / "tokenizer" if wanted.tokenizer is None else resolve(wanted.tokenizer)
        tokenizer = _read_tokenizer(own, text, wanted.long_prompts)
        return lambda prompt: _tokens(tokenizer, [prompt], text.context_length)

    def skeleton(self, weights: str, **settings: object) -> Backbone:
        """Return the model without the values of its weights, on the device ``meta``; see the base class.

        Raises:
            UserError: the weights are neither here nor those of the released model, or a setting is wrong.
        """
        wanted = family_settings(VideoCrafter2Settings, settings)
        folder = local_folder(weights)
        config = VideoCrafter2Config() if folder is None else _read_config(folder)
        start, end = config.text.vocab_size - 2, config.text.vocab_size - 1  # which tokens does not matter
        with torch.device("meta"):
            unet = VideoCrafter2UNet(config.unet)
            first_stage = make_first_stage(config.first_stage)
            text_encoder = make_text_encoder(config.text, start, end)
        return VideoCrafter2(unet, first_stage, text_encoder, None, _latent_shape(config, wanted), wanted.fps)


def videocrafter2_schedule() -> NoiseSchedule:
    """Return the released model's schedule: betas that are linear in their roots, and a fading signal.

    The signal's scale falls linearly from 1 to 0.7 over the first 400 timesteps and stays there. The
    checkpoint's table goes on for 1000 more, 1400 together; no timestep reaches the last 400.
    """
    roots = torch.linspace(math.sqrt(0.00085), math.sqrt(0.012), _TRAINING_STEPS, dtype=torch.float64)
    alphas = (1 - roots.square()).cumprod(0)
    scale = torch.cat([torch.linspace(1, 0.7, 400), torch.full((_TRAINING_STEPS,), 0.7)])
    return NoiseSchedule(alphas.float(), "epsilon", "leading", 1, scale[:_TRAINING_STEPS])


def make_first_stage(config: FirstStageConfig) -> AutoencoderKL:
    """Return the autoencoder of ``config`` with weights yet to be loaded."""
    levels = len(config.ch_mult)
    return AutoencoderKL(
        block_out_channels=tuple(config.ch * factor for factor in config.ch_mult),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=config.num_res_blocks,
        latent_channels=config.z_channels,
        scaling_factor=_LATENT_SCALE,
    )


def make_text_encoder(config: TextConfig, start: int, end: int) -> CLIPTextModel:
    """Return the text encoder of ``config`` with weights yet to be loaded.

    Args:
        config: sizes.
        start: token before a text.
        end: token after a text.
    """
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            intermediate_size=4 * config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=config.context_length,
            hidden_act="gelu",
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=_PADDING,
        )
    )


def _read_config(folder: Path) -> VideoCrafter2Config:
    for path in (folder / name for name in CONFIGS):
        if path.is_file():
            data, faults = read_mapping(path)
            config, more = parse(VideoCrafter2Config, data)
            raise_faults(str(path), [*faults, *more])
            assert config is not None
            return config
    return VideoCrafter2Config()


def _tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str], limit: int) -> list[list[int]]:
    """Return the tokens of each prompt, not padded.

    Raises:
        UserError: a prompt has more tokens than ``limit``.
    """
    rows: list[list[int]] = tokenizer(list(prompts), max_length=limit, truncation=False).input_ids
    refuse_long(prompts, rows, limit)
    return rows


def _read_tokenizer(folder: Path, config: TextConfig, long_prompts: LongPrompts) -> CLIPTokenizer:
    for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
            remedy = "save the CLIPTokenizer of the text encoder there, for ViT-H-14 that of CLIP itself"
            raise UserError(str(folder), f"has no {name}", remedy, exit_code=ExitCode.MISSING)
    tokenizer: CLIPTokenizer = read_tokenizer(folder, CLIPTokenizer, long_prompts)
    if len(tokenizer) != config.vocab_size:
        wrong = f"knows {len(tokenizer)} tokens, the text encoder {config.vocab_size}"
        raise UserError(str(folder), wrong, "give the tokenizer that the model was trained with")
    return tokenizer


def _latent_shape(config: VideoCrafter2Config, wanted: VideoCrafter2Settings) -> tuple[int, int, int, int]:
    factor = 2 ** (len(config.first_stage.ch_mult) - 1)
    step = factor * 2 ** (len(config.unet.channel_mult) - 1)
    for name, pixels in (("height", wanted.height), ("width", wanted.width)):
        if pixels % step:
            raise UserError(
                f"backbone.settings.{name} = {pixels}",
                f"is not a multiple of {step}",
                f"choose {max(1, pixels // step) * step}",
            )
    frames = wanted.frames or config.unet.temporal_length
    return config.unet.in_channels, frames, wanted.height // factor, wanted.width // factor


def _check_schedule(stored: dict[str, Tensor], source: str) -> None:
    """Refuse a checkpoint that was trained with another schedule, where it says with which."""
    schedule = videocrafter2_schedule()
    for name, ours in (("alphas_cumprod", schedule.alphas_cumprod), ("scale_arr", schedule.scale)):
        theirs = stored.get(name)
        if theirs is None or ours is None:
            continue
        same = theirs.ndim == 1 and len(theirs) >= len(ours)
        if not (same and torch.allclose(theirs[: len(ours)].float(), ours, rtol=1e-3, atol=1e-5)):
            raise UserError(
                source, f"was trained with another {name}", "give a checkpoint of VideoCrafter2 itself"
            )
