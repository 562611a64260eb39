"""Which parts the pool has, and how each is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vader_bench.backbones import Backbone
from vader_bench.diffusion.sampler import Sampler
from vader_bench.pretrain.adversaries import Attack, attack
from vader_bench.pretrain.bases import BASES, BaseName, Request, draw_captions, load, load_phase, sample
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.learners import LEARNERS, folder_of, load_reward
from vader_bench.pretrain.oddities import mix, odd_latents, texture
from vader_bench.pretrain.pool import Part, Pool, as_bytes, keep_part, known_part
from vader_bench.seeding import numpy_stream

__all__ = ["Attacked", "Maker", "Oddities", "Places", "Samples", "make", "makers", "open_pool"]


@dataclass(frozen=True)
class Places:
    """Folders."""

    work: Path
    out: Path


class Maker(Protocol):
    """Makes a part of the pool."""

    @property
    def name(self) -> str:
        """Return the name of the part."""

    @property
    def group(self) -> str:
        """Return the name of its group."""

    def make(self, places: Places) -> tuple[NDArray[np.uint8], Sequence[str]]:
        """Return clips [N, F, H, W, 3] and their prompts."""


@dataclass(frozen=True)
class Samples:
    """Videos of a base model at the end of a phase; fewer sampler steps make them worse in another way."""

    base: BaseName
    phase: str
    steps: int
    count: int
    group: str = "samples"
    book_share: float = 0.25

    @property
    def name(self) -> str:
        """Return the name of the part."""
        return f"{self.group}-{self.base}-{self.phase}-{self.steps}"

    def make(self, places: Places) -> tuple[NDArray[np.uint8], Sequence[str]]:
        """Return clips [N, F, H, W, 3] and their prompts."""
        last = self.phase == "guidance"
        backbone = load(self.base, places.out) if last else load_phase(self.base, self.phase, places.work)
        prompts = draw_captions(self.count, self.name, book_share=self.book_share)
        return sample(backbone, Request(prompts, (self.name,), self.steps)), prompts


@dataclass(frozen=True)
class Oddities:
    """Mixtures, textures, or what a base model decodes odd latents to."""

    kind: str
    count: int

    @property
    def name(self) -> str:
        """Return the name of the part."""
        return f"latents-{self.kind}" if self.kind in BASES else self.kind

    @property
    def group(self) -> str:
        """Return the name of its group."""
        return "mixtures" if self.kind == "mixtures" else "textures"

    def make(self, places: Places) -> tuple[NDArray[np.uint8], Sequence[str]]:
        """Return clips [N, F, H, W, 3] and the prompts that they are shown with."""
        prompts, rng = draw_captions(self.count, self.name), numpy_stream(ROOT_SEED, "pool", self.name)
        if self.kind in BASES:
            base: BaseName = "wan" if self.kind == "wan" else "text-to-video"
            return _decode_oddly(load(base, places.out), prompts, rng), prompts
        draw = mix if self.kind == "mixtures" else texture
        return np.stack([as_bytes(draw(rng)) for _ in prompts]), prompts


@torch.no_grad()
def _decode_oddly(backbone: Backbone, prompts: Sequence[str], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return what odd latents are decoded to [N, F, H, W, 3]; most of them begin as latents of samples."""
    sampler = Sampler(backbone.denoise, backbone.schedule, 4, 0.0, 1.0)
    clips = []
    for first in range(0, len(prompts), 16):
        few = prompts[first : first + 16]
        encoded = backbone.encode(few[:8])
        start = torch.from_numpy(rng.normal(size=(len(few[:8]), *backbone.latent_shape))).float()
        good = sampler.plain(start, encoded, backbone.unconditional(encoded))
        odd = [odd_latents(rng, *_two(rng, good)) for _ in few]
        clips.append(backbone.decode(torch.stack(odd)).clamp(0, 1).permute(0, 1, 3, 4, 2).numpy())
    return as_bytes(np.concatenate(clips))


