"""How well learned rewards agree with their truths: on clean pictures, on samples, and where raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vader_bench.pocket.boxes import things
from vader_bench.pocket.taste import appeal, apply_style, draw_style, rate, utility
from vader_bench.pocket.vocabulary import ACTIONS, Caption, format_caption
from vader_bench.pocket.world import FRAMES, Clip
from vader_bench.pretrain import parallel
from vader_bench.pretrain.adversaries import Attack
from vader_bench.pretrain.bases import BASES, SAMPLER_STEPS, BaseName
from vader_bench.pretrain.clips import HELDOUT_CLIPS, ROOT_SEED, draw_clips, rendered
from vader_bench.pretrain.learners import LEARNERS, ROUNDS, load_reward, load_truth
from vader_bench.pretrain.pictures import corrupt
from vader_bench.pretrain.pool import Part, as_floats, known_part
from vader_bench.pretrain.pool_parts import Attacked, Maker, Places, Samples, make
from vader_bench.rewards import Reward
from vader_bench.seeding import numpy_stream

__all__ = ["AIMS", "KEYS", "PARTS", "WHERE", "correlation", "measure", "section"]

WHERE = ("clean", "samples", "raised")
AIMS = {"clean": 0.95, "samples": 0.9, "raised": 0.6}
KEYS = tuple(f"{name}_correlation_{where}" for name in LEARNERS for where in WHERE)
"""What ``measure`` measures."""
PARTS = (*(learner.part for learner in LEARNERS.values()), *BASES)
"""Folders of the weights that it depends on."""
_RAISED = Attack(rate=1e-3, seed=7900, looks=(512,))
_SAMPLES, _EACH = 96, 48
_BATCH = 32


class _Judged(NamedTuple):
    """Clips with the truth about them."""

    videos: NDArray[np.float32]
    """[N, F, H, W, 3] in [0, 1]."""
    prompts: list[str]
    truths: list[float]


def measure(work: Path, out: Path) -> dict[str, float | None]:
    """Return the correlations of the rewards in ``out`` with their truths by ``KEYS``.

    One that is undefined is ``None``. Models are trained against the rewards for it, on as many processes as
    torch has threads.
    """
    parts: list[Maker] = [_samples(base, books=books) for base in BASES for books in (False, True)]
    parts += [_raised(name, base) for name in LEARNERS for base in BASES]
    parallel.spread(partial(make, places=Places(work, out)), torch.get_num_threads(), parts)
    return {
        f"{name}_correlation_{where}": found
        for name in LEARNERS
        for where, found in zip(WHERE, _correlations(name, work, out), strict=True)
    }


def _samples(base: BaseName, *, books: bool) -> Samples:
    kind = "card-books" if books else "card"
    return Samples(base, "guidance", SAMPLER_STEPS, _SAMPLES, group=kind, book_share=1.0 if books else 0.0)


def _raised(name: str, base: BaseName) -> Attacked:
    return Attacked(ROUNDS, name, base, _RAISED, _EACH)


def _correlations(name: str, work: Path, out: Path) -> list[float | None]:
    reward = load_reward(name, out)
    sampled = [_samples(base, books=LEARNERS[name].books) for base in BASES]
    raised = [_raised(name, base) for base in BASES]
    judged = [_clean(name, work), _judged(name, sampled, work), _judged(name, raised, work)]
    return [correlation(_scores(reward, clips), clips.truths) for clips in judged]


def _clean(name: str, work: Path) -> _Judged:
    """Return held-out drawings in random styles, with what is known of them as they were drawn.

    Prompts have none, one or two words changed, and half of them perhaps another action. All drawings have
    a constant actor: for ``temporal-consistency`` half of them are continued by another clip from some frame
    on, and that truth is measured.
    """
    clips, frames = draw_clips("heldout", HELDOUT_CLIPS), rendered("heldout", HELDOUT_CLIPS, work)
    videos, asked = as_floats(frames), []
    for i, clip in enumerate(clips):
        rng = numpy_stream(ROOT_SEED, "correlations", name, i)
        asked.append(_asked(rng, clip.caption))
        if name != "temporal-consistency":
            videos[i] = apply_style(videos[i], draw_style(rng), rng)
        elif rng.uniform() < 0.5:
            first = int(rng.integers(1, FRAMES))
            videos[i, first:] = as_floats(frames[(i + 1) % len(frames), first:])
    prompts = [format_caption(caption) for caption in asked]
    if name == "temporal-consistency":
        return _Judged(videos, prompts, _scores(load_truth(name), _Judged(videos, prompts, [])))
    rows = zip(clips, asked, videos, strict=True)
    return _Judged(videos, prompts, [_known_truth(name, *row) for row in rows])


def _asked(rng: np.random.Generator, shown: Caption) -> Caption:
    """Return ``shown`` with some of colour, noun and scene, and perhaps the action, drawn again."""
    changed = corrupt(rng, shown)
    if rng.uniform() < 0.5:
        return changed
    return replace(changed, action=ACTIONS[int(rng.integers(len(ACTIONS)))])


def _known_truth(name: str, clip: Clip, asked: Caption, video: NDArray[np.float32]) -> float:
    """Return the truth about ``video`` [F, H, W, 3], which is ``clip`` in some style."""
    rating, shown = float(rate(video).mean()), clip.caption
    match name:
        case "aesthetic":
            return rating
        case "hps":
            return utility(shown, asked, rating)
        case "pickscore":
            return appeal(shown, asked, rating)
        case "action":
            return float(shown.action == asked.action)
        case "object-removal":
            return float(
                np.mean([all(thing.noun != "book" for thing in things(clip, f)) for f in range(FRAMES)])
            )
    raise ValueError(f"nothing is known of {name!r}")


def _judged(name: str, made: Sequence[Maker], work: Path) -> _Judged:
    """Return kept clips with their truth as it is measured."""
    parts = [_known(work, maker.name) for maker in made]
    videos = as_floats(np.concatenate([part.frames for part in parts]))
    prompts = [prompt for part in parts for prompt in part.prompts]
    return _Judged(videos, prompts, _scores(load_truth(name), _Judged(videos, prompts, [])))


def _known(work: Path, name: str) -> Part:
    part = known_part(work, name)
    assert part is not None, "all parts were made before"
    return part


@torch.no_grad()
def _scores(reward: Reward, clips: _Judged) -> list[float]:
    videos = torch.from_numpy(clips.videos).permute(0, 1, 4, 2, 3)
    scores: list[float] = []
    for first in range(0, len(videos), _BATCH):
        some: Tensor = reward.score(videos[first : first + _BATCH], clips.prompts[first : first + _BATCH])
        scores += some.tolist()
    return scores


def correlation(scores: Sequence[float], truths: Sequence[float]) -> float | None:
    """Return Pearson's correlation of N scores and truths; ``None`` where either does not vary."""
    if np.ptp(scores) == 0 or np.ptp(truths) == 0:
        return None
    return float(np.corrcoef(scores, truths)[0, 1])


