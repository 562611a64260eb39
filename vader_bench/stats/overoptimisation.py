"""How the truth of a reward depends on the distance from the base model: two forms, fitted to the runs.

The forms are those of Gao et al., "Scaling laws for reward model overoptimization" (arXiv:2210.10760, section
3.1), with d the root of the divergence KL(policy || base). Here that is the path KL, in nats a video.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vader_bench.records.record import Record
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.bootstrap import Estimate, Resampler, Sampled
from vader_bench.stats.looks import ScoreOf, looks_of, scores_by_prompt, shared_videos
from vader_bench.stats.panel import MEASURED, Panel

__all__ = ["FORMS", "BestOf", "Cloud", "Fit", "GainForm", "Law", "best_of_points", "cloud", "fit_law"]

_LEAST = 3
"""Looks of a run at distances of their own: two parameters leave at least one for the residual."""


@dataclass(frozen=True)
class GainForm:
    """A form ``gain = alpha d - beta bend(d)``, linear in its parameters; no gain where d is 0."""

    name: str
    formula: str
    bend: Callable[[FloatArray], FloatArray]
    peak: Callable[[FloatArray, FloatArray], FloatArray]
    """From alpha and beta to the distance of the largest gain; infinity where it rises without end."""

    def gain(self, alpha: FloatArray, beta: FloatArray, distance: FloatArray) -> FloatArray:
        """Return the truth gain at ``distance``; all are broadcast."""
        return np.asarray(alpha * distance - beta * self.bend(distance))


def _d_log_d(distance: FloatArray) -> FloatArray:
    return distance * np.log(np.where(distance > 0, distance, 1.0))


def _peak_of_square(alpha: FloatArray, beta: FloatArray) -> FloatArray:
    falls = beta > 0
    return np.where(falls, np.maximum(alpha, 0.0) / (2 * np.where(falls, beta, 1.0)), np.inf)


def _peak_of_log(alpha: FloatArray, beta: FloatArray) -> FloatArray:
    falls = beta > 0
    with np.errstate(over="ignore"):
        return np.where(falls, np.exp(alpha / np.where(falls, beta, 1.0) - 1), np.inf)


FORMS = (
    GainForm("best-of-n", "d (alpha - beta d)", np.square, _peak_of_square),
    GainForm("RL", "d (alpha - beta log d)", _d_log_d, _peak_of_log),
)


@dataclass(frozen=True)
class Cloud:
    """The runs of one method at each look after the first: A arms, T looks, S seeds, P prompts."""

    arms: tuple[str, ...]
    queries: tuple[int, ...]
    """Spent before each look, [T]."""
    seeds: tuple[int, ...]
    prompts: tuple[str, ...]
    distance: FloatArray
    """Root of the path KL, [A, T, S]."""
    gains: dict[str, FloatArray]
    """Of ``reward``, ``gold`` and, where it was measured, ``prompt_share``: minus the base model on the same
    videos, those of every look, [A, T, S, P]."""

    @property
    def farthest(self) -> float:
        """Return the largest distance that was measured."""
        return float(self.distance.max())


@dataclass(frozen=True)
class Fit:
    """A form with its least-squares parameters."""

    form: GainForm
    alpha: Estimate
    beta: Estimate
    """Above zero where the truth bends down."""
    residual: float
    """Root mean square of what the form leaves over, in the unit of the truth."""
    peak: Estimate
    """The distance at which the fitted truth gain is largest; infinite where it rises without end."""
    parameters: Sampled
    """Alpha and beta, [2]."""

    def curve(self, distance: FloatArray) -> Sampled:
        """Return the fitted truth gain at ``distance`` [D]: [D]."""
        return Sampled.of(
            lambda found: self.form.gain(found[..., :1], found[..., 1:], distance), self.parameters
        )


@dataclass(frozen=True)
class Law:
    """Both forms, fitted to the same runs."""

    cloud: Cloud
    fits: tuple[Fit, ...]
    """In the order of ``FORMS``; empty where there are too few distances for a fit."""
    spread: float
    """Root mean square of the truth gains around their mean: what one number for all looks leaves over."""
    difference: Estimate
    """Residual of the best-of-n form minus that of the RL form."""

    @property
    def better(self) -> Fit | None:
        """Return the form that leaves less over, by interval; ``None`` where that cannot be said."""
        if self.difference.above_zero:
            return self.fits[1]
        return self.fits[0] if self.difference.below_zero else None

    @property
    def closer(self) -> Fit | None:
        """Return the form that leaves less over, however little; ``None`` where nothing was fitted."""
        return min(self.fits, key=lambda fit: fit.residual, default=None)


class BestOf(NamedTuple):
    """Best-of-N of the base model, as a policy at a distance of its own."""

    size: int
    """N."""
    gains: dict[str, Estimate]
    """As in ``Cloud``; what choosing adds."""

    @property
    def distance(self) -> float:
        """Return the root of its divergence from the base model, ``log N - (N - 1) / N``.

        Stiennon et al. 2020 (arXiv:2009.01325, appendix G.3); exact where no two scores are equal. The choice
        is one among whole paths, so that it holds for the path KL too.
        """
        return math.sqrt(math.log(self.size) - (self.size - 1) / self.size)


def cloud(records: Mapping[str, Sequence[Record]]) -> Cloud | None:
    """Return the points of one method on one reward, from the records of its arms.

    Seeds count that every arm has. ``None`` where there is none, or where path KL or truth was not measured.
    """
    seeds = sorted(set.intersection(*({record.seed for record in found} for found in records.values())))
    runs = [[record for record in found if record.seed in seeds] for found in records.values()]
    looks = [[looks_of(record) for record in sorted(arm, key=lambda r: r.seed)] for arm in runs]
    every = [look for arm in looks for run in arm for look in run]
    moved = [look for look in every if look.queries > 0]
    if not moved or any(look.path_kl is None for look in moved):
        return None
    videos = shared_videos(every)
    measured: dict[str, ScoreOf] = {
        "reward": lambda score: score.reward,
        "gold": lambda score: score.gold,
        "prompt_share": lambda score: score.prompt_share,
    }
    gains = {}
    for name, score in measured.items():
        prompts, values = scores_by_prompt(every, score, videos)
        if values is not None:
            levels = values.reshape(len(runs), len(seeds), -1, len(prompts))
            gains[name] = np.moveaxis(levels[:, :, 1:] - levels[:, :, :1], 1, 2)
    if "gold" not in gains:
        return None
    kl = np.asarray([look.path_kl for look in moved], dtype=np.float64).reshape(len(runs), len(seeds), -1)
    distance = np.sqrt(np.moveaxis(kl, 1, 2))
    queries = tuple(look.queries for look in looks[0][0][1:])
    return Cloud(tuple(records), queries, tuple(seeds), prompts, distance, gains)


def fit_law(found: Cloud, resampler: Resampler | None = None) -> Law:
    """Fit both forms to the truth gains of ``found``, every run and look with the same weight.

    Ordinary least squares, in closed form. Intervals are those of the paired bootstrap over seeds and
    prompts: the looks of a run are drawn together, since they are not independent of each other.

    Args:
        found: the points of one method.
        resampler: that of its seeds; a new one if ``None``.
    """
    distance = found.distance.reshape(-1, len(found.seeds))
    if min(len(np.unique(run)) for run in distance.T) < _LEAST:
        return Law(found, (), math.nan, Estimate.none("too few looks"))
    gains = found.gains["gold"].reshape(*distance.shape, -1)
    spread = float(gains.mean(axis=-1).std(ddof=1))
    drawn = (resampler or Resampler(found.seeds)).runs(_both, gains, found.prompts, distance)
    fits = tuple(_fit(form, drawn[index]) for index, form in enumerate(FORMS))
    return Law(found, fits, spread, (drawn[0, 2] - drawn[1, 2]).estimate())


def best_of_points(panel: Panel) -> list[BestOf]:
    """Return best-of-N of the base model for every N that the experiment asks for, in order of N."""
    base = panel.base
    if base is None:
        return []
    resampler = Resampler(panel.seeds)
    return [
        BestOf(
            size,
            {
                what: resampler.prompts(added, base.prompts).estimate()
                for what in MEASURED
                if (added := base.added_by_best(size, what)) is not None
            },
        )
        for size in sorted(base.best_of)
    ]


def _both(gain: FloatArray, distance: FloatArray) -> FloatArray:
    """Return alpha, beta and residual of every form, [..., 2, 3], from gains and distances [..., K, S]."""
    return np.stack([_least_squares(form, gain, distance) for form in FORMS], axis=-2)


def _least_squares(form: GainForm, gain: FloatArray, distance: FloatArray) -> FloatArray:
    """Return alpha, beta and residual, [..., 3], from gains and distances [..., K, S]."""
    over = (-2, -1)
    first, second = distance, -form.bend(distance)
    a, b, c = ((x * y).sum(over) for x, y in ((first, first), (first, second), (second, second)))
    u, v = (first * gain).sum(over), (second * gain).sum(over)
    whole = a * c - b * b
    alpha, beta = (c * u - b * v) / whole, (a * v - b * u) / whole
    left = gain - form.gain(alpha[..., None, None], beta[..., None, None], distance)
    freedom = gain.shape[-2] * gain.shape[-1] - 2
    return np.stack([alpha, beta, np.sqrt(np.square(left).sum(over) / freedom)], axis=-1)


def _fit(form: GainForm, drawn: Sampled) -> Fit:
    parameters = Sampled(drawn.point[:2], drawn.draws[:, :2])
    return Fit(
        form=form,
        alpha=drawn[0].estimate(),
        beta=drawn[1].estimate(),
        residual=float(drawn.point[2]),
        peak=Sampled.of(form.peak, parameters[0], parameters[1]).estimate(),
        parameters=parameters,
    )
