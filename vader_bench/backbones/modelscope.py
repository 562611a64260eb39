"""ModelScope's text-to-video architecture: a ``TextToVideoSDPipeline`` folder of diffusers.

The real 1.7B model and the pocket model load through the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vader_bench.backbones.base import Backbone, BackboneFactory, Outline, PromptReader, family_settings
from vader_bench.backbones.recompute import recompute
from vader_bench.diffusion.ladder import Ladder
from vader_bench.diffusion.schedule import NoiseSchedule
from vader_bench.errors import UserError, shown
from vader_bench.weights.networks import load_network
from vader_bench.weights.pipeline_folder import config_number, require_parts
from vader_bench.weights.resolve import is_packaged, resolve
from vader_bench.weights.sizes import read_sizes, read_table
from vader_bench.weights.tokenizers import LongPrompts, clip_counter, read_tokenizer, refuse_long

if TYPE_CHECKING:  # these take ten seconds to import, which who only checks an experiment is spared
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

__all__ = ["ModelScope", "ModelScopeFactory", "ModelScopeSettings", "checkpoint_layers"]

_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_SIZES = {part: f"{part}/config.json" for part in ("unet", "vae", "text_encoder")}
_SIZES |= {"scheduler": "scheduler/scheduler_config.json"}


class ModelScopeSettings(BaseModel):
    """Size of the videos; the network itself takes any."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    frames: int = Field(default=16, ge=1)
    """Frames of a video."""
    height: int | None = Field(default=None, ge=1)
    """Pixels; the size the denoiser was configured for if ``None``."""
    width: int | None = Field(default=None, ge=1)
    """Pixels; the size the denoiser was configured for if ``None``."""
    long_prompts: LongPrompts = "refuse"
    """``cut`` cuts prompts that are longer than the text encoder reads, with a warning."""


