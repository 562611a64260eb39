"""Silhouettes of the pocket world's nouns, as signed distance functions.

A shape is a list of layers painted in order. A layer is a paint and a function from local coordinates
(x to the right, y down, the shape fills about [-1, 1] in both) to a signed distance, negative inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["BODY", "DARK", "LIGHT", "SHAPES", "Field", "Layer"]

Field = NDArray[np.float32]
Distance = Callable[[Field, Field], Field]
Layer = tuple[str, Distance]

BODY, DARK, LIGHT = "body", "dark", "light"
"""Paints: the actor's colour, near black, near white."""


def _ellipse(cx: float, cy: float, rx: float, ry: float) -> Distance:
    # First-order distance: exact on the outline, good to a few per cent within a pixel of it.
    return lambda x, y: (np.hypot((x - cx) / rx, (y - cy) / ry) - 1) * np.float32(min(rx, ry))


def _box(cx: float, cy: float, hx: float, hy: float, corner: float = 0.05) -> Distance:
    def distance(x: Field, y: Field) -> Field:
        dx, dy = np.abs(x - cx) - (hx - corner), np.abs(y - cy) - (hy - corner)
        outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
        signed: Field = outside + np.minimum(np.maximum(dx, dy), 0) - np.float32(corner)
        return signed

    return distance


def _segment(ax: float, ay: float, bx: float, by: float, radius: float) -> Distance:
    def distance(x: Field, y: Field) -> Field:
        ex, ey = bx - ax, by - ay
        along = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0, 1)
        return np.hypot(x - ax - along * ex, y - ay - along * ey) - np.float32(radius)

    return distance


