"""The card's part on the text-to-video models: what the oracle sees in clips, reconstructions and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from numpy.typing import NDArray

from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.experiment.load import load_suite
from vader_bench.files import write_bytes
from vader_bench.pocket.vocabulary import ACTIONS
from vader_bench.pretrain import text_to_video, vae, wan, wan_vae
from vader_bench.pretrain.clips import (
    BASE_CLIPS,
    HELDOUT_CLIPS,
    LOOSE_SHARE,
    captions,
    draw_clips,
    rendered,
)
from vader_bench.pretrain.kept import keep_or_measure
from vader_bench.pretrain.measure import WORDS, Videos, count_known, load_autoencoder, measure_samples
from vader_bench.pretrain.samples import contact_sheet, sample
from vader_bench.prompts.pocket import FIRST_SIZES
from vader_bench.prompts.sets import load_prompts

__all__ = ["PARTS", "SUITES", "measure_base", "section"]

SUITES = {"text-to-video": "pocket", "wan": "pocket-wan"}
"""Suite by model: how it is sampled."""
_CLIPS = 192
"""Clips that nothing was trained on, of which autoencoders and the oracle itself are judged."""
_SHOWN = 8
"""Rows of a contact sheet."""
_SEEN = (*WORDS, "by_action")

PARTS = (
    f"| `text-to-video` | ModelScope: 3D UNet (widths {', '.join(map(str, text_to_video.WIDTHS))}), "
    f"KL autoencoder, CLIP text encoder | {BASE_CLIPS:,} clips |\n"
    f"| `wan` | Wan: transformer (width {wan.WIDTH}, {wan.LAYERS} layers), causal video autoencoder, "
    f"UMT5 text encoder | {BASE_CLIPS:,} clips |"
)
"""Rows of the card's table of models."""


def measure_base(work: Path, out: Path) -> dict[str, object]:
    """Return what the models in ``out`` do; writes their contact sheets where it looks."""
    true = [f"true_{word}" for word in _SEEN]
    measured = keep_or_measure(
        out, [], [*true, "prompts", "prompts_known"], lambda: _measure_world(work, out)
    )
    for part, decode in (("text-to-video", _through_frames), ("wan", _through_wan)):
        keys = [f"{part}_psnr", *(f"{part}_{kind}{word}" for kind in ("", "decoded_") for word in _SEEN)]
        measured |= keep_or_measure(out, [part], keys, _measuring(part, decode, work, out))
    return measured


def _measuring(
    part: str, decode: Callable[[Path, NDArray[np.uint8]], Videos], work: Path, out: Path
) -> Callable[[], Mapping[str, object]]:
    return lambda: _measure_model(part, decode, work, out)


def _measure_world(work: Path, out: Path) -> dict[str, object]:
    """Return what the oracle says of true clips: the most a model can reach."""
    videos, texts = _true_clips(work)
    write_bytes(out / "world.png", contact_sheet(videos[:_SHOWN], texts[:_SHOWN]))
    prompts = _prompts()
    known = {"prompts": len(prompts), "prompts_known": count_known(prompts)}
    return {**_named("true_", measure_samples(videos, texts)), **known}


def _measure_model(
    part: str, decode: Callable[[Path, NDArray[np.uint8]], Videos], work: Path, out: Path
) -> dict[str, object]:
    """Return what the autoencoder of ``part`` keeps of true clips, and what its samples show."""
    clips, texts = rendered("heldout", HELDOUT_CLIPS, work)[:_CLIPS], _true_clips(work)[1]
    again = decode(out, clips)
    error = np.square(again - clips / np.float32(255)).mean(axis=(2, 3, 4))
    prompts = _prompts()
    videos = sample(_backbone(part, out), load_suite(SUITES[part]).sampler, prompts)
    write_bytes(out / f"{part}-reconstructions.png", contact_sheet(again[:_SHOWN], texts[:_SHOWN]))
    write_bytes(out / f"{part}-samples.png", contact_sheet(videos[:_SHOWN], prompts[:_SHOWN]))
    return {
        f"{part}_psnr": float((-10 * np.log10(error)).mean()),
        **_named(f"{part}_decoded_", measure_samples(again, texts)),
        **_named(f"{part}_", measure_samples(videos, prompts)),
    }


def _named(prefix: str, seen: Mapping[str, object]) -> dict[str, object]:
    return {f"{prefix}{word}": value for word, value in seen.items()}


def _true_clips(work: Path) -> tuple[Videos, list[str]]:
    """Return held-out clips [N, F, H, W, 3] in [0, 1] with their captions."""
    clips = rendered("heldout", HELDOUT_CLIPS, work)[:_CLIPS]
    return clips.astype(np.float32) / np.float32(255), captions(draw_clips("heldout", _CLIPS))


def _prompts() -> list[str]:
    splits = load_prompts("pocket").splits
    return [*splits["heldout"][: FIRST_SIZES["pocket"]["heldout"]], *splits["train"]]


