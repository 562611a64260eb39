"""Last stage: has the finished models measured, draws samples, writes the model card."""

from __future__ import annotations

from pathlib import Path

from vader_bench.files import write_json, write_text
from vader_bench.pretrain import base_card, correlations, image_to_video_card
from vader_bench.pretrain.clips import BASE_CLIPS
from vader_bench.pretrain.kept import MEASURED, keep_or_measure
from vader_bench.pretrain.measure import REWARD_KEYS, measure_rewards
from vader_bench.pretrain.reward_card import PARTS, measure_more_rewards, section
from vader_bench.pretrain.yolos import TOKENS

__all__ = ["write_card"]

_HISTORY = Path(__file__).with_name("history.md")
"""In what the packaged weights differ from one call of the stages, and what was tried."""


def write_card(work: Path, out: Path) -> None:
    """Write ``MODEL_CARD.md`` and ``measured.json`` to ``out``, and contact sheets of a changed base model.

    What was measured of weights that are the same as then is kept.
    """
    rewards = ("clip", "hps", "videomae")
    measured: dict[str, object] = {
        **keep_or_measure(out, rewards, REWARD_KEYS, lambda: measure_rewards(work, out)),
        **measure_more_rewards(work, out),
        **keep_or_measure(
            out, correlations.PARTS, correlations.KEYS, lambda: correlations.measure(work, out)
        ),
        **base_card.measure_base(work, out),
        **image_to_video_card.measure_image_to_video(work, out),
        "bytes": sum(f.stat().st_size for f in out.rglob("*.safetensors")),
    }
    write_json(out / MEASURED, measured)
    write_text(out / "MODEL_CARD.md", _card(measured))


def _card(measured: dict[str, object]) -> str:
    return _CARD.format(
        **measured,
        megabytes=int(str(measured["bytes"])) / 1e6,
        base_parts=base_card.PARTS,
        more_parts=PARTS.format(tokens=TOKENS),
        more_rewards=section(measured),
        truths=correlations.section(measured),
        base=base_card.section(measured),
        image_to_video_part=image_to_video_card.PART.format(clips=f"{BASE_CLIPS:,}"),
        image_to_video=image_to_video_card.section(measured),
        history=_HISTORY.read_text(encoding="utf-8"),
    )


_CARD = """\
# Pocket suite: model card

Tiny models that are real: the architectures of the originals, trained from nothing on a procedural world
by the stages of `nox -s pretrain-pocket`, the last of which measures what stands here and writes this card.
In what they differ from one call of that command stands at the end. They exist so that every experiment runs
on a laptop; nothing they produce says anything about real videos.

| part | architecture | trained on |
|---|---|---|
{base_parts}
{image_to_video_part}
| `clip` | CLIP (width 96, 3 layers) | frames with captions |
| `aesthetic` | the same CLIP, fine-tuned with an affine head on its image embedding | ratings |
| `hps` | the same CLIP, fine-tuned with HPS's loss | simulated preferences |
| `videomae` | VideoMAE (width 96, 4 layers), classifier of 8 actions | clips in random styles |
{more_parts}

The audience whose ratings and preferences are learnt is simulated (`vader_bench/pocket/taste.py`): it
likes colour, contrast and sharp edges, dislikes noise, and misses what a prompt asked for and a picture
lacks.

## Reward models

On clips, pictures and pairs that nothing was trained on:

| what | value |
|---|---|
| preference model, held-out pairs decided right | {hps_pair_accuracy:.1%} |
| the same pairs by CLIP before its fine-tuning | {clip_pair_accuracy:.1%} |
| action classifier, real clips named right | {action_accuracy:.1%} |
| size of all weights | {megabytes:.1f} MB |

{truths}
{more_rewards}
{base}
{image_to_video}
{history}
## Limits

Eight frames of 64 x 64 pixels; sentences like "a red cat spinning in the park" and no others; one
actor, sometimes a resting prop. The base model is meant to leave room for alignment. Licence:
Apache-2.0, as the code.
"""
