"""Over-optimisation against the distance from the base model: fitted forms as tables, sentences and files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vader_bench.report.load import Results
from vader_bench.report.tables import Table
from vader_bench.report.words import cells, estimate_text, number, significant
from vader_bench.stats import Analysis, BestOf, Fit, Law, best_of_points, cloud, fit_law

__all__ = ["Distances", "read_distances"]

_MEASURED = {"reward": "reward gain", "gold": "truth gain", "prompt_share": "gain, share of the prompt"}


@dataclass(frozen=True)
class Distances:
    """What is said of an experiment's runs by their distance from the base model."""

    laws: dict[str, dict[str, Law]]
    """By reward and method; those whose path KL and truth were measured."""
    best_of: dict[str, list[BestOf]]
    """By reward."""

    def tables(self, reward: str) -> list[Table]:
        """Return the fitted forms, and best-of-N beside them."""
        found = (self._fits(reward), self._best_of(reward))
        return [table for table in found if table.rows] if self.laws[reward] else []

    def findings(self, reward: str) -> list[str]:
        """Return what the fits say, in sentences; nothing of methods with too few looks."""
        return [_said(method, law) for method, law in self.laws[reward].items() if law.fits]

    def _fits(self, reward: str) -> Table:
        rows = [
            [
                method if index == 0 else "",
                fit.form.name,
                estimate_text(fit.alpha),
                estimate_text(fit.beta),
                f"{fit.residual:.3g}",
                estimate_text(fit.peak),
                significant(law.cloud.farthest, 3) if index == 0 else "",
                "yes" if law.better is fit else "",
            ]
            for method, law in self.laws[reward].items()
            for index, fit in enumerate(law.fits)
        ]
        head = ["", "form", "alpha", "beta", "left over", "largest truth gain at d", "measured up to d"]
        title = "Truth gain against d, the root of the path KL"
        return Table(title, [*head, "fits better by interval"], rows)

    def _best_of(self, reward: str) -> Table:
        rows = [
            [f"best-of-{one.size}", significant(one.distance, 3), *map(estimate_text, one.gains.values())]
            for one in self.best_of[reward]
        ]
        measured = self.best_of[reward][0].gains if rows else {}
        head = ["", "d", *(_MEASURED[name] for name in measured)]
        return Table("Best-of-N of the base model, at its own distance", head, rows)

    def fits_frame(self) -> pd.DataFrame:
        """Return one row a reward, method and form."""
        rows = [
            _fit_row(reward, method, law, fit)
            for reward, laws in self.laws.items()
            for method, law in laws.items()
            for fit in law.fits
        ]
        return pd.DataFrame(rows)

    def points_frame(self) -> pd.DataFrame:
        """Return one row a run and look, and one a best-of-N: distance and gains over the base model."""
        rows = [row for reward, laws in self.laws.items() for row in _points(reward, laws)]
        rows += [
            {"reward": reward, "method": f"best-of-{one.size}", "arm": "", "seed": "", "queries": ""}
            | {"distance": number(one.distance)}
            | {f"{name}_gain": number(gain.value) for name, gain in one.gains.items()}
            for reward, points in self.best_of.items()
            for one in points
        ]
        return pd.DataFrame(rows).fillna("")


def read_distances(results: Results, analyses: dict[str, Analysis]) -> Distances | None:
    """Return the fits of all methods on all rewards; ``None`` where nothing of the kind was measured."""
    laws = {reward: dict(_laws(results, reward)) for reward in results.experiment.rewards}
    if not any(laws.values()):
        return None
    best_of = {
        reward: best_of_points(analyses[reward].panel) if reward in analyses else [] for reward in laws
    }
    return Distances(laws, best_of)


def _laws(results: Results, reward: str) -> Iterator[tuple[str, Law]]:
    for method, arms in results.families().items():
        records = {arm: found for arm in arms if (found := results.counted(reward, arm))}
        points = cloud(records) if records else None
        if points is not None:
            yield method, fit_law(points)


def _said(method: str, law: Law) -> str:
    """Return what the fits say of one method."""
    fit, arms = law.closer, len(law.cloud.arms)
    assert fit is not None
    who = method if arms == 1 else f"{method}, {arms} arms together"
    other = next(one for one in law.fits if one is not fit)
    left = f"{fit.residual:.2g} is left over against {other.residual:.2g}"
    if fit.residual >= law.spread:
        return (
            f"{who}: neither form of Gao et al. says more of the truth gain than one number for all looks "
            f"({left}; {law.spread:.2g} around the mean)."
        )
    if law.better is fit:
        which = f"of the forms of Gao et al. the {fit.form.name} form fits better, by interval ({left})"
    else:
        which = (
            f"it cannot be said which form of Gao et al. fits better ({left}); in the {fit.form.name} form, "
            "which leaves less over"
        )
    return f"{who}: {which}, {_peak_said(fit, law)}."


def _peak_said(fit: Fit, law: Law) -> str:
    """Return where the fitted truth gain is largest, with what may be said of it."""
    farthest, nearest = law.cloud.farthest, float(law.cloud.distance.min())
    measured = f"d = {significant(farthest, 3)}, the farthest that was measured"
    peak = estimate_text(fit.peak)
    if not fit.beta.above_zero:
        return f"the truth gain does not bend down detectably up to {measured}"
    if fit.peak.high <= nearest:
        return f"the truth gain falls from the first look (d = {significant(nearest, 3)}) on"
    if fit.peak.high <= farthest:
        return f"the truth gain is largest at d = {peak}, before {measured}: over-optimised beyond"
    if fit.peak.low > farthest:
        return f"the truth gain bends down, and would be largest at d = {peak}, beyond {measured}"
    return f"the truth gain bends down; whether it is largest (d = {peak}) before {measured}, is not known"


def _fit_row(reward: str, method: str, law: Law, fit: Fit) -> dict[str, str]:
    row = {"reward": reward, "method": method, "arms": " ".join(law.cloud.arms), "form": fit.form.name}
    for name in ("alpha", "beta", "peak"):
        value, low, high = cells(getattr(fit, name), "reward")
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    value, low, high = cells(law.difference, "reward")
    return row | {
        "left_over": number(fit.residual),
        "around_the_mean": number(law.spread),
        "difference": value,
        "difference_low": low,
        "difference_high": high,
        "measured_up_to": number(law.cloud.farthest),
        "better": "yes" if law.better is fit else "",
    }


def _points(reward: str, laws: dict[str, Law]) -> Iterator[dict[str, str]]:
    for method, law in laws.items():
        found = law.cloud
        means = {name: values.mean(axis=-1) for name, values in found.gains.items()}
        for arm, look, seed in np.ndindex(*found.distance.shape):
            place = (arm, look, seed)
            yield {
                "reward": reward,
                "method": method,
                "arm": found.arms[arm],
                "seed": str(found.seeds[seed]),
                "queries": str(found.queries[look]),
                "distance": number(float(found.distance[place])),
                **{f"{name}_gain": number(float(values[place])) for name, values in means.items()},
            }