def _backbone(part: str, out: Path) -> Backbone:
    suite = load_suite(SUITES[part])
    settings = {key: value for key, value in suite.backbone.settings.items() if key != "weights"}
    return BACKBONES.get(suite.backbone.family).load(out / part, **settings)


@torch.no_grad()
def _through_frames(out: Path, clips: NDArray[np.uint8]) -> Videos:
    """Return ``clips`` [N, F, H, W, 3] encoded and decoded, in [0, 1]."""
    model: AutoencoderKL = load_autoencoder(out)
    decoded = [model.decode(model.encode(vae.to_pictures(clip)).latent_dist.mean).sample for clip in clips]
    return (torch.stack(decoded) / 2 + 0.5).clamp(0, 1).permute(0, 1, 3, 4, 2).numpy()


@torch.no_grad()
def _through_wan(out: Path, clips: NDArray[np.uint8]) -> Videos:
    """Return ``clips`` [N, F, H, W, 3] encoded and decoded, in [0, 1]."""
    model = AutoencoderKLWan.from_pretrained(out / "wan", subfolder="vae", torch_dtype=torch.float32).eval()
    decoded = torch.cat(
        [wan_vae.reconstructed(model, part) for part in np.array_split(clips, len(clips) // 8)]
    )
    return (decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 4, 1).numpy()


def section(measured: Mapping[str, object]) -> str:
    """Return the card's section on the text-to-video models."""
    columns = ("true", "text-to-video_decoded", "text-to-video", "wan_decoded", "wan")
    words = "\n".join(
        f"| {label} | "
        + " | ".join(f"{_number(measured, column, word):.1%}" for column in columns)
        + f" | {aim} |"
        for word, label, aim in _AIMS
    )
    actions = "\n".join(
        f"| {action} | " + " | ".join(_share(measured, column, action) for column in columns) + " |"
        for action in ACTIONS
    )
    return _SECTION.format(
        words=words,
        actions=actions,
        frames_psnr=measured["text-to-video_psnr"],
        wan_psnr=measured["wan_psnr"],
        prompts=measured["prompts"],
        heldout=FIRST_SIZES["pocket"]["heldout"],
        prompts_known=measured["prompts_known"],
        clips=_CLIPS,
        loose=LOOSE_SHARE,
        guidance=text_to_video.GUIDANCE,
        wan_guidance=wan.GUIDANCE,
        steps=load_suite("pocket").sampler.steps,
        wan_steps=load_suite("pocket-wan").sampler.steps,
    )


def _number(measured: Mapping[str, object], column: str, word: str) -> float:
    value = measured[f"{column}_{word}"]
    assert isinstance(value, float)
    return value


def _share(measured: Mapping[str, object], column: str, action: str) -> str:
    shares = measured[f"{column}_by_action"]
    assert isinstance(shares, dict)
    return f"{shares[action]:.0%}" if action in shares else "-"


_AIMS = (
    ("noun", "noun (chance 1/12)", "90 %"),
    ("colour", "colour (chance 1/6)", "90 %"),
    ("scene", "scene (chance 1/6)", "98 %"),
    ("action", "action (chance 1/8)", "60 to 85 %"),
)

_SECTION = """\
## Text to video

Both models are trained on single frames, then on clips, then on clips with loose captions, {loose:.0%} of
which name another action than the clip's, then to predict in one call what they predict under classifier-free
guidance ({guidance:g} for `text-to-video`, {wan_guidance:g} for `wan`). So they are sampled without guidance,
`text-to-video` in {steps} steps of DDIM and `wan` in {wan_steps} of Euler.

The oracle judged one video for each of {prompts} prompts, the first {heldout} of the split `heldout` and all
of `train` of the prompt set `pocket`. What is held out there is held out from the methods, not from the base
models: {prompts_known} of the prompts are also captions of clips that these were trained on. Beside the
samples stand what the oracle says of {clips} held-out clips of the world, and of these clips encoded and
decoded: no model can be expected to reach more.

| as asked | true clips | decoded by `text-to-video` | `text-to-video` | decoded by `wan` | `wan` | aim |
|---|---:|---:|---:|---:|---:|---:|
{words}

| action | true clips | decoded by `text-to-video` | `text-to-video` | decoded by `wan` | `wan` |
|---|---:|---:|---:|---:|---:|
{actions}

Peak signal-to-noise ratio of the decoded clips: {frames_psnr:.1f} dB (`text-to-video`) and {wan_psnr:.1f} dB
(`wan`); the aim was 30.

Clips of the world, and for each model their reconstructions and samples for the first prompts of `heldout`,
one row of eight frames each:

![world](world.png)
![reconstructions by text-to-video](text-to-video-reconstructions.png)
![samples of text-to-video](text-to-video-samples.png)
![reconstructions by wan](wan-reconstructions.png)
![samples of wan](wan-samples.png)
"""
