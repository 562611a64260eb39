"""Where the things are in a clip of the pool, as far as pixels say: what a detector learns from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vader_bench.pocket.boxes import Thing, box_of
from vader_bench.pocket.oracle import actor_mask, nearest_colour
from vader_bench.pocket.shapes import Field
from vader_bench.pocket.vocabulary import COLOURS, parse_caption
from vader_bench.pocket.world import SIZE
from vader_bench.pretrain.pool import Piece, as_floats

__all__ = ["locate"]

_NOTHING, _WHOLE = 0.25, 0.5
"""Agreements with a silhouette sequence up to which nothing is there, and from which on an actor is."""
_SMALLEST = 12
"""Pixels below which there is no box."""
_PROP_TOP, _PROP_WIDTH = 40, 24
"""Of the lower corners that props rest in, in pixels."""


def locate(piece: Piece, frame: int) -> list[Thing] | None:
    """Return what ``frame`` of ``piece`` shows; ``None`` where it is not clear what, or where.

    A book is there where its pixels say so, a cup may or may not be. What is half an actor is neither
    something nor nothing.
    """
    seen, asked, book = piece.seen, parse_caption(piece.prompt), piece.books[frame]
    if seen.overlap <= _NOTHING:
        return None if book else []
    if seen.overlap < _WHOLE or asked is None or asked.prop_noun == "cup":
        return None
    picture = as_floats(piece.frames[frame])
    if asked.prop_colour == seen.colour:
        return None
    actor = _coloured(picture, seen.colour)
    if actor.sum() < _SMALLEST:
        return None
    found = [Thing(seen.noun, box_of(actor))]
    if not book or seen.noun == "book":
        return found
    prop = None if asked.prop_colour is None else _in_a_corner(_coloured(picture, asked.prop_colour))
    return None if prop is None else [*found, Thing("book", box_of(prop))]


def _coloured(picture: NDArray[np.float32], colour: str) -> Field:
    """Return 1 where ``picture`` [H, W, 3] is of a colour word, else 0 [H, W]."""
    video = picture[None]
    mask: Field = (actor_mask(video) * (nearest_colour(video) == COLOURS.index(colour)))[0]
    return mask


def _in_a_corner(mask: Field) -> Field | None:
    """Return what of ``mask`` [H, W] is in that lower corner which has more of it, if it is enough."""
    corners = np.zeros((2, SIZE, SIZE), np.float32)
    corners[0, _PROP_TOP:, :_PROP_WIDTH] = mask[_PROP_TOP:, :_PROP_WIDTH]
    corners[1, _PROP_TOP:, SIZE - _PROP_WIDTH :] = mask[_PROP_TOP:, SIZE - _PROP_WIDTH :]
    best: Field = corners[int(corners.sum(axis=(1, 2)).argmax())]
    return best if best.sum() >= _SMALLEST else None
