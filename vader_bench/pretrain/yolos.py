"""YOLOS as a detector of the twelve nouns, begun as CLIP's image tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import cross_entropy, l1_loss
from transformers import CLIPModel, YolosConfig, YolosForObjectDetection

from vader_bench.pocket.boxes import Thing, things
from vader_bench.pocket.taste import apply_style, draw_style
from vader_bench.pocket.vocabulary import NOUNS
from vader_bench.pocket.world import FRAMES, SIZE, draw_clip, render, render_background
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.export import export_yolos
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.located import locate
from vader_bench.pretrain.pictures import normalise
from vader_bench.pretrain.pool import Pool, as_floats
from vader_bench.rewards.yolos import THRESHOLD
from vader_bench.seeding import numpy_stream

__all__ = [
    "TOKENS", "Finds", "begin_as", "build", "find", "learn", "loss_of_set", "match", "overlap", "train",
]  # fmt: skip

TOKENS = 6
"""Detection tokens, thus boxes a picture; at most two things are shown."""
_BATCH, _POOLED = 32, 14
"""Pictures of a batch, and those of them that are the pool's."""
_EMPTY_SHARE = 0.1
"""Of the pictures that show a scene and nothing in it."""
_PROP_SHARE = 0.4
"""Of the pictures with a thing beside the actor: more than in clips, as they are what is to be removed."""
_NOTHING_WEIGHT = 0.3
"""Of the class "no object" in the loss; there are a few boxes without an object for each that has one."""
_BOX_WEIGHT, _OVERLAP_WEIGHT = 5.0, 2.0
"""Those of DETR (arXiv:2005.12872) and YOLOS (arXiv:2106.00666)."""


def build() -> YolosForObjectDetection:
    """Return an untrained detector for 64 x 64 pictures, as wide and deep as CLIP's image tower."""
    config = YolosConfig(
        image_size=[SIZE, SIZE],
        patch_size=8,
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=6,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        initializer_range=0.1,
        num_detection_tokens=TOKENS,
        use_mid_position_embeddings=False,
        id2label=dict(enumerate(NOUNS)),
        label2id={noun: i for i, noun in enumerate(NOUNS)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ROOT_SEED)
        model = YolosForObjectDetection(config)
        # transformers begins them at zero, where all boxes would stay one
        torch.nn.init.normal_(model.vit.embeddings.detection_tokens, std=1.0)
    return model


@torch.no_grad()
def begin_as(model: YolosForObjectDetection, clip: CLIPModel) -> None:
    """Give ``model`` the weights of the image tower of ``clip``, as YOLOS begins as a trained ViT.

    CLIP normalises its embeddings and YOLOS does not: they get the scale that they have on average.
    """
    tower, vit = clip.vision_model, model.vit
    rng = numpy_stream(ROOT_SEED, "yolos", "scale")
    pictures = np.stack([_draw(rng)[0] for _ in range(64)])
    spread = tower.embeddings(normalise(pictures)).std(dim=-1, correction=0).mean()
    gain, shift = tower.pre_layrnorm.weight / spread, tower.pre_layrnorm.bias
    projection = vit.embeddings.patch_embeddings.projection
    projection.weight.copy_(tower.embeddings.patch_embedding.weight * gain[:, None, None, None])
    projection.bias.zero_()
    vit.embeddings.cls_token.copy_(tower.embeddings.class_embedding * gain)
    places = tower.embeddings.position_embedding.weight * gain + shift
    vit.embeddings.position_embeddings[0, : len(places)] = places
    for ours, theirs in zip(vit.encoder.layer, tower.encoder.layers, strict=True):
        inner, attention = ours.attention.attention, theirs.self_attn
        for to, of in (
            (inner.query, attention.q_proj),
            (inner.key, attention.k_proj),
            (inner.value, attention.v_proj),
            (ours.attention.output.dense, attention.out_proj),
            (ours.layernorm_before, theirs.layer_norm1),
            (ours.layernorm_after, theirs.layer_norm2),
            (ours.intermediate.dense, theirs.mlp.fc1),
            (ours.output.dense, theirs.mlp.fc2),
        ):
            to.load_state_dict(of.state_dict())
    vit.layernorm.load_state_dict(tower.post_layernorm.state_dict())


def _draw(rng: np.random.Generator) -> tuple[NDArray[np.float32], list[Thing]]:
    """Draw one styled frame [H, W, 3] and what it shows."""
    clip, style, frame = draw_clip(rng, prop_share=_PROP_SHARE), draw_style(rng), int(rng.integers(FRAMES))
    if rng.uniform() < _EMPTY_SHARE:
        return apply_style(render_background(clip.caption.scene, clip.horizon)[None], style, rng)[0], []
    return apply_style(render(clip, [frame]), style, rng)[0], things(clip, frame)


def _pooled(rng: np.random.Generator, pool: Pool) -> tuple[NDArray[np.float32], list[Thing]]:
    """Return a frame [H, W, 3] of ``pool`` and what it shows, if it is clear what; else a drawing."""
    piece = pool.draw(rng)
    frame = int(rng.integers(FRAMES))
    shown = locate(piece, frame)
    return _draw(rng) if shown is None else (as_floats(piece.frames[frame]), shown)


def train(model: YolosForObjectDetection, pool: Pool, folder: Path, stage: str, steps: int) -> None:
    """Train ``model`` on fresh single frames in random styles and on frames of ``pool``."""

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, stage, step)
        drawn = [_draw(rng) for _ in range(_BATCH - _POOLED)] + [_pooled(rng, pool) for _ in range(_POOLED)]
        output = model(pixel_values=normalise(np.stack([picture for picture, _ in drawn])))
        return loss_of_set(output.logits, output.pred_boxes, [shown for _, shown in drawn])

    fit(stage, model, loss, folder, steps=steps, learning_rate=8e-4, weight_decay=0.05, ema=0.995)


