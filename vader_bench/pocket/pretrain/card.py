"""Last stage: has the finished models measured, draws samples, writes the model card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from vader_bench.backbones import BACKBONES
from vader_bench.config import SuiteConfig, load_suite
from vader_bench.data.prompts import load_prompts
from vader_bench.files import write_bytes, write_json, write_text
from vader_bench.pocket.pretrain import correlations, image_to_video_card
from vader_bench.pocket.pretrain.clips import BASE_CLIPS, HELDOUT_CLIPS, captions, draw_clips, rendered
from vader_bench.pocket.pretrain.kept import MEASURED, keep_or_measure
from vader_bench.pocket.pretrain.measure import (
    BASE_KEYS,
    REWARD_KEYS,
    Videos,
    count_known,
    load_autoencoder,
    measure_rewards,
    measure_samples,
)
from vader_bench.pocket.pretrain.reward_card import PARTS, measure_more_rewards, section
from vader_bench.pocket.pretrain.samples import contact_sheet, sample
from vader_bench.pocket.pretrain.text_to_video import WIDTHS
from vader_bench.pocket.pretrain.vae import to_pictures
from vader_bench.pocket.pretrain.yolos import TOKENS

__all__ = ["write_card"]

_SHOWN = 8
"""Rows of a contact sheet."""


def write_card(work: Path, out: Path) -> None:
    """Write ``MODEL_CARD.md`` and ``measured.json`` to ``out``, and contact sheets of a changed base model.

    What was measured of weights that are the same as then is kept.
    """
    suite = load_suite("pocket")
    base, rewards = ("text-to-video",), ("text-to-video", "clip", "hps", "videomae")
    measured: dict[str, object] = {
        **keep_or_measure(out, rewards, REWARD_KEYS, lambda: measure_rewards(work, out)),
        **keep_or_measure(out, base, BASE_KEYS, lambda: _look_at_base(work, out, suite)),
        **measure_more_rewards(work, out),
        **keep_or_measure(
            out, correlations.PARTS, correlations.KEYS, lambda: correlations.measure(work, out)
        ),
        **image_to_video_card.measure_image_to_video(work, out),
        "bytes": sum(f.stat().st_size for f in out.rglob("*.safetensors")),
    }
    write_json(out / MEASURED, measured)
    write_text(out / "MODEL_CARD.md", _card(measured, suite))


def _look_at_base(work: Path, out: Path, suite: SuiteConfig) -> dict[str, object]:
    """Return what the base model's samples show, and write contact sheets of them and of the world."""
    backbone = BACKBONES.get("modelscope").load(out / "text-to-video", frames=8)
    prompts = load_prompts("pocket").splits["heldout"] + load_prompts("pocket").splits["train"]
    videos = sample(backbone, suite.sampler, prompts)
    clips = draw_clips("heldout", _SHOWN)
    true = rendered("heldout", HELDOUT_CLIPS, work)[:_SHOWN].astype(np.float32) / 255.0
    again = _reconstruct(load_autoencoder(out), true)
    write_bytes(out / "world.png", contact_sheet(true, captions(clips)))
    write_bytes(out / "reconstructions.png", contact_sheet(again, captions(clips)))
    write_bytes(out / "samples.png", contact_sheet(videos[:_SHOWN], prompts[:_SHOWN]))
    known = {"prompts": len(prompts), "prompts_known": count_known(prompts)}
    return {**measure_samples(videos, prompts), **known}


@torch.no_grad()
def _reconstruct(model: AutoencoderKL, videos: Videos) -> Videos:
    parts = []
    for video in videos:
        pictures = to_pictures((video * 255).astype(np.uint8))
        decoded = model.decode(model.encode(pictures).latent_dist.mean).sample
        parts.append((decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy())
    return np.stack(parts)


def _card(measured: dict[str, object], suite: SuiteConfig) -> str:
    by_action = measured["base_by_action"]
    assert isinstance(by_action, dict)
    return _CARD.format(
        **measured,
        megabytes=int(str(measured["bytes"])) / 1e6,
        widths=", ".join(map(str, WIDTHS)),
        clips=f"{BASE_CLIPS:,}",
        steps=suite.sampler.steps,
        more_parts=PARTS.format(tokens=TOKENS),
        more_rewards=section(measured),
        truths=correlations.section(measured),
        image_to_video_part=image_to_video_card.PART.format(clips=f"{BASE_CLIPS:,}"),
        image_to_video=image_to_video_card.section(measured),
        actions="\n".join(f"| {action} | {share:.0%} |" for action, share in sorted(by_action.items())),
    )


_CARD = """\
# Pocket suite: model card

Tiny models that are real: the architectures of the originals, trained from nothing on a procedural world
by the stages of `nox -s pretrain-pocket`, the last of which measures what stands here and writes this card.
How the weights of a release came about, and in what they differ from one call of that command, stands in
`CHANGELOG.md`. They exist so that every experiment runs on a laptop; nothing they produce says anything
about real videos.

| part | architecture | trained on |
|---|---|---|
| `text-to-video` | ModelScope: 3D UNet (widths {widths}), KL autoencoder, CLIP text encoder | {clips} clips |
{image_to_video_part}
| `clip` | CLIP (width 96, 3 layers) | frames with captions |
| `aesthetic` | the same CLIP, fine-tuned with an affine head on its image embedding | ratings |
| `hps` | the same CLIP, fine-tuned with HPS's loss | simulated preferences |
| `videomae` | VideoMAE (width 96, 4 layers), classifier of 8 actions | clips in random styles |
{more_parts}

The audience whose ratings and preferences are learnt is simulated (`vader_bench/pocket/taste.py`): it
likes colour, contrast and sharp edges, dislikes noise, and misses what a prompt asked for and a picture
lacks.

## Autoencoder and reward models

On clips, pictures and pairs that nothing was trained on:

| what | value |
|---|---|
| autoencoder, peak signal-to-noise ratio | {psnr:.1f} dB |
| preference model, held-out pairs told right | {hps_pair_accuracy:.1%} |
| the same pairs by CLIP before its fine-tuning | {clip_pair_accuracy:.1%} |
| action classifier, real clips named right | {action_accuracy:.1%} |
| size of all weights | {megabytes:.1f} MB |

{truths}
{more_rewards}
## Base model

One video of {steps} DDIM steps for each of {prompts} prompts, judged by the oracle;
the prompts are the splits `heldout` and `train` of the prompt set `pocket`. What these splits
hold out, they hold out from the methods, not from the base model: {prompts_known} of the prompts
are also captions of clips that it was trained on.

| as asked | share | chance |
|---|---|---|
| action | {base_action:.1%} | 1/8 |
| noun | {base_noun:.1%} | 1/12 |
| colour | {base_colour:.1%} | 1/6 |
| scene | {base_scene:.1%} | 1/6 |

| action | as asked |
|---|---|
{actions}

Clips of the world, their reconstructions by the autoencoder, and samples of the base model for the first
prompts of `heldout`, one row of eight frames each:

![world](world.png)
![reconstructions](reconstructions.png)
![samples](samples.png)

{image_to_video}
## Limits

Eight frames of 64 x 64 pixels; sentences like "a red cat spinning in the park" and no others; one
actor, sometimes a resting prop. The base model is meant to leave room for alignment. Licence:
Apache-2.0, as the code.
"""
