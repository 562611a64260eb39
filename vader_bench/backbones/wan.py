"""Wan 2.1 and 2.2, text to video: a ``WanPipeline`` folder of diffusers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ftfy
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan, WanCausalConv3d, unpatchify
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from vader_bench.backbones.base import Backbone, BackboneFactory, PromptReader, family_settings
from vader_bench.backbones.recompute import recomputed
from vader_bench.diffusion.flow import LENGTH, FlowSchedule
from vader_bench.errors import UserError
from vader_bench.weights.networks import load_network
from vader_bench.weights.pipeline_folder import (
    config_number,
    config_sizes,
    config_whole,
    latent_sizes,
    plain_text,
    require_equal,
    require_parts,
    tokenize,
)
from vader_bench.weights.resolve import resolve
from vader_bench.weights.sizes import Sizes, read_sizes, sizes_in
from vader_bench.weights.tensors import WHOLE_FOLDER
from vader_bench.weights.tokenizers import LongPrompts, read_tokenizer

__all__ = [
    "WAN_PARTS", "Experts", "Wan", "WanFactory", "WanNetworks", "WanSettings", "clean_prompt", "load_wan",
    "wan_skeleton",
]  # fmt: skip

WAN_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_SIZES = {part: f"{part}/config.json" for part in ("transformer", "transformer_2", "vae", "text_encoder")}
_SIZES |= {"scheduler": "scheduler/scheduler_config.json", "index": "model_index.json"}
_OPTIONAL = ("transformer_2", "index")


class WanSettings(BaseModel):
    """Size of the videos and how the network is run; defaults as in diffusers' pipeline."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=81, ge=1)
    """Pictures of a video: a multiple of 4 plus 1."""
    height: int = Field(default=480, ge=1)
    """Pixels."""
    width: int = Field(default=832, ge=1)
    """Pixels."""
    tokens: int = Field(default=512, ge=1)
    """Length that texts are filled up to. The network reads the padding, so another one is another model."""
    long_prompts: LongPrompts = "refuse"
    """``cut`` cuts prompts that are longer than the text encoder reads, with a warning."""
    flow_shift: float | None = Field(default=None, gt=0)
    """Shift of the timesteps, 3 for 480 and 5 for 720 lines by the model card; the folder's if ``None``."""


class Experts(nn.Module):
    """Two networks that share the way: one for noisy latents, one for those less noisy (Wan 2.2).

    Args:
        high: takes timesteps from ``boundary`` up.
        low: takes those below.
        boundary: a timestep.
    """

    def __init__(self, high: nn.Module, low: nn.Module, boundary: float) -> None:
        super().__init__()
        self.high = high
        self.low = low
        self.boundary = boundary

    def forward(
        self, latents: Tensor, timesteps: Tensor, encoded: Tensor, return_dict: bool
    ) -> tuple[Tensor]:
        """Return the prediction [B, C, F, h, w], each video's from its own network."""
        noisy = timesteps >= self.boundary
        chosen = [(self.high, noisy.nonzero().flatten()), (self.low, (~noisy).nonzero().flatten())]
        parts = [
            expert(latents[rows], timesteps[rows], encoded[rows], return_dict=return_dict)[0]
            for expert, rows in chosen
            if len(rows)
        ]
        return (torch.cat(parts)[torch.cat([rows for _, rows in chosen]).argsort()],)


class WanNetworks(NamedTuple):
    """The frozen networks of one model, and what its configuration says."""

    transformer: nn.Module
    """The denoiser, or two ``Experts``."""
    vae: AutoencoderKLWan
    text_encoder: UMT5EncoderModel
    """Its last states are what the denoiser reads."""
    tokenizer: Any
    """Of the text encoder; ``None`` in a skeleton."""
    schedule: FlowSchedule
    latent_shape: tuple[int, int, int, int]
    """(C, F, h, w)."""
    tokens: int
    """Length that texts are filled up to."""


