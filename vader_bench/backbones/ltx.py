"""LTX-Video, text to video: an ``LTXPipeline`` folder of diffusers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_ltx import AutoencoderKLLTXVideo
from diffusers.models.transformers.transformer_ltx import LTXVideoTransformer3DModel
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from vader_bench.backbones.base import Backbone, BackboneFactory, PromptReader, family_settings
from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.diffusion.sampler import draw_noise
from vader_bench.errors import UserError
from vader_bench.seeding import torch_stream
from vader_bench.weights.networks import load_network
from vader_bench.weights.pipeline_folder import (
    config_whole,
    latent_sizes,
    require_equal,
    require_parts,
    tokenize,
)
from vader_bench.weights.resolve import resolve
from vader_bench.weights.sizes import Sizes, read_sizes, sizes_in
from vader_bench.weights.tokenizers import LongPrompts, read_tokenizer

__all__ = ["Ltx", "LtxFactory", "LtxSettings"]

_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_SIZES = {part: f"{part}/config.json" for part in ("transformer", "vae", "text_encoder")}
_SIZES |= {"scheduler": "scheduler/scheduler_config.json"}


class LtxSettings(BaseModel):
    """Size of the videos and how the network is run; defaults as in diffusers' pipeline."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=161, ge=1)
    """Pictures of a video: a multiple of 8 plus 1."""
    height: int = Field(default=512, ge=1)
    """Pixels."""
    width: int = Field(default=704, ge=1)
    """Pixels."""
    fps: int = Field(default=25, ge=1)
    """Pictures a second that the denoiser is conditioned on, through the distance between its frames."""
    tokens: int = Field(default=128, ge=1)
    """Length that texts are filled up to; the text encoder reads the padding, the denoiser does not."""
    long_prompts: LongPrompts = "refuse"
    """``cut`` cuts prompts that are longer than the text encoder reads, with a warning."""
    flow_shift: float | None = Field(default=None, gt=0)
    """Shift of the timesteps; the folder's, which depends on the size of the videos, if ``None``."""
    decode_timestep: float = Field(default=0.0, ge=0, le=1)
    """What a decoder that takes a timestep, from version 0.9.1 on, takes for the noise in its latents; 0.05
    on the model cards of these versions."""
    decode_noise_scale: float | None = Field(default=None, ge=0, le=1)
    """Share of noise that these latents get before; ``decode_timestep`` if ``None``, 0.025 on the cards."""


