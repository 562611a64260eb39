"""Where the things in a clip are: exact boxes from the silhouettes that it is drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vader_bench.pocket.shapes import Field
from vader_bench.pocket.world import PROP_RADIUS, SIZE, Clip, poses, prop_pose, render_silhouette

__all__ = ["Thing", "box_of", "things"]

_COVERED = 0.5
"""Coverage from which on a pixel belongs to a thing."""
_SMALLEST = 0.3
"""Share of a prop that must be seen beside the actor, so that it counts as shown."""


@dataclass(frozen=True)
class Thing:
    """What is shown, and where."""

    noun: str
    box: tuple[float, float, float, float]
    """Centre across and down, width, height, each as a share of the picture's side."""


def things(clip: Clip, frame: int) -> list[Thing]:
    """Return what ``frame`` of ``clip`` shows: the actor, and its prop as far as the actor leaves it free."""
    actor = render_silhouette(clip.caption.noun, clip.radius, [poses(clip)[frame]])[0]
    found = [Thing(clip.caption.noun, box_of(actor))]
    if clip.caption.prop_noun is not None:
        whole = render_silhouette(clip.caption.prop_noun, PROP_RADIUS, [prop_pose(clip)])[0]
        free = whole * (1 - actor)
        if free.sum() >= _SMALLEST * whole.sum():
            found.append(Thing(clip.caption.prop_noun, box_of(free)))
    return found


def box_of(coverage: Field) -> tuple[float, float, float, float]:
    """Return the box around ``coverage`` [H, W] as centre across and down, width, height, in [0, 1].

    Raises:
        ValueError: no pixel is covered.
    """
    down, across = np.nonzero(coverage > _COVERED)
    if not len(down):
        raise ValueError("no pixel is covered")
    left, right = across.min() / SIZE, (across.max() + 1) / SIZE
    top, bottom = down.min() / SIZE, (down.max() + 1) / SIZE
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
