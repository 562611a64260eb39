"""The procedural world: captioned clips of 8 frames at 64 x 64, with exact ground truth.

A clip is drawn from a ``Clip`` alone, so equal clips are equal pictures. Actors are saturated and scenes
are pale, so that an actor can be found again by saturation whatever its brightness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vader_bench.pocket.shapes import BODY, DARK, LIGHT, SHAPES, Field
from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES, Caption

__all__ = [
    "ACTOR_RADIUS",
    "FRAMES",
    "PALETTE",
    "PROP_RADIUS",
    "SIZE",
    "Clip",
    "Pose",
    "distinct_poses",
    "draw_clip",
    "poses",
    "prop_pose",
    "render",
    "render_background",
    "render_mask",
    "render_silhouette",
]

SIZE = 64
"""Width and height of a frame in pixels."""
FRAMES = 8
"""Frames of a clip."""
ACTOR_RADIUS = 19.0
"""Half the size of an actor in pixels, before its own size is drawn and its action changes it."""
PROP_RADIUS = 9.0
"""Half the size of a resting prop in pixels."""

_REACH = 12.0
"""Pixels to either side that a moving actor goes."""

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.14, 0.16),
    "orange": (0.97, 0.46, 0.06),
    "yellow": (0.97, 0.92, 0.14),
    "green": (0.10, 0.62, 0.20),
    "blue": (0.12, 0.32, 0.90),
    "purple": (0.60, 0.14, 0.74),
}
"""Body colours (RGB in [0, 1]) by colour word."""
_DETAIL = {DARK: (0.12, 0.12, 0.13), LIGHT: (0.97, 0.97, 0.95)}

_GRID = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="xy")).astype(np.float32) + 0.5
_X, _Y = _GRID


@dataclass(frozen=True)
class Clip:
    """Everything that a clip is drawn from."""

    caption: Caption
    x: float
    """Centre of the actor's path in pixels from the left."""
    y: float
    radius: float
    """Half the actor's size in pixels before the action changes it."""
    tone: float
    """Factor on the body colour, about 1."""
    horizon: float
    """Height of the horizon in pixels from the top."""


@dataclass(frozen=True)
class Pose:
    """Where and how the actor is in one frame."""

    x: float
    y: float
    scale_x: float = 1.0
    scale_y: float = 1.0
    angle: float = 0.0
    """Clockwise, in radians."""
    brightness: float = 1.0


def draw_clip(
    rng: np.random.Generator, caption: Caption | None = None, prop_share: float = 0.15, spread: float = 1.0
) -> Clip:
    """Draw a clip of ``caption``, or of a random caption, with random place, size and tone.

    ``spread`` scales how much clips of one caption differ: 0 makes them all alike.
    """

    def about(middle: float, reach: float) -> float:
        return middle + spread * float(rng.uniform(-reach, reach))

    return Clip(
        caption=caption or _draw_caption(rng, prop_share),
        x=about(SIZE / 2, 4),
        y=about(SIZE / 2 + 4, 3),
        radius=about(ACTOR_RADIUS, 1.5),
        tone=about(0.99, 0.05),
        horizon=about(SIZE * 0.55, 2),
    )


def _draw_caption(rng: np.random.Generator, prop_share: float) -> Caption:
    def pick(words: Sequence[str]) -> str:
        return words[int(rng.integers(len(words)))]

    caption = Caption(pick(COLOURS), pick(NOUNS), pick(ACTIONS), pick(SCENES))
    if rng.uniform() >= prop_share:
        return caption
    return Caption(
        caption.colour, caption.noun, caption.action, caption.scene, pick(COLOURS), pick(["book", "cup"])
    )


def poses(clip: Clip) -> list[Pose]:
    """Return the actor's pose in each frame: the exact ground truth of position and shape."""
    return [_pose(clip, frame) for frame in range(FRAMES)]


