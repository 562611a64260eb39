"""The card's part on the image-to-video model: its autoencoder, and what its videos keep of their picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder

from vader_bench.backbones import BACKBONES
from vader_bench.backbones.pictures import POCKET, picture_source, pocket_clip
from vader_bench.experiment.load import load_suite
from vader_bench.files import write_bytes
from vader_bench.pocket.world import SIZE, render
from vader_bench.pretrain import temporal_vae
from vader_bench.pretrain.clips import HELDOUT_CLIPS, rendered
from vader_bench.pretrain.image_to_video import WIDTHS
from vader_bench.pretrain.kept import keep_or_measure
from vader_bench.pretrain.measure import Videos, load_autoencoder, measure_samples
from vader_bench.pretrain.samples import contact_sheet, sample
from vader_bench.prompts.pocket import DOGS
from vader_bench.prompts.sets import load_prompts

__all__ = ["PART", "measure_image_to_video", "motion", "psnr", "section"]

_PART = "image-to-video"
_WORDS = ("colour", "noun", "action", "scene")
_SEEN = (*_WORDS, "psnr", "motion", "true_motion")
_PSNR_CLIPS = 128
_SHOWN = 4
"""Rows of the contact sheet that each breed gets."""

PART = (
    f"| `{_PART}` | Stable Video Diffusion: spatio-temporal UNet (widths {', '.join(map(str, WIDTHS))}), "
    "temporal decoder, vision tower of `clip` | {clips} clips |"
)
"""Row of the card's table of models."""


def measure_image_to_video(work: Path, out: Path) -> dict[str, object]:
    """Return what the model in ``out`` does with pictures; writes its contact sheet where it looks."""
    keys = ["i2v_vae_psnr", "i2v_vae_agreement", *(f"i2v_{breed}_{word}" for breed in DOGS for word in _SEEN)]
    return keep_or_measure(out, [_PART, "text-to-video"], keys, lambda: _measure(work, out))


def _measure(work: Path, out: Path) -> dict[str, object]:
    vae = AutoencoderKLTemporalDecoder.from_pretrained(
        out / _PART, subfolder="vae", torch_dtype=torch.float32
    ).eval()
    clips = rendered("heldout", HELDOUT_CLIPS, work)[:_PSNR_CLIPS]
    measured: dict[str, object] = {
        "i2v_vae_psnr": temporal_vae.psnr(vae, clips),
        "i2v_vae_agreement": temporal_vae.agreement(vae, load_autoencoder(out), clips),
    }
    suite = load_suite("pocket-i2v")
    settings = {key: value for key, value in suite.backbone.settings.items() if key != "weights"}
    backbone = BACKBONES.get(suite.backbone.family).load(out / _PART, **settings)
    prompts = load_prompts(suite.prompts["default"])
    rows: list[Videos] = []
    texts: list[str] = []
    for breed, split in zip(DOGS, ("heldout", "noun"), strict=True):
        asked = prompts.split(split)
        videos, pictures = sample(backbone, suite.sampler, asked), _pictures(asked)
        measured |= {f"i2v_{breed}_{key}": value for key, value in _look(videos, pictures, asked).items()}
        rows.append(np.concatenate([pictures[:, None], videos], axis=1)[:_SHOWN])
        texts += asked[:_SHOWN]
    write_bytes(out / "image-to-video.png", contact_sheet(np.concatenate(rows), texts))
    return measured


def _pictures(prompts: Sequence[str]) -> Videos:
    """Return the pictures [N, H, W, 3] that ``prompts`` name."""
    source = picture_source(POCKET, SIZE, SIZE)
    return torch.stack([source(prompt) for prompt in prompts]).permute(0, 2, 3, 1).numpy()


def _look(videos: Videos, pictures: Videos, prompts: Sequence[str]) -> dict[str, float]:
    """Return what is measured of ``videos`` [N, F, H, W, 3], by the words of ``_SEEN``."""
    words = measure_samples(videos, prompts)
    shares = {word: float(str(words[word])) for word in _WORDS}
    return {
        **shares,
        "psnr": psnr(videos[:, 0], pictures),
        "motion": motion(videos),
        "true_motion": motion(np.stack([render(pocket_clip(prompt)) for prompt in prompts])),
    }


def psnr(given: Videos, wanted: Videos) -> float:
    """Return the mean peak signal-to-noise ratio in dB of pictures [N, H, W, 3] in [0, 1]."""
    error = np.square(given.astype(np.float64) - wanted).mean(axis=(1, 2, 3))
    return float((-10 * np.log10(error)).mean())


def motion(videos: Videos) -> float:
    """Return the mean change of a pixel from a frame to the next, in hundredths, of [N, F, H, W, 3]."""
    return float(100 * np.abs(np.diff(videos.astype(np.float64), axis=1)).mean())


def section(measured: Mapping[str, object]) -> str:
    """Return the card's section on the image-to-video model."""
    rows = "\n".join(_row(measured, *row) for row in _ROWS)
    sampler = load_suite("pocket-i2v").sampler
    return _SECTION.format(
        **measured, breeds=" | ".join(DOGS), rows=rows, steps=sampler.steps, guidance=sampler.guidance
    )


def _row(measured: Mapping[str, object], key: str, label: str, form: str, aim: str) -> str:
    values = [format(measured[f"i2v_{breed}_{key}"], form) for breed in DOGS]
    return f"| {' | '.join([label, *values, aim])} |"


_ROWS = (
    ("noun", "noun as in the picture (chance 1/12)", ".1%", "80 %"),
    ("colour", "colour as in the picture (chance 1/6)", ".1%", ""),
    ("scene", "scene as in the picture (chance 1/6)", ".1%", ""),
    ("action", "action of the caption, which only the picture tells (chance 1/8)", ".1%", ""),
    ("psnr", "first frame, peak signal-to-noise ratio over the given picture", ".1f", "28"),
    ("motion", "motion: mean change of a pixel from frame to frame, in hundredths", ".2f", ""),
    ("true_motion", "the same of the clips that the pictures are from", ".2f", ""),
)

_SECTION = """\
## Image to video

`image-to-video` is given the first picture and nothing else. It was trained on clips of the whole world, both
breeds of dog among them: what the prompt set `pocket-dogs` holds out, it holds out from the methods. Pictures
tell much of what an actor is about to do (one that will grow begins small), but not all of it.

Its autoencoder has other widths than that of `text-to-video`, because diffusers' class normalises in 32
groups, but the same latents: its encoder was taught those of the other and gives {i2v_vae_agreement:.1%} of
their variance on held-out clips. Encoded and decoded, these have a peak signal-to-noise ratio of
{i2v_vae_psnr:.1f} dB.

One video of {steps} Euler steps with guidance {guidance:g} for each picture of a split of `pocket-dogs`,
`heldout` for the first breed and `noun` for the second, judged by the oracle:

| what | {breeds} | aim |
|---|---:|---:|---:|
{rows}

Each row below starts with the given picture; the eight frames follow.

![image to video](image-to-video.png)
"""
