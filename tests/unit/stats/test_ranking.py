from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import choix
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from tests.support.preferences import answers, study
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.preference import Response, compare_preferences
from vader_bench.stats.ranking import (
    count_votes,
    fit_strengths,
    intransitive_triples,
    is_connected,
    rank_arms,
)

ARMS = ("vader", "ddpo", "dpo", "base")
WORTH = {"vader": 1.0, "ddpo": 0.4, "dpo": 0.2, "base": 0.0}

COUNTS = st.lists(st.integers(1, 12), min_size=12, max_size=12)


def table(counts: list[int]) -> FloatArray:
    """Return wins [4, 4] with ``counts`` off the diagonal."""
    wins = np.zeros((4, 4))
    wins[~np.eye(4, dtype=bool)] = counts
    return wins


def davidson_likelihood(parameters: FloatArray, wins: FloatArray, ties: FloatArray) -> float:
    """Return the negative log-likelihood as Davidson wrote it, with strengths and not their logarithms."""
    strength, nu = np.exp(parameters[:-1]), np.exp(parameters[-1])
    total = 0.0
    for i, j in combinations(range(len(strength)), 2):
        middle = nu * np.sqrt(strength[i] * strength[j])
        everything = strength[i] + strength[j] + middle
        total += wins[i, j] * np.log(strength[i] / everything) + wins[j, i] * np.log(strength[j] / everything)
        total += ties[i, j] * np.log(middle / everything)
    return -float(total)


def test_two_arms_by_hand() -> None:
    # 30 of 40: the odds are 3, and the log-strengths are half of their logarithm on either side of zero
    fit = fit_strengths(np.array([[0.0, 30.0], [10.0, 0.0]]), np.zeros((2, 2)))
    np.testing.assert_allclose(fit.logs, [np.log(3) / 2, -np.log(3) / 2], rtol=1e-12)
    assert fit.log_tie == -np.inf


def test_two_arms_with_ties_by_hand() -> None:
    # 18, 2 and 12 ties of 32: e^(2a) = 9, so e^a = 3, and nu = 12 / 18 * e^a = 2
    fit = fit_strengths(np.array([[0.0, 18.0], [2.0, 0.0]]), np.array([[0.0, 12.0], [12.0, 0.0]]))
    np.testing.assert_allclose(fit.logs, [np.log(3), -np.log(3)], rtol=1e-9)
    assert np.exp(fit.log_tie) == pytest.approx(2.0)


@pytest.mark.parametrize(
    "counts", [[9, 4, 7, 3, 6, 8, 2, 5, 1, 1, 2, 3], [40, 1, 2, 90, 3, 1, 2, 70, 5, 60, 1, 1]],
    ids=["alike", "far apart"],
)  # fmt: skip
def test_bradley_terry_is_that_of_choix(counts: list[int]) -> None:
    wins = table(counts)
    data = [(i, j) for i, j in np.argwhere(wins > 0).tolist() for _ in range(int(wins[i, j]))]
    theirs = choix.ilsr_pairwise(4, data, tol=1e-12, max_iter=1000)
    np.testing.assert_allclose(fit_strengths(wins, np.zeros((4, 4))).logs, theirs - theirs.mean(), atol=1e-6)


def test_davidson_is_the_maximum_of_its_likelihood() -> None:
    wins = table([9, 4, 7, 3, 6, 8, 2, 5, 1, 1, 2, 3])
    ties = np.array([[0, 3, 1, 0], [3, 0, 5, 2], [1, 5, 0, 1], [0, 2, 1, 0]], dtype=np.float64)
    found = minimize(
        davidson_likelihood, np.zeros(5), args=(wins, ties), method="BFGS", options={"gtol": 1e-7}
    )
    fit = fit_strengths(wins, ties)
    np.testing.assert_allclose(fit.logs, found.x[:4] - found.x[:4].mean(), atol=1e-5)
    assert fit.log_tie == pytest.approx(found.x[4], abs=1e-5)


@given(COUNTS, st.permutations(range(4)))
def test_strengths_belong_to_arms_and_mirror(counts: list[int], order: list[int]) -> None:
    wins, ties = table(counts), table([1] * 12)
    fit = fit_strengths(wins, ties)
    assert fit.logs.mean() == pytest.approx(0.0, abs=1e-9)
    moved = fit_strengths(wins[np.ix_(order, order)], ties)
    np.testing.assert_allclose(moved.logs, fit.logs[order], atol=1e-8)
    np.testing.assert_allclose(fit_strengths(wins.T, ties).logs, -fit.logs, atol=1e-8)