def _pose(clip: Clip, frame: int) -> Pose:
    t = frame / (FRAMES - 1)
    wave = np.cos(2 * np.pi * frame / 4)
    x, y = clip.x, clip.y
    match clip.caption.action:
        case "moving left":
            return Pose(x + _REACH - 2 * _REACH * t, y)
        case "moving right":
            return Pose(x - _REACH + 2 * _REACH * t, y)
        case "jumping":
            return Pose(x, y + 6 - 20 * np.sin(np.pi * t))
        case "spinning":
            return Pose(x, y, angle=2 * np.pi * frame / FRAMES)
        case "growing":
            return Pose(x, y, scale_x=0.55 + 0.7 * t, scale_y=0.55 + 0.7 * t)
        case "shrinking":
            return Pose(x, y, scale_x=1.25 - 0.7 * t, scale_y=1.25 - 0.7 * t)
        case "flapping":
            return Pose(x, y, scale_x=0.75 + 0.4 * wave, scale_y=1.0 - 0.2 * wave)
        case "blinking":
            return Pose(x, y, brightness=0.7 + 0.3 * wave)
    raise ValueError(f"no motion for action {clip.caption.action!r}")


def distinct_poses() -> list[Pose]:
    """Return the sizes and angles that actors are drawn in, each once, in the middle of the picture."""
    middle = SIZE / 2
    found: dict[tuple[float, ...], Pose] = {}
    for action in ACTIONS:
        caption = Caption(COLOURS[0], NOUNS[0], action, SCENES[0])
        for pose in poses(Clip(caption, middle, middle, ACTOR_RADIUS, tone=1.0, horizon=middle)):
            key = (round(pose.scale_x, 3), round(pose.scale_y, 3), round(pose.angle, 3))
            found.setdefault(key, Pose(middle, middle, pose.scale_x, pose.scale_y, pose.angle))
    return list(found.values())


def prop_pose(clip: Clip) -> Pose:
    """Return where a prop rests: in the lower corner away from the actor."""
    return Pose(x=12.0 if clip.x > SIZE / 2 else SIZE - 12.0, y=SIZE - 12.0)


def render(clip: Clip, frames: Sequence[int] = range(FRAMES)) -> NDArray[np.float32]:
    """Return the chosen ``frames`` [N, H, W, 3] of ``clip`` in [0, 1]."""
    caption = clip.caption
    still = render_background(caption.scene, clip.horizon)
    if caption.prop_noun is not None and caption.prop_colour is not None:
        colour, where = PALETTE[caption.prop_colour], [prop_pose(clip)]
        still = _paint(still[None], caption.prop_noun, colour, PROP_RADIUS, where)[0]
    body = np.clip(np.multiply(PALETTE[caption.colour], clip.tone), 0, 1)
    canvas = np.repeat(still[None], len(frames), axis=0)
    return _paint(canvas, caption.noun, body, clip.radius, [_pose(clip, frame) for frame in frames])


def render_mask(noun: str, radius: float, where: Sequence[Pose]) -> Field:
    """Return the coverage [N, H, W] in [0, 1] of the parts of ``noun`` in its own colour."""
    black = np.zeros((len(where), SIZE, SIZE, 3), np.float32)
    full = [replace(pose, brightness=1.0) for pose in where]
    # Details paint equally over all channels, so red minus green is the visible body alone.
    painted = _paint(black, noun, (1.0, 0.0, 0.0), radius, full)
    mask: Field = np.clip(painted[..., 0] - painted[..., 1], 0, 1)
    return mask


def render_silhouette(noun: str, radius: float, where: Sequence[Pose]) -> Field:
    """Return the coverage [N, H, W] in [0, 1] of all parts of ``noun``."""
    black, white = (
        _paint(np.full((len(where), SIZE, SIZE, 3), level, np.float32), noun, (0, 0, 0), radius, where)
        for level in (0.0, 1.0)
    )
    covered: Field = 1 - (white - black)[..., 0]
    return covered


