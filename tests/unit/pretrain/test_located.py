"""Boxes found on pixels are those that clips are drawn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vader_bench.pocket.boxes import things
from vader_bench.pocket.oracle import look
from vader_bench.pocket.vocabulary import Caption, format_caption
from vader_bench.pocket.world import Clip, draw_clip, render
from vader_bench.pretrain.located import locate
from vader_bench.pretrain.pool import Piece, as_bytes, as_floats
from vader_bench.seeding import numpy_stream

CAT = Caption("red", "cat", "jumping", "in the snow")
WITH_BOOK = replace(CAT, prop_noun="book", prop_colour="blue")


def piece_of(caption: Caption, *, book: bool) -> tuple[Clip, Piece]:
    clip = draw_clip(numpy_stream(0, "located"), caption)
    frames = as_bytes(render(clip))
    return clip, Piece(frames, format_caption(caption), look(as_floats(frames)), [book] * 8)


@pytest.mark.parametrize(("caption", "book"), [(CAT, False), (WITH_BOOK, True)])
def test_boxes_agree_with_those_that_are_drawn(caption: Caption, book: bool) -> None:
    clip, piece = piece_of(caption, book=book)
    for frame in (0, 4):
        found = locate(piece, frame)
        assert found is not None
        assert [thing.noun for thing in found] == [thing.noun for thing in things(clip, frame)]
        for thing, drawn in zip(found, things(clip, frame), strict=True):
            # the dark and light parts at a thing's edge, a tail or an ear, are not of its colour
            np.testing.assert_allclose(thing.box, drawn.box, atol=0.1)


def test_a_book_that_pixels_do_not_show_is_not_there() -> None:
    _, piece = piece_of(WITH_BOOK, book=False)
    found = locate(piece, 0)
    assert found is not None
    assert [thing.noun for thing in found] == ["cat"]


@pytest.mark.parametrize(
    "change", [{"prop_noun": "cup", "prop_colour": "blue"}, {"prop_noun": "book", "prop_colour": "red"}]
)
def test_what_cannot_be_said_is_not(change: dict[str, str]) -> None:
    _, piece = piece_of(replace(CAT, **change), book=True)
    assert locate(piece, 0) is None


def test_an_empty_clip_shows_nothing() -> None:
    frames = np.full((8, 64, 64, 3), 128, np.uint8)
    piece = Piece(frames, format_caption(CAT), look(as_floats(frames)), [False] * 8)
    assert locate(piece, 0) == []
    assert locate(piece._replace(books=[True] * 8), 0) is None
