"""What the simulated audience of the pocket world says of a clip: the truth that learned rewards imitate.

A rating is measured on every frame, and the mean counts. Which of the words that were asked for a clip shows
is measured by the pixel oracle, for the clip as a whole. No network is asked, and no run trains on it.
"""

from __future__ import annotations

from vader_bench.pocket.oracle import look
from vader_bench.pocket.shapes import Field
from vader_bench.pocket.taste import LOOKS, RATINGS, WORD_POINTS, WORDS, appeal, rate, utility
from vader_bench.rewards.oracle import ClipMeasure, asked_for

__all__ = ["AudienceRating", "AudienceUtility", "JudgesAppeal"]

_LOW, _HIGH = RATINGS


class AudienceRating(ClipMeasure):
    """How the audience rates the frames of a clip, whatever was asked. The truth of ``aesthetic``."""

    name = "audience-rating"
    units = "points of rating"
    value_range = RATINGS

    def measure(self, clip: Field, prompt: str) -> float:
        """Return the mean rating of the frames of ``clip``."""
        del prompt
        return float(rate(clip).mean())


class AudienceUtility(ClipMeasure):
    """How much raters like a clip as an answer (see ``taste.utility``). The truth of ``hps``."""

    name = "audience-utility"
    units = f"points of rating, and {WORD_POINTS:g} for each of colour, noun and scene that is as asked"
    value_range = (_LOW, _HIGH + WORD_POINTS * len(WORDS))
    reads_prompts = True

    def measure(self, clip: Field, prompt: str) -> float:
        """Return the utility of ``clip`` for ``prompt``."""
        return utility(look(clip).caption, asked_for(prompt), float(rate(clip).mean()))


class JudgesAppeal(ClipMeasure):
    """How much a user likes a clip as an answer (see ``taste.appeal``). The truth of ``pickscore``."""

    name = "judges-appeal"
    units = f"{LOOKS:g} of a point of rating, and what colour, noun and scene are worth that are as asked"
    value_range = (LOOKS * _LOW, LOOKS * _HIGH + sum(WORDS.values()))
    reads_prompts = True

    def measure(self, clip: Field, prompt: str) -> float:
        """Return the appeal of ``clip`` for ``prompt``."""
        return appeal(look(clip).caption, asked_for(prompt), float(rate(clip).mean()))
