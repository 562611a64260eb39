"""Rewards that are formulas of the pixels: no network, known optimum, for checking the methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from vader_bench.rewards.base import Judgement, Reward
from vader_bench.rewards.preprocess import check_video

__all__ = ["Brightness", "Colourfulness", "Redness", "brightness", "colourfulness", "redness"]

_SMOOTHING = 1e-3


def colourfulness(frames: Tensor) -> Tensor:
    """Return the colourfulness [...] of ``frames`` [..., 3, H, W] in [0, 1].

    With the opponent colours rg = R - G and yb = (R + G) / 2 - B over the pixels,
    M = |standard deviations of (rg, yb)| + 0.3 |means of (rg, yb)|
    (M3 of Hasler and Suesstrunk, Measuring colourfulness in natural images, 2003; theirs is for pixels
    up to 255, hence 255 times as large). Each length |v| is taken as sqrt(v^2 + 0.001^2) - 0.001, so
    that a grey picture has a gradient, which is 0.
    """
    red, green, blue = frames.unbind(-3)
    rg, yb = red - green, (red + green) / 2 - blue
    variance = rg.var((-2, -1), correction=0) + yb.var((-2, -1), correction=0)
    mean = rg.mean((-2, -1)).square() + yb.mean((-2, -1)).square()
    return _smooth_root(variance) + 0.3 * _smooth_root(mean)


def brightness(frames: Tensor) -> Tensor:
    """Return the mean luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) [...] of ``frames`` [..., 3, H, W]."""
    red, green, blue = frames.mean((-2, -1)).unbind(-1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def redness(frames: Tensor) -> Tensor:
    """Return the mean of R - (G + B) / 2 [...] over the pixels of ``frames`` [..., 3, H, W]."""
    red, green, blue = frames.mean((-2, -1)).unbind(-1)
    return red - (green + blue) / 2


def _smooth_root(square: Tensor) -> Tensor:
    return (square + _SMOOTHING**2).sqrt() - _SMOOTHING


class _ClosedForm(Reward):
    """A formula of a frame, averaged over frames; prompts do not matter."""

    by_frame = True
    source = "closed form"
    formula: Callable[[Tensor], Tensor]

    @classmethod
    def skeleton(cls) -> Reward:
        """Return the reward itself, which has no weights."""
        return cls()

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1]."""
        check_video(self.name, video, prompts)
        score = type(self).formula(video).mean(1)
        return Judgement(score, score)


class Colourfulness(_ClosedForm):
    """The colourfulness of the pixels, 0 for grey; see ``colourfulness``.

    The bound of the range follows from rg^2 + yb^2 <= 1.25 for every pixel.
    """

    name = "colourfulness"
    units = "colourfulness of pixels in [0, 1]"
    value_range = (0.0, (1.25 * 1.09) ** 0.5)
    formula = staticmethod(colourfulness)


class Brightness(_ClosedForm):
    """The mean luma, 0 for black and 1 for white; see ``brightness``."""

    name = "brightness"
    units = "luma"
    value_range = (0.0, 1.0)
    formula = staticmethod(brightness)


class Redness(_ClosedForm):
    """Red above the mean of green and blue: 1 for pure red, -1 for cyan; see ``redness``."""

    name = "redness"
    units = "difference of channel means"
    value_range = (-1.0, 1.0)
    formula = staticmethod(redness)
