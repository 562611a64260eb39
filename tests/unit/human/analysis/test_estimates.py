"""What counts is what the plan says, and the estimates are those of the statistics."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.support.built import ingest, made_study
from vader_bench.errors import UserError
from vader_bench.human.analysis.estimates import analyse_study, collect
from vader_bench.human.plan import Built
from vader_bench.human.rehearsal.raters import Raters, even_raters, prefer
from vader_bench.human.rehearsal.simulate import simulate
from vader_bench.human.responses import Submission
from vader_bench.stats import agreement
from vader_bench.stats.bootstrap import Estimate
from vader_bench.stats.power import Variation
from vader_bench.stats.preference import Preference, wilson

BUILT = made_study()
QUESTIONS = ["text", "quality"]


def raters(built: Built = BUILT, seed: int = 1) -> Raters:
    return even_raters(seed, built.arms, [question.id for question in built.plan.questions])


ANSWERS = simulate(BUILT, prefer(raters(), "vader", 0.8), 12)


def only(built: Built, *, role: str, submission: Submission) -> list[int]:
    return [n for n, item in enumerate(built.key.blocks[submission.block]) if item.role == role]


def test_all_main_answers_count_once_and_golds_never() -> None:
    found = collect(BUILT, ANSWERS)
    main = [response for response in found.responses if not response.repeat]
    assert len(main) == 2 * BUILT.plan.responses_per_comparison
    assert len(found.responses) - len(main) == 2 * len(BUILT.key.blocks)
    assert all(response.left != response.right for response in found.responses)
    assert (found.later, found.unanswered) == (0, 0)


def test_of_a_persons_answers_on_a_prompt_only_the_first_counts() -> None:
    one_person = [one.model_copy(update={"rater": "a"}) for one in ANSWERS]
    found = collect(BUILT, one_person)
    main = [response for response in found.responses if not response.repeat]
    seen = Counter((response.question, response.prompt) for response in main)
    assert set(seen.values()) == {1}
    assert found.later == 2 * BUILT.plan.responses_per_comparison - len(main) > 0
    first: dict[tuple[str, str], str] = {}
    for one in one_person:
        for item, given in zip(BUILT.key.blocks[one.block], one.items, strict=True):
            if item.role == "main":
                chosen = item.left if given.answers["text"] == "L" else item.right
                first.setdefault(("text", item.prompt), chosen)
    assert {("text", r.prompt): r.chosen for r in main if r.question == "text"} == first
    kept = {(r.question, r.prompt, r.left) for r in main}
    for again in (response for response in found.responses if response.repeat):
        assert (again.question, again.prompt, again.right) in kept, "a repeat goes with its own answer"


def test_an_open_question_is_counted_and_nothing_else() -> None:
    first = ANSWERS[0]
    place = only(BUILT, role="main", submission=first)[0]
    items = list(first.items)
    items[place] = items[place].model_copy(update={"answers": {"text": None, "quality": "L"}})
    found = collect(BUILT, [first.model_copy(update={"items": items})])
    whole = collect(BUILT, [first])
    assert found.unanswered == 1
    assert sum(not r.repeat for r in found.responses) == sum(not r.repeat for r in whole.responses) - 1


def test_a_repeat_of_a_pair_that_did_not_play_counts_nowhere_and_is_in_no_answers_way() -> None:
    blocks = BUILT.key.blocks
    again = {name: next(item for item in items if item.role == "repeat") for name, items in blocks.items()}
    first, second, met_again = next(
        (one, other, item)
        for one in ANSWERS
        for other in ANSWERS
        for item in blocks[other.block]
        if one is not other and item.role == "main" and item.prompt == again[one.block].prompt
    )
    unseen = first.model_copy(
        update={
            "rater": "a",
            "items": [
                given.model_copy(update={"answers": dict.fromkeys(QUESTIONS)})
                if given.id == again[first.block].repeats
                else given
                for given in first.items
            ],
        }
    )
    found = collect(BUILT, [unseen, second.model_copy(update={"rater": "a"})])
    assert {(second.source, met_again.id, question) for question in QUESTIONS} < found.counted
    assert found.unanswered == 2
    assert not any(response.repeat for response in collect(BUILT, [unseen]).responses)


def test_numbers_are_those_of_the_statistics() -> None:
    found = analyse_study(ingest(BUILT, ANSWERS), BUILT)
    assert [one.question for one in found.outcomes] == QUESTIONS
    for one in found.outcomes:
        assert (one.first, one.second) == tuple(BUILT.key.arms[code] for code in BUILT.plan.comparisons[0])
        main = [r for r in collect(BUILT, ANSWERS).responses if r.question == one.question and not r.repeat]
        wins = sum(response.chosen == one.first for response in main)
        share = one.main.share
        assert (share.wins, share.losses, share.ties) == (wins, len(main) - wins, 0)
        assert share.wilson == wilson(wins, len(main))
        assert share.clustered.low < wins / len(main) < share.clustered.high
        assert one.main == one.everything
        assert one.preferred == "vader"
        assert one.consistency.repeats == len(BUILT.key.blocks)
        assert one.side.responses == len(main)
        assert 4 < one.seconds < 60
    small, large = sorted(one.main.share.p_value for one in found.outcomes)
    assert sorted(one.main.p_holm for one in found.outcomes) == pytest.approx(
        [min(1, 2 * small), max(min(1, 2 * small), large)]
    )
    assert found.rankings == ()
    assert found.hourly == pytest.approx(3600 * BUILT.plan.pay.reward / found.block_seconds)


def test_the_main_analysis_leaves_unused_blocks_out_and_the_other_does_not() -> None:
    reasons: tuple[list[str], ...] = (["gold"], [], ["gold (results.csv:7)", "too fast"])
    marked = [
        one.model_copy(update={"unused": reasons[n % 3], "unpaid": reasons[n % 3][1:]})
        for n, one in enumerate(ANSWERS)
    ]
    found = analyse_study(ingest(BUILT, marked), BUILT)
    kept = [one for one in marked if not one.unused]
    flow = found.flow
    assert (flow.rows, flow.refused, flow.accepted) == (13, {"unknown block": 1}, 12)
    assert flow.unused == {"gold": 8, "too fast": 4}
    assert (flow.unpaid_blocks, flow.unpaid) == (4, {"too fast": 4})
    assert (flow.used, flow.raters_accepted, flow.raters_used) == (4, 12, 4)
    alone = analyse_study(ingest(BUILT, kept), BUILT)
    whole = analyse_study(ingest(BUILT, ANSWERS), BUILT)
    for one, used, all_of_it in zip(found.outcomes, alone.outcomes, whole.outcomes, strict=True):
        assert one.main.share.wins == used.main.share.wins
        assert (one.main.share.raters, one.main.share.test) == (4, "two-way clustered t")
        assert one.everything == all_of_it.main
        assert one.main.share.responses < one.wanted == all_of_it.main.share.responses


def estimates(preference: Preference) -> list[Estimate]:
    return [preference.share.wilson, preference.share.clustered, preference.side_adjusted]


def test_swapping_the_names_of_the_arms_mirrors_every_estimate() -> None:
    # the same answers under a key in which each arm's videos were the other's
    swapped = {"base": "vader", "vader": "base"}
    blocks = {
        name: [
            item.model_copy(update={"left": swapped[item.left], "right": swapped[item.right]})
            for item in items
        ]
        for name, items in BUILT.key.blocks.items()
    }
    mirrored = replace(BUILT, key=BUILT.key.model_copy(update={"blocks": blocks}))
    here = analyse_study(ingest(BUILT, ANSWERS), BUILT)
    there = analyse_study(ingest(mirrored, ANSWERS), mirrored)
    for one, other in zip(here.outcomes, there.outcomes, strict=True):
        assert (one.main.share.wins, one.main.share.losses) == (
            other.main.share.losses,
            other.main.share.wins,
        )
        for a, b in zip(estimates(one.main), estimates(other.main), strict=True):
            assert [a.value, a.low, a.high] == pytest.approx([1 - b.value, 1 - b.high, 1 - b.low], abs=1e-12)
        assert one.main.p_holm == pytest.approx(other.main.p_holm, rel=1e-9)
        assert one.side == other.side
        assert one.consistency == other.consistency
        assert one.agreement.alpha.value == pytest.approx(other.agreement.alpha.value, abs=1e-12)
        assert {one.preferred, other.preferred} == {"vader", "base"}


def test_more_than_two_arms_are_ranked_and_pairs_stand_in_the_order_of_the_plan() -> None:
    built = made_study(arms=("base", "ddpo", "vader"), ties=True, responses=60)
    population = replace(prefer(raters(built), "vader", 0.85), ties=0.2)
    found = analyse_study(ingest(built, simulate(built, population, 20)), built)
    pairs = [(built.key.arms[first], built.key.arms[second]) for first, second in built.plan.comparisons]
    assert [(one.first, one.second) for one in found.outcomes] == pairs * 2
    assert all(one.main.share.ties > 0 for one in found.outcomes)
    assert [ranking.question for ranking in found.rankings] == QUESTIONS
    for ranking in found.rankings:
        assert max(ranking.strengths, key=lambda arm: ranking.strengths[arm]) == "vader"


def test_a_pair_without_any_answer_is_reported_and_not_passed_over() -> None:
    built = made_study(arms=("base", "ddpo", "vader"), blocks={"items": 4, "gold": 0, "repeats": 0})
    missing = {"base", "ddpo"}
    kept = []
    for one in simulate(built, prefer(raters(built), "vader", 0.8), 40):
        keys = built.key.blocks[one.block]
        items = [
            given.model_copy(update={"answers": dict.fromkeys(QUESTIONS)})
            if {key.left, key.right} == missing
            else given
            for key, given in zip(keys, one.items, strict=True)
        ]
        kept.append(one.model_copy(update={"items": items}))
    found = analyse_study(ingest(built, kept), built)
    empty = [one for one in found.outcomes if {one.first, one.second} == missing]
    assert [one.main.share.responses for one in empty] == [0, 0]
    assert all(one.main.share.wilson.absent == "no answers" and one.preferred is None for one in empty)
    assert found.flow.unanswered == 2 * built.plan.responses_per_comparison
    answered = [one.main for one in found.outcomes if one.main.share.responses]
    smallest = min(answered, key=lambda main: main.share.p_value)
    assert smallest.p_holm == pytest.approx(6 * smallest.share.p_value), "of six planned tests"


def test_stamps_tell_simulated_answers_and_another_plan() -> None:
    digest = BUILT.plan.digest
    assert analyse_study(ingest(BUILT, ANSWERS), BUILT, digest).stamps == ["SIMULATED"]
    real = ingest(BUILT, ANSWERS, simulated=False)
    assert analyse_study(real, BUILT).stamps == []
    assert analyse_study(real, BUILT, "0" * 64).stamps == ["EXPLORATORY"]


def test_what_cannot_be_analysed_is_refused() -> None:
    with pytest.raises(UserError, match="were given to the plan 000000000000"):
        analyse_study(ingest(BUILT, ANSWERS, plan_sha256="0" * 64), BUILT)
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        analyse_study(ingest(BUILT, ANSWERS), BUILT, "abc")
    unused = [one.model_copy(update={"unused": ["gold"]}) for one in ANSWERS]
    with pytest.raises(UserError, match="no answer that is used, of 12 accepted blocks"):
        analyse_study(ingest(BUILT, unused), BUILT)
    foreign = [ANSWERS[0].model_copy(update={"block": "other"})]
    with pytest.raises(UserError, match="block 'other', which is not so in the key"):
        analyse_study(ingest(BUILT, foreign), BUILT)


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few resamples for the intervals of agreement, at which a simulation of shares does not look."""
    monkeypatch.setattr(agreement, "RESAMPLES", 20)


