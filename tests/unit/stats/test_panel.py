from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.results import Invented, make_record
from vader_bench.config.names import HELDOUT
from vader_bench.errors import UserError
from vader_bench.records.record import Evaluation, Record
from vader_bench.stats.panel import Panel, build_panel, run_curve

WORLD = Invented(rewards=("red",))


def _records(world: Invented = WORLD, base: bool = True) -> list[Record]:
    runs = [(method, seed) for method in world.methods for seed in world.seeds]
    return [make_record(world, m, "red", seed) for m, seed in ([("base", 0)] if base else []) + runs]


def _panel(records: list[Record]) -> Panel:
    panel = build_panel(records, WORLD.methods, WORLD.seeds)
    assert panel is not None
    return panel


def _changed(record: Record, index: int, **changes: Any) -> Record:
    """Return ``record`` with ``changes`` to one of its evaluations."""
    evaluations = list(record.evaluations)
    evaluations[index] = evaluations[index].model_copy(update=changes)
    return record.model_copy(update={"evaluations": evaluations})


def _look(record: Record, queries: int, split: str = HELDOUT) -> Evaluation:
    return next(e for e in record.evaluations if (e.queries, e.split) == (queries, split))


def test_axes_are_method_look_seed_prompt() -> None:
    panel = _panel(_records())
    assert panel.methods == ("vader", "ddpo", "diffusion-dpo")
    assert panel.seeds == (0, 1, 2)
    assert panel.curve.shape == (3, 5, 3, 6)
    assert panel.spent["device_seconds"].shape == (3, 5, 3)
    np.testing.assert_array_equal(panel.looks, [0, 16, 32, 48, 64])
    record = make_record(WORLD, "ddpo", "red", 2)
    score = next(s for s in _look(record, 32).scores if s.prompt == panel.prompts[4])
    assert panel.curve[1, 2, 2, 4] == score.reward
    assert panel.spent["device_seconds"][1, 2, 2] == _look(record, 32).device_seconds


def test_a_curve_uses_only_videos_judged_at_every_look() -> None:
    # at both ends there are 8 prompts with 2 videos, in between 6 prompts with the first of them
    panel = _panel(_records())
    first = _look(make_record(WORLD, "vader", "red", 0), 0)
    expected = [s.reward for s in first.scores if s.sample == 0][:6]
    np.testing.assert_array_equal(panel.curve[0, 0, 0], expected)
    (look, mean) = run_curve(make_record(WORLD, "vader", "red", 0))[0]
    assert look == first
    assert mean == pytest.approx(np.mean(expected))


def test_the_held_out_split_is_the_ends_of_the_curve() -> None:
    panel = _panel(_records())
    np.testing.assert_array_equal(panel.splits[HELDOUT].reward, panel.curve[:, [0, -1]])
    assert panel.splits[HELDOUT].prompts == panel.prompts


def test_base_without_a_prompt_of_the_curve_is_refused() -> None:
    records = _records()
    evaluations = [
        e.model_copy(update={"scores": [s for s in e.scores if not s.prompt.endswith("number 2")]})
        for e in records[0].evaluations
    ]
    with pytest.raises(UserError, match="lacks held-out prompts that methods were judged on"):
        _panel([records[0].model_copy(update={"evaluations": evaluations}), *records[1:]])


def test_other_splits_hold_both_ends_with_all_their_videos() -> None:
    panel = _panel(_records())
    assert list(panel.splits) == ["train", "heldout", "composition"]
    split = panel.splits["train"]
    assert split.reward.shape == (3, 2, 3, 8)
    end = _look(make_record(WORLD, "diffusion-dpo", "red", 1), 64, "train")
    of_prompt = [s.reward for s in end.scores if s.prompt == split.prompts[7]]
    assert split.reward[2, 1, 1, 7] == pytest.approx(np.mean(of_prompt))


def test_a_missing_gold_score_leaves_no_gold_at_all() -> None:
    records = _records()
    scores = list(records[1].evaluations[1].scores)
    scores[2] = scores[2].model_copy(update={"gold": None})  # the first video of the second prompt
    panel = _panel([records[0], _changed(records[1], 1, scores=scores), *records[2:]])
    assert panel.splits[HELDOUT].gold is None
    assert panel.splits["train"].gold is not None
    assert panel.splits[HELDOUT].prompt_share is not None


def test_diversity_is_that_of_the_end_or_none() -> None:
    panel = _panel(_records())
    assert panel.diversity is not None
    assert panel.diversity[2, 1] == _look(make_record(WORLD, "diffusion-dpo", "red", 1), 64).diversity
    assert _panel(_records(Invented(rewards=("red",), samples=1))).diversity is None


