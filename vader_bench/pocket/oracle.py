"""What a clip of the pocket world shows, measured on its pixels without any learned network.

The actor is the saturated part of the picture. Its colour is the nearest hue of the palette, its scene
the nearest empty background, its noun and action the best of 12 x 8 drawn silhouette sequences, laid over
the clip at the actor's own mean place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b

import numpy as np
import scipy  # its folders are imported at first use: `check` needs none
from numpy.typing import NDArray

from vader_bench.pocket.shapes import Field
from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES, Caption
from vader_bench.pocket.world import (
    ACTOR_RADIUS,
    FRAMES,
    PALETTE,
    SIZE,
    Clip,
    poses,
    render_background,
    render_mask,
)

__all__ = [
    "SMALLEST_ACTOR", "VISIBLE", "Sighting", "actor_mask", "brightest", "look", "nearest_colour",
    "prompt_share",
]  # fmt: skip

_SATURATED = 0.5
VISIBLE = 0.14
"""Brightness up to which a pixel is black, whatever its saturation."""
SMALLEST_ACTOR = 12.0
"""Saturated pixels a frame below which nothing is there to be named."""
_REMEMBERED = 1024
"""Clips of which it is known what they show."""


@dataclass(frozen=True)
class Sighting:
    """What was seen; an empty word where nothing could be made out."""

    colour: str
    colour_share: dict[str, float]
    """Share of the actor's pixels by nearest colour word."""
    noun: str
    action: str
    scene: str
    overlap: float
    """Agreement of the actor with the best silhouette sequence, at most 1."""

    @property
    def caption(self) -> Caption:
        """Return what was seen as the words of a caption; those not made out are empty."""
        return Caption(self.colour, self.noun, self.action, self.scene)


_SEEN: dict[bytes, Sighting] = {}
"""What lately was looked at shows, by the digest of its pixels."""


def look(video: Field) -> Sighting:
    """Return what ``video`` [F, H, W, 3] in [0, 1] shows.

    A look takes milliseconds and several measures want it of the same clip, so the last ones are remembered.
    """
    pixels = np.ascontiguousarray(video, np.float32)
    key = blake2b(pixels.data, digest_size=16).digest()
    if key not in _SEEN:
        if len(_SEEN) >= _REMEMBERED:
            _SEEN.pop(next(iter(_SEEN)))
        _SEEN[key] = _look(pixels)
    return _SEEN[key]


def _look(video: Field) -> Sighting:
    actor = actor_mask(video)
    scene = _nearest_scene(video, actor)
    weight = actor.sum()
    if weight < SMALLEST_ACTOR * len(video):
        return Sighting("", dict.fromkeys(COLOURS, 0.0), "", "", scene, 0.0)
    nearest = nearest_colour(video)
    share = _colour_share(nearest, actor)
    colour = max(share, key=lambda word: share[word])
    # A prop or a stray blot of another colour is not part of the actor.
    own = actor * (nearest == COLOURS.index(colour))
    noun, action, overlap = _best_sequence(own, _brightness(video, own))
    return Sighting(colour, share, noun, action, scene, overlap)


def prompt_share(seen: Sighting, asked: Caption) -> float:
    """Return how much of ``asked`` was seen: in [0, 1].

    The mean of four parts: the share of the actor in the asked colour, and one point each for noun,
    action and scene.
    """
    hits = (seen.noun == asked.noun) + (seen.action == asked.action) + (seen.scene == asked.scene)
    return (seen.colour_share[asked.colour] + hits) / 4


def actor_mask(video: Field) -> Field:
    """Return 1 where a pixel is saturated and not black, else 0 [F, H, W]."""
    high, low = brightest(video), -brightest(-video)
    saturation = (high - low) / np.maximum(high, 1e-6)
    mask: Field = ((saturation > _SATURATED) & (high > VISIBLE)).astype(np.float32)
    return mask


