"""Adapters that were not trained here, beside runs that were."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.results import Invented, make_record
from vader_bench.errors import UserError
from vader_bench.records.record import Record, VideoScore
from vader_bench.stats import Analysis, analyse, build_panel, run_curve, transfer
from vader_bench.stats.adapters import beside

WORLD = Invented(
    rewards=("red",),
    methods=("vader", "published", "ddpo"),
    adapters=("published",),
    gains={"vader": 0.4, "published": 0.2, "ddpo": 0.04},
)


def records(world: Invented = WORLD) -> list[Record]:
    runs = [("base", 0), ("published", 0), *((m, s) for m in ("vader", "ddpo") for s in world.seeds)]
    return [make_record(world, method, "red", seed) for method, seed in runs]


def analysis(world: Invented = WORLD) -> Analysis:
    panel = build_panel(records(world), world.methods, world.seeds)
    assert panel is not None
    return analyse(panel, resamples=2000)


def by_video(scores: list[VideoScore]) -> dict[tuple[str, int], float]:
    return {(score.prompt, score.sample): score.reward for score in scores}


def test_the_base_model_comes_first_and_the_adapters_at_every_later_look() -> None:
    published, run = make_record(WORLD, "published", "red", 0), make_record(WORLD, "vader", "red", 2)
    found = beside(published, run)
    looks = [(e.split, e.queries) for e in run.evaluations]
    assert [(e.split, e.queries) for e in found.evaluations] == looks
    own = {e.split: by_video(e.scores) for e in published.evaluations}
    for look, theirs in zip(found.evaluations, run.evaluations, strict=True):
        if look.queries == 0:
            assert look == theirs
            continue
        assert [(s.prompt, s.sample) for s in look.scores] == [(s.prompt, s.sample) for s in theirs.scores]
        assert all(s.reward == own[look.split][s.prompt, s.sample] for s in look.scores)
        assert (look.flops, look.device_seconds) == (0, 0.0)


def test_adapters_that_were_judged_on_other_videos_are_refused() -> None:
    published = make_record(WORLD, "published", "red", 0)
    longer = Invented(rewards=("red",), methods=WORLD.methods, final_prompts=9)
    with pytest.raises(UserError, match="was not judged on all 'train' videos that vader-red-seed0 was"):
        beside(published, make_record(longer, "vader", "red", 0))


def test_the_curve_is_flat_and_nothing_is_spent() -> None:
    panel = analysis().panel
    assert panel.methods == ("vader", "published", "ddpo")
    assert panel.adapters == (False, True, False)
    assert panel.seeds == (0, 1, 2)
    level = panel.curve[1]
    np.testing.assert_array_equal(level, np.broadcast_to(level[-1:, :1], level.shape))
    assert not panel.spent["flops"][1].any()
    assert not panel.spent["device_seconds"][1].any()


def test_the_numbers_of_trained_arms_are_those_without_adapters() -> None:
    """All but the corrected p-values: there are more pairs."""
    alone = Invented(
        rewards=WORLD.rewards, methods=("vader", "ddpo"), gains=WORLD.gains, seconds=WORLD.seconds
    )
    panel = build_panel([r for r in records() if r.label != "published"], alone.methods, alone.seeds)
    assert panel is not None
    before, after = analyse(panel, resamples=2000), analysis()
    assert after.cuts == before.cuts
    assert after.winner == before.winner == "vader"
    assert after.best_baseline == before.best_baseline == "ddpo"
    assert [repr(arm) for arm in after.arms if arm.name != "published"] == list(map(repr, before.arms))


def test_the_gain_is_over_the_base_model_by_prompts_alone() -> None:
    found = analysis()
    arm = found.arm("published")
    assert arm is not None
    assert found.adapters == [arm]
    assert arm.seeds == 0
    assert arm.statistics["smallest_gain"].absent == "not trained"
    gain = arm.statistics["gain"]
    assert gain.value == pytest.approx(0.2, abs=1e-12)  # the invented gain, of every video
    assert gain.high - gain.low < 1e-9
    reward = arm.statistics["heldout_reward"]
    assert arm.statistics["area"].value == pytest.approx(reward.value)
    assert arm.statistics["reward_at_equal_flops"].value == pytest.approx(reward.value)
    assert arm.statistics["queries_speed_up"].absent == "not trained"
    assert arm.statistics["heldout_over_train"].absent == "not trained"
    band = found.bands["published"]
    assert band.low[0] == pytest.approx(band.value[0])


def test_pairs_hold_adapters_and_no_winner_at_an_equal_budget_is_one() -> None:
    strong = Invented(
        rewards=("red",), methods=WORLD.methods, adapters=WORLD.adapters,
        gains={"vader": 0.4, "published": 0.9, "ddpo": 0.04},
    )  # fmt: skip
    found = analysis(strong)
    pair = next(p for p in found.pairs if {p.first, p.second} == {"vader", "published"})
    assert pair.ahead == "published"
    assert (pair.wins, pair.seeds) == (0.0, 3)
    assert found.winner == "vader"


def test_its_curve_is_one_point_on_the_videos_of_a_run_s_curve() -> None:
    [(look, mean)] = run_curve(make_record(WORLD, "published", "red", 0))
    assert look.queries == 0
    first = [s.reward for s in look.scores if s.sample == 0][: WORLD.prompts]
    assert mean == pytest.approx(np.mean(first))


def test_other_judges_see_the_gain_over_the_base_model() -> None:
    run, published = make_record(WORLD, "vader", "red", 0), make_record(WORLD, "published", "red", 0)
    assert transfer([beside(published, run)])["red"].value == pytest.approx(0.2, abs=1e-12)
