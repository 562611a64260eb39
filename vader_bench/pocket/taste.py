"""The simulated audience of the pocket world: how pictures are degraded, rated and preferred.

The rating is a measurement on pixels. The aesthetic head and the preference models learn to imitate the
audience from examples, as their originals imitate people, and can be wrong in the same ways.

``hps`` learns from raters: what they like is ``utility``. ``pickscore`` learns from users with a wish of
their own: what they like is ``appeal``, to which a missed word is worse and looks are worth less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # its folders are imported at first use: `check` needs none
from numpy.typing import NDArray

from vader_bench.pocket.vocabulary import Caption

__all__ = [
    "LOOKS", "RATINGS", "WORDS", "WORD_POINTS", "Style", "agreement", "appeal", "apply_style", "draw_style",
    "rate", "style_words", "utility",
]  # fmt: skip

Pictures = NDArray[np.float32]

RATINGS = (1.0, 10.0)
"""The scale of the audience's ratings."""
WORD_POINTS = 2.0
"""What a missed word costs a rater, in points of rating."""
WORDS = {"colour": 3.0, "noun": 4.0, "scene": 2.0}
"""What a word that is met is worth to one of pickscore's judges."""
LOOKS = 0.5
"""What a point of rating is worth to one of pickscore's judges."""


@dataclass(frozen=True)
class Style:
    """How a picture is changed; the defaults change nothing."""

    saturation: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    blur: float = 0.0
    """Standard deviation in pixels."""
    noise: float = 0.0
    """Standard deviation in [0, 1] units."""


def draw_style(rng: np.random.Generator) -> Style:
    """Draw a style; a third of the pictures stay as they are."""
    if rng.uniform() < 1 / 3:
        return Style()
    return Style(
        saturation=rng.uniform(0.2, 1.3),
        contrast=rng.uniform(0.5, 1.3),
        brightness=rng.uniform(-0.2, 0.2),
        blur=max(0.0, rng.uniform(-1.0, 1.8)),
        noise=max(0.0, rng.uniform(-0.08, 0.08)),
    )


def apply_style(pictures: Pictures, style: Style, rng: np.random.Generator) -> Pictures:
    """Return ``pictures`` [N, H, W, 3] in [0, 1] changed by ``style``."""
    grey = pictures.mean(axis=-1, keepdims=True)
    out = grey + (pictures - grey) * style.saturation
    out = 0.5 + (out - 0.5) * style.contrast + style.brightness
    if style.blur > 0:
        out = scipy.ndimage.gaussian_filter(out, (0, style.blur, style.blur, 0))
    if style.noise > 0:
        out = out + rng.normal(0, style.noise, out.shape)
    clipped: Pictures = np.clip(out, 0, 1).astype(np.float32)
    return clipped


def style_words(style: Style) -> list[str]:
    """Return the words that describe ``style``; none where it is ordinary."""
    words = []
    if abs(style.saturation - 1) > 0.2:
        words.append("vivid" if style.saturation > 1 else "dull")
    if abs(style.brightness) > 0.1:
        words.append("bright" if style.brightness > 0 else "dark")
    if style.blur > 0.8:
        words.append("blurry")
    return words


def rate(pictures: Pictures) -> NDArray[np.float64]:
    """Return the audience's mean rating [N], from 1 to 10, of ``pictures`` [N, H, W, 3] in [0, 1].

    Half of it is colourfulness (Hasler and Suesstrunk, 2003), a quarter contrast of lightness, a quarter
    sharpness of edges; noise is disliked.
    """
    red, green, blue = np.moveaxis(pictures.astype(np.float64), -1, 0)
    opponents = np.stack([red - green, (red + green) / 2 - blue])
    spread = np.hypot(*opponents.std(axis=(2, 3)))
    colourful = spread + 0.3 * np.hypot(*opponents.mean(axis=(2, 3)))
    grey = pictures.mean(axis=-1, dtype=np.float64)
    steps = np.abs(np.diff(grey, axis=2))
    # Edges are few and high, noise is everywhere and low: the quantiles tell them apart.
    edges = np.quantile(steps, 0.98, axis=(1, 2))
    grain = np.quantile(steps, 0.5, axis=(1, 2))
    liking = (
        0.5 * _soft(colourful / 0.35) + 0.25 * _soft(grey.std(axis=(1, 2)) / 0.25) + 0.25 * _soft(edges / 0.3)
    )
    low, high = RATINGS
    rating: NDArray[np.float64] = np.clip(low + (high - low) * liking - 20 * grain, low, high)
    return rating


def _soft(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``x`` bent so that liking saturates: 0 to 0, 1 to about 0.76."""
    return np.tanh(x)


def agreement(shown: Caption, asked: Caption) -> float:
    """Return the share of what was asked (colour, noun, scene) that a single picture shows."""
    same = (shown.colour == asked.colour, shown.noun == asked.noun, shown.scene == asked.scene)
    return sum(same) / len(same)


def utility(shown: Caption, asked: Caption, rating: float) -> float:
    """Return how much the audience likes a picture as an answer to ``asked``.

    A missed word costs ``WORD_POINTS`` of rating, so that it is between 1 and 16.
    """
    return rating + len(WORDS) * WORD_POINTS * agreement(shown, asked)


def appeal(shown: Caption, asked: Caption, rating: float) -> float:
    """Return how much a judge likes a picture of ``shown``, rated ``rating``, as an answer to ``asked``."""
    met = sum(worth for word, worth in WORDS.items() if getattr(shown, word) == getattr(asked, word))
    return met + LOOKS * rating