@given(COUNTS)
def test_many_fits_at_once_are_those_one_by_one(counts: list[int]) -> None:
    wins = np.stack([table(counts), table(counts[::-1])])
    fits = fit_strengths(wins, np.zeros_like(wins))
    for one, logs in zip(wins, fits.logs, strict=True):
        np.testing.assert_allclose(logs, fit_strengths(one, np.zeros((4, 4))).logs, atol=1e-8)


def test_without_a_loss_there_is_no_maximum_but_with_a_ridge() -> None:
    wins = np.array([[0.0, 5.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="never lost"):
        fit_strengths(wins, np.zeros((2, 2)))
    # at the penalised maximum 5 e^-g / (1 + e^-g) = ridge * g / 2 for the gap g
    gap = float(np.ptp(fit_strengths(wins, np.zeros((2, 2)), ridge=0.01).logs))
    assert 5 / (1 + np.exp(gap)) == pytest.approx(0.01 * gap / 2)


def test_connected_means_that_every_group_lost_once() -> None:
    circle = np.roll(np.eye(3), 1, axis=1)
    assert is_connected(circle)
    assert not is_connected(np.triu(np.ones((3, 3)), 1))
    assert intransitive_triples(circle) == 1
    assert intransitive_triples(np.triu(np.ones((4, 4)), 1)) == 0


def test_votes_are_counted_by_arm() -> None:
    responses = answers(3, 2, 1)
    wins, ties = count_votes(responses, ("vader", "base"))
    assert wins.sum(axis=0).tolist() == [[0, 3], [2, 0]]
    assert ties.sum(axis=0).tolist() == [[0, 1], [1, 0]]
    assert count_votes(responses, ("base", "vader"))[0].sum(axis=0).tolist() == [[0, 2], [3, 0]]


@pytest.mark.parametrize(("prompts", "raters"), [(100, 60), (90, 9)])
def test_two_arms_have_the_interval_of_their_share(prompts: int, raters: int) -> None:
    responses = study({"vader": 0.1, "base": 0.0}, prompts=prompts, raters=raters)
    (preference,) = compare_preferences(responses, ("vader", "base"), ("text",))
    share = preference.share.clustered
    found = rank_arms(responses, ("vader", "base"), "text", resamples=8000)
    assert found.beats["vader", "base"].value == pytest.approx(share.value)
    # near one half a log-strength moves twice as fast as the share; its limits are drawn
    log = found.intervals["vader"]
    assert log.high - log.low == pytest.approx(2 * (share.high - share.low), rel=0.04)


def test_a_ranking_recovers_what_was_planted() -> None:
    responses = study(WORTH, prompts=60, per_prompt=4, raters=40, root=1)
    found = rank_arms(responses, ARMS, "text")
    assert (found.responses, found.ties, found.tie, found.absent) == (6 * 240, 0, 0.0, "")
    assert max(found.strengths, key=lambda arm: found.strengths[arm]) == "vader"
    assert found.best["vader"] > 0.95
    assert sum(found.best.values()) == pytest.approx(1.0)
    assert found.ranks["vader"].value == 1
    assert found.intervals["vader"].low < found.strengths["vader"] < found.intervals["vader"].high
    assert found.beats["vader", "base"].low > 0.5
    assert rank_arms(responses, ARMS, "text") == found
    assert rank_arms(responses, ARMS, "text", root=1).intervals != found.intervals


def test_repeats_and_other_questions_and_arms_are_passed_over() -> None:
    responses = study(WORTH, prompts=20, root=2)
    noise = [
        replace(responses[0], question="fidelity"),
        replace(responses[0], left="other"),
        replace(responses[0], repeat=True),
    ]
    assert rank_arms([*responses, *noise], ARMS, "text", resamples=50) == rank_arms(
        responses, ARMS, "text", resamples=50
    )


def test_few_raters_have_strengths_without_intervals() -> None:
    few = [replace(r, rater=f"r{int(r.rater[1:]) % 7}", sample=i) for i, r in enumerate(study(WORTH))]
    found = rank_arms(few, ARMS, "text")
    assert found.strengths["vader"] > 0
    assert {e.absent for e in found.intervals.values()} == {"fewer than 8 raters"}
    assert {e.absent for e in found.beats.values()} == {"fewer than 8 raters"}
    assert found.best == {}


def test_raters_and_prompts_that_are_all_alike_show_no_spread() -> None:
    # every rater and every prompt prefers either arm half of the time
    sides = {True: "left", False: "right"}
    responses = [
        Response(f"r{i}", f"p{j}", "text", "vader", "base", sides[(i + j) % 2 == 0])  # type: ignore[arg-type]
        for i in range(8)
        for j in range(8)
    ]
    found = rank_arms(responses, ("vader", "base"), "text", resamples=50)
    assert found.intervals["vader"].absent == "no spread"
    assert found.best == {}


@pytest.mark.parametrize("responses", [[], answers(20, 0, 5)], ids=["nothing", "never lost"])
def test_a_ranking_that_cannot_be_is_absent(responses: list[Response]) -> None:
    found = rank_arms(responses, ("vader", "base"), "text")
    assert found.absent == "no two arms were each preferred to the other, even by way of others"
    assert (found.strengths, found.apart) == ({}, {})


UNCOMPARED = "never compared with the arms that are ranked, or only tied"


def decided(winner: str, loser: str, count: int, start: int = 0) -> list[Response]:
    """Return answers for ``winner``, raters and prompts from ``start`` on."""
    return [
        Response(f"r{i % 12}", f"p{i}", "text", winner, loser, "left") for i in range(start, start + count)
    ]


def test_an_arm_that_never_loses_is_named_and_the_others_are_ranked() -> None:
    among = [*decided("dpo", "base", 18), *decided("base", "dpo", 12, 18)]
    unbeaten = [*decided("vader", "dpo", 20, 40), *decided("vader", "base", 20, 80)]
    found = rank_arms([*among, *unbeaten], ("vader", "dpo", "base"), "text")
    assert found.absent == ""
    assert found.apart == {"vader": "never lost in 40 answers"}
    assert set(found.strengths) == {"dpo", "base"}
    # 18 of 30: the odds are 1.5, half of their logarithm on either side of zero
    assert found.strengths["dpo"] == pytest.approx(np.log(1.5) / 2)
    assert found.beats["dpo", "base"].value == pytest.approx(0.6)
    alone = rank_arms(among, ("dpo", "base"), "text")
    assert (found.strengths, found.tie) == (alone.strengths, alone.tie)
    assert found.responses == 70


@pytest.mark.parametrize(
    ("responses", "apart"),
    [
        (decided("base", "ddpo", 9, 60), {"ddpo": "never won in 9 answers"}),
        ([], {"ddpo": "not compared"}),
        (
            [*decided("ddpo", "dpo", 6, 60), *decided("dpo", "ddpo", 6, 70), *decided("dpo", "base", 3, 80)],
            {"dpo": "never lost to an arm that is ranked", "ddpo": UNCOMPARED},
        ),
    ],
    ids=["never won", "not compared", "a group above"],
)  # fmt: skip
def test_why_an_arm_is_apart_is_said(responses: list[Response], apart: dict[str, str]) -> None:
    ranked = [*decided("vader", "base", 20), *decided("base", "vader", 15, 20)]
    arms = ("vader", "ddpo", "base") + (("dpo",) if "dpo" in apart else ())
    found = rank_arms([*ranked, *responses], arms, "text")
    assert found.apart == apart
    assert found.strengths["vader"] == pytest.approx(np.log(20 / 15) / 2)


def test_ties_bring_their_parameter() -> None:
    found = rank_arms(answers(18, 2, 12), ("vader", "base"), "text")
    assert found.ties == 12
    assert found.tie == pytest.approx(2.0)
    # win 18 / 32 and half of 12 / 32
    assert found.beats["vader", "base"].value == pytest.approx(24 / 32)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [(0.8, 0.4), (0.0, 0.0), (0.3, 1.2)], ids=["prompts", "none", "raters"])
def test_intervals_cover_at_the_advertised_rate(spread: tuple[float, float]) -> None:
    hits = []
    for trial in range(100):
        responses = study(dict.fromkeys(ARMS, 0.0), prompts=40, raters=30, spread=spread, root=trial)
        found = rank_arms(responses, ARMS, "text", resamples=300, root=trial)
        hits += [e.low <= 0 <= e.high for e in found.intervals.values()]
        hits += [e.low <= 0.5 <= e.high for e in found.beats.values()]
    assert 0.92 <= np.mean(hits) <= 0.985