def section(measured: Mapping[str, object]) -> str:
    """Return the card's section on the agreement of the rewards with their truths."""
    rows = [
        f"| `{name}` | `{learner.truth}` | "
        + " | ".join(_said(measured[f"{name}_correlation_{where}"]) for where in WHERE)
        + " |"
        for name, learner in LEARNERS.items()
    ]
    return _SECTION.format(
        rows="\n".join(rows), queries=_RAISED.looks[-1], rate=_RAISED.rate, steps=SAMPLER_STEPS, **AIMS
    )


def _said(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "undefined"


_SECTION = """\
## Rewards and their truths

Each learned reward imitates something that is known exactly or measured on pixels. Beside drawings the
rewards learnt from samples of both text-to-video models at the ends of their phases and with few sampler
steps, from mixtures of clips and from textures, and in two rounds from samples of models that were trained
against the round before. Correlation with the truth, over clips that nothing was trained on:

| reward | truth | clean pictures | samples | of models that raised it |
|---|---|---:|---:|---:|
{rows}
| aim | | {clean:.2f} | {samples:.2f} | {raised:.2f} |

Clean pictures: held-out drawings in random styles with prompts that are met more or less; for
`temporal-consistency` half of them turn into another clip. Samples: of both finished models, {steps} sampler
steps. The last column says how hackable a reward is: both models after VADER spent {queries} queries on it
with step {rate:g}, with prompts and seeds of their own. "Undefined" stands where the truth does not vary.
"""
