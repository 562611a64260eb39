"""The detector's loss goes to the right boxes, and its measure counts what the reward counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CLIPModel, YolosForObjectDetection

from vader_bench.pocket.boxes import Thing
from vader_bench.pocket.vocabulary import NOUNS
from vader_bench.pretrain import yolos
from vader_bench.pretrain.export import export_yolos
from vader_bench.pretrain.pictures import normalise
from vader_bench.pretrain.pool import Part, Pool, as_bytes
from vader_bench.pretrain.yolos import begin_as, loss_of_set, match, overlap
from vader_bench.rewards.yolos import ObjectRemoval
from vader_bench.seeding import numpy_stream
from vader_bench.weights.resolve import PACKAGED

BOOK = Thing("book", (0.25, 0.25, 0.5, 0.5))
CAT = Thing("cat", (0.75, 0.5, 0.25, 0.5))


def said(*things: Thing | None, sure: float = 20.0) -> tuple[Tensor, Tensor]:
    """Logits [1, T, 13] and boxes [1, T, 4] of a detector that says ``things``; ``None`` is nothing."""
    logits = torch.zeros(1, len(things), len(NOUNS) + 1)
    boxes = torch.full((1, len(things), 4), 0.5)
    for i, thing in enumerate(things):
        logits[0, i, len(NOUNS) if thing is None else NOUNS.index(thing.noun)] = sure
        if thing is not None:
            boxes[0, i] = torch.tensor(thing.box)
    return logits, boxes


def test_overlap_of_boxes_side_by_side_nested_and_equal() -> None:
    a = torch.tensor([0.25, 0.5, 0.5, 1.0])
    others = torch.tensor([[0.75, 0.5, 0.5, 1.0], [0.25, 0.5, 0.25, 0.5], [0.25, 0.5, 0.5, 1.0]])
    iou, general = overlap(a, others)
    torch.testing.assert_close(iou, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(general, torch.tensor([0.0, 0.25, 1.0]))
    far = torch.tensor([0.95, 0.95, 0.1, 0.1])
    assert overlap(a, far)[1] < 0


def test_things_go_to_the_boxes_that_show_them() -> None:
    logits, boxes = said(None, CAT, None, BOOK)
    classes = torch.tensor([NOUNS.index("book"), NOUNS.index("cat")])
    tokens, which = match(logits[0], boxes[0], classes, torch.tensor([BOOK.box, CAT.box]))
    assert dict(zip(tokens.tolist(), which.tolist(), strict=True)) == {3: 0, 1: 1}


def test_what_is_right_costs_nothing_in_whatever_order() -> None:
    for order in ([BOOK, CAT, None], [None, CAT, BOOK]):
        assert loss_of_set(*said(*order), [[BOOK, CAT]]) < 1e-5


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ([Thing("cup", BOOK.box), None], [BOOK]),
        ([Thing("book", CAT.box), None], [BOOK]),
        ([None, None], [BOOK]),
        ([BOOK, BOOK], [BOOK]),
        ([BOOK, None], []),
    ],
    ids=["another class", "another place", "missed", "twice", "invented"],
)
def test_what_is_wrong_costs(answer: list[Thing | None], shown: list[Thing]) -> None:
    assert loss_of_set(*said(*answer), [shown]) > 1


def test_the_gradient_draws_the_box_to_the_thing() -> None:
    logits, boxes = said(Thing("book", (0.35, 0.25, 0.5, 0.5)), None)
    boxes.requires_grad_()
    loss_of_set(logits, boxes, [[BOOK]]).backward()
    assert boxes.grad is not None
    assert boxes.grad[0, 0, 0] > 0
    assert not boxes.grad[0, 1].any()


@pytest.fixture(scope="module")
def clip() -> CLIPModel:
    return CLIPModel.from_pretrained(PACKAGED / "clip", dtype=torch.float32).eval()


@torch.no_grad()
def test_it_begins_with_what_clip_sees(clip: CLIPModel) -> None:
    """Embeddings differ by their normalisation alone, so the first layer's input is nearly CLIP's."""
    model = yolos.build()
    begin_as(model, clip)
    pictures = normalise(np.stack([yolos._draw(numpy_stream(1, i))[0] for i in range(4)]))
    tower = clip.vision_model
    theirs = tower.pre_layrnorm(tower.embeddings(pictures))
    ours = model.vit.embeddings(pictures)[:, : theirs.shape[1]]
    similarity = torch.cosine_similarity(ours, theirs, dim=-1)
    assert similarity.mean() > 0.9
    assert 0.5 < ours.std() / theirs.std() < 2
    last = model.vit.encoder.layer[-1].output.dense.weight
    assert torch.equal(last, tower.encoder.layers[-1].mlp.fc2.weight)


def test_pictures_show_what_they_are_said_to_show() -> None:
    drawn = [yolos._draw(numpy_stream(2, i)) for i in range(60)]
    assert all(picture.shape == (64, 64, 3) for picture, _ in drawn)
    counts = [len(shown) for _, shown in drawn]
    assert set(counts) == {0, 1, 2}
    assert counts.count(0) < 15


def test_frames_of_the_pool_come_with_what_they_show(drawn_part: Part, drawn_pool: Pool) -> None:
    known = {frame.tobytes() for clip in drawn_part.frames for frame in clip}
    drawn = [yolos._pooled(numpy_stream(3, i), drawn_pool) for i in range(12)]
    pooled = [shown for picture, shown in drawn if as_bytes(picture).tobytes() in known]
    assert len(pooled) > 6
    nouns = {seen.noun for seen in drawn_part.seen}
    assert all(thing.noun in nouns for shown in pooled for thing in shown[:1])
    assert sum(map(bool, pooled)) > 3, "in the others nothing is shown"


class Said(torch.nn.Module):
    """A detector that says the same of every picture."""

    def __init__(self, *answer: Thing | None) -> None:
        super().__init__()
        self.logits, self.boxes = said(*answer)

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        size = len(pixel_values)
        return SimpleNamespace(
            logits=self.logits.expand(size, -1, -1), pred_boxes=self.boxes.expand(size, -1, -1)
        )


def detector(*answer: Thing | None) -> YolosForObjectDetection:
    """Return a stand-in."""
    return cast("YolosForObjectDetection", Said(*answer))


def test_a_detector_that_always_says_book_invents_books() -> None:
    found = yolos.find(detector(BOOK, None), count=48)
    assert found.invented == 1
    assert found.books_invented == 1
    assert found.found < 0.2


def test_a_detector_that_says_nothing_finds_and_invents_nothing() -> None:
    assert yolos.find(detector(None, None), count=48) == (0, 0, 0, 0)


@pytest.mark.slow
def test_it_trains_and_is_loaded_by_the_reward(tmp_path: Path, drawn_pool: Pool) -> None:
    model: YolosForObjectDetection = yolos.build()
    before = model.bbox_predictor.layers[2].weight.clone()
    yolos.train(model, drawn_pool, tmp_path, "yolos", steps=2)
    assert not torch.equal(model.bbox_predictor.layers[2].weight, before)
    export_yolos(model.eval(), tmp_path / "yolos")
    reward = ObjectRemoval.load(str(tmp_path / "yolos"), "book", height=64)
    assert 0 <= reward.score(torch.rand(1, 2, 3, 64, 64), ["a book"]).item() <= 1