class Ltx(Backbone):
    """A latent text-to-video flow model: T5 text states, diffusion transformer, strong autoencoder.

    HaCohen et al. 2024 (arXiv:2501.00103); weights Lightricks/LTX-Video on the Hugging Face hub. Clean
    latents are normalised channel by channel. Where the decoder's latents get noise, it is the same for all
    videos, so that a video does not depend on those beside it.

    Args:
        transformer: the denoiser.
        vae: the autoencoder.
        text_encoder: its last states are what the denoiser reads.
        tokenizer: its tokenizer.
        schedule: see there.
        latent_shape: (C, F, h, w).
        wanted: the settings.
    """

    name = "ltx"
    lora_targets = ("to_q", "to_k", "to_v", "to_out.0")

    def __init__(
        self,
        transformer: LTXVideoTransformer3DModel,
        vae: AutoencoderKLLTXVideo,
        text_encoder: T5EncoderModel,
        tokenizer: Any,
        *,
        schedule: FlowSchedule,
        latent_shape: tuple[int, int, int, int],
        wanted: LtxSettings,
    ) -> None:
        self.denoiser: nn.Module = transformer
        self._transformer = transformer
        self.schedule = schedule
        self.latent_shape = latent_shape
        self._vae = vae
        self._text_encoder = text_encoder
        self._tokenizer = tokenizer
        self._tokens = wanted.tokens
        self._decode_timestep = wanted.decode_timestep
        self._decode_noise = wanted.decode_timestep
        if wanted.decode_noise_scale is not None:
            self._decode_noise = wanted.decode_noise_scale
        space, time = int(vae.spatial_compression_ratio), int(vae.temporal_compression_ratio)
        self._time = time
        self._places = (time / wanted.fps, space, space)
        self.text_shape = (wanted.tokens, text_encoder.config.d_model)
        self.picture_size = (space * latent_shape[2], space * latent_shape[3])
        for module in self.modules():
            module.requires_grad_(False).eval()

    @property
    def frames(self) -> int:
        """Return the number of pictures: the first frame of latents is one, each further one several."""
        return 1 + (self.latent_shape[1] - 1) * self._time

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the last states of the text encoder [B, L, D], zero from each text's end on.

        Raises:
            UserError: a prompt has more tokens than the text encoder reads.
        """
        ids, words = tokenize(self._tokenizer, prompts, self._tokens, clean=str)  # as they are
        device = self._text_encoder.device
        # the original's text encoder looks at the padding too
        states: Tensor = self._text_encoder(ids.to(device)).last_hidden_state
        return states.masked_fill(~words.to(device)[..., None], 0)

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the predicted velocity [B, C, F, h, w]."""
        frames, height, width = latents.shape[2:]
        velocity = self.denoiser(
            hidden_states=latents.flatten(2).transpose(1, 2),
            encoder_hidden_states=encoded,
            timestep=timesteps,
            encoder_attention_mask=encoded.ne(0).any(2).to(encoded.dtype),
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=self._places,
            return_dict=False,
        )[0]
        return velocity.transpose(1, 2).unflatten(2, (frames, height, width))  # type: ignore[no-any-return]

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W]; all are decoded, as each needs its neighbours."""
        vae = self._vae
        mean, std = (part.reshape(1, -1, 1, 1, 1) for part in (vae.latents_mean, vae.latents_std))
        scaled = latents * std / vae.config["scaling_factor"] + mean
        timesteps = None
        if vae.config["timestep_conditioning"]:
            timesteps = latents.new_full((len(latents),), self._decode_timestep)
            scaled = (1 - self._decode_noise) * scaled + self._decode_noise * self._noise(latents)
        pictures = (vae.decode(scaled, timesteps, return_dict=False)[0] / 2 + 0.5).transpose(1, 2)
        return pictures if frames is None else pictures[:, list(frames)]  # type: ignore[no-any-return]

    def _noise(self, latents: Tensor) -> Tensor:
        """Return the noise [1, C, F, h, w] that latents get before they are decoded."""
        if latents.device.type == "meta" or self._decode_noise == 0:
            return torch.zeros_like(latents[:1])
        drawn = draw_noise((1, *latents.shape[1:]), torch_stream(0, "decode noise"), str(latents.device))
        return drawn.to(latents.dtype)

    def enable_checkpointing(self) -> None:
        """Make the denoiser compute its activations again in the backward pass."""
        self._transformer.enable_gradient_checkpointing()

    def modules(self) -> list[nn.Module]:
        """Return the denoiser, the text encoder and the autoencoder."""
        return [self.denoiser, self._text_encoder, self._vae]


class LtxFactory(BackboneFactory):
    """Loads an ``LTXPipeline`` folder, with ``LtxSettings`` as settings."""

    pipeline_takes_adapters = True
    flow = True

    def denoiser_parts(self, layers: Collection[str]) -> dict[str, str]:
        """Return the one transformer; see the base class."""
        del layers
        return {"": "transformer"}

    def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
        """Return the frozen model in ``folder``, in eval mode, on the CPU; see the base class.

        Raises:
            UserError: a part of the folder is missing or does not fit the others, or a setting is wrong.
        """
        wanted = family_settings(LtxSettings, settings)
        require_parts(folder, _PARTS, "LTXPipeline")
        sizes = sizes_in(folder, _SIZES)
        vae = load_network(AutoencoderKLLTXVideo, folder / "vae", dtype)
        latent_shape, schedule = _fitted(str(folder), sizes, vae, wanted)
        return Ltx(
            load_network(LTXVideoTransformer3DModel, folder / "transformer", dtype),
            vae,
            load_network(T5EncoderModel, folder / "text_encoder", dtype),
            read_tokenizer(folder / "tokenizer", long_prompts=wanted.long_prompts),
            schedule=schedule,
            latent_shape=latent_shape,
            wanted=wanted,
        )

    def reader(self, weights: str, **settings: object) -> PromptReader:
        """Return what refuses prompts that are too long; see the base class."""
        wanted = family_settings(LtxSettings, settings)
        tokenizer = read_tokenizer(resolve(weights) / "tokenizer", long_prompts=wanted.long_prompts)
        return lambda prompt: tokenize(tokenizer, [prompt], wanted.tokens, clean=str)

    def skeleton(self, weights: str, **settings: object) -> Backbone:
        """Return the model without the values of its weights, on the device ``meta``; see the base class.

        Raises:
            UserError: the weights are neither here nor those of a released model, or a setting is wrong.
        """
        wanted = family_settings(LtxSettings, settings)
        sizes = read_sizes(weights, _SIZES)
        with torch.device("meta"):
            vae = AutoencoderKLLTXVideo.from_config(sizes["vae"])
            transformer = LTXVideoTransformer3DModel.from_config(sizes["transformer"])
            text_encoder = T5EncoderModel(T5Config(**sizes["text_encoder"]))
        latent_shape, schedule = _fitted(weights, sizes, vae, wanted)
        return Ltx(
            transformer,
            vae,
            text_encoder,
            None,
            schedule=schedule,
            latent_shape=latent_shape,
            wanted=wanted,
        )


def _fitted(
    source: str, sizes: Sizes, vae: Any, wanted: LtxSettings
) -> tuple[tuple[int, int, int, int], FlowSchedule]:
    """Return (C, F, h, w) and the schedule for videos as ``wanted``, after checking the networks."""
    _check(source, sizes, vae)
    noisy = wanted.decode_timestep > 0 or bool(wanted.decode_noise_scale)
    if noisy and not vae.config["timestep_conditioning"]:
        wrong = "has an autoencoder whose decoder takes no timestep, as that of version 0.9.0"
        raise UserError(source, wrong, "leave out decode_timestep and decode_noise_scale")
    space, time = int(vae.spatial_compression_ratio), int(vae.temporal_compression_ratio)
    factors = {"frames": (time, 1), "height": (space, 1), "width": (space, 1)}
    frames, height, width = latent_sizes(wanted.model_dump(include=set(factors)), factors)
    schedule = FlowSchedule.from_config(
        sizes["scheduler"],
        f"{source}: scheduler",
        tokens=frames * height * width,
        shift=wanted.flow_shift,
        spacing="even",  # the pipeline's own, whatever the scheduler's
    )
    return (_channels(source, vae), frames, height, width), schedule


def _channels(source: str, vae: Any) -> int:
    return config_whole(vae.config, "latent_channels", f"{source}: vae")


def _check(source: str, sizes: Sizes, vae: Any) -> None:
    """Refuse networks that do not fit each other, and those that need what ``Ltx`` does not have."""
    network, text = (sizes[name] for name in ("transformer", "text_encoder"))
    channels = {"transformer.in_channels": config_whole(network, "in_channels", source, 128)}
    require_equal(source, channels | {"vae.latent_channels": _channels(source, vae)})
    widths = {"transformer.caption_channels": config_whole(network, "caption_channels", source, 4096)}
    require_equal(source, widths | {"text_encoder.d_model": config_whole(text, "d_model", source, 512)})
    if any(network.get(key, 1) != 1 for key in ("patch_size", "patch_size_t")):
        raise UserError(source, "has a transformer with patches of latents", "give one without")
    if any(vae.config["decoder_inject_noise"]):
        raise UserError(
            source,
            "has an autoencoder whose decoder draws noise of its own, which no seed would repeat",
            "give a version without decoder_inject_noise, 0.9.0 for example",
        )
