from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.preferences import answer, answers, study
from vader_bench.errors import UserError
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.agreement import (
    gwet_ac1,
    krippendorff_alpha,
    match_repeats,
    measure_agreement,
    measure_consistency,
    pairwise_agreement,
    tally_labels,
)
from vader_bench.stats.preference import Response

PAIR = ("vader", "base")


def plain(counts: list[list[int]]) -> tuple[FloatArray, FloatArray]:
    """Return the two arguments of a statistic of the data as they are."""
    return np.array(counts, dtype=np.float64), np.ones(len(counts))


def labelled(items: list[str]) -> list[Response]:
    """Return answers from one word an item: v for vader, b for base, t for a tie, by raters in turn."""
    words = {"v": "left", "b": "right", "t": "tie"}
    return [
        Response(f"r{rater}", f"p{item:02}", "text", *PAIR, words[letter])  # type: ignore[arg-type]
        for item, word in enumerate(items)
        for rater, letter in enumerate(word)
    ]


def test_one_sided_outcomes_pull_down_alpha_and_not_ac1() -> None:
    # Two raters, 100 items: both for the first on 60, both for the second on 4, split on 36; prevalence .78.
    # alpha: n = 200, D_o = 200 - 2 * 64 = 72, D_e = (200^2 - 156^2 - 44^2) / 199 = 13728 / 199
    # AC1: p_e = 2 * .78 * .22 = .3432
    data = plain([[2, 0]] * 60 + [[0, 2]] * 4 + [[1, 1]] * 36)
    assert pairwise_agreement(*data) == pytest.approx(0.64)
    assert krippendorff_alpha(*data) == pytest.approx(1 - 72 * 199 / 13728)
    assert gwet_ac1(*data) == pytest.approx((0.64 - 0.3432) / (1 - 0.3432))


def test_uneven_raters_and_three_categories_by_hand() -> None:
    # Items aab, bb, c and ct with t the third category's name c: counts below. The third has no partner.
    # Agreeing coincidences: 2 / 2, 2 / 1, -, 0: 3 of n = 7, so D_o = 4.
    # Labels with a partner: a 2, b 4, c 1; D_e = (49 - 4 - 16 - 1) / 6 = 28 / 6; alpha = 1 - 4 * 6 / 28
    data = plain([[2, 1, 0], [0, 2, 0], [0, 0, 1], [0, 1, 1]])
    assert krippendorff_alpha(*data) == pytest.approx(1 - 24 / 28)
    # agreement by item 1/3, 1, 0 of the three with a pair
    assert pairwise_agreement(*data) == pytest.approx((1 / 3 + 1) / 3)
    # shares over all four items: a 2/3 / 4 = 1/6, b (1/3 + 1 + 1/2) / 4 = 11/24, c (1 + 1/2) / 4 = 3/8
    chance = (1 / 6 * 5 / 6 + 11 / 24 * 13 / 24 + 3 / 8 * 5 / 8) / 2
    assert gwet_ac1(*data) == pytest.approx((4 / 9 - chance) / (1 - chance))


def test_perfect_agreement_is_one_and_undefined_for_alpha_with_one_category() -> None:
    both = plain([[3, 0], [0, 3]])
    assert [float(f(*both)) for f in (pairwise_agreement, krippendorff_alpha, gwet_ac1)] == [1.0, 1.0, 1.0]
    one = plain([[3, 0], [3, 0]])
    assert np.isnan(krippendorff_alpha(*one))
    assert gwet_ac1(*one) == 1.0


def test_without_overlap_nothing_is_defined() -> None:
    alone = plain([[1, 0], [0, 1]])
    assert [np.isnan(f(*alone)) for f in (pairwise_agreement, krippendorff_alpha, gwet_ac1)] == [True] * 3


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3).filter(any), min_size=1, max_size=12))
def test_weights_are_copies_and_names_of_categories_do_not_matter(rows: list[tuple[int, int, int]]) -> None:
    counts = np.array(rows, dtype=np.float64)
    weights = np.resize([1.0, 2.0, 3.0], len(rows))
    copies = np.repeat(counts, weights.astype(int), axis=0)
    for statistic in (pairwise_agreement, krippendorff_alpha, gwet_ac1):
        value = statistic(counts, weights)
        np.testing.assert_allclose(statistic(copies, np.ones(len(copies))), value)
        np.testing.assert_allclose(statistic(counts[:, ::-1], np.stack([weights, weights]))[1], value)
        assert np.isnan(value) or value <= 1 + 1e-12


