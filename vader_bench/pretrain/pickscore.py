"""PickScore: CLIP fine-tuned on the choices of single judges, who care for the prompt above all.

The audience that ``hps`` learns from is one of raters: all of them are asked, and looks count as much as
words. These judges are users with a wish of their own (``pocket.taste.appeal``): a missed word weighs three
times as much against looks, colour and noun weigh more than the scene, and each choice is one person's,
drawn and sometimes odd.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import log_softmax, normalize
from transformers import CLIPModel, CLIPTokenizer

from vader_bench.pocket.taste import LOOKS, WORDS, appeal
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.export import export_clip
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.options import draw_options
from vader_bench.pretrain.pictures import normalise
from vader_bench.pretrain.pool import Pool
from vader_bench.pretrain.tokenizer import tokenise
from vader_bench.rewards.pickscore import pick_score
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD, Normalise
from vader_bench.seeding import numpy_stream

__all__ = [
    "LOOKS", "NOISE", "TIE", "WORDS", "Choices", "Told", "appeal", "draw_choices", "learn", "tell",
    "train",
]  # fmt: skip

NOISE = 0.7
"""Temperature of a choice: it is drawn with the odds exp(difference of appeals / NOISE)."""
TIE = 0.4
"""Difference of appeals below which a judge calls a pair a tie, and both pictures count half."""
_BATCH = 28


class Choices(NamedTuple):
    """What judges said of pairs of pictures."""

    prompts: list[str]
    pairs: NDArray[np.float32]
    """[N, 2, H, W, 3] in [0, 1]."""
    chosen: Tensor
    """Share of each picture in the choice, [N, 2]: 1 and 0, or a half each."""
    appeals: Tensor
    """What the choices were drawn from, [N, 2]."""


class Told(NamedTuple):
    """How many held-out choices that are no ties a scorer tells."""

    model: float
    judges: float
    """Told by the true appeals: nobody can do better on average, since choices are drawn."""
    others: float
    """Told by the other model that is compared."""
    alike: float
    """Correlation of the two models' margins between the pictures of a pair."""


def draw_choices(rng: np.random.Generator, count: int, pool: Pool | None = None) -> Choices:
    """Draw ``count`` prompts, a pair of pictures for each, and what one judge says of it.

    See ``draw_options`` for ``pool``.
    """
    drawn = draw_options(rng, count, 2, pool)
    rows = zip(drawn.asked, drawn.shown, drawn.ratings.tolist(), strict=True)
    appeals = np.array(
        [
            [appeal(what, asked, rating) for what, rating in zip(captions, ratings, strict=True)]
            for asked, captions, ratings in rows
        ]
    )
    lead = appeals[:, 0] - appeals[:, 1]
    first = (rng.uniform(size=count) < 1 / (1 + np.exp(-lead / NOISE))).astype(np.float64)
    first[np.abs(lead) < TIE] = 0.5
    chosen = torch.from_numpy(np.stack([first, 1 - first], axis=1)).float()
    return Choices(drawn.prompts, drawn.pictures, chosen, torch.from_numpy(appeals))


def _scores(model: CLIPModel, tokenizer: CLIPTokenizer, choices: Choices, inputs: Tensor) -> Tensor:
    """Return the scores [N, 2] of both pictures of each pair, whose network inputs are [2 N, 3, H, W]."""
    text = model.get_text_features(input_ids=tokenise(tokenizer, choices.prompts))
    images = model.get_image_features(pixel_values=inputs).reshape(len(text), 2, -1)
    return pick_score(normalize(images, dim=-1), text[:, None], model.logit_scale)


def _inputs(choices: Choices) -> Tensor:
    """Return the pictures [2 N, 3, H, W] with the statistics that all PickScore models take."""
    frames = torch.from_numpy(choices.pairs).flatten(0, 1).permute(0, 3, 1, 2)
    normalised: Tensor = Normalise(CLIP_MEAN, CLIP_STD)(frames)
    return normalised


def train(
    model: CLIPModel, tokenizer: CLIPTokenizer, pool: Pool, folder: Path, stage: str, steps: int
) -> None:
    """Fine-tune ``model``, its logit scale too, on choices among drawings and frames of ``pool``.

    The loss is PickScore's (arXiv:2305.01569): the cross-entropy of a softmax over the scores of a pair
    against the choice, a half each where it is a tie.
    """

    def loss(step: int) -> Tensor:
        choices = draw_choices(numpy_stream(ROOT_SEED, stage, step), _BATCH, pool)
        logs = log_softmax(_scores(model, tokenizer, choices, _inputs(choices)), dim=1)
        return -(choices.chosen * logs).sum(dim=1).mean()

    fit(stage, model, loss, folder, steps=steps, learning_rate=5e-4, weight_decay=0.1, ema=0.99)


def learn(lesson: Lesson) -> None:
    """Do a round."""
    tokenizer = CLIPTokenizer.from_pretrained(lesson.clip)
    model = CLIPModel.from_pretrained(lesson.begin or lesson.clip, dtype=torch.float32)
    train(model.train(), tokenizer, lesson.pool, lesson.work, lesson.stage, lesson.steps)
    export_clip(model.eval(), tokenizer, lesson.target, CLIP_MEAN, CLIP_STD)


@torch.no_grad()
def tell(model: CLIPModel, hps: CLIPModel, tokenizer: CLIPTokenizer, count: int = 1024) -> Told:
    """Return how well ``model`` tells held-out choices, beside their judges and ``hps``."""
    choices = draw_choices(numpy_stream(ROOT_SEED, "choices", "heldout"), count)
    decided = choices.chosen[:, 0] != 0.5

    def margins(scores: Tensor) -> Tensor:
        return (scores[:, 0] - scores[:, 1])[decided]

    def share(lead: Tensor) -> float:
        return ((lead > 0) == (choices.chosen[decided, 0] > 0.5)).float().mean().item()

    ours = margins(_scores(model, tokenizer, choices, _inputs(choices)))
    pictures = choices.pairs.reshape(-1, *choices.pairs.shape[2:])
    theirs = margins(_scores(hps, tokenizer, choices, normalise(pictures)))
    alike = float(np.corrcoef(ours.numpy(), theirs.numpy())[0, 1])
    return Told(share(ours), share(margins(choices.appeals)), share(theirs), alike)