def _polygon(*corners: tuple[float, float]) -> Distance:
    """Return a convex polygon; corners run clockwise on the screen."""

    def distance(x: Field, y: Field) -> Field:
        farthest = np.full_like(x, -np.inf)
        for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
            length = float(np.hypot(bx - ax, by - ay))
            side = ((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / length
            farthest = np.maximum(farthest, side)
        return farthest

    return distance


def _ring(cx: float, cy: float, radius: float, width: float) -> Distance:
    return lambda x, y: np.abs(np.hypot(x - cx, y - cy) - radius) - np.float32(width)


def _union(*parts: Distance) -> Distance:
    def distance(x: Field, y: Field) -> Field:
        nearest = parts[0](x, y)
        for part in parts[1:]:
            nearest = np.minimum(nearest, part(x, y))
        return nearest

    return distance


def _wheels(y: float, radius: float, *xs: float) -> Distance:
    return _union(*(_ellipse(x, y, radius, radius) for x in xs))


SHAPES: dict[str, Sequence[Layer]] = {
    "labrador": [
        (
            BODY,
            _union(
                _ellipse(-0.05, 0.05, 0.68, 0.32),
                _ellipse(0.68, -0.42, 0.3, 0.25),
                _box(0.92, -0.34, 0.16, 0.11),
                _segment(0.4, -0.05, 0.62, -0.35, 0.17),
                _box(-0.5, 0.5, 0.12, 0.42),
                _box(0.4, 0.5, 0.12, 0.42),
                _segment(-0.65, -0.05, -0.98, -0.5, 0.09),
            ),
        ),
        (DARK, _union(_ellipse(0.5, -0.4, 0.12, 0.24), _ellipse(1.05, -0.38, 0.08, 0.08))),
    ],
    "maltese": [
        (
            BODY,
            _union(
                _ellipse(-0.15, 0.3, 0.7, 0.52),
                _ellipse(0.45, -0.4, 0.5, 0.46),
                _ellipse(-0.8, -0.15, 0.24, 0.3),
            ),
        ),
        (LIGHT, _union(_ellipse(0.05, -0.35, 0.15, 0.36), _ellipse(0.85, -0.35, 0.15, 0.36))),
        (DARK, _union(_wheels(-0.5, 0.08, 0.32, 0.6), _ellipse(0.46, -0.25, 0.1, 0.08))),
    ],
    "cat": [
        (
            BODY,
            _union(
                _ellipse(0.0, 0.45, 0.48, 0.5),
                _ellipse(0.0, -0.32, 0.46, 0.4),
                _polygon((-0.45, -0.95), (-0.02, -0.55), (-0.44, -0.3)),
                _polygon((0.45, -0.95), (0.44, -0.3), (0.02, -0.55)),
                _segment(0.4, 0.75, 0.85, 0.4, 0.11),
                _segment(0.85, 0.4, 0.8, 0.0, 0.11),
            ),
        ),
        (LIGHT, _wheels(-0.36, 0.11, -0.19, 0.19)),
        (DARK, _wheels(-0.36, 0.05, -0.19, 0.19)),
    ],
    "rabbit": [
        (
            BODY,
            _union(
                _ellipse(0.0, 0.5, 0.55, 0.46),
                _ellipse(0.0, -0.1, 0.36, 0.32),
                _segment(-0.18, -0.35, -0.26, -0.88, 0.13),
                _segment(0.18, -0.35, 0.26, -0.88, 0.13),
            ),
        ),
        (LIGHT, _union(_ellipse(0.0, 0.6, 0.28, 0.28), _segment(-0.19, -0.4, -0.25, -0.82, 0.05))),
        (DARK, _wheels(-0.15, 0.07, -0.15, 0.15)),
    ],
    "bird": [
        (
            BODY,
            _union(
                _ellipse(-0.05, 0.1, 0.58, 0.38),
                _ellipse(0.5, -0.3, 0.28, 0.26),
                _polygon((-0.4, 0.0), (-0.45, 0.25), (-1.05, -0.25)),
                _polygon((-0.45, -0.85), (0.25, -0.05), (-0.35, 0.1)),
            ),
        ),
        (DARK, _union(_polygon((0.72, -0.42), (1.08, -0.24), (0.72, -0.16)), _wheels(-0.36, 0.06, 0.54))),
        (DARK, _union(_segment(-0.15, 0.4, -0.15, 0.8, 0.05), _segment(0.1, 0.4, 0.1, 0.8, 0.05))),
    ],
    "fish": [
        (
            BODY,
            _union(
                _ellipse(0.2, 0.0, 0.72, 0.45),
                _polygon((-0.4, 0.0), (-1.0, 0.55), (-1.0, -0.55)),
                _polygon((-0.1, -0.8), (0.5, -0.35), (0.0, -0.3)),
            ),
        ),
        (LIGHT, _union(_ellipse(0.6, -0.1, 0.13, 0.13), _segment(0.25, -0.25, 0.25, 0.25, 0.06))),
        (DARK, _ellipse(0.62, -0.1, 0.07, 0.07)),
    ],
    "car": [
        (
            BODY,
            _union(
                _box(0.0, 0.2, 1.0, 0.27, 0.1),
                _polygon((-0.38, -0.45), (0.3, -0.45), (0.62, 0.0), (-0.66, 0.0)),
            ),
        ),
        (LIGHT, _union(_box(-0.22, -0.2, 0.2, 0.15), _box(0.22, -0.2, 0.16, 0.15))),
        (DARK, _wheels(0.48, 0.24, -0.55, 0.55)),
    ],
    "bus": [
        (BODY, _box(0.0, -0.05, 1.0, 0.62, 0.12)),
        (LIGHT, _union(*(_box(x, -0.25, 0.17, 0.2) for x in (-0.7, -0.23, 0.24, 0.71)))),
        (DARK, _wheels(0.58, 0.2, -0.55, 0.55)),
    ],
    "boat": [
        (BODY, _polygon((-1.0, 0.3), (1.0, 0.3), (0.65, 0.8), (-0.65, 0.8))),
        (DARK, _segment(0.0, 0.3, 0.0, -0.95, 0.06)),
        (BODY, _polygon((0.12, -0.9), (0.8, 0.15), (0.12, 0.15))),
        (LIGHT, _polygon((-0.12, -0.7), (-0.12, 0.15), (-0.65, 0.15))),
    ],
    "rocket": [
        (
            BODY,
            _union(
                _ellipse(0.0, -0.15, 0.32, 0.85),
                _polygon((-0.25, 0.1), (-0.2, 0.62), (-0.7, 0.75)),
                _polygon((0.25, 0.1), (0.7, 0.75), (0.2, 0.62)),
            ),
        ),
        (LIGHT, _ellipse(0.0, -0.3, 0.16, 0.16)),
        (DARK, _polygon((-0.18, 0.66), (0.18, 0.66), (0.0, 1.05))),
    ],
    "book": [
        (BODY, _box(0.0, 0.05, 0.95, 0.62)),
        (LIGHT, _union(_box(-0.43, 0.03, 0.3, 0.42), _box(0.43, 0.03, 0.3, 0.42))),
        (DARK, _union(*(_box(x, y, 0.2, 0.04, 0.02) for x in (-0.43, 0.43) for y in (-0.2, 0.03, 0.26)))),
    ],
    "cup": [
        (
            BODY,
            _union(
                _polygon((-0.7, -0.5), (0.45, -0.5), (0.3, 0.75), (-0.55, 0.75)),
                _ring(0.5, 0.05, 0.32, 0.1),
            ),
        ),
        (LIGHT, _ellipse(-0.12, -0.5, 0.55, 0.14)),
    ],
}
"""Layers of every noun in the vocabulary."""
