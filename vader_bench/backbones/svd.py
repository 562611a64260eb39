"""Stable Video Diffusion, image to video: a ``StableVideoDiffusionPipeline`` folder of diffusers.

The real model and a tiny one of the same make load through the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from vader_bench.backbones.base import Backbone, BackboneFactory, ImageBackbone, PromptReader, family_settings
from vader_bench.backbones.pictures import PictureSource, blurred_square, picture_source
from vader_bench.backbones.recompute import recompute
from vader_bench.diffusion.edm import EdmSchedule
from vader_bench.diffusion.sampler import draw_noise
from vader_bench.errors import UserError, shown
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD, Preprocess, read_preprocess
from vader_bench.seeding import torch_stream
from vader_bench.weights.networks import load_network
from vader_bench.weights.pipeline_folder import (
    config_number,
    config_sizes,
    config_whole,
    latent_sizes,
    require_equal,
    require_parts,
)
from vader_bench.weights.sizes import read_sizes, read_table

__all__ = ["Svd", "SvdFactory", "SvdNetworks", "SvdSettings", "augmentation_stream"]

_PARTS = ("unet", "vae", "image_encoder", "scheduler", "feature_extractor")
_SIZES = {part: f"{part}/config.json" for part in ("unet", "vae", "image_encoder")}
_SIZES |= {"scheduler": "scheduler/scheduler_config.json"}


class SvdSettings(BaseModel):
    """Size of the videos, what the network is conditioned on, and how it is run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pictures: str = Field(min_length=1)
    """What prompts name: see ``picture_source``."""
    frames: int | None = Field(default=None, ge=1)
    """Frames of a video; as many as the denoiser was configured for if ``None``."""
    height: int = Field(default=576, ge=1)
    """Pixels."""
    width: int = Field(default=1024, ge=1)
    """Pixels."""
    fps: int = Field(default=7, ge=1)
    """Frames a second; the network is conditioned on one less, as in its training."""
    motion_bucket_id: int = Field(default=127, ge=0)
    """How much motion the network is asked for: more is more."""
    noise_aug_strength: float = Field(default=0.02, ge=0)
    """Standard deviation of the noise on the picture, whose values go from -1 to 1; a condition of the
    network too."""


@dataclass(frozen=True)
class SvdNetworks:
    """The frozen networks of one model."""

    unet: UNetSpatioTemporalConditionModel
    vae: AutoencoderKLTemporalDecoder
    image_encoder: CLIPVisionModelWithProjection
    preprocess: Preprocess
    """Of the image encoder; given squares of its size."""


