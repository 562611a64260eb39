"""Open-Sora 1.2: a folder with denoiser, autoencoder, text encoder and tokenizer as they were released.

The 1.1B model and a tiny one of the same make load through the same code.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from vader_bench.backbones.base import Backbone, BackboneFactory, PromptReader, family_settings
from vader_bench.backbones.open_sora_vae import OpenSoraVAE, OpenSoraVAEConfig
from vader_bench.backbones.stdit3 import Format, STDiT3, STDiT3Config
from vader_bench.config.rules import WeightsName
from vader_bench.config.yamlfile import parse, raise_faults
from vader_bench.diffusion.flow_open_sora import open_sora_schedule
from vader_bench.errors import UserError
from vader_bench.weights.networks import load_network, make_network, read_weights
from vader_bench.weights.pipeline_folder import require_equal, require_parts
from vader_bench.weights.resolve import resolve
from vader_bench.weights.sizes import local_folder, read_sizes, read_table
from vader_bench.weights.tokenizers import LongPrompts, read_tokenizer, refuse_long

__all__ = ["OpenSora", "OpenSoraFactory", "OpenSoraSettings", "clean_prompt"]

_PARTS = ("transformer", "vae", "text_encoder", "tokenizer")

Config = TypeVar("Config", bound=BaseModel)


class OpenSoraSettings(BaseModel):
    """Size of the videos and how the network is run; VADER's by default, 2 seconds at 240p and 3:4."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: int = Field(default=51, ge=1)
    """Pictures of a video: 1, or at least 17."""
    height: int = Field(default=276, ge=1)
    """Pixels that the denoiser is conditioned on; pictures have the next lower multiple of 8."""
    width: int = Field(default=368, ge=1)
    """Pixels that the denoiser is conditioned on; pictures have the next lower multiple of 8."""
    fps: int = Field(default=24, ge=1)
    """Frames a second that the denoiser is conditioned on."""
    vae: WeightsName | None = None
    """Weights of the autoencoder; the folder's own if ``None``."""
    text_encoder: WeightsName | None = None
    """Weights of the text encoder, with its tokenizer; the folder's own if ``None``."""
    suffix: str = " aesthetic score: 6.5."
    """What is put after every prompt: the denoiser was trained to read a score there."""
    long_prompts: LongPrompts = "refuse"
    """``cut`` cuts prompts that are longer than the denoiser reads, and what is put after them, with a
    warning."""