def _studies(share: float, count: int) -> tuple[float, float, float]:
    """Return how often the planted share is covered and one half rejected, and the mean share."""
    built = made_study(
        prompts=100, responses=200, questions=[{"id": "text", "text": "Which?"}], primary="text",
        blocks={"items": 10, "gold": 0, "repeats": 0, "per_rater": 1}, pay={"reward": 9.0},
    )  # fmt: skip
    covered, rejected, shares = 0, 0, []
    for seed in range(count):
        population = replace(raters(built, seed), side_bias=0.3, variation=Variation(0.8, 0.4))
        population = prefer(population, "vader", share)
        (one,) = analyse_study(ingest(built, simulate(built, population, 20)), built).outcomes
        planted = population.share("text", one.first, one.second)
        interval = one.main.share.clustered
        covered += interval.low <= planted <= interval.high
        rejected += one.preferred is not None
        shares.append(interval.value if one.first == "vader" else 1 - interval.value)
    return covered / count, rejected / count, float(np.mean(shares))


@pytest.mark.slow
@pytest.mark.usefixtures("few_resamples")
def test_a_planted_preference_is_covered_as_often_as_the_interval_says() -> None:
    covered, rejected, mean = _studies(0.65, 400)
    error = 3 * np.sqrt(0.95 * 0.05 / 400)
    assert 0.945 - error <= covered <= 0.972 + error
    assert mean == pytest.approx(0.65, abs=0.01)
    assert rejected > 0.6


