"""Wan 2.1 and 2.2, picture to video: a ``WanImageToVideoPipeline`` folder of diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from vader_bench.backbones.base import Backbone, ImageBackbone, PromptReader, family_settings
from vader_bench.backbones.pictures import PictureSource, picture_source
from vader_bench.backbones.wan import (
    WAN_PARTS,
    Wan,
    WanFactory,
    WanNetworks,
    WanSettings,
    load_wan,
    wan_skeleton,
)
from vader_bench.errors import UserError
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD, CropPreprocess, read_statistics
from vader_bench.weights.networks import load_network
from vader_bench.weights.pipeline_folder import config_whole, require_equal, require_parts
from vader_bench.weights.sizes import Sizes, read_sizes, sizes_in

__all__ = ["WanImage", "WanImageFactory", "WanImageSettings"]

_SIZES = {part: f"{part}/config.json" for part in ("transformer", "image_encoder")}
_SIZES |= {"index": "model_index.json"}
_OPTIONAL = ("image_encoder", "index")
_TIME = 4
"""Pictures that a frame of latents stands for, and channels of the mask."""


class WanImageSettings(WanSettings):
    """Pictures and size of the videos, and how the network is run; defaults as in diffusers' pipeline."""

    pictures: str = Field(min_length=1)
    """What prompts name: see ``picture_source``. The prompt is the text of the video too."""


class _Seen(CropPreprocess):
    """What CLIP's image processor makes of a picture: its short side, cut, rounded to 256 steps."""

    def reshape(self, frames: Tensor) -> Tensor:
        """Return ``frames`` [..., 3, H, W] as [..., 3, size, size]."""
        return super().reshape(frames).clamp(0, 1).mul(255).round().div(255)


class WanImage(Wan, ImageBackbone):
    """A latent flow model from picture and text to video: Wan's, which is shown the first picture.

    Wan team 2025 (arXiv:2503.20314); weights Wan-AI/Wan2.1-I2V-14B-480P-Diffusers,
    Wan-AI/Wan2.2-I2V-A14B-Diffusers and their like. Beside the noisy latents the denoiser reads a mask that
    is 1 in the first frame of latents, and the latents of a video that goes on grey after its first picture;
    in Wan 2.1 also CLIP's states before its last layer. The condition is one opaque row a video: text states
    [L * D], CLIP's states [N * E], then latents [C * F * h * w].

    Args:
        networks: as loaded.
        image_encoder: CLIP's; ``None`` where the denoiser reads none of its states (Wan 2.2).
        preprocess: of what it sees.
        pictures: gives the picture that a prompt names.
    """

    name = "wan-i2v"

    def __init__(
        self,
        networks: WanNetworks,
        image_encoder: CLIPVisionModel | None,
        preprocess: CropPreprocess | None,
        pictures: PictureSource,
    ) -> None:
        self._image_encoder = image_encoder
        self._preprocess = preprocess
        self._pictures = pictures
        super().__init__(networks)
        self._text_sizes = self.text_shape
        self._seen_sizes = (0, 0) if image_encoder is None else _states(image_encoder.config)
        text, seen = (rows * width for rows, width in (self._text_sizes, self._seen_sizes))
        channels, frames, height, width = self.latent_shape
        self._lengths = (text, seen, channels * frames * height * width)
        self.text_shape = (1, sum(self._lengths))

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the conditions [B, 1, K] of prompts and of the pictures that they name.

        Raises:
            UserError: a prompt names no picture, or has more tokens than the denoiser reads.
        """
        return self.encode_pictures(torch.stack([self._pictures(name) for name in prompts]), prompts, prompts)

    @torch.no_grad()
    def encode_pictures(self, pictures: Tensor, names: Sequence[str], prompts: Sequence[str]) -> Tensor:
        """Return the conditions [B, 1, K] of ``pictures`` [B, 3, H, W] in [0, 1] and of ``prompts``.

        Nothing is drawn, so that ``names`` do not matter.

        Raises:
            ValueError: the pictures have another shape than the videos, or not one name each.
        """
        wanted = (len(names), 3, *self.picture_size)
        if pictures.shape != wanted:
            raise ValueError(f"pictures must be {list(wanted)}, got {list(pictures.shape)}")
        pictures = pictures.to(self._text_encoder.device)
        parts = [super().encode(prompts).flatten(1)]
        if self._image_encoder is not None and self._preprocess is not None:
            states = self._image_encoder(self._preprocess(pictures), output_hidden_states=True).hidden_states
            parts.append(states[-2].flatten(1))
        going_on = torch.zeros(len(names), 3, self.frames - 1, *self.picture_size, device=pictures.device)
        shown = torch.cat([2 * pictures[:, :, None] - 1, going_on], dim=2)
        latents = self._vae.encode(shown).latent_dist.mode()
        parts.append(((latents - self._mean.to(latents)) / self._std.to(latents)).flatten(1))
        return torch.cat(parts, dim=1)[:, None]

    @torch.no_grad()
    def with_texts(self, encoded: Tensor, texts: Sequence[str]) -> Tensor:
        """Return ``encoded`` [B, 1, K] with other texts and the same pictures."""
        states = super().encode(texts).flatten(1)[:, None].to(encoded)
        return torch.cat([states, encoded[..., self._lengths[0] :]], dim=2)

    def unconditional(self, encoded: Tensor) -> Tensor:
        """Return ``encoded`` [B, 1, K] with the empty text."""
        return self.with_texts(encoded, [""] * len(encoded))

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the predicted velocity [B, C, F, h, w]."""
        text, seen, picture = encoded[:, 0].split(self._lengths, dim=1)
        mask = torch.zeros_like(latents[:, :1]).repeat(1, _TIME, 1, 1, 1)
        mask[:, :, 0] = 1
        shown = torch.cat([latents, mask, picture.reshape(latents.shape)], dim=1)
        states = {"encoder_hidden_states_image": seen.unflatten(1, self._seen_sizes)} if seen.shape[1] else {}
        words = text.unflatten(1, self._text_sizes)
        return self.denoiser(shown, timesteps, words, return_dict=False, **states)[0]  # type: ignore[no-any-return]

    def modules(self) -> list[nn.Module]:
        """Return the denoiser, the text encoder, the autoencoder, and CLIP with its preprocessing."""
        seeing = [self._image_encoder, self._preprocess]
        return [*super().modules(), *(module for module in seeing if module is not None)]


