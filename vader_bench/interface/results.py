"""Results as pandas frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from vader_bench.report.curves import curves_frame
from vader_bench.report.load import Results, load_results
from vader_bench.report.summary import pairs_frame
from vader_bench.report.words import columns
from vader_bench.stats import Analysis

__all__ = ["ResultFrames", "read_results"]

_ENDINGS = ("", "_low", "_high")


def read_results(folder: str | Path, *, allow_missing: bool = False) -> ResultFrames:
    """Return what a results folder holds: ``read_results("results/fig7/pocket").gains``.

    Args:
        folder: ``results/<experiment>/<suite>``.
        allow_missing: accept that runs have no record yet.

    Raises:
        UserError: no results folder, or records are missing, damaged or of a newer version.
    """
    return ResultFrames(load_results(Path(folder), allow_missing=allow_missing))


@dataclass(frozen=True)
class ResultFrames:
    """The results of an experiment: frames of numbers, computed when they are first asked for."""

    results: Results

    @cached_property
    def analyses(self) -> dict[str, Analysis]:
        """The statistics by reward that the report shows."""
        return self.results.analyses()

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row a look of a run; see ``report.curves.curves_frame``."""
        return curves_frame(self.results)

    @cached_property
    def gains(self) -> pd.DataFrame:
        """One row a reward and arm, base model and best-of-N among them, indexed by both.

        ``gain`` is the rise of the reward over the base model on held-out prompts at the whole budget. It and
        every other statistic has ``_low`` and ``_high``, the limits of its 95 % interval; NaN where there is
        no such number. A reward has no rows before a seed of it is complete.
        """
        rows = [
            {"reward": reward, "arm": arm.name, "seeds": arm.seeds, "prompts": arm.prompts}
            | {
                f"{name}{ending}": value
                for name, found in arm.statistics.items()
                for ending, value in zip(_ENDINGS, (found.value, found.low, found.high), strict=True)
            }
            for reward, analysis in self.analyses.items()
            for arm in analysis.arms
        ]
        keys = {key for analysis in self.analyses.values() for arm in analysis.arms for key in arm.statistics}
        names = [f"{column.key}{ending}" for column in columns(keys) for ending in _ENDINGS]
        head = ["reward", "arm", "seeds", "prompts", *names]
        return pd.DataFrame(rows, columns=head).set_index(["reward", "arm"])

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row a pair of arms, as in ``pairs.csv``: see ``report.summary.pairs_frame``."""
        return pairs_frame(self.analyses)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row a judged video, with its score, its truth (``gold``) and the share of its prompt."""
        rows = [
            {
                "reward": record.reward, "arm": record.label, "seed": record.seed, "split": look.split,
                "queries": look.queries, "prompt": video.prompt, "sample": video.sample,
                "score": video.reward, "gold": video.gold, "prompt_share": video.prompt_share,
            }
            for record in self.results.records.values()
            for look in record.evaluations
            for video in look.scores
        ]  # fmt: skip
        return pd.DataFrame(rows)