def test_labels_are_arms_whichever_side_they_were_on() -> None:
    responses = [
        answer(0, "left"),
        answer(1, "right", first_left=False),
        answer(2, "tie"),
        answer(3, "right"),
    ]
    same_item = [replace(r, prompt="p") for r in responses]
    other = replace(same_item[0], left="ddpo")
    repeat = replace(same_item[0], repeat=True)
    assert tally_labels([*same_item, other, repeat], *PAIR).tolist() == [[2, 1, 1]]
    assert tally_labels(same_item, *PAIR[::-1]).tolist() == [[1, 2, 1]]
    assert tally_labels([], *PAIR).shape == (0, 3)


def test_agreement_of_responses_is_that_of_their_counts() -> None:
    words = ["vvv", "vvb", "bb", "v", "vb", "bbb", "vv", "vvv", "bv", "vv"]
    found = measure_agreement(labelled(words), PAIR, "text", ties=False)
    data = plain([[word.count("v"), word.count("b")] for word in words])
    assert (found.items, found.labels) == (9, 22)
    for estimate, statistic in (
        (found.pairwise, pairwise_agreement), (found.alpha, krippendorff_alpha), (found.ac1, gwet_ac1),
    ):  # fmt: skip
        assert estimate.value == pytest.approx(statistic(*data))
        assert estimate.low < estimate.value < estimate.high
    assert measure_agreement(labelled(words), PAIR, "text", ties=False) == found
    assert measure_agreement(labelled(words), PAIR, "text", ties=False, root=1) != found


def test_the_choice_of_a_tie_lowers_what_chance_would_give() -> None:
    words = labelled(["vv", "vb", "bb", "vv", "vv", "bb", "vb", "vv"])
    two, three = (measure_agreement(words, PAIR, "text", ties=ties) for ties in (False, True))
    assert three.ac1.value > two.ac1.value
    assert three.alpha == two.alpha
    with pytest.raises(UserError, match="has ties, which raters could not choose"):
        measure_agreement(labelled(["vt"]), PAIR, "text", ties=False)


@pytest.mark.parametrize(
    ("responses", "reason"),
    [
        (answers(20, 10), "fewer than 8 items judged twice"),
        ([], "fewer than 8 items judged twice"),
        (labelled(["vv"] * 8), "undefined"),
    ],
    ids=["no overlap", "nothing", "unanimous"],
)
def test_alpha_says_why_it_is_absent(responses: list[Response], reason: str) -> None:
    assert measure_agreement(responses, PAIR, "text", ties=False).alpha.absent == reason


def test_consistency_by_hand() -> None:
    first = answers(4, 0)
    turned = [replace(r, left=r.right, right=r.left, repeat=True) for r in first]
    # the side is what stayed for two of them, so the arm changed; the last one is not swapped
    again = [
        replace(turned[0], answer="right"),
        replace(turned[1], answer=first[1].answer),
        replace(turned[2], answer="tie"),
        replace(first[3], repeat=True),
    ]
    lost = replace(again[0], rater="somebody else")
    found = measure_consistency([*first, *again, lost])
    assert found.repeats == 4
    assert (found.same.value, found.same_when_swapped.value, found.same_when_not.value) == (0.5, 1 / 3, 1.0)
    assert match_repeats([*again, *first])[0] == (first[0], again[0])
    assert measure_consistency(first).same.absent == "missing"


def test_raters_of_one_taste_agree_and_raters_without_one_do_not() -> None:
    agreed, random = (
        measure_agreement(study({"vader": 0.0, "base": 0.0}, spread=(sd, 0.0)), PAIR, "text", ties=False)
        for sd in (4.0, 0.0)
    )
    assert agreed.alpha.low > 0.3
    assert random.alpha.low < 0 < random.alpha.high
