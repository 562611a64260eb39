"""The base models at the ends of their phases, and videos of them for the rewards to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.diffusion.sampler import Sampler, draw_noise
from vader_bench.errors import UserError
from vader_bench.pocket.vocabulary import format_caption
from vader_bench.pocket.world import FRAMES, SIZE, draw_clip
from vader_bench.pretrain import text_to_video, vae, wan
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.pool import as_bytes
from vader_bench.pretrain.tokenizer import MAX_TOKENS, make_pieces, make_tokenizer
from vader_bench.prompts.pocket import FIRST_SIZES
from vader_bench.prompts.sets import load_prompts
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["BASES", "SAMPLER_STEPS", "BaseName", "Request", "draw_captions", "load", "load_phase", "sample"]

BaseName = Literal["text-to-video", "wan"]
SAMPLER_STEPS = 8
"""As in the suites."""
_BATCH = 8


class _Base(NamedTuple):
    family: str
    settings: dict[str, int]


BASES: dict[BaseName, _Base] = {
    "text-to-video": _Base("modelscope", {"frames": FRAMES}),
    "wan": _Base("wan", {"frames": FRAMES, "height": SIZE, "width": SIZE, "tokens": MAX_TOKENS}),
}
"""Text-to-video models by the name of their folder: family and settings of the backbone."""
_PROMPT_SETS = ("pocket", "pocket-looks", "pocket-books")


def load(name: BaseName, folder: Path) -> Backbone:
    """Return the finished base model in ``folder``, which holds one folder a model."""
    return BACKBONES.get(BASES[name].family).load(folder / name, **BASES[name].settings)


def load_phase(name: BaseName, phase: str, work: Path) -> Backbone:
    """Return what the base model was at the end of a training ``phase``: its averaged weights.

    Raises:
        UserError: the model was not trained in ``work``.
    """
    path = work / f"{name}-{phase}.safetensors"
    if not path.exists():
        raise UserError(str(path), "does not exist", f"run the stage {name} with the same --work first")
    average = load_file(path)
    folder = work / "phases" / phase
    if name == "wan":
        pieces = make_pieces()
        flow = wan.WanTextToVideo(pieces, vae.LATENT_CHANNELS)
        flow.load_state_dict(average)
        wan.save(flow, AutoencoderKLWan.from_pretrained(work / "wan-vae"), pieces, folder / name)
    else:
        tokenizer = make_tokenizer(work / "tokenizer")
        model = text_to_video.TextToVideo(tokenizer, vae.LATENT_CHANNELS)
        model.load_state_dict(average)
        text_to_video.save(model, AutoencoderKL.from_pretrained(work / "vae"), tokenizer, folder / name)
    return load(name, folder)


def draw_captions(count: int, *names: str | int, book_share: float = 0.15) -> list[str]:
    """Return ``count`` sentences that no prompt set first held, drawn from the stream ``names``.

    In ``book_share`` of them the actor is beside a book; there is no other prop.
    """
    reserved = {
        prompt
        for known in _PROMPT_SETS
        for split, prompts in load_prompts(known).splits.items()
        for prompt in prompts[: FIRST_SIZES.get(known, {}).get(split)]
    }
    rng, found = numpy_stream(ROOT_SEED, "captions", *names), list[str]()
    while len(found) < count:
        caption = draw_clip(rng, prop_share=book_share).caption
        if caption.prop_noun:
            caption = replace(caption, prop_noun="book")
        text = format_caption(caption)
        if text not in reserved:
            found.append(text)
    return found


class Request(NamedTuple):
    """How videos are to be sampled."""

    prompts: Sequence[str]
    stream: Sequence[str | int]
    """Name of the stream of their noise."""
    steps: int = SAMPLER_STEPS


@torch.no_grad()
def sample(backbone: Backbone, request: Request) -> NDArray[np.uint8]:
    """Return one video [N, F, H, W, 3] a prompt, without noise on the way and without guidance."""
    sampler = Sampler(backbone.denoise, backbone.schedule, request.steps, 0.0, 1.0)
    parts = [backbone.decode(latents) for latents in _latents(backbone, sampler, request)]
    return as_bytes(torch.cat(parts).clamp(0, 1).permute(0, 1, 3, 4, 2).numpy())


def _latents(backbone: Backbone, sampler: Sampler, request: Request) -> Iterator[Tensor]:
    generator = torch_stream(ROOT_SEED, "pool", *request.stream)
    for first in range(0, len(request.prompts), _BATCH):
        prompts = request.prompts[first : first + _BATCH]
        start = draw_noise((len(prompts), *backbone.latent_shape), generator, "cpu")
        encoded = backbone.encode(prompts)
        yield sampler.plain(start, encoded, backbone.unconditional(encoded))