class OpenSora(Backbone):
    """A latent text-to-video flow model: T5 text states, STDiT3, autoencoder that compresses time.

    Zheng et al. 2024 (arXiv:2412.20404); weights hpcai-tech/OpenSora-STDiT-v3, hpcai-tech/OpenSora-VAE-v1.2
    and DeepFloyd/t5-v1_1-xxl on the Hugging Face hub. Guidance contrasts a text with one that was learnt,
    not with the empty one.

    Args:
        transformer: the denoiser.
        vae: the autoencoder.
        text_encoder: its last states are what the denoiser reads.
        tokenizer: its tokenizer.
        settings: size of the videos and what is put after prompts.

    Raises:
        UserError: the size does not fit the autoencoder or the schedule.
    """

    name = "open-sora-1.2"
    lora_targets = ("qkv", "q_linear", "kv_linear")

    def __init__(
        self,
        transformer: STDiT3,
        vae: OpenSoraVAE,
        text_encoder: T5EncoderModel,
        tokenizer: Any,
        settings: OpenSoraSettings,
    ) -> None:
        self.denoiser: nn.Module = transformer
        self.schedule = open_sora_schedule(settings.height, settings.width, settings.frames)
        self.latent_shape = _latent_shape(transformer.config.in_channels, vae, settings)
        self._transformer = transformer
        self._vae = vae
        self._text_encoder = text_encoder
        self._tokenizer = tokenizer
        self._settings = settings
        self.text_shape = (transformer.config.model_max_length, transformer.config.caption_channels)
        self.picture_size = (vae.reduction * self.latent_shape[2], vae.reduction * self.latent_shape[3])
        self._format = Format(settings.height, settings.width, settings.fps)
        for module in self.modules():
            module.requires_grad_(False).eval()

    @property
    def frames(self) -> int:
        """Return the number of pictures of one video; a frame of latents stands for up to 4."""
        return self._settings.frames

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the text encoder's states [B, L, D], those of padding 0, padded to the full length L.

        Raises:
            UserError: a prompt has more tokens than the denoiser reads.
        """
        limit = self._transformer.config.model_max_length
        found = _tokens(self._tokenizer, prompts, self._settings.suffix, limit)
        device = self._text_encoder.device
        ids, words = (torch.tensor(rows, device=device) for rows in (found.input_ids, found.attention_mask))
        return self._text_encoder(ids, words).last_hidden_state * words[..., None]  # type: ignore[no-any-return]

    def unconditional(self, encoded: Tensor) -> Tensor:
        """Return the learnt text without content, with the padding of ``encoded`` [B, L, D]."""
        null = self._transformer.y_embedder.y_embedding.to(encoded)
        return torch.where(_words(encoded)[..., None], null, 0)

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the predicted velocity [B, C, F, h, w], data minus noise; states of padding are not read."""
        both = self.denoiser(latents, timesteps, encoded, self._format, words=_words(encoded))
        return both.chunk(2, dim=1)[0]  # type: ignore[no-any-return]

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W], each as it is in the whole video."""
        pictures = self._vae.decode(latents, self.frames, frames)
        return pictures.transpose(1, 2) / 2 + 0.5

    def enable_checkpointing(self) -> None:
        """Make the denoiser compute its activations again in the backward pass."""
        self._transformer.checkpointing = True

    def enable_chunks(self) -> None:
        """Make the decoder compute chunks of 17 pictures, and each picture, again in the backward pass."""
        self._vae.in_chunks = True

    def modules(self) -> list[nn.Module]:
        """Return the denoiser, the text encoder and the autoencoder."""
        return [self.denoiser, self._text_encoder, self._vae]


class OpenSoraFactory(BackboneFactory):
    """Loads a folder of the released parts, with ``OpenSoraSettings`` as settings.

    ``transformer`` and ``vae`` hold ``config.json`` and ``model.safetensors`` of the release,
    ``text_encoder`` and ``tokenizer`` what transformers saves. The release has no such folder: where the
    settings name the other parts, the folder may be the denoiser's own. Sizes of the autoencoder that are not
    the released ones stand under ``vae_2d`` and ``vae_temporal`` in its ``config.json``.
    """

    flow = True

    def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
        """Return the frozen model in ``folder``, in eval mode, on the CPU; see the base class.

        Raises:
            UserError: a part of the folder is missing or does not fit the others, or a setting is wrong.
        """
        wanted = family_settings(OpenSoraSettings, settings)
        places = _places(folder, wanted)
        config = _read_config(STDiT3Config, places["transformer"])
        vae_config = _read_config(OpenSoraVAEConfig, places["vae"])
        _require_fit(folder, config, vae_config)
        makers: dict[str, Callable[[], nn.Module]] = {
            "transformer": lambda: STDiT3(config),
            "vae": lambda: OpenSoraVAE(vae_config),
        }
        transformer, vae = (
            make_network(make, read_weights(places[part]), str(places[part]), dtype)
            for part, make in makers.items()
        )
        text_encoder = load_network(T5EncoderModel, places["text_encoder"], dtype)
        texts = {"transformer.caption_channels": config.caption_channels}
        require_equal(folder, texts | {"text_encoder.d_model": text_encoder.config.d_model})
        tokenizer = read_tokenizer(places["tokenizer"], long_prompts=wanted.long_prompts)
        if len(tokenizer) > text_encoder.config.vocab_size:
            wrong = f"knows {len(tokenizer)} tokens, the text encoder {text_encoder.config.vocab_size}"
            raise UserError(str(places["tokenizer"]), wrong, "give the tokenizer of the text encoder")
        return OpenSora(transformer, vae, text_encoder, tokenizer, wanted)

    def reader(self, weights: str, **settings: object) -> PromptReader:
        """Return what refuses prompts that are too long; see the base class."""
        wanted = family_settings(OpenSoraSettings, settings)
        places = _places(resolve(weights), wanted)
        limit = _read_config(STDiT3Config, places["transformer"]).model_max_length
        tokenizer = read_tokenizer(places["tokenizer"], long_prompts=wanted.long_prompts)
        return lambda prompt: _tokens(tokenizer, [prompt], wanted.suffix, limit)

    def skeleton(self, weights: str, **settings: object) -> Backbone:
        """Return the model without the values of its weights, on the device ``meta``; see the base class.

        Raises:
            UserError: a part's weights are neither here nor those of the released one, or a setting is wrong.
        """
        wanted = family_settings(OpenSoraSettings, settings)
        names = {"transformer": weights, "vae": wanted.vae or weights}
        names["text_encoder"] = wanted.text_encoder or weights
        sizes = {
            part: read_sizes(name, {part: _config_file(name, part)})[part] for part, name in names.items()
        }
        config = _parsed(STDiT3Config, sizes["transformer"], weights)
        vae_config = _parsed(OpenSoraVAEConfig, sizes["vae"], wanted.vae or weights)
        _require_fit(weights, config, vae_config)
        with torch.device("meta"):
            transformer, vae = STDiT3(config), OpenSoraVAE(vae_config)
            text_encoder = T5EncoderModel(T5Config(**sizes["text_encoder"]))
        return OpenSora(transformer, vae, text_encoder, None, wanted)


def _tokens(tokenizer: Any, prompts: Sequence[str], suffix: str, limit: int) -> Any:
    """Return ``input_ids`` and ``attention_mask`` [B, ``limit``] of ``prompts``, cleaned, with ``suffix``.

    Raises:
        UserError: a prompt has more tokens than ``limit``.
    """
    cleaned = [clean_prompt(prompt + suffix) for prompt in prompts]
    found = tokenizer(cleaned, padding="max_length", max_length=limit, return_attention_mask=True)
    refuse_long(prompts, found.input_ids, limit, "tokens with what is put after it, the denoiser")
    return found


def _places(folder: Path, wanted: OpenSoraSettings) -> dict[str, Path]:
    """Return the folder of each part.

    Raises:
        UserError: one is missing.
    """
    text = resolve(wanted.text_encoder) if wanted.text_encoder else None
    named = {"vae": resolve(wanted.vae) if wanted.vae else None, "text_encoder": text, "tokenizer": text}
    own = [part for part in _PARTS if named.get(part) is None]
    if own == ["transformer"] and not (folder / "transformer").is_dir():
        named["transformer"] = folder
    else:
        require_parts(folder, own, "Open-Sora")
    return {part: named.get(part) or folder / part for part in _PARTS}


def _config_file(weights: str, part: str) -> str:
    """Return where the sizes of ``part`` lie in the folder of ``weights``."""
    folder = local_folder(weights)
    inside = folder is not None and (folder / part).is_dir()
    return f"{part}/config.json" if inside else "config.json"


def _require_fit(source: Path | str, config: STDiT3Config, vae: OpenSoraVAEConfig) -> None:
    latents = {"transformer.in_channels": config.in_channels}
    require_equal(source, latents | {"vae.vae_temporal.embed_dim": vae.vae_temporal.embed_dim})


_DASHES = re.compile("[\u2010-\u2015\u2212]")
_QUOTES = (re.compile("[\u2018\u2019]"), re.compile("[`\u00b4\u00ab\u00bb\u201c\u201d\u00a8]"))
_SIGNS = re.compile(r"[#®•©™&@·º½¾¿¡§~()\[\]{}|\\/*]+")


def clean_prompt(prompt: str) -> str:
    """Return ``prompt`` as the texts of the training videos were cleaned, as far as plain English goes.

    Small letters, plain dashes and quotes, no signs, single spaces. What upstream does beside that, to
    addresses, names of files, codes and languages that are not English, is left out.
    """
    text = html.unescape(html.unescape(prompt)).lower()
    text = _DASHES.sub("-", text)
    for pattern, plain in zip(_QUOTES, "'\"", strict=True):
        text = pattern.sub(plain, text)
    return " ".join(_SIGNS.sub(" ", text).split())


def _words(encoded: Tensor) -> Tensor:
    """Return which states of ``encoded`` [B, L, D] are no padding [B, L], bool."""
    return (encoded != 0).any(dim=-1)


def _latent_shape(channels: int, vae: OpenSoraVAE, wanted: OpenSoraSettings) -> tuple[int, int, int, int]:
    for name, pixels in (("height", wanted.height), ("width", wanted.width)):
        if pixels < vae.reduction:
            given = f"backbone.settings.{name} = {pixels}"
            raise UserError(given, "is less than one latent", f"choose at least {vae.reduction}")
    sides = wanted.height // vae.reduction, wanted.width // vae.reduction
    return channels, vae.latent_frames(wanted.frames), *sides


def _read_config(kind: type[Config], folder: Path) -> Config:
    path = folder / "config.json"
    return _parsed(kind, read_table(path), str(path))


def _parsed(kind: type[Config], sizes: dict[str, Any], source: str) -> Config:
    """Return the ``sizes`` that ``source`` gives, with every fault of them told."""
    config, faults = parse(kind, sizes)
    raise_faults(source, faults)
    assert config is not None
    return config
