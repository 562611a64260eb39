"""HPS: CLIP fine-tuned on what an audience of raters prefers among pictures for a prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize
from transformers import CLIPModel, CLIPTokenizer

from vader_bench.pocket.taste import utility
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.export import export_clip
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.options import Options, draw_options
from vader_bench.pretrain.pictures import normalise
from vader_bench.pretrain.pool import Pool
from vader_bench.pretrain.tokenizer import tokenise
from vader_bench.seeding import numpy_stream

__all__ = ["learn", "pair_accuracy", "preference_loss", "train", "utilities"]

_PROMPTS, _EACH = 14, 4
"""Of a batch: prompts, and pictures a prompt."""
_DISAGREEMENT = 1.0
"""Points of utility by which raters differ: of a pair so far apart, 73 % of them prefer the better one."""
_CLEAR = 0.5
"""Points of utility from which on a pair counts as decided when a model is measured."""


def utilities(options: Options) -> Tensor:
    """Return the audience's utility of each option, [N, K]."""
    rows = zip(options.asked, options.shown, options.ratings.tolist(), strict=True)
    return torch.tensor(
        [
            [utility(what, asked, rating) for what, rating in zip(captions, ratings, strict=True)]
            for asked, captions, ratings in rows
        ]
    )


def _logits(
    model: CLIPModel, tokenizer: CLIPTokenizer, prompts: list[str], pictures: NDArray[np.float32]
) -> Tensor:
    """Return logits [N, K]: scaled cosines of each of N prompts with its ``pictures`` [N, K, H, W, 3]."""
    text = normalize(model.get_text_features(input_ids=tokenise(tokenizer, prompts)), dim=-1)
    inputs = normalise(pictures.reshape(-1, *pictures.shape[2:]))
    images = normalize(model.get_image_features(pixel_values=inputs), dim=-1)
    cosines = torch.einsum("nd,nkd->nk", text, images.reshape(*pictures.shape[:2], -1))
    logits: Tensor = cosines * model.logit_scale.exp()
    return logits


def preference_loss(logits: Tensor, liked: Tensor) -> Tensor:
    """Return how far a softmax over pairs of options is from what the audience prefers.

    The loss is that of HPS v2 (arXiv:2306.09341), with the share of the audience that prefers each of a pair.
    Pairs are all those of one prompt, and all of any two prompts, each kind counted as much: where an answer
    to one prompt can be held against an answer to another, scores of different prompts mean the same.

    Args:
        logits: [N, K].
        liked: utilities, [N, K].
    """
    pairs = torch.triu_indices(logits.shape[1], logits.shape[1], offset=1)
    within = [values[:, pairs[0]] - values[:, pairs[1]] for values in (logits, liked)]
    all_pairs = torch.triu_indices(logits.numel(), logits.numel(), offset=1)
    across = [values.flatten()[all_pairs[0]] - values.flatten()[all_pairs[1]] for values in (logits, liked)]
    losses = [
        binary_cross_entropy_with_logits(ours, torch.sigmoid(theirs / _DISAGREEMENT))
        for ours, theirs in (within, across)
    ]
    return torch.stack(losses).mean()


def train(
    model: CLIPModel, tokenizer: CLIPTokenizer, pool: Pool, folder: Path, stage: str, steps: int
) -> None:
    """Fine-tune ``model`` on drawings and frames of ``pool``; see ``preference_loss``."""

    def loss(step: int) -> Tensor:
        options = draw_options(numpy_stream(ROOT_SEED, stage, step), _PROMPTS, _EACH, pool)
        logits = _logits(model, tokenizer, options.prompts, options.pictures)
        return preference_loss(logits, utilities(options))

    fit(stage, model, loss, folder, steps=steps, learning_rate=5e-4, weight_decay=0.1, ema=0.99)


def learn(lesson: Lesson) -> None:
    """Do a round."""
    tokenizer = CLIPTokenizer.from_pretrained(lesson.clip)
    model = CLIPModel.from_pretrained(lesson.begin or lesson.clip, dtype=torch.float32)
    train(model.train(), tokenizer, lesson.pool, lesson.work, lesson.stage, lesson.steps)
    export_clip(model.eval(), tokenizer, lesson.target)


@torch.no_grad()
def pair_accuracy(model: CLIPModel, tokenizer: CLIPTokenizer, count: int = 1024) -> float:
    """Return the share of held-out pairs of drawings whose preferred picture scores higher.

    Pairs closer than half a point are left out: an audience would call them ties.
    """
    options = draw_options(numpy_stream(ROOT_SEED, "hps", "heldout"), count, 2)
    liked = utilities(options)
    decided = (liked[:, 0] - liked[:, 1]).abs() >= _CLEAR
    logits = _logits(model, tokenizer, options.prompts, options.pictures)
    return (logits.argmax(dim=1) == liked.argmax(dim=1))[decided].float().mean().item()