class WanImageFactory(WanFactory):
    """Loads a ``WanImageToVideoPipeline`` folder. Its settings are those of ``wan``, and this one."""

    def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
        """Return the frozen model in ``folder``, in eval mode, on the CPU; see the base class.

        Raises:
            UserError: a part of the folder is missing or does not fit the others, or a setting is wrong.
        """
        wanted = family_settings(WanImageSettings, settings)
        sizes = _fitting(str(folder), sizes_in(folder, _SIZES, _OPTIONAL))
        seeing = ("image_encoder", "image_processor") if "image_encoder" in sizes else ()
        require_parts(folder, (*WAN_PARTS, *seeing), "WanImageToVideoPipeline")
        source = picture_source(wanted.pictures, wanted.height, wanted.width)
        networks = load_wan(folder, wanted, dtype, _extra)
        if not seeing:
            return WanImage(networks, None, None, source)
        encoder = load_network(CLIPVisionModel, folder / "image_encoder", dtype)
        statistics = read_statistics(folder / "image_processor" / "preprocessor_config.json")
        return WanImage(networks, encoder, _Seen(encoder.config.image_size, *statistics), source)

    def reader(self, weights: str, **settings: object) -> PromptReader:
        """Return what refuses prompts that are too long; see the base class."""
        settings.pop("pictures", None)
        return super().reader(weights, **settings)

    def picture_reader(self, **settings: object) -> PromptReader:
        """Return what refuses prompts that name no picture; see the base class."""
        wanted = family_settings(WanImageSettings, settings)
        return picture_source(wanted.pictures, wanted.height, wanted.width)

    def skeleton(self, weights: str, **settings: object) -> Backbone:
        """Return the model without the values of its weights, on the device ``meta``; see the base class.

        Raises:
            UserError: the weights are neither here nor those of a released model, or a setting is wrong.
        """
        wanted = family_settings(WanImageSettings, settings)
        sizes = _fitting(weights, read_sizes(weights, _SIZES, _OPTIONAL))
        networks = wan_skeleton(weights, wanted, _extra)
        if "image_encoder" not in sizes:
            return WanImage(networks, None, None, _no_picture)
        with torch.device("meta"):
            encoder = CLIPVisionModel(CLIPVisionConfig(**sizes["image_encoder"]))
            preprocess = _Seen(encoder.config.image_size, CLIP_MEAN, CLIP_STD)
        return WanImage(networks, encoder, preprocess, _no_picture)


def _no_picture(prompt: str) -> Tensor:
    raise AssertionError(f"a skeleton encodes nothing, and was given {prompt!r}")


def _extra(channels: int) -> int:
    """Return the channels of mask and picture, for latents of so many ``channels``."""
    return _TIME + channels


def _states(config: CLIPVisionConfig) -> tuple[int, int]:
    """Return how many states CLIP has, one a patch and one more, and their width."""
    return (config.image_size // config.patch_size) ** 2 + 1, config.hidden_size


def _fitting(source: str, sizes: Sizes) -> Sizes:
    """Return ``sizes`` after comparing what the denoiser reads of CLIP with what there is.

    Raises:
        UserError: they do not fit, or the model is given its picture in another way.
    """
    if sizes.get("index", {}).get("expand_timesteps"):
        wrong = "puts the picture in place of the first latents (Wan 2.2, 5B), which wan-i2v does not offer"
        raise UserError(source, wrong, "take a model of 14B, or the family wan without a picture")
    transformer, encoder = sizes["transformer"], sizes.get("image_encoder")
    read = transformer.get("image_dim")
    if (read is None) != (encoder is None):
        wrong = f"has transformer.image_dim = {read} and {'no' if encoder is None else 'an'} image_encoder"
        raise UserError(source, wrong, "give both, or neither")
    if encoder is not None:
        width = config_whole(encoder, "hidden_size", f"{source}: image_encoder", 768)
        read = config_whole(transformer, "image_dim", f"{source}: transformer")
        require_equal(source, {"transformer.image_dim": read, "image_encoder.hidden_size": width})
    return sizes