def _paint(
    canvas: Field,
    noun: str,
    colour: Sequence[float] | NDArray[np.float64],
    radius: float,
    where: Sequence[Pose],
) -> Field:
    """Return ``canvas`` [N, H, W, 3] with the shape painted at one pose a frame."""

    def column(values: list[float]) -> Field:
        return np.asarray(values, np.float32)[:, None, None]

    sx, sy = (column([p.scale_x for p in where]) * radius, column([p.scale_y for p in where]) * radius)
    angle = column([p.angle for p in where])
    dx, dy = _X - column([p.x for p in where]), _Y - column([p.y for p in where])
    x = (np.cos(angle) * dx + np.sin(angle) * dy) / sx
    y = (np.cos(angle) * dy - np.sin(angle) * dx) / sy
    pixels = np.minimum(sx, sy)
    brightness = column([p.brightness for p in where])[..., None]
    for paint, distance in SHAPES[noun]:
        alpha = np.clip(0.5 - distance(x, y) * pixels, 0, 1)[..., None]
        rgb = np.asarray(colour if paint == BODY else _DETAIL[paint], np.float32) * brightness
        canvas = canvas * (1 - alpha) + rgb * alpha
    return canvas.astype(np.float32)


def render_background(scene: str, horizon: float) -> Field:
    """Return the picture [H, W, 3] of an empty ``scene``."""
    sky, ground = _SKY_AND_GROUND[scene]
    below = np.clip(_Y - horizon + 0.5, 0, 1)[..., None]
    picture: Field = np.asarray(sky, np.float32) * (1 - below) + np.asarray(ground, np.float32) * below
    for rgb, alpha in _scenery(scene, horizon):
        picture = picture * (1 - alpha[..., None]) + np.asarray(rgb, np.float32) * alpha[..., None]
    return picture.astype(np.float32)


_SKY_AND_GROUND: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "in the park": ((0.82, 0.91, 0.95), (0.62, 0.72, 0.56)),
    "on the beach": ((0.78, 0.89, 0.94), (0.93, 0.88, 0.75)),
    "in the snow": ((0.80, 0.82, 0.88), (0.97, 0.98, 1.00)),
    "at night": ((0.15, 0.16, 0.21), (0.25, 0.27, 0.28)),
    "in the desert": ((0.95, 0.87, 0.77), (0.82, 0.70, 0.55)),
    "in a room": ((0.86, 0.80, 0.80), (0.60, 0.53, 0.49)),
}


def _scenery(scene: str, horizon: float) -> list[tuple[tuple[float, float, float], Field]]:
    """Return coloured masks painted over sky and ground, each [H, W] in [0, 1]."""

    def disc(cx: float, cy: float, r: float) -> Field:
        mask: Field = np.clip(r - np.hypot(_X - cx, _Y - cy) + 0.5, 0, 1)
        return mask

    def block(x0: float, y0: float, x1: float, y1: float) -> Field:
        across = np.clip(np.minimum(_X - x0, x1 - _X) + 0.5, 0, 1)
        mask: Field = across * np.clip(np.minimum(_Y - y0, y1 - _Y) + 0.5, 0, 1)
        return mask

    match scene:
        case "in the park":
            return [
                ((0.55, 0.48, 0.42), block(7, horizon - 14, 10, horizon + 2)),
                ((0.52, 0.64, 0.48), disc(8.5, horizon - 17, 8)),
            ]
        case "on the beach":
            return [((0.62, 0.74, 0.82), block(-9, horizon - 6, 99, horizon + 3))]
        case "in the snow":
            flakes = [(8, 9), (22, 20), (37, 6), (52, 16), (60, 28), (13, 31), (44, 27)]
            return [((0.98, 0.98, 1.0), disc(x, y, 1.6)) for x, y in flakes]
        case "at night":
            stars = [(6, 22), (18, 8), (30, 17), (40, 5), (60, 25)]
            return [
                ((0.90, 0.89, 0.80), disc(52, 11, 6)),
                *(((0.9, 0.9, 0.9), disc(x, y, 1.0)) for x, y in stars),
            ]
        case "in the desert":
            return [((0.98, 0.95, 0.88), disc(53, 11, 7)), ((0.76, 0.65, 0.52), disc(14, horizon + 22, 26))]
        case "in a room":
            return [((0.94, 0.95, 0.96), block(6, 6, 24, 24)), ((0.72, 0.78, 0.83), block(8, 8, 22, 22))]
    raise ValueError(f"no scenery for {scene!r}")
