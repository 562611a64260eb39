"""The card's part on the rewards that are not in the paper's Fig. 7: pickscore, detector, V-JEPA 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from transformers import CLIPModel, CLIPTokenizer, VJEPA2Model, YolosForObjectDetection

from vader_bench.pretrain import pickscore, vjepa, yolos
from vader_bench.pretrain.clips import HELDOUT_CLIPS, rendered
from vader_bench.pretrain.kept import keep_or_measure
from vader_bench.rewards.vjepa import TemporalConsistency
from vader_bench.rewards.yolos import THRESHOLD

__all__ = ["PARTS", "measure_more_rewards", "section"]

PARTS = """\
| `pickscore` | the same CLIP, fine-tuned with PickScore's loss | choices of other judges |
| `yolos` | YOLOS (width 96, 3 layers, {tokens} boxes), begun as that CLIP's image tower | frames with boxes |
| `vjepa` | V-JEPA 2 (width 96, 4 layers; predictor 48, 2) | hidden parts of clips in random styles |"""
"""Rows of the card's table of models."""

_SPREAD_CLIPS = 128


def measure_more_rewards(work: Path, out: Path) -> dict[str, object]:
    """Return how well the three models in ``out`` do on what they were not trained on."""
    measured: dict[str, object] = {}
    for part, fields, measure in (
        ("pickscore", (*pickscore.Told._fields, "scale"), _measure_pickscore),
        ("yolos", yolos.Finds._fields, _measure_yolos),
        ("vjepa", (*vjepa.Spread._fields, *vjepa.Ranked._fields), _measure_vjepa),
    ):
        measured |= keep_or_measure(
            out, [part], [f"{part}_{field}" for field in fields], _named(part, measure, work, out)
        )
    return measured


def _named(
    part: str, measure: Callable[[Path, Path], dict[str, float]], work: Path, out: Path
) -> Callable[[], Mapping[str, object]]:
    return lambda: {f"{part}_{field}": value for field, value in measure(work, out).items()}


def _measure_pickscore(_: Path, out: Path) -> dict[str, float]:
    ours, theirs = (
        CLIPModel.from_pretrained(out / name, dtype=torch.float32).eval() for name in ("pickscore", "hps")
    )
    told = pickscore.tell(ours, theirs, CLIPTokenizer.from_pretrained(out / "pickscore"))
    return told._asdict() | {"scale": ours.logit_scale.exp().item()}


def _measure_yolos(_: Path, out: Path) -> dict[str, float]:
    model = YolosForObjectDetection.from_pretrained(out / "yolos", dtype=torch.float32).eval()
    return yolos.find(model)._asdict()


def _measure_vjepa(work: Path, out: Path) -> dict[str, float]:
    frames = rendered("heldout", HELDOUT_CLIPS, work)
    model = VJEPA2Model.from_pretrained(out / "vjepa", dtype=torch.float32).eval()
    reward = TemporalConsistency.load(str(out / "vjepa"), masks=2)
    return vjepa.spread(model, frames[:_SPREAD_CLIPS])._asdict() | vjepa.rank(reward, frames)._asdict()


def section(measured: Mapping[str, object]) -> str:
    """Return the card's section on the three models."""
    return _SECTION.format(
        **measured, threshold=THRESHOLD, noise=pickscore.NOISE, tie=pickscore.TIE, looks=pickscore.LOOKS,
        **{f"worth_{word}": worth for word, worth in pickscore.WORDS.items()},
    )  # fmt: skip


_SECTION = """\
## More reward models

`pickscore` has judges of its own (`vader_bench/pretrain/pickscore.py`). A met colour is worth
{worth_colour:g} to them, a noun {worth_noun:g}, a scene {worth_scene:g}, a point of the audience's rating
{looks:g}: where `hps` learns that a word is worth two points of rating, it is worth four to eight here. Each
choice is one judge's, drawn at a temperature of {noise:g}, so some are odd; closer than {tie:g} is a tie.
It takes pictures with the channel statistics of the released CLIP models, as the reward of that name does
for all models.

| `pickscore`, held-out choices that are no ties | value |
|---|---|
| decided right | {pickscore_model:.1%} |
| decided right by the appeals that they were drawn from: the most there is | {pickscore_judges:.1%} |
| decided right by `hps` | {pickscore_others:.1%} |
| correlation of its margins with those of `hps` | {pickscore_alike:.2f} |
| scale of the scores, exp(logit scale) | {pickscore_scale:.1f} |

`yolos` sees single frames. A box counts, as in the reward, where its class is likelier than {threshold:g}; a
thing is found by a box of its class that overlaps its true box by at least half (intersection over union).

| `yolos`, held-out frames as they are drawn | value |
|---|---|
| actors found | {yolos_found:.1%} |
| props found (a book or cup, unless the actor hides it) | {yolos_props_found:.1%} |
| empty scenes with a box of anything | {yolos_invented:.1%} |
| frames without a book with a box of one | {yolos_books_invented:.1%} |

`vjepa` holds the target encoder and the predictor; the reward lets that encoder play both parts. If the
features had collapsed, their variance over clips would be 0 (1 is the most it can be), and no prediction
would be better than the best constant.

| `vjepa`, held-out clips | value |
|---|---|
| variance of the normalised features over clips, at the same place and time | {vjepa_variance:.2f} |
| L1 error of the prediction | {vjepa_error:.3f} |
| L1 error of the best constant for each place and time, chosen on these clips | {vjepa_constant_error:.3f} |
| real clips that score above themselves with frames shuffled | {vjepa_shuffled:.1%} |
| real clips that score above themselves with one frame of another clip | {vjepa_replaced:.1%} |

In the last two rows a half would be chance.
"""