PAPER = {"quality": 0.79, "text": 0.61}
"""Shares of the paper's Table 2, from a hundred answers each."""


@pytest.mark.slow
@pytest.mark.usefixtures("few_resamples")
def test_the_papers_shares_are_covered_by_studies_of_its_size() -> None:
    studies = 300
    built = made_study(
        prompts=100,
        paper=True,
        blocks={"items": 5, "gold": 0, "repeats": 0, "per_rater": 1},
        pay={"reward": 9.0},
    )
    covered = dict.fromkeys(PAPER, 0)
    shares: dict[str, list[float]] = {question: [] for question in PAPER}
    for seed in range(studies):
        population = prefer(replace(raters(built, seed), side_bias=0.2), "vader", PAPER)
        for one in analyse_study(ingest(built, simulate(built, population, 20)), built).outcomes:
            assert (one.first, one.main.share.responses) == ("vader", 100)
            interval = one.main.share.clustered
            covered[one.question] += interval.low <= PAPER[one.question] <= interval.high
            shares[one.question].append(interval.value)
    error = 3 * np.sqrt(0.95 * 0.05 / studies)
    for question, share in PAPER.items():
        assert 0.945 - error <= covered[question] / studies <= 0.972 + error, question
        assert np.mean(shares[question]) == pytest.approx(share, abs=0.01), question


@pytest.mark.slow
@pytest.mark.usefixtures("few_resamples")
def test_without_a_preference_one_is_seldom_seen() -> None:
    covered, rejected, mean = _studies(0.5, 1000)
    assert 0.03 <= rejected <= 0.08
    assert covered == pytest.approx(1 - rejected, abs=1e-9)
    assert mean == pytest.approx(0.5, abs=0.01)
