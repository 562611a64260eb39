"""What every video diffusion model looks like to the rest of the project."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from vader_bench.config.yamlfile import parse, raise_faults
from vader_bench.diffusion.sampler import Guidance
from vader_bench.diffusion.schedule import Schedule
from vader_bench.errors import UserError
from vader_bench.prompts.sets import PromptReader

__all__ = [
    "Backbone",
    "BackboneFactory",
    "ImageBackbone",
    "Outline",
    "PromptReader",
    "family_settings",
    "guidance_pair",
]

S = TypeVar("S", bound=BaseModel)


class Backbone(ABC):
    """A frozen video diffusion model: encode a condition, denoise, decode.

    Shapes: B videos, F frames of latents, C latent channels, h x w latent size, H x W picture size,
    L text tokens, D text width. A frame of latents may stand for several pictures.
    """

    name: str
    denoiser: nn.Module
    """The network that LoRA is injected into."""
    lora_targets: tuple[str, ...]
    """Names of the attention projections inside ``denoiser``: ``("to_q", "to_k", "to_v", "to_out.0")``."""
    latent_shape: tuple[int, int, int, int]
    """(C, F, h, w) of one video's latents."""
    schedule: Schedule
    decodes_frame_by_frame: bool = False
    """Whether each picture is decoded from its own frame of latents alone."""
    text_shape: tuple[int, int]
    """(L, D) of an encoded condition."""
    picture_size: tuple[int, int]
    """(H, W) of decoded pictures."""
    boundary: float | None = None
    """The timestep below which a second network takes over; ``None`` where there is one network."""

    @property
    def frames(self) -> int:
        """Return the number of pictures of one video; as many as frames of latents unless a model differs."""
        return self.latent_shape[1]

    @abstractmethod
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the condition [B, L, D], text states for example; computed without a graph.

        Only the backbone itself looks inside. Rows of zeros are padding.
        """

    def unconditional(self, encoded: Tensor) -> Tensor:
        """Return what guidance contrasts ``encoded`` [B, L, D] with, in the same shape: the empty prompt."""
        return self.encode([""]).expand_as(encoded)

    def with_texts(self, encoded: Tensor, texts: Sequence[str]) -> Tensor:
        """Return ``encoded`` [B, L, D] with B other ``texts``; a given picture stays. Without a graph.

        Raises:
            UserError: the model reads no texts, or one is too long.
        """
        del encoded
        return self.encode(texts)

    def guidance(self, scale: float, second: float | None) -> Guidance | float:
        """Return the guidance of a sampler: ``scale``, and ``second`` for the network after ``boundary``.

        Raises:
            UserError: there is a second scale, and one network.
        """
        return guidance_pair(scale, second, self.boundary)

    @abstractmethod
    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the network's prediction [B, C, F, h, w].

        Args:
            latents: noisy latents [B, C, F, h, w].
            timesteps: [B], as the schedule gives them.
            encoded: what ``encode`` returned [B, L, D].
        """

    @abstractmethod
    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, f, 3, H, W], not clamped, about [0, 1].

        Args:
            latents: clean latents [B, C, F, h, w].
            frames: indices of the pictures wanted, from 0 to ``self.frames`` - 1, all of them by default.
        """

    def to(self, device: str) -> Backbone:
        """Move every network of the model to ``device``, in the form that is fast there; return the model."""
        from vader_bench.backbones.cpu import quicken  # late: diffusers takes seconds to import

        for module in self.modules():
            module.to(device)
            if device == "cpu":
                quicken(module)
        return self

    @abstractmethod
    def enable_checkpointing(self) -> None:
        """Make the denoiser compute its activations again in the backward pass; no number changes."""

    def enable_chunks(self) -> None:  # noqa: B027 - most families have nothing to do
        """Make the decoder compute chunks of frames again in the backward pass, one after the other.

        No number changes. By default nothing does: a decoder that takes each frame by itself is called for
        one at a time, and one that mixes all frames has no chunks.
        """

    @abstractmethod
    def modules(self) -> list[nn.Module]:
        """Return every network of the model (denoiser, text encoder, decoder)."""


class ImageBackbone(Backbone):
    """A model that is given its first picture; a prompt names one."""

    @abstractmethod
    def encode_pictures(self, pictures: Tensor, names: Sequence[str], prompts: Sequence[str]) -> Tensor:
        """Return the condition [B, L, D] of given pictures, as ``encode`` does; computed without a graph.

        Args:
            pictures: [B, 3, H, W] in [0, 1], of the size of the videos.
            names: one name a picture, of the stream of whatever the model draws to encode it.
            prompts: what the videos are to show, for models that read texts too.
        """


class Outline(NamedTuple):
    """What the configuration of a model says, without its networks."""

    frames: int
    """Pictures of a video."""
    timesteps: Callable[[int], object]
    """Raises ``UserError`` for a number of sampler steps that the schedule does not have."""
    boundary: float | None = None
    """As of ``Backbone``."""


class BackboneFactory(ABC):
    """Makes a backbone from a folder or a hub name; registered under the family's name."""

    reads_texts: bool = True
    """Whether the model reads prompts, and so negative ones."""
    pipeline_takes_adapters: bool = False
    """Whether the ``load_lora_weights`` of diffusers' pipeline takes adapters of the denoiser."""
    flow: bool = False
    """Whether its models have a ``FlowSchedule``, so that a suite may choose the ``sde`` of their sampler."""

    @abstractmethod
    def load(self, folder: Path, dtype: torch.dtype = torch.float32, /, **settings: object) -> Backbone:
        """Return the frozen model in ``folder``, in eval mode, on the CPU.

        Args:
            folder: what was saved or released.
            dtype: float32, or what most weights are read in without a copy in float32; see ``lowered``.
            settings: of the family.
        """

    def denoiser_parts(self, layers: Collection[str]) -> dict[str, str]:
        """Return the folders of a diffusers pipeline that hold the denoiser.

        Args:
            layers: names in the denoiser.

        Returns:
            Name of a folder by what the names of its layers begin with here.
        """
        del layers
        return {"": "unet"}

    def reader(self, weights: str, **settings: object) -> PromptReader | None:
        """Return what refuses a prompt as ``encode`` would, without networks; ``None`` if nobody knows.

        Args:
            weights: name of the weights, as for ``weights.resolve``; they must be here.
            settings: as for ``load``.

        Raises:
            UserError: a tokenizer or pictures are missing or faulty.
        """
        del weights, settings
        return None

    def outline(self, weights: str, **settings: object) -> Outline:
        """Return what checks ask of the model; by default of its ``skeleton``. Arguments as there.

        A family may know it sooner: the libraries of networks take seconds to import.
        """
        backbone = self.skeleton(weights, **settings)
        return Outline(backbone.frames, backbone.schedule.timesteps, backbone.boundary)

    def picture_reader(self, **settings: object) -> PromptReader | None:
        """Return what refuses a prompt that names no picture; ``None`` where the model is given none.

        Raises:
            UserError: the pictures are missing.
        """
        del settings
        return None

    def skeleton(self, weights: str, **settings: object) -> Backbone:
        """Return the model without the values of its weights, on the device ``meta``, for estimates.

        Args:
            weights: name of the weights, as for ``weights.resolve``. They need not be here if the sizes of
                the networks are known; if they are, only configuration files are read.
            settings: as for ``load``.

        Raises:
            UserError: the family cannot be built without weights, or nobody knows the sizes.
        """
        del settings
        raise UserError(
            f"weights {weights!r}",
            "are of a family of backbones that cannot be estimated without a run",
            "give the family a `skeleton`, or use `plan` with a packaged suite",
        )


def guidance_pair(scale: float, second: float | None, boundary: float | None) -> Guidance | float:
    """Return the guidance of a model whose second network takes over below ``boundary``; see ``Backbone``.

    Raises:
        UserError: there is a second scale, and one network.
    """
    if second is None:
        return scale
    if boundary is None:
        wrong = "is for the second of two networks, and the backbone has one"
        raise UserError(f"sampler.guidance_2 = {second:g}", wrong, "leave it out")
    return scale if second == scale else Guidance(scale, second, boundary)


def family_settings(kind: type[S], settings: Mapping[str, object]) -> S:
    """Return the settings of a family as its own table ``kind``.

    Raises:
        UserError: they do not fit; all faults are said.
    """
    wanted, faults = parse(kind, settings)
    raise_faults("backbone.settings", faults)
    assert wanted is not None
    return wanted