def test_base_holds_every_sample() -> None:
    base = _panel(_records()).base
    assert base is not None
    assert base.reward.shape == (6, 4)  # for the prompts of the curve
    assert base.best_of == (2, 4)
    assert _panel(_records(base=False)).base is None


def test_only_seeds_that_every_method_has_are_used() -> None:
    records = [r for r in _records() if (r.method, r.seed) != ("ddpo", 1)]
    panel = _panel(records)
    assert panel.seeds == (0, 2)
    assert panel.curve.shape[2] == 2
    np.testing.assert_array_equal(panel.curve, _panel(_records()).curve[:, :, [0, 2]])


def test_a_method_without_any_record_is_left_out() -> None:
    panel = _panel([r for r in _records() if r.method != "ddpo"])
    assert panel.methods == ("vader", "diffusion-dpo")
    assert panel.seeds == (0, 1, 2)


def test_without_a_complete_seed_there_is_no_panel() -> None:
    apart = [r for r in _records() if (r.method, r.seed) in {("vader", 0), ("ddpo", 1)}]
    assert build_panel(apart, WORLD.methods, WORLD.seeds) is None
    assert build_panel([], WORLD.methods, WORLD.seeds) is None


def test_runs_with_other_looks_are_refused() -> None:
    records = _records()
    odd = make_record(Invented(rewards=("red",), every=32), "ddpo", "red", 1)
    others = [r for r in records if (r.method, r.seed) != ("ddpo", 1)]
    with pytest.raises(UserError, match="one alone was judged on 'heldout' after 16 queries; run both"):
        _panel([*others, odd])


def test_runs_on_other_prompts_are_refused() -> None:
    records = _records()
    scores = list(records[-1].evaluations[1].scores)
    scores[0] = scores[0].model_copy(update={"prompt": "another"})
    with pytest.raises(UserError, match=r"diffusion-dpo-red-seed2: was judged on other 'heldout' videos"):
        _panel([*records[:-1], _changed(records[-1], 1, scores=scores)])


def test_a_run_that_lost_a_video_is_refused_not_averaged() -> None:
    records = _records()
    fewer = records[1].evaluations[1].scores[1:]
    with pytest.raises(UserError, match="was judged on other 'heldout' videos"):
        _panel([records[0], _changed(records[1], 1, scores=fewer), *records[2:]])


def test_two_looks_after_the_same_queries_are_refused() -> None:
    record = make_record(WORLD, "vader", "red", 0)
    doubled = record.model_copy(update={"evaluations": [*record.evaluations, record.evaluations[1]]})
    with pytest.raises(UserError, match="two evaluations of split 'heldout' after the same queries"):
        run_curve(doubled)


def test_a_run_without_held_out_looks_is_refused() -> None:
    record = make_record(WORLD, "vader", "red", 0)
    train = [e for e in record.evaluations if e.split == "train"]
    with pytest.raises(UserError, match="no evaluation of split 'heldout'"):
        run_curve(record.model_copy(update={"evaluations": train}))


def test_looks_that_share_no_video_are_refused() -> None:
    record = make_record(WORLD, "vader", "red", 0)
    last = record.evaluations[-2]
    assert last.split == HELDOUT
    scores = [score.model_copy(update={"prompt": score.prompt + "!"}) for score in last.scores]
    with pytest.raises(UserError, match="has no video that was judged at every look"):
        run_curve(_changed(record, len(record.evaluations) - 2, scores=scores))


def test_a_panel_needs_held_out_looks_at_both_ends() -> None:
    world = Invented(rewards=("red",), methods=("vader",), seeds=(0,))
    record = make_record(world, "vader", "red", 0)
    late = [e for e in record.evaluations if e.queries > 0]
    with pytest.raises(UserError, match="both before training and at the end"):
        build_panel([record.model_copy(update={"evaluations": late})], ("vader",), (0,))


def test_an_experiment_may_name_its_baselines() -> None:
    """By default the methods say which they are: here DDPO and Diffusion-DPO."""
    records = [make_record(WORLD, method, "red", seed) for method in WORLD.methods for seed in WORLD.seeds]
    by_method = build_panel(records, WORLD.methods, WORLD.seeds)
    named = build_panel(records, WORLD.methods, WORLD.seeds, ["vader"])
    assert by_method is not None
    assert named is not None
    assert dict(zip(by_method.methods, by_method.baselines, strict=True)) == {
        method: method != "vader" for method in by_method.methods
    }
    assert [name for name, counts in zip(named.methods, named.baselines, strict=True) if counts] == ["vader"]