class Svd(ImageBackbone):
    """A latent image-to-video model: CLIP embedding and latents of the first picture, EDM's schedule.

    Blattmann et al. 2023 (arXiv:2311.15127); weights stabilityai/stable-video-diffusion-img2vid and -xt on
    the Hugging Face hub. The condition is one opaque row a video: the embedding [D], then the picture's
    latents [C * h * w]. Guidance is the same for all frames; the ramp over the frames that
    diffusers' pipeline has by default (from 1 at the first to 3 at the last) is not offered.

    Args:
        networks: as loaded.
        schedule: EDM's.
        latent_shape: (C, F, h, w).
        settings: what the network is conditioned on.
        pictures: gives the picture that a prompt names.
    """

    name = "svd"
    lora_targets = ("to_q", "to_k", "to_v", "to_out.0")

    def __init__(
        self,
        networks: SvdNetworks,
        schedule: EdmSchedule,
        latent_shape: tuple[int, int, int, int],
        settings: SvdSettings,
        pictures: PictureSource,
    ) -> None:
        self.denoiser: nn.Module = networks.unet
        self.schedule = schedule
        self.latent_shape = latent_shape
        self._networks = networks
        self._latent_scale = config_number(networks.vae.config, "scaling_factor", "vae")
        self._embedding = int(networks.image_encoder.config.projection_dim)
        self._settings = settings
        self._pictures = pictures
        self.text_shape = (1, self._embedding + latent_shape[0] * latent_shape[2] * latent_shape[3])
        self.picture_size = (settings.height, settings.width)
        self._told = (settings.fps - 1, settings.motion_bucket_id, settings.noise_aug_strength)
        for module in self.modules():
            module.requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the conditions [B, 1, D + C * h * w] of the pictures that ``prompts`` name.

        The same prompt always gives the same condition; the empty prompt gives zeros, which is what guidance
        contrasts with.

        Raises:
            UserError: a prompt names no picture.
        """
        channels, _, height, width = self.latent_shape
        device = self._networks.image_encoder.device
        encoded = torch.zeros(len(prompts), 1, self._embedding + channels * height * width, device=device)
        named = [index for index, prompt in enumerate(prompts) if prompt]
        if named:
            names = [prompts[index] for index in named]
            pictures = torch.stack([self._pictures(name) for name in names])
            encoded[named] = self.encode_pictures(pictures, names, names)
        return encoded

    @torch.no_grad()
    def encode_pictures(self, pictures: Tensor, names: Sequence[str], prompts: Sequence[str]) -> Tensor:
        """Return the conditions [B, 1, D + C * h * w] of ``pictures`` [B, 3, H, W] in [0, 1].

        The noise on a picture is drawn from ``augmentation_stream`` of its name. No text is read.

        Raises:
            ValueError: the pictures have another shape than the videos, or not one name each.
        """
        del prompts
        wanted = (len(names), 3, self._settings.height, self._settings.width)
        if pictures.shape != wanted:
            raise ValueError(f"pictures must be {list(wanted)}, got {list(pictures.shape)}")
        networks = self._networks
        centred = 2 * pictures.to(networks.image_encoder.device) - 1
        square = blurred_square(centred, networks.preprocess.size)
        embedding = networks.image_encoder(networks.preprocess(square / 2 + 0.5)).image_embeds
        shape, device = (1, *wanted[1:]), centred.device
        noise = torch.cat([draw_noise(shape, augmentation_stream(name), device) for name in names])
        noised = centred + self._settings.noise_aug_strength * noise
        latents = networks.vae.encode(noised).latent_dist.mode()  # not scaled: so the model was trained
        return torch.cat([embedding, latents.flatten(1)], dim=1)[:, None]

    def with_texts(self, encoded: Tensor, texts: Sequence[str]) -> Tensor:
        """Refuse: the model reads no texts.

        Raises:
            UserError: always.
        """
        del encoded
        remedy = "leave negative prompts out"
        raise UserError(f"negative prompt {shown(texts[0])}", "is a text, and svd reads none", remedy)

    def unconditional(self, encoded: Tensor) -> Tensor:
        """Return zeros in the shape of ``encoded`` [B, 1, D + C * h * w]."""
        return torch.zeros_like(encoded)

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the UNet's prediction [B, C, F, h, w] at sigmas ``timesteps`` [B]: see ``EdmSchedule``."""
        batch, channels, frames, height, width = latents.shape
        sigmas = timesteps.to(latents.dtype)
        scaled = latents / (sigmas**2 + 1).sqrt().reshape(-1, 1, 1, 1, 1)
        picture = encoded[:, 0, self._embedding :].reshape(batch, 1, channels, height, width)
        both = [scaled.transpose(1, 2), picture.expand(-1, frames, -1, -1, -1)]
        output = self.denoiser(
            torch.cat(both, dim=2),
            0.25 * sigmas.log(),
            encoded[:, :, : self._embedding],
            latents.new_tensor(self._told).expand(batch, -1),
            return_dict=False,
        )[0]
        return output.transpose(1, 2)  # type: ignore[no-any-return]

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W]; the whole video is decoded whatever is asked for.

        The decoder normalises over all frames together, so that no part of the video gives a frame exactly.
        """
        stacked = latents.transpose(1, 2).flatten(0, 1) / self._latent_scale
        decoded = self._networks.vae.decode(stacked, num_frames=latents.shape[2], return_dict=False)[0]
        video: Tensor = (decoded / 2 + 0.5).unflatten(0, (latents.shape[0], -1))
        return video if frames is None else video[:, list(frames)]

    def enable_checkpointing(self) -> None:
        """Make denoiser and decoder, which takes all frames at once, compute activations again."""
        self._networks.unet.enable_gradient_checkpointing()
        for name, layer in self._networks.unet.named_modules():
            # diffusers checkpoints the blocks over space and leaves out those over time
            if name.rpartition(".")[0].endswith("temporal_transformer_blocks"):
                recompute(layer)
        self._networks.vae.enable_gradient_checkpointing()

    def modules(self) -> list[nn.Module]:
        """Return the UNet, the image encoder with its preprocessing, and the autoencoder."""
        networks = self._networks
        return [self.denoiser, networks.image_encoder, networks.preprocess, networks.vae]


class SvdFactory(BackboneFactory):
    """Loads a ``StableVideoDiffusionPipeline`` folder, with ``SvdSettings`` as settings."""

    reads_texts = False

    def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
        """Return the frozen model in ``folder``, in eval mode, on the CPU; see the base class.

        Raises:
            UserError: a part of the folder is missing, faulty or does not fit the others, or a setting is
                wrong.
        """
        wanted = family_settings(SvdSettings, settings)
        require_parts(folder, _PARTS, "StableVideoDiffusionPipeline")
        source = picture_source(wanted.pictures, wanted.height, wanted.width)
        scheduler = folder / "scheduler" / "scheduler_config.json"
        schedule = EdmSchedule.from_config(read_table(scheduler), str(scheduler))
        networks = _load_networks(folder, dtype)
        return Svd(networks, schedule, _latent_shape(networks, wanted), wanted, source)

    def picture_reader(self, **settings: object) -> PromptReader:
        """Return what refuses prompts that name no picture; see the base class."""
        wanted = family_settings(SvdSettings, settings)
        return picture_source(wanted.pictures, wanted.height, wanted.width)

    def skeleton(self, weights: str, **settings: object) -> Backbone:
        """Return the model without the values of its weights, on the device ``meta``; see the base class.

        Raises:
            UserError: the weights are neither here nor those of a released model, or a setting is wrong.
        """
        wanted = family_settings(SvdSettings, settings)
        sizes = read_sizes(weights, _SIZES)
        with torch.device("meta"):
            networks = SvdNetworks(
                UNetSpatioTemporalConditionModel.from_config(sizes["unet"]),
                AutoencoderKLTemporalDecoder.from_config(sizes["vae"]),
                CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes["image_encoder"])),
                Preprocess(sizes["image_encoder"].get("image_size", 224), CLIP_MEAN, CLIP_STD),
            )
        for network in (networks.unet, networks.vae):
            network.to("meta")  # diffusers makes a few of its weights on the CPU, come what may
        schedule = EdmSchedule.from_config(sizes["scheduler"], weights)
        return Svd(networks, schedule, _latent_shape(networks, wanted), wanted, _no_picture)


def _no_picture(prompt: str) -> Tensor:
    raise AssertionError(f"a skeleton encodes nothing, and was given {prompt!r}")


def augmentation_stream(name: str) -> torch.Generator:
    """Return the stream of the noise on the picture called ``name``."""
    return torch_stream(0, "picture noise", name)


def _load_networks(folder: Path, dtype: torch.dtype) -> SvdNetworks:
    image_encoder = load_network(CLIPVisionModelWithProjection, folder / "image_encoder", dtype)
    networks = SvdNetworks(
        load_network(UNetSpatioTemporalConditionModel, folder / "unet", dtype),
        load_network(AutoencoderKLTemporalDecoder, folder / "vae", dtype),
        image_encoder,
        read_preprocess(folder / "feature_extractor", image_encoder.config.image_size),
    )
    unet, vae = networks.unet.config, networks.vae.config
    for sizes in (
        {
            "unet.cross_attention_dim": unet.cross_attention_dim,
            "image_encoder.projection_dim": image_encoder.config.projection_dim,
        },
        {"unet.out_channels": unet.out_channels, "vae.latent_channels": vae.latent_channels},
        {
            "unet.in_channels": unet.in_channels,
            "2 * vae.latent_channels": 2 * config_whole(vae, "latent_channels", "vae"),
        },
        {
            "unet.projection_class_embeddings_input_dim": unet.projection_class_embeddings_input_dim,
            "3 * unet.addition_time_embed_dim": 3 * config_whole(unet, "addition_time_embed_dim", "unet"),
        },
    ):
        require_equal(folder, sizes)
    return networks


def _latent_shape(networks: SvdNetworks, wanted: SvdSettings) -> tuple[int, int, int, int]:
    factor = 2 ** (len(config_sizes(networks.vae.config, "block_out_channels", "vae")) - 1)
    frames = wanted.frames or config_whole(networks.unet.config, "num_frames", "unet")
    sizes = {"frames": frames, "height": wanted.height, "width": wanted.width}
    factors = {"frames": (1, 1), "height": (factor, 1), "width": (factor, 1)}
    return config_whole(networks.vae.config, "latent_channels", "vae"), *latent_sizes(sizes, factors)
