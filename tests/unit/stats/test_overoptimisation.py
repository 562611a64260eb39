"""Forms of over-optimisation, fitted to runs whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.optimize import curve_fit, minimize_scalar

from tests.support.results import Invented, make_record
from vader_bench.records.record import Evaluation, Record, VideoScore
from vader_bench.stats.bootstrap import Resampler
from vader_bench.stats.overoptimisation import FORMS, BestOf, Cloud, Fit, Law, best_of_points, cloud, fit_law
from vader_bench.stats.panel import build_panel

BEST_OF_N, RL = FORMS
TRUE = {"best-of-n": (0.5, 0.02), "RL": (0.6, 0.2)}


def truth(form: str, d: float, alpha: float, beta: float) -> float:
    return d * (alpha - beta * d) if form == "best-of-n" else d * (alpha - beta * math.log(d))


def drawn(form: str, root: int, *, seeds: int = 5, noise: float = 0.3) -> Cloud:
    """Return two arms, six looks and 16 prompts; runs and prompts have slopes of their own around alpha."""
    rng = np.random.default_rng([root, len(form)])
    alpha, beta = TRUE[form]
    own = rng.normal(scale=0.03, size=seeds)
    asked = rng.normal(scale=0.03, size=16)
    distance, gains = np.empty((2, 6, seeds)), np.empty((2, 6, seeds, 16))
    for arm, look, seed in np.ndindex(2, 6, seeds):
        d = distance[arm, look, seed] = (1 + arm) * (look + 1) ** 1.2 * rng.uniform(0.8, 1.2)
        for prompt in range(16):
            slope = alpha + own[seed] + asked[prompt]
            gains[arm, look, seed, prompt] = truth(form, d, slope, beta) + noise * rng.normal()
    prompts = tuple(f"prompt {index}" for index in range(16))
    return Cloud(("small", "large"), tuple(range(6)), tuple(range(seeds)), prompts, distance, {"gold": gains})


def fitted(law: Law, form: str) -> Fit:
    return next(fit for fit in law.fits if fit.form.name == form)


@pytest.mark.parametrize("form", list(TRUE))
def test_without_noise_the_parameters_are_those_that_made_the_data(form: str) -> None:
    found = drawn(form, 0, noise=0.0)
    alike = np.vectorize(lambda d: truth(form, d, *TRUE[form]))(found.distance)
    law = fit_law(replace(found, gains={"gold": alike[..., None] + np.zeros(16)}))
    fit = fitted(law, form)
    assert (fit.alpha.value, fit.beta.value) == pytest.approx(TRUE[form])
    assert fit.residual == pytest.approx(0, abs=1e-9)
    assert law.better is fit is law.closer
    best = minimize_scalar(lambda d: -truth(form, d, *TRUE[form]), bounds=(1e-6, 100), method="bounded")
    assert fit.peak.value == pytest.approx(best.x, rel=1e-4)
    line = fit.curve(np.array([2.0, 5.0]))
    assert line.point == pytest.approx([truth(form, 2.0, *TRUE[form]), truth(form, 5.0, *TRUE[form])])


@pytest.mark.parametrize("form", list(TRUE))
def test_least_squares_are_those_of_another_fitter(form: str) -> None:
    found = drawn(form, 3, seeds=3)
    over, means = found.distance.ravel(), found.gains["gold"].mean(axis=-1).ravel()
    made = np.vectorize(partial(truth, form))
    (alpha, beta), _ = curve_fit(made, over, means, p0=(1.0, 0.1))
    fit = fitted(fit_law(found), form)
    assert (fit.alpha.value, fit.beta.value) == pytest.approx((alpha, beta), rel=1e-5)
    left = means - made(over, alpha, beta)
    assert fit.residual == pytest.approx(math.sqrt((left**2).sum() / (len(left) - 2)), rel=1e-6)


@pytest.mark.parametrize("form", list(TRUE))
def test_intervals_hold_the_truth_at_the_advertised_rate(form: str) -> None:
    hits = np.zeros(3)
    trials = 200
    alpha, beta = TRUE[form]
    peak = alpha / (2 * beta) if form == "best-of-n" else math.exp(alpha / beta - 1)
    for trial in range(trials):
        found = drawn(form, 100 + trial)
        fit = fitted(fit_law(found, Resampler(found.seeds, resamples=400, root=trial)), form)
        hits += [
            one.low <= true <= one.high
            for one, true in ((fit.alpha, alpha), (fit.beta, beta), (fit.peak, peak))
        ]
    # 200 trials have a standard error of 1.5 %; sixteen prompts make the prompts' part slightly narrow
    assert all(0.90 <= share <= 1.0 for share in hits / trials)


def test_the_form_that_made_the_data_is_never_called_the_worse_one() -> None:
    for form in TRUE:
        said = [fit_law(drawn(form, root), Resampler(range(5), resamples=400)).better for root in range(20)]
        assert {fit.form.name for fit in said if fit is not None} <= {form}


def test_a_line_has_no_peak_and_its_curvature_is_not_above_zero() -> None:
    found = drawn("best-of-n", 1)
    rng = np.random.default_rng(0)
    straight = 0.4 * found.distance[..., None] + 0.2 * rng.normal(size=found.gains["gold"].shape)
    law = fit_law(replace(found, gains={"gold": straight}))
    assert all(not fit.beta.above_zero for fit in law.fits)
    assert all(fit.peak.high == math.inf for fit in law.fits)


@pytest.mark.parametrize(
    ("alpha", "beta", "peak"), [(0.3, 0.0, math.inf), (0.3, -0.1, math.inf), (-0.3, 0.1, 0.0)]
)
def test_peaks_at_the_edges(alpha: float, beta: float, peak: float) -> None:
    assert BEST_OF_N.peak(np.asarray(alpha), np.asarray(beta)) == peak
    if math.isinf(peak):
        assert RL.peak(np.asarray(alpha), np.asarray(beta)) == peak


def test_forms_have_no_gain_at_the_base_model() -> None:
    for form in FORMS:
        assert form.gain(np.asarray(1.0), np.asarray(2.0), np.asarray([0.0])) == [0.0]


def look(queries: int, gold: float | None, path_kl: float | None, prompts: int = 2) -> Evaluation:
    scores = [
        VideoScore(
            prompt=f"p{index}", sample=0, reward=1 + queries, gold=None if gold is None else gold + index
        )
        for index in range(prompts)
    ]
    return Evaluation(
        split="heldout", queries=queries, flops=0, device_seconds=0, scores=scores, path_kl=path_kl
    )


def run(seed: int, evaluations: list[Evaluation], method: str = "vader") -> Record:
    record = make_record(Invented(seeds=(0, 1, 2)), method, "red", seed)
    return record.model_copy(update={"evaluations": evaluations})


def looks(seed: int, factor: float) -> list[Evaluation]:
    later = [look(8, 0.5 + 0.1 * factor, 4.0 * factor), look(16, 0.5 + 0.2 * seed, 9.0 * factor)]
    return [look(0, 0.5, 0.0, prompts=3), *later]


def test_a_cloud_has_arms_looks_and_seeds_in_their_places() -> None:
    small = [run(seed, looks(seed, 1.0)) for seed in (1, 0)]
    large = [run(seed, looks(seed, 4.0)) for seed in (0, 1, 2)]
    found = cloud({"small": small, "large": large})
    assert found is not None
    assert (found.arms, found.seeds, found.prompts) == (("small", "large"), (0, 1), ("p0", "p1"))
    np.testing.assert_allclose(found.distance[:, :, 0], [[2.0, 3.0], [4.0, 6.0]])
    np.testing.assert_allclose(found.gains["gold"][0, :, 1], [[0.1, 0.1], [0.2, 0.2]])
    np.testing.assert_allclose(found.gains["gold"][1, :, 0], [[0.4, 0.4], [0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(found.gains["reward"][1, :, 0], [[8, 8], [16, 16]])
    assert "prompt_share" not in found.gains
    assert found.farthest == 6.0
    assert fit_law(found).closer is not None


def test_one_arm_of_two_looks_is_too_little_for_a_fit() -> None:
    found = cloud({"small": [run(0, looks(0, 1.0))]})
    assert found is not None
    law = fit_law(found)
    assert (law.fits, law.better, law.closer, law.difference.absent) == ((), None, None, "too few looks")


@pytest.mark.parametrize("evaluations", [
    [look(0, 0.5, 0.0), look(8, 0.6, None)], [look(0, None, 0.0), look(8, None, 1.0)], [look(0, 0.5, 0.0)],
])  # fmt: skip
def test_without_distance_truth_or_training_there_is_no_cloud(evaluations: Any) -> None:
    assert cloud({"small": [run(0, evaluations)]}) is None


@pytest.mark.parametrize(("count", "kl"), [(1, 0.0), (2, math.log(2) - 0.5), (8, math.log(8) - 7 / 8)])
def test_best_of_n_is_at_its_known_distance(count: int, kl: float) -> None:
    assert BestOf(count, {}).distance == pytest.approx(math.sqrt(kl))


def test_the_divergence_of_best_of_n_is_that_of_its_density() -> None:
    # the best of N has density N F(x)^(N-1) f(x): with u = F(x), KL is the mean of log N u^(N-1) under it
    u = np.linspace(1e-6, 1, 200_001)
    density = 4 * u**3
    assert np.trapezoid(density * np.log(density), u) == pytest.approx(BestOf(4, {}).distance ** 2, rel=1e-4)


def test_best_of_n_says_what_choosing_adds() -> None:
    world = Invented(seeds=(0, 1))
    runs = [make_record(world, "vader", "red", seed) for seed in world.seeds]
    panel = build_panel(runs, ["vader"], world.seeds)
    assert panel is not None
    assert best_of_points(panel) == []
    panel = build_panel([make_record(world, "base", "red", 0), *runs], ["vader"], world.seeds)
    assert panel is not None
    assert panel.base is not None
    two, four = best_of_points(panel)
    assert (two.size, four.size) == (2, 4)
    of_four = panel.base.reward
    assert four.gains["reward"].value == pytest.approx(
        float((of_four.max(axis=1) - of_four.mean(axis=1)).mean())
    )
    pairs = [max(row[i], row[j]) for row in of_four for i in range(4) for j in range(i)]
    assert two.gains["reward"].value == pytest.approx(float(np.mean(pairs) - of_four.mean()))
    assert set(two.gains) == {"reward", "gold", "prompt_share"}