class ModelScope(Backbone):
    """A latent text-to-video model: CLIP text states, 3D UNet, frame-wise autoencoder."""

    name = "modelscope"
    lora_targets = ("to_q", "to_k", "to_v", "to_out.0")
    decodes_frame_by_frame = True

    def __init__(
        self,
        unet: UNet3DConditionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer | None,
        schedule: NoiseSchedule,
        latent_shape: tuple[int, int, int, int],
    ) -> None:
        self.denoiser: nn.Module = unet
        self._unet = unet
        self.schedule = schedule
        self.latent_shape = latent_shape
        self._vae = vae
        self._latent_scale = config_number(vae.config, "scaling_factor", "vae")
        self._text_encoder = text_encoder
        self._tokenizer = tokenizer
        self.text_shape = (text_encoder.config.max_position_embeddings, text_encoder.config.hidden_size)
        factor = _reduction(vae.config)
        self.picture_size = (factor * latent_shape[2], factor * latent_shape[3])
        for module in self.modules():
            module.requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the last hidden states of the text encoder [B, L, D], padded to its full length L.

        Raises:
            UserError: a prompt has more tokens than the text encoder reads.
        """
        assert self._tokenizer is not None, "a skeleton encodes nothing"
        tokens = _tokens(self._tokenizer, prompts, self._text_encoder.config.max_position_embeddings)
        ids = torch.tensor(tokens, device=self._text_encoder.device)
        return self._text_encoder(ids).last_hidden_state  # type: ignore[no-any-return]

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the UNet's prediction [B, C, F, h, w]."""
        return self.denoiser(latents, timesteps, encoded, return_dict=False)[0]  # type: ignore[no-any-return]

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W], each frame decoded by itself."""
        chosen = latents if frames is None else latents[:, :, list(frames)]
        pictures = chosen.transpose(1, 2).flatten(0, 1) / self._latent_scale
        decoded = self._vae.decode(pictures, return_dict=False)[0]
        return (decoded / 2 + 0.5).unflatten(0, (latents.shape[0], -1))  # type: ignore[no-any-return]

    def enable_checkpointing(self) -> None:
        """Make the denoiser compute its activations again in the backward pass."""
        checkpoint_layers(self._unet)

    def modules(self) -> list[nn.Module]:
        """Return the UNet, the text encoder and the autoencoder."""
        return [self.denoiser, self._text_encoder, self._vae]


class ModelScopeFactory(BackboneFactory):
    """Loads a ``TextToVideoSDPipeline`` folder, with ``ModelScopeSettings`` as settings."""

    def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
        """Return the frozen model in ``folder``, in eval mode, on the CPU; see the base class.

        Raises:
            UserError: a part of the folder is missing or faulty, or a setting is wrong.
        """
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        wanted = family_settings(ModelScopeSettings, settings)
        require_parts(folder, _PARTS, "TextToVideoSDPipeline")
        scheduler = folder / "scheduler" / "scheduler_config.json"
        config = {"_class_name": "DDIMScheduler"} | read_table(scheduler)
        schedule = NoiseSchedule.from_config(config, str(scheduler))
        unet = load_network(UNet3DConditionModel, folder / "unet", dtype)
        vae = load_network(AutoencoderKL, folder / "vae", dtype)
        return ModelScope(
            unet,
            vae,
            load_network(CLIPTextModel, folder / "text_encoder", dtype),
            read_tokenizer(folder / "tokenizer", CLIPTokenizer, wanted.long_prompts),
            schedule,
            _latent_shape(unet.config, vae.config, wanted),
        )

    def reader(self, weights: str, **settings: object) -> PromptReader:
        """Return what refuses prompts that are too long; see the base class."""
        long_prompts = family_settings(ModelScopeSettings, settings).long_prompts
        folder = resolve(weights)
        limit = int(read_table(folder / _SIZES["text_encoder"]).get("max_position_embeddings", 77))

        @cache
        def tokenizer() -> Any:
            from transformers import CLIPTokenizer

            return read_tokenizer(folder / "tokenizer", CLIPTokenizer, long_prompts)

        def read(prompt: str) -> object:
            return _tokens(tokenizer(), [prompt], limit)

        if not is_packaged(weights):
            tokenizer()  # its faults are to be told
            return read
        count = clip_counter(folder / "tokenizer")
        table = read_table(folder / "tokenizer" / "tokenizer_config.json")
        most = min(limit, int(table.get("model_max_length", limit)))
        return lambda prompt: read(prompt) if (count(prompt) or most + 1) > most else None

    def outline(self, weights: str, **settings: object) -> Outline:
        """Return what checks ask of the model; see the base class. Packaged weights need no trial."""
        if not is_packaged(weights):
            return super().outline(weights, **settings)
        wanted, sizes = family_settings(ModelScopeSettings, settings), read_sizes(weights, _SIZES)
        unet, vae = (SimpleNamespace(**sizes[part]) for part in ("unet", "vae"))
        ladder = Ladder.from_config(sizes["scheduler"], weights)
        return Outline(_latent_shape(unet, vae, wanted)[1], ladder.timesteps)

    def skeleton(self, weights: str, **settings: object) -> Backbone:
        """Return the model without the values of its weights, on the device ``meta``; see the base class.

        It encodes nothing: its text encoder is there for its size.

        Raises:
            UserError: the weights are neither here nor those of the released model, or a setting is wrong.
        """
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        wanted = family_settings(ModelScopeSettings, settings)
        sizes = read_sizes(weights, _SIZES)
        with torch.device("meta"):
            unet = UNet3DConditionModel.from_config(sizes["unet"])
            vae = AutoencoderKL.from_config(sizes["vae"])
            text_encoder = CLIPTextModel(CLIPTextConfig(**sizes["text_encoder"]))
        schedule = NoiseSchedule.from_config(sizes["scheduler"], weights)
        shape = _latent_shape(unet.config, vae.config, wanted)
        return ModelScope(unet, vae, text_encoder, None, schedule, shape)


def checkpoint_layers(unet: UNet3DConditionModel) -> None:
    """Make every layer of ``unet`` compute its activations again in the backward pass.

    diffusers does so for its other networks but not for this one.
    """
    layers = [unet.transformer_in]  # has the full resolution, so that it would keep most
    for block in [*unet.down_blocks, unet.mid_block, *unet.up_blocks]:
        for kind in ("resnets", "temp_convs", "attentions", "temp_attentions"):
            layers += getattr(block, kind, None) or []
    for layer in layers:
        recompute(layer)


def _tokens(tokenizer: CLIPTokenizer, prompts: Sequence[str], places: int) -> list[list[int]]:
    """Return tokens [B, L] of ``prompts`` for a text encoder with so many ``places``.

    Raises:
        UserError: a prompt has more tokens than the text encoder reads.
    """
    limit = min(tokenizer.model_max_length, places)
    tokens: list[list[int]] = tokenizer(list(prompts), padding="max_length", max_length=limit).input_ids
    refuse_long(prompts, tokens, limit)
    return tokens


def _reduction(vae: Any) -> int:
    """Return how many pixels become one, along each side."""
    return int(2 ** (len(vae.block_out_channels) - 1))


def _latent_shape(unet: Any, vae: Any, wanted: ModelScopeSettings) -> tuple[int, int, int, int]:
    factor = _reduction(vae)
    size = unet.sample_size
    native = (size, size) if isinstance(size, int) or size is None else tuple(size)
    if len(native) != 2 or not all(isinstance(side, int | None) for side in native):
        raise UserError(
            f"unet: sample_size = {shown(size)}", "is neither a number nor two", "give one or two"
        )
    sides = []
    for name, pixels, default in zip(("height", "width"), (wanted.height, wanted.width), native, strict=True):
        if pixels is None and default is None:
            raise UserError(
                "backbone.settings", f"the denoiser names no size and {name} is not set", f"set {name}"
            )
        if pixels is not None and pixels % factor:
            raise UserError(
                f"backbone.settings.{name} = {pixels}",
                f"is not a multiple of {factor}",
                f"choose {pixels // factor * factor}",
            )
        sides.append(default if pixels is None else pixels // factor)
    return unet.in_channels, wanted.frames, sides[0], sides[1]