class Wan(Backbone):
    """A latent text-to-video flow model: UMT5 text states, diffusion transformer, causal autoencoder.

    Wan team 2025 (arXiv:2503.20314); weights Wan-AI/Wan2.1-T2V-1.3B-Diffusers and its like on the Hugging
    Face hub. Clean latents are normalised channel by channel.

    Args:
        networks: as loaded.
    """

    name = "wan"
    lora_targets = ("to_q", "to_k", "to_v", "to_out.0")

    def __init__(self, networks: WanNetworks) -> None:
        transformer, vae, text_encoder, tokenizer, schedule, latent_shape, tokens = networks
        self.denoiser: nn.Module = transformer
        self.schedule = schedule
        self.latent_shape = latent_shape
        self._vae = vae
        self._text_encoder = text_encoder
        self._tokenizer = tokenizer
        self._tokens = tokens
        self.boundary = transformer.boundary if isinstance(transformer, Experts) else None
        statistics = (config_sizes(vae.config, name, "vae") for name in ("latents_mean", "latents_std"))
        self._mean, self._std = (torch.tensor(numbers).reshape(1, -1, 1, 1, 1) for numbers in statistics)
        self.text_shape = (tokens, text_encoder.config.d_model)
        factor = int(vae.config["scale_factor_spatial"])
        self.picture_size = (factor * latent_shape[2], factor * latent_shape[3])
        for module in self.modules():
            module.requires_grad_(False).eval()

    @property
    def frames(self) -> int:
        """Return the number of pictures: the first frame of latents is one, each further one several."""
        return 1 + (self.latent_shape[1] - 1) * int(self._vae.config["scale_factor_temporal"])

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the last states of the text encoder [B, L, D], zero from each text's end on.

        Raises:
            UserError: a prompt has more tokens than the denoiser reads.
        """
        ids, words = tokenize(self._tokenizer, prompts, self._tokens, clean_prompt)
        ids, words = ids.to(self._text_encoder.device), words.to(self._text_encoder.device)
        states: Tensor = self._text_encoder(ids, words.long()).last_hidden_state
        return states.masked_fill(~words[..., None], 0)

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the predicted velocity [B, C, F, h, w]."""
        return self.denoiser(latents, timesteps, encoded, return_dict=False)[0]  # type: ignore[no-any-return]

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W]; all are decoded, as each needs those before it.

        The autoencoder clamps them to [0, 1] itself.
        """
        scaled = latents * self._std.to(latents) + self._mean.to(latents)
        pictures = (self._vae.decode(scaled, return_dict=False)[0] / 2 + 0.5).transpose(1, 2)
        return pictures if frames is None else pictures[:, list(frames)]  # type: ignore[no-any-return]

    def enable_checkpointing(self) -> None:
        """Make the denoiser, or both of them, compute activations again in the backward pass."""
        for network in self.denoiser.modules():
            if isinstance(network, WanTransformer3DModel):
                network.enable_gradient_checkpointing()

    def enable_chunks(self) -> None:
        """Make the decoder keep, for each frame of latents, what it takes from those before, and no more."""
        self._vae._decode = partial(_decode_in_chunks, self._vae)  # noqa: SLF001 - where `decode` ends

    def modules(self) -> list[nn.Module]:
        """Return the denoiser, the text encoder and the autoencoder."""
        return [self.denoiser, self._text_encoder, self._vae]


def _decode_in_chunks(vae: AutoencoderKLWan, latents: Tensor) -> DecoderOutput:
    """Return pictures [B, 3, f, H, W] in [-1, 1] as ``vae`` decodes them: frame after frame of latents.

    What its convolutions remember of the frames before goes from one to the next, with its gradient.
    """
    causal = [layer for layer in vae.decoder.modules() if isinstance(layer, WanCausalConv3d)]
    memory: list[Any] = [None] * len(causal)
    parts = []
    for index, frame in enumerate(vae.post_quant_conv(latents).split(1, dim=2)):
        part, memory = recomputed(_decode_frame, vae.decoder, frame, memory, first=index == 0)
        parts.append(part)
    pictures = torch.cat(parts, dim=2)
    if vae.config.patch_size is not None:
        pictures = unpatchify(pictures, patch_size=vae.config.patch_size)
    return DecoderOutput(sample=pictures.clamp(-1, 1))


def _decode_frame(decoder: nn.Module, frame: Tensor, memory: list[Any], *, first: bool) -> tuple[Tensor, Any]:
    """Return the pictures of a ``frame`` of latents, and the ``memory`` that the next one is decoded with."""
    remembered = list(memory)  # the decoder changes it, and begins with the old one when it computes again
    pictures = decoder(frame, feat_cache=remembered, feat_idx=[0], first_chunk=first)
    return pictures, remembered


def clean_prompt(prompt: str) -> str:
    """Return ``prompt`` as Wan's code and diffusers' pipeline read it, cleaned by ftfy among others."""
    return plain_text(ftfy.fix_text(prompt))


class WanFactory(BackboneFactory):
    """Loads a ``WanPipeline`` folder, with ``WanSettings`` as settings."""

    pipeline_takes_adapters = True
    flow = True

    def denoiser_parts(self, layers: Collection[str]) -> dict[str, str]:
        """Return the one transformer, or those of the two ``Experts``; see the base class."""
        if any(name.startswith("low.") for name in layers):
            return {"high.": "transformer", "low.": "transformer_2"}
        return {"": "transformer"}

    def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
        """Return the frozen model in ``folder``, in eval mode, on the CPU; see the base class.

        Raises:
            UserError: a part of the folder is missing or does not fit the others, or a setting is wrong.
        """
        wanted = family_settings(WanSettings, settings)
        require_parts(folder, WAN_PARTS, "WanPipeline")
        return Wan(load_wan(folder, wanted, dtype))

    def reader(self, weights: str, **settings: object) -> PromptReader:
        """Return what refuses prompts that are too long; see the base class."""
        wanted = family_settings(WanSettings, settings)
        tokenizer = read_tokenizer(resolve(weights) / "tokenizer", long_prompts=wanted.long_prompts)
        return lambda prompt: tokenize(tokenizer, [prompt], wanted.tokens, clean_prompt)

    def skeleton(self, weights: str, **settings: object) -> Backbone:
        """Return the model without the values of its weights, on the device ``meta``; see the base class.

        Of two experts one takes every call: which one does not change what a call costs.

        Raises:
            UserError: the weights are neither here nor those of a released model, or a setting is wrong.
        """
        return Wan(wan_skeleton(weights, family_settings(WanSettings, settings)))


def load_wan(
    folder: Path, wanted: WanSettings, dtype: torch.dtype, extra: Callable[[int], int] = lambda _: 0
) -> WanNetworks:
    """Return the frozen networks in ``folder``, on the CPU.

    Args:
        folder: of a pipeline.
        wanted: settings.
        dtype: as for ``load_network``.
        extra: channels that the denoiser reads beside the noisy latents, by those of the latents.

    Raises:
        UserError: a part of the folder is faulty or does not fit the others.
    """
    sizes = sizes_in(folder, _SIZES, _OPTIONAL)
    schedule = FlowSchedule.from_config(sizes["scheduler"], f"{folder}: scheduler", shift=wanted.flow_shift)
    latent_shape = _latent_shape(str(folder), sizes, wanted, extra)
    boundary = _boundary(str(folder), sizes)
    names = ["transformer"] if boundary is None else ["transformer", "transformer_2"]
    experts = [load_network(WanTransformer3DModel, folder / name, dtype) for name in names]
    return WanNetworks(
        experts[0] if boundary is None else Experts(experts[0], experts[1], boundary).eval(),
        load_network(AutoencoderKLWan, folder / "vae", dtype),
        load_network(UMT5EncoderModel, folder / "text_encoder", dtype),
        read_tokenizer(folder / "tokenizer", long_prompts=wanted.long_prompts),
        schedule,
        latent_shape,
        wanted.tokens,
    )


def wan_skeleton(weights: str, wanted: WanSettings, extra: Callable[[int], int] = lambda _: 0) -> WanNetworks:
    """Return the networks without values, on the device ``meta``; arguments as for ``load_wan``.

    Raises:
        UserError: the weights are neither here nor those of a released model.
    """
    sizes = read_sizes(weights, _SIZES, _OPTIONAL)
    schedule = FlowSchedule.from_config(sizes["scheduler"], weights, shift=wanted.flow_shift)
    latent_shape = _latent_shape(weights, sizes, wanted, extra)
    boundary = _boundary(weights, sizes)
    zeros = {"latents_mean": [0.0] * latent_shape[0], "latents_std": [1.0] * latent_shape[0]}
    with torch.device("meta"):
        transformer = WanTransformer3DModel.from_config(sizes["transformer"])
        if boundary is not None:
            second = WanTransformer3DModel.from_config(sizes["transformer_2"])
            transformer = _FirstExpert(transformer, second, boundary)
        vae = AutoencoderKLWan.from_config(zeros | sizes["vae"])
        text_encoder = UMT5EncoderModel(UMT5Config(**sizes["text_encoder"]))
    return WanNetworks(transformer, vae, text_encoder, None, schedule, latent_shape, wanted.tokens)


class _FirstExpert(Experts):
    """Experts of a skeleton, whose timesteps have no values to choose one by."""

    def forward(
        self, latents: Tensor, timesteps: Tensor, encoded: Tensor, return_dict: bool
    ) -> tuple[Tensor]:
        prediction: tuple[Tensor] = self.high(latents, timesteps, encoded, return_dict=return_dict)
        return prediction


def _boundary(source: str, sizes: Sizes) -> float | None:
    """Return the timestep where one of two networks ends and the other begins; ``None`` if there is one."""
    index = sizes.get("index", {})
    boundary = index.get("boundary_ratio")
    names = [name for name in ("transformer", "transformer_2") if name in sizes]
    if (boundary is None) != (len(names) == 1):
        raise UserError(
            source,
            f"has {' and '.join(names)}, and boundary_ratio = {boundary} in model_index.json",
            "give both transformer_2 and boundary_ratio, or neither",
        )
    return None if boundary is None else config_number(index, "boundary_ratio", source) * LENGTH


def _latent_shape(
    source: str, sizes: Sizes, wanted: WanSettings, extra: Callable[[int], int]
) -> tuple[int, int, int, int]:
    """Return (C, F, h, w), after comparing the sizes of the networks."""

    def size(part: str, key: str, default: int) -> int:
        return config_whole(sizes[part], key, f"{source}: {part}", default)

    channels = size("vae", "z_dim", 16)
    read = {"transformer.in_channels": size("transformer", "in_channels", 16)}
    if (more := extra(channels)) == 0:
        require_equal(source, read | {"vae.z_dim": channels})
    else:
        require_equal(source, read | {f"vae.z_dim and {more} channels of a picture": channels + more})
    require_equal(
        source,
        {
            "transformer.text_dim": size("transformer", "text_dim", 4096),
            "text_encoder.d_model": size("text_encoder", "d_model", 512),
        },
    )
    patch = [int(side) for side in config_sizes(sizes["transformer"], "patch_size", source, (1, 2, 2))]
    if len(patch) != 3 or min(patch) < 1:
        raise UserError(f"{source}: patch_size = {patch}", "is not three sizes", "give frames, height, width")
    space, time = size("vae", "scale_factor_spatial", 8), size("vae", "scale_factor_temporal", 4)
    for key in ("latents_mean", "latents_std"):
        if key in sizes["vae"] and len(config_sizes(sizes["vae"], key, f"{source}: vae")) != channels:
            raise UserError(
                f"{source}: vae: {key}", f"has no number for each of {channels} channels", WHOLE_FOLDER
            )
    factors = {"frames": (time, patch[0]), "height": (space, patch[1]), "width": (space, patch[2])}
    return channels, *latent_sizes(wanted.model_dump(include=set(factors)), factors)
