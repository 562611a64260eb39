"""Simulated raters with a known preference, to try a study and its analysis on.

Nothing that they answer says anything about videos: they know the arms from the key and never look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from vader_bench.config.yamlfile import nearest
from vader_bench.errors import UserError
from vader_bench.human.plan import ItemKey
from vader_bench.human.responses import Choice
from vader_bench.seeding import numpy_stream
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.power import Variation

__all__ = ["Manner", "Raters", "even_raters", "prefer"]

Manner = Literal["careful", "random", "left", "right"]
"""How a rater goes about it: by what is preferred, or without a look at random or always on one side."""

STRONGEST = 30.0


@dataclass(frozen=True)
class Raters:
    """A population of raters; all that one of them does follows from the seed and from names."""

    seed: int
    strengths: Mapping[str, Mapping[str, float]]
    """Log-odds of each arm by question: of two arms, the difference is the log-odds of the preference."""
    variation: Variation = field(default_factory=Variation)
    """How far the log-odds differ between prompts, for all raters alike, and between raters."""
    side_bias: float = 0.0
    """Log-odds added to the video on the left."""
    lapse: float = 0.02
    """Share of a careful rater's answers that are a toss of a coin."""
    careless: float = 0.0
    """Share of raters who do not watch: a third answers at random, a third each always on one side."""
    ties: float = 0.0
    """Share of other answers that are about the same; only for a study with this choice."""
    broken: float = 0.0
    """How often a video does not play, so that a pair gets no answer."""

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        for name in ("lapse", "careless", "ties", "broken"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UserError(f"{name} {value}", "is no share", "give a number from 0 to 1")
        if not math.isfinite(self.side_bias):
            raise UserError(f"side_bias {self.side_bias}", "is no number of log-odds", "give one such as 0.5")

    def manner(self, rater: str) -> Manner:
        """Return how ``rater`` goes about it."""
        return _manner(self.seed, self.careless, rater)

    def decide(self, rater: str, block: str, item: ItemKey) -> dict[str, Choice | None]:
        """Return what ``rater`` answers to every question on one pair; ``None`` where a video does not play.

        A pair that is shown again is judged by the same preference, but again. Gold pairs are answered right
        by whoever is careful, save for lapses.
        """
        stream = numpy_stream(self.seed, "raters", "answer", rater, block, item.id)
        if stream.random() < self.broken:
            return dict.fromkeys(self.strengths)
        manner = self.manner(rater)
        return {name: self._answer(stream, manner, rater, name, item) for name in self.strengths}

    def share(self, question: str, first: str, second: str) -> float:
        """Return how often careful raters prefer ``first``, a tie counting half: what a study estimates.

        Over all prompts and raters, sides balanced; by Gauss and Hermite's quadrature.
        """
        lead = self.strengths[question][first] - self.strengths[question][second]
        nodes, weights = _quadrature()
        leads = lead + np.hypot(self.variation.prompt, self.variation.rater) * nodes
        chosen = (expit(leads + self.side_bias) + expit(leads - self.side_bias)) / 2
        decided = float(weights @ chosen / weights.sum())
        watched = self.ties / 2 + (1 - self.ties) * decided
        return self.lapse / 2 + (1 - self.lapse) * watched

    def _answer(
        self, stream: np.random.Generator, manner: Manner, rater: str, question: str, item: ItemKey
    ) -> Choice:
        slip, tie, coin = stream.random(3)  # always three, so that one setting leaves other answers alone
        if manner in {"left", "right"}:
            return "L" if manner == "left" else "R"
        if manner == "random" or slip < self.lapse:
            return "L" if coin < 0.5 else "R"
        if item.right_answer is not None:
            return item.right_answer
        if tie < self.ties:
            return "T"
        return "L" if coin < expit(self._odds_of_left(rater, question, item)) else "R"

    def _odds_of_left(self, rater: str, question: str, item: ItemKey) -> float:
        first, second = sorted((item.left, item.right))
        pair = (question, first, second)
        lead = self.strengths[question][first] - self.strengths[question][second]
        lead += self.variation.prompt * _normal(self.seed, "prompt", *pair, item.prompt)
        lead += self.variation.rater * _normal(self.seed, "taste", *pair, rater)
        return (lead if item.left == first else -lead) + self.side_bias


def even_raters(seed: int, arms: Sequence[str], questions: Sequence[str]) -> Raters:
    """Return raters who on the whole prefer no arm."""
    return Raters(seed, {question: dict.fromkeys(arms, 0.0) for question in questions})


def prefer(raters: Raters, arm: str, share: float | Mapping[str, float]) -> Raters:
    """Return ``raters`` who prefer ``arm`` to an arm of strength 0 with this ``share``, one or by question.

    Lapses, ties and sides are counted in, careless raters are not: see ``Raters.share``.

    Raises:
        UserError: there is no such arm, or lapses and ties leave no room for the share.
    """
    strengths = {}
    for question, logs in raters.strengths.items():
        if arm not in logs:
            raise UserError(f"arm {arm!r}", "is none of the study", nearest(arm, logs))

        wanted = share[question] if isinstance(share, Mapping) else share

        def gap(strength: float, question: str = question, wanted: float = wanted) -> float:
            trial = replace(raters, strengths={question: {arm: strength, "": 0.0}})
            return trial.share(question, arm, "") - wanted

        if not gap(-STRONGEST) < 0 < gap(STRONGEST):
            wrong = "is out of reach with these lapses, ties and variation"
            raise UserError(f"share {wanted}", wrong, "give a share nearer to 0.5")
        strengths[question] = {**logs, arm: float(brentq(gap, -STRONGEST, STRONGEST))}
    return replace(raters, strengths=strengths)


@lru_cache
def _quadrature() -> tuple[FloatArray, FloatArray]:
    """Return the nodes and weights of Gauss and Hermite, [40] each."""
    return np.polynomial.hermite_e.hermegauss(40)


@lru_cache(maxsize=1 << 10)
def _manner(seed: int, careless: float, rater: str) -> Manner:
    """Return how ``rater`` goes about it, drawn once for all that the rater does."""
    stream = numpy_stream(seed, "raters", "manner", rater)
    if stream.random() >= careless:
        return "careful"
    manners: tuple[Manner, ...] = ("random", "left", "right")
    return manners[int(stream.integers(3))]


@lru_cache(maxsize=1 << 15)
def _normal(seed: int, *names: str) -> float:
    """Return the standard normal draw called ``names``, drawn once for all that share it."""
    return float(numpy_stream(seed, "raters", *names).standard_normal())