def _two(rng: np.random.Generator, latents: Tensor) -> tuple[Tensor, Tensor]:
    one, other = rng.integers(len(latents), size=2).tolist()
    return latents[one], latents[other]


@dataclass(frozen=True)
class Attacked:
    """Videos of models that were trained against a reward of the round before."""

    round_: int
    reward: str
    base: BaseName
    how: Attack
    each: int
    """Videos at each look."""

    @property
    def name(self) -> str:
        """Return the name of the part."""
        return f"round-{self.round_}-{self.reward}-{self.base}-{self.how.rate:g}-{self.how.seed}"

    @property
    def group(self) -> str:
        """Return the name of its group."""
        return f"round-{self.round_}"

    def make(self, places: Places) -> tuple[NDArray[np.uint8], Sequence[str]]:
        """Return clips [N, F, H, W, 3] and their prompts."""
        reward = load_reward(self.reward, folder_of(places.work, places.out, self.round_ - 1))
        share = 1.0 if LEARNERS[self.reward].books else 0.0
        trained = draw_captions(_TRAINED, self.name, "trained", book_share=share)
        asked = draw_captions(self.each, self.name, "asked", book_share=share)
        glances = list(attack(load(self.base, places.out), reward, self.how, trained, asked))
        return np.concatenate([glance.videos for glance in glances]), asked * len(glances)


_TRAINED = 48
"""Prompts that a model is trained on; as many as in the prompt sets."""
_EACH = 24
_FIRST_SEED = 7000
"""Of adversaries; experiments count theirs from 1."""
_MODELS: tuple[BaseName, ...] = ("text-to-video", "wan")
_ATTACKS: dict[int, list[tuple[BaseName, float, tuple[int, ...]]]] = {
    1: [("text-to-video", 1e-3, (128, 256, 512)), ("wan", 3e-3, (64, 128, 256))],
    2: [
        ("text-to-video", 3e-3, (64, 128, 256)),
        ("text-to-video", 1e-3, (256, 512)),
        ("wan", 1e-3, (256, 512)),
    ],
}  # fmt: skip
"""By round: model, step size, and queries at which videos are taken."""


def makers(round_: int) -> list[Maker]:
    """Return what makes the parts that ``round_`` adds to the pool."""
    if round_ > 0:
        return [
            Attacked(round_, reward, base, Attack(rate, _FIRST_SEED + 10 * round_ + i, looks), _EACH)
            for reward in LEARNERS
            for i, (base, rate, looks) in enumerate(_ATTACKS[round_])
        ]
    parts: list[Maker] = []
    for base in _MODELS:
        parts += [
            Samples(base, "guidance", 10, 480),
            Samples(base, "clips", 10, 240),
            Samples(base, "frames", 10, 120),
            Samples(base, "guidance", 3, 160),
            Samples(base, "guidance", 1, 80),
            Oddities(base, 320),
        ]
    return [*parts, Oddities("mixtures", 640), Oddities("textures", 640)]


def make(maker: Maker, places: Places) -> None:
    """Have a part made and kept, unless it is there."""
    if known_part(places.work, maker.name) is None:
        keep_part(places.work, maker.name, *maker.make(places))


def open_pool(round_: int, work: Path, reward: str) -> Pool:
    """Return the pool up to ``round_`` as ``reward`` learns from it: what raised it is a group of its own.

    Raises:
        ValueError: a part is not there.
    """
    groups: dict[str, list[Part]] = {}
    for maker in (maker for r in range(round_ + 1) for maker in makers(r)):
        part = known_part(work, maker.name)
        if part is None:
            raise ValueError(f"part {maker.name} of the pool has not been made")
        groups.setdefault(maker.group, []).append(part)
        if isinstance(maker, Attacked) and maker.reward == reward:
            groups.setdefault("own", []).append(part)
    return Pool(groups)