def learn(lesson: Lesson) -> None:
    """Do a round."""
    if lesson.begin:
        model = YolosForObjectDetection.from_pretrained(lesson.begin, dtype=torch.float32)
    else:
        model = build()
        begin_as(model, CLIPModel.from_pretrained(lesson.clip, dtype=torch.float32))
    train(model.train(), lesson.pool, lesson.work, lesson.stage, lesson.steps)
    export_yolos(model.eval(), lesson.target)


def loss_of_set(logits: Tensor, boxes: Tensor, shown: Sequence[Sequence[Thing]]) -> Tensor:
    """Return DETR's loss of ``logits`` [N, T, classes + 1] and ``boxes`` [N, T, 4] for what is ``shown``.

    Each thing goes to one token, by the assignment of least cost; all other tokens show nothing.
    """
    labels = torch.full(logits.shape[:2], logits.shape[-1] - 1)
    picked, wanted = [], []
    for i, seen in enumerate(shown):
        truth = torch.tensor([thing.box for thing in seen], dtype=boxes.dtype).reshape(-1, 4)
        classes = torch.tensor([NOUNS.index(thing.noun) for thing in seen], dtype=torch.int64)
        tokens, which = match(logits[i].detach(), boxes[i].detach(), classes, truth)
        labels[i, tokens] = classes[which]
        picked.append(boxes[i, tokens])
        wanted.append(truth[which])
    weights = torch.ones(logits.shape[-1])
    weights[-1] = _NOTHING_WEIGHT
    classified = cross_entropy(logits.flatten(0, 1), labels.flatten(), weights)
    ours, truth = torch.cat(picked), torch.cat(wanted)
    if not len(truth):
        return classified
    placed = l1_loss(ours, truth, reduction="none").sum(dim=1).mean()
    covered = (1 - overlap(ours, truth)[1]).mean()
    return classified + _BOX_WEIGHT * placed + _OVERLAP_WEIGHT * covered


def match(logits: Tensor, boxes: Tensor, classes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return which token [K] shows which thing [K] of one picture, all costs together being least.

    Args:
        logits: of the tokens, [T, classes + 1].
        boxes: of the tokens, [T, 4].
        classes: of the things, [K], at most T.
        truth: their boxes, [K, 4].
    """
    cost = -logits.softmax(-1)[:, classes] + _BOX_WEIGHT * torch.cdist(boxes, truth, p=1)
    cost = cost - _OVERLAP_WEIGHT * overlap(boxes[:, None], truth[None])[1]
    tokens, which = linear_sum_assignment(cost.numpy())
    return torch.from_numpy(tokens), torch.from_numpy(which)


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return intersection over union of boxes [..., 4], and its generalised form (arXiv:1902.09630), [...].

    Boxes are centre across and down, width, height.
    """

    def corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
        return boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2

    (low_a, high_a), (low_b, high_b) = corners(a), corners(b)
    common = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - common
    hull = (torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)).prod(-1)
    iou = common / union
    return iou, iou - (hull - union) / hull


class Finds(NamedTuple):
    """How a detector does on frames that it was not trained on."""

    found: float
    """Share of actors with a box of their class that overlaps theirs by at least half."""
    props_found: float
    """The same of the props."""
    invented: float
    """Share of empty scenes with any box."""
    books_invented: float
    """Share of frames without a book with a box of one."""


@torch.no_grad()
def find(model: YolosForObjectDetection, count: int = 1024) -> Finds:
    """Return how well ``model`` finds things on ``count`` held-out frames as they are drawn, without style.

    A box counts when it counts for the reward: its class is the likeliest and likelier than ``THRESHOLD``.
    """
    pictures, shown, empty = [], [], []
    for i in range(count):
        rng = numpy_stream(ROOT_SEED, "yolos", "heldout", i)
        clip, frame = draw_clip(rng, prop_share=0.5), int(rng.integers(FRAMES))
        pictures.append(render(clip, [frame])[0])
        shown.append(things(clip, frame))
        empty.append(render_background(clip.caption.scene, clip.horizon))
    labels, boxes = _look(model, np.stack(pictures))
    hits = [[_hit(labels[i], boxes[i], thing) for thing in seen] for i, seen in enumerate(shown)]
    book = NOUNS.index("book")
    bookless = torch.tensor([all(thing.noun != "book" for thing in seen) for seen in shown])
    return Finds(
        found=float(np.mean([first for first, *_ in hits])),
        props_found=float(np.mean([hit for _, *others in hits for hit in others])),
        invented=(_look(model, np.stack(empty[:256]))[0] >= 0).any(dim=1).float().mean().item(),
        books_invented=(labels[bookless] == book).any(dim=1).float().mean().item(),
    )


def _look(model: YolosForObjectDetection, pictures: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Return classes [N, T], -1 for a box that does not count, and boxes [N, T, 4]."""
    labels, boxes = [], []
    for part in np.array_split(pictures, max(1, len(pictures) // 64)):
        output = model(pixel_values=normalise(part))
        confidence, label = output.logits.softmax(-1)[..., :-1].max(-1)
        labels.append(torch.where(confidence > THRESHOLD, label, -1))
        boxes.append(output.pred_boxes)
    return torch.cat(labels), torch.cat(boxes)


def _hit(labels: Tensor, boxes: Tensor, thing: Thing) -> bool:
    close = overlap(boxes, torch.tensor(thing.box))[0] >= 0.5
    return bool(((labels == NOUNS.index(thing.noun)) & close).any())