def nearest_colour(video: Field) -> NDArray[np.intp]:
    """Return the index of the colour word nearest in hue and saturation [F, H, W], at any brightness."""
    palette = np.asarray([PALETTE[word] for word in COLOURS], np.float32)
    palette = palette / palette.max(axis=1, keepdims=True)
    pixels = video / np.maximum(brightest(video), 1e-6)[..., None]
    # The nearest palette entry p of a pixel x has the smallest |p|^2 - 2 x.p.
    distances = np.square(palette).sum(axis=1) - 2 * pixels @ palette.T
    nearest: NDArray[np.intp] = distances.argmin(axis=-1)
    return nearest


def brightest(video: Field) -> Field:
    """Return the largest channel [F, H, W]; far faster than a reduction over an axis of three."""
    return np.maximum(np.maximum(video[..., 0], video[..., 1]), video[..., 2])


def _colour_share(nearest: NDArray[np.intp], actor: Field) -> dict[str, float]:
    total = float(actor.sum())
    return {word: float((actor * (nearest == i)).sum()) / total for i, word in enumerate(COLOURS)}


def _nearest_scene(video: Field, actor: Field) -> str:
    empty = 1 - actor[..., None]
    error = [float((np.abs(video - picture) * empty).sum()) for picture in _backgrounds()]
    return SCENES[int(np.argmin(error))]


@cache
def _backgrounds() -> list[Field]:
    return [render_background(scene, SIZE * 0.55) for scene in SCENES]


def _brightness(video: Field, actor: Field) -> Field:
    """Return the actor's brightness a frame over its largest [F]; 1 in a frame without the actor."""
    weight = actor.sum(axis=(1, 2))
    mean = (brightest(video) * actor).sum(axis=(1, 2)) / np.maximum(weight, 1)
    level = np.where(weight > 0, mean, mean.max())
    relative: Field = level / max(float(level.max()), 1e-6)
    return relative


def _best_sequence(actor: Field, brightness: Field) -> tuple[str, str, float]:
    """Return the noun, the action and the agreement of the best silhouette sequence."""
    masks, sizes, levels = _sequences()
    flat = _centre(actor).reshape(FRAMES, -1, 1)
    # Soft intersection over union with every noun, action and frame at once.
    both = (masks @ flat)[..., 0]
    union = sizes + flat.sum(axis=1) - both
    overlap = (both / np.maximum(union, 1e-6)).mean(axis=0).reshape(len(NOUNS), len(ACTIONS))
    off_beat = np.abs(levels - brightness).mean(axis=-1)
    agreement = overlap - off_beat[None]
    noun, action = np.unravel_index(int(agreement.argmax()), agreement.shape)
    return NOUNS[noun], ACTIONS[action], float(agreement.max())


def _centre(masks: Field) -> Field:
    """Return ``masks`` [F, H, W] moved so that the mean of their points over the clip is the middle."""
    total = max(float(masks.sum()), 1e-6)
    rows, columns = np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5
    dy = SIZE / 2 - float((masks.sum(axis=(0, 2)) * rows).sum()) / total
    dx = SIZE / 2 - float((masks.sum(axis=(0, 1)) * columns).sum()) / total
    moved: Field = scipy.ndimage.shift(masks, (0, round(dy), round(dx)), order=0)
    return moved


@cache
def _sequences() -> tuple[Field, Field, NDArray[np.float64]]:
    """Return the silhouettes, their sizes and their brightness levels.

    Shapes [F, nouns * actions, H * W], [F, nouns * actions] and [actions, F].
    """
    masks = np.zeros((FRAMES, len(NOUNS), len(ACTIONS), SIZE * SIZE), np.float32)
    levels = np.ones((len(ACTIONS), FRAMES))
    for n, noun in enumerate(NOUNS):
        for a, action in enumerate(ACTIONS):
            caption = Caption(COLOURS[0], noun, action, SCENES[0])
            path = poses(Clip(caption, SIZE / 2, SIZE / 2, ACTOR_RADIUS, tone=1.0, horizon=SIZE * 0.55))
            masks[:, n, a] = _centre(render_mask(noun, ACTOR_RADIUS, path)).reshape(FRAMES, -1)
            levels[a] = [pose.brightness for pose in path]
    flat = masks.reshape(FRAMES, -1, SIZE * SIZE)
    return flat, flat.sum(axis=-1), levels
